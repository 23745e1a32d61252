"""Which faces of a set are shown, and which are kept back. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_folders import write_table
from presentations import write_presentations

from edged.errors import InputError
from tools.datasets.pictures import Picture
from tools.liveness_data import Presentation, hold_back, kinds_of, load_presentations


def make_presentations(*parts: tuple[str, str, int]) -> list[Presentation]:
    """So many of each recording and label."""
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return [
        Presentation(Picture(f"{recording} {label} {number}", b"", *nothing), None, label, recording)
        for recording, label, n in parts
        for number in range(n)
    ]


def test_load_presentations_reads_label_recording_and_split(tmp_path: Path) -> None:
    """A picture is a face as a whole, whose box is the picture."""
    found = load_presentations(write_presentations(tmp_path / "set", pictures=2), split="val", recordings="person")

    assert [(one.label, one.recording) for one in found] == [("live", "p3")] * 2 + [("spoof", "p3")] * 2
    pixels, box = found[0].face()
    assert pixels.shape == (64, 64, 3)
    assert box.tolist() == [0, 0, 64, 64]


def test_load_presentations_of_photographs_takes_every_box_for_live(tmp_path: Path) -> None:
    """Where all are live boxes are faces, whatever they are called; one without an area is none."""
    text = "file,x,y,w,h,label\na.png,10,5,20,30,mask\na.png,40,5,20,30,no_mask\nb.png,3,3,0,9,mask\n"

    found = load_presentations(write_table(tmp_path / "set", text, pictures=["a.png", "b.png"]), split=None, all_live=True)

    assert [one.label for one in found] == ["live", "live"]
    assert found[1].face()[1].tolist() == [40, 5, 60, 35]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("file,x,y,w,h,label\na.png,1,1,9,9,live\n", "has a boxes for each picture and no label", id="boxes"),
        pytest.param("file,label\na.png,anna\n", "the labels anna say neither live nor what attack", id="identities"),
    ],
)
def test_load_presentations_of_a_set_that_tells_nobody_live_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """And it is said how such a set can be used."""
    with pytest.raises(InputError, match=message) as error:
        load_presentations(write_table(tmp_path / "set", text, pictures=["a.png"]), split=None)

    assert "--live" in str(error.value)


def test_hold_back_keeps_the_end_of_each_recording_and_label() -> None:
    """Neighbours in a recording are one picture, so that none of the kept has one among the learnt but at the cut."""
    learnt, kept = hold_back(make_presentations(("a", "live", 10), ("a", "spoof", 5), ("b", "live", 1)), 0.2)

    assert [one.picture.name for one in kept] == ["a live 8", "a live 9", "a spoof 4"]
    assert len(learnt) == 13


def test_hold_back_of_parts_that_lie_apart_in_the_file_still_knows_them_as_one() -> None:
    """The order of a file may mix recordings; what is learnt comes part by part."""
    first, second = make_presentations(("a", "live", 5)), make_presentations(("b", "live", 5))
    mixed = [one for pair in zip(first, second, strict=True) for one in pair]

    learnt, kept = hold_back(mixed, 0.4)

    assert [one.recording for one in learnt] == ["a"] * 3 + ["b"] * 3
    assert [one.picture.name for one in kept] == ["a live 3", "a live 4", "b live 3", "b live 4"]


def test_hold_back_of_nothing_keeps_nothing() -> None:
    """A share of 0, or no presentation."""
    presentations = make_presentations(("a", "live", 3))

    assert hold_back(presentations, 0.0) == (presentations, [])
    assert hold_back([], 0.5) == ([], [])


def test_kinds_of_puts_in_what_is_known_of_a_label() -> None:
    """A label that is a kind already stays."""
    assert kinds_of(make_presentations(("", "live", 1), ("", "spoof", 1), ("", "print", 1)), {"spoof": "replay"}) == [
        "live",
        "replay",
        "print",
    ]
