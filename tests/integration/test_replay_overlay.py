"""What the overlay of a replay shows of a street whose maps are true, and what it hides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from daemons import save_still_engine
from models_onnx import make_segmenter_manifest, save_pixel_colour_engine
from stand_ins.face_referee import ListeningSink
from stand_ins.street_segmenter import StreetSegmenter

from edged import assembly, replay
from edged.config import parse_config
from edged.engine_opening import OpenedNetwork
from edged.replay import Replay
from edged.sources.street import StreetSource
from edged.street.scene import Street
from edged.street.surfaces import CLASSES
from edged.types import Frame
from edged.vision.label_maps import mask_of
from edged.vision.redact import FILL_COLOUR

STREET = StreetSource(seed=7, width=320, height=180, fps=5.0, seconds=8.0, is_live=False)
MOVING = ["car", "pedestrian", "bicyclist"]


@pytest.fixture(name="segmenter")
def fixture_segmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StreetSegmenter:
    """A site whose segmenter knows the truth of every pixel."""
    save_still_engine(tmp_path / "engines" / "still")
    manifest = make_segmenter_manifest(classes=list(CLASSES))
    save_pixel_colour_engine(tmp_path / "engines" / "truth", manifest, weights=np.ones((3, len(CLASSES))))
    segmenter = StreetSegmenter(STREET)
    monkeypatch.setattr(replay, "open_configured_segmenter", lambda directory, config: OpenedNetwork(segmenter, 1))
    return segmenter


def make_replay(tmp_path: Path, privacy: dict, *, draws: bool = True, shows_faces: bool = False) -> tuple[Replay, ListeningSink]:
    text = {
        "state_dir": str(tmp_path / "state"),
        "detector": {"engine": "engines/still"},
        "segmentation": {"enabled": True, "engine": "engines/truth", "every_s": 2},
        "cameras": {"street": {"source": "street:7", "motion": {"enabled": False}, "privacy": privacy}},
    }
    sink = ListeningSink()
    config = parse_config(json.dumps(text), source="test", directory=tmp_path)
    return Replay(config, "street", every_frame=True, start_at=0.0, sinks=[sink], draws=draws, shows_faces=shows_faces), sink


def frames_drawn(replay: Replay) -> list[tuple[Frame, np.ndarray]]:
    """Each frame beside its public picture, drawn into."""
    drawn: list[tuple[Frame, np.ndarray]] = []
    replay.outputs = [lambda result: drawn.append((result.frame, replay.overlay(result, result.frame).pixels_rgb))]
    replay.run(STREET)
    return drawn


def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the public pictures as they are, so that every pixel can be judged."""
    monkeypatch.setattr(assembly, "draw_overlay", lambda picture, **facts: None)


@pytest.mark.parametrize(
    "privacy",
    [{"hide": MOVING}, {"show": [name for name in CLASSES if name not in MOVING]}],
    ids=["hide what moves", "show all else"],
)
def test_overlay_of_a_street_shows_no_pixel_of_what_is_hidden(
    privacy: dict, tmp_path: Path, segmenter: StreetSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture has its own map, whatever the pace of the maps is: what moves is gone, the street is there."""
    no_drawing(monkeypatch)
    replay, _ = make_replay(tmp_path, {"pixelate": "nobody", "style": "fill", **privacy})
    street = Street(7, width=320, height=180, fps=5.0)

    drawn = frames_drawn(replay)

    assert len(drawn) == 40
    assert sorted(set(segmenter.seen)) == list(range(40))
    for index, (frame, pixels) in enumerate(drawn):
        truth = mask_of(street.labels(index), [CLASSES.index(name) for name in MOVING])
        is_hidden = np.all(pixels == FILL_COLOUR, axis=2)
        assert is_hidden[truth].all()
        assert is_hidden.mean() < 0.5
        np.testing.assert_array_equal(pixels[~is_hidden], frame.pixels_rgb[~is_hidden])


def test_overlay_without_maps_hides_everything_where_classes_are_hidden(
    tmp_path: Path, segmenter: StreetSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay that was not told that it draws has maps at their pace only; in between nothing is shown."""
    no_drawing(monkeypatch)
    replay, _ = make_replay(tmp_path, {"hide": ["car"], "style": "fill", "map_age_s": 0.3, "pixelate": "nobody"}, draws=False)

    hidden = [np.all(pixels == FILL_COLOUR) for _, pixels in frames_drawn(replay)]

    assert segmenter.seen == [0, 10, 20, 30]
    assert hidden == [index % 10 > 1 for index in range(40)]


def test_overlay_hides_polygons_though_faces_may_be_shown(
    tmp_path: Path, segmenter: StreetSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--show-faces` is about heads: the neighbour's window stays hidden."""
    no_drawing(monkeypatch)
    replay, _ = make_replay(tmp_path, {"polygons": [[[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]]], "style": "fill"}, shows_faces=True)

    _, pixels = frames_drawn(replay)[0]

    assert np.all(pixels[:90, :160] == FILL_COLOUR)


def test_events_are_the_same_whether_pictures_are_drawn_or_not(tmp_path: Path, segmenter: StreetSegmenter) -> None:
    """Maps for the overlay are for the overlay alone."""
    said = []
    for draws in (False, True):
        replay, sink = make_replay(tmp_path, {"hide": ["car"]}, draws=draws)
        frames_drawn(replay)
        said.append(sink.events)

    assert said[0] == said[1]
    assert said[0]


def test_overlay_shows_the_map_and_its_legend(tmp_path: Path, segmenter: StreetSegmenter) -> None:
    """The tree is greener than it was, the strip below is dark, and a map of a while ago says so."""
    replay, _ = make_replay(tmp_path, {"pixelate": "nobody"})

    drawn = frames_drawn(replay)

    frame, pixels = drawn[0]
    is_tree = Street(7, width=320, height=180, fps=5.0).labels(0, only=()) == CLASSES.index("tree")
    is_tree[140:] = False
    is_tree[:20] = False
    assert pixels[is_tree].mean(axis=0)[1] > frame.pixels_rgb[is_tree].mean(axis=0)[1]
    assert pixels[176:].mean() < 0.6 * frame.pixels_rgb[176:].mean()
    assert not np.array_equal(drawn[0][1][:14, :120], drawn[4][1][:14, :120])
