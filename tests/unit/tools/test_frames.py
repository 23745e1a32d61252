"""Pictures out of clips: which frames, and a set that the loader reads."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tools.datasets.opening import load_set
from tools.frames import main


def _write_clip(path: Path, *, frames: int = 25, rate: int = 10) -> Path:
    """Frames of 64x48 that become brighter by 10 each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            pixels = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_frames_are_those_at_or_after_each_multiple_and_come_as_a_set(tmp_path: Path) -> None:
    """At 10 frames a second every 0.5 s is every fifth: 0, 5, 10, 15 and 20 of 25."""
    clip = _write_clip(tmp_path / "door.mp4")

    assert main([str(clip), "--out", str(tmp_path / "set"), "--every", "0.5"]) == 0

    found = load_set(tmp_path / "set", split="train")
    names = ["door-0000000", "door-0000500", "door-0001000", "door-0001500", "door-0002000"]
    assert [Path(one.origin.file).stem for one in found.pictures] == names
    brightness = [float(one.pixels_rgb().mean()) for one in found.pictures]
    np.testing.assert_allclose(brightness, [0, 50, 100, 150, 200], atol=6)
    assert not found.labelled.any()


def test_frames_of_several_clips_are_told_apart_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second without a frame is passed over: one picture a clip."""
    clips = [_write_clip(tmp_path / name, frames=3) for name in ("a.mp4", "b.mkv")]

    assert main([*map(str, clips), "--out", str(tmp_path / "set")]) == 0

    assert sorted(file.name for file in (tmp_path / "set" / "images").iterdir()) == ["a-0000000.jpg", "b-0000000.jpg"]
    assert capsys.readouterr().out.count(": 1 pictures") == 2


def test_frames_of_what_is_no_clip_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file."""
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "text.mp4").write_text("no video", encoding="utf-8")
    used = tmp_path

    assert main([str(tmp_path / "text.mp4"), "--out", str(tmp_path / "a")]) == 78
    assert main([str(tmp_path / "none.mp4"), "--out", str(tmp_path / "b")]) == 78
    assert main([str(tmp_path / "x.png"), "--out", str(used)]) == 78
    assert main([str(tmp_path / "x.png"), str(tmp_path / "x.png"), "--out", str(tmp_path / "c")]) == 78

    lines = capsys.readouterr().err.splitlines()
    assert "text.mp4: cannot be read as video" in lines[0]
    assert "none.mp4: cannot be read as video" in lines[1]
    assert "is not empty: name a new folder" in lines[2]
    assert "two are called x" in lines[3]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "soon"])
def test_frames_every_no_time_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """argparse says which argument and what was expected."""
    with pytest.raises(SystemExit):
        main(["a.mp4", "--out", "b", "--every", text])

    assert "expected seconds above 0" in capsys.readouterr().err
