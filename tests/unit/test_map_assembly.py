"""From the configuration to maps: every key reaches the part that works with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_segmenter_manifest, save_pixel_colour_engine

from edged import map_assembly
from edged.config import Config, parse_config
from edged.errors import ConfigError
from edged.map_assembly import (
    find_segmenter,
    make_area_settings,
    make_map_rules,
    make_map_watch,
    open_configured_segmenter,
    static_classes,
    watches_views,
)
from edged.rules.settings import AreaRuleSettings, AreaSettings, ShareRule
from edged.rules.surfaces import GROUND
from edged.runtime.maps import MapPace

CORNERS = [[0, 0], [1, 0], [0, 1]]
MANIFEST = make_segmenter_manifest(classes=["road", "wall", "car", "person"])


def read(*, directory: Path = Path(), segmentation: dict | None = None, switches: dict | None = None, **camera: object) -> Config:
    text = {
        "state_dir": str(directory / "state"),
        "segmentation": {"enabled": True, **(segmentation or {})},
        "cameras": {"door": {"source": "street:", **(switches or {}), **camera}},
    }
    return parse_config(json.dumps(text), source="test", directory=directory)


def test_area_settings_have_every_key() -> None:
    """With any value but the default."""
    zone = {
        "polygon": CORNERS,
        "areas": ["car"],
        "blocked": {"classes": ["road"], "below": 0.4, "for_s": 3, "hysteresis_ratio": 0.1},
        "covered_by": [{"name": "van", "classes": ["car", "person"], "above": 0.7, "for_s": 4, "hysteresis_ratio": 0.2}],
    }
    config = read(zones={"way": zone, "lawn": {"polygon": CORNERS}}, areas={"classes": ["wall"], "min_change_ratio": 0.3})

    settings = make_area_settings(config.cameras["door"])

    assert settings == AreaRuleSettings(
        zones={
            "way": AreaSettings(
                classes=("car",),
                blocked=ShareRule(classes=("road",), below=0.4, for_s=3, hysteresis_ratio=0.1),
                covered_by=(ShareRule(classes=("car", "person"), above=0.7, for_s=4, hysteresis_ratio=0.2, name="van"),),
            ),
            "lawn": AreaSettings(classes=("wall",)),
        },
        picture=AreaSettings(classes=("wall",)),
        min_change_ratio=0.3,
    )


def test_view_has_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves out what moves, by name or by the names that are given."""
    made: list[tuple] = []

    def make_watch(settings: object, is_static: np.ndarray, memory: object) -> None:
        made.append((settings.for_s, settings.learn_s, settings.min_difference_ratio, is_static.tolist(), memory))

    monkeypatch.setattr(map_assembly.SceneWatch, "__init__", lambda self, *given: make_watch(*given))
    scene = {"for_s": 7, "learn_s": 8, "min_difference_ratio": 0.4}
    for segmentation in ({}, {"moving": ["wall"]}):
        config = read(scene=scene, segmentation=segmentation)
        make_map_rules(config.cameras["door"], config, MANIFEST, memory="learnt")

    stay = [[True, True, False, False], [True, False, True, True]]
    assert made == [(7, 8, 0.4, each, "learnt") for each in stay]
    assert static_classes(config, MANIFEST) == ("road", "car", "person")


@pytest.mark.parametrize(
    ("scene", "classes"),
    [
        pytest.param({"enabled": False}, ["road", "wall", "car"], id="nobody asks"),
        pytest.param({}, ["wall", "person"], id="one class that stays"),
    ],
)
def test_view_is_not_watched_where_nobody_asks_or_nothing_could_change(scene: dict, classes: list[str]) -> None:
    """A network that tells people from the rest sees no view."""
    config = read(scene=scene)

    rules = make_map_rules(config.cameras["door"], config, make_segmenter_manifest(classes=classes))

    assert rules.view is None
    assert watches_views(config, make_segmenter_manifest(classes=["wall", "person"])) is False


def test_surfaces_are_those_that_are_named_else_those_that_are_called_so() -> None:
    """The default knows the usual names."""
    named, unnamed = read(segmentation={"surfaces": ["wall"]}), read()

    assert make_map_rules(named.cameras["door"], named, MANIFEST).surfaces == {"wall"}
    assert make_map_rules(unnamed.cameras["door"], unnamed, MANIFEST).surfaces == GROUND


@pytest.mark.parametrize("switches", [{"segmentation": False}, {"enabled": False}])
def test_camera_of_which_no_maps_are_made_has_no_rules_about_them(switches: dict) -> None:
    """Nor does the slow loop know it; nor is there any where segmentation is off."""
    config = read(switches=switches)

    assert make_map_rules(config.cameras["door"], config, MANIFEST) is None
    assert make_map_rules(read().cameras["door"], read(), None) is None
    assert make_map_watch(config, now_s=lambda: 0.0).cameras == ()


def test_watch_has_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zones and pace."""
    made: dict[str, object] = {}
    monkeypatch.setattr(map_assembly, "MapWatch", lambda **given: made.update(given))
    config = read(segmentation={"every_s": 33, "min_s": 4, "on_motion": False}, zones={"way": {"polygon": CORNERS}})

    make_map_watch(config, now_s=lambda: 0.0)

    assert made["pace"] == MapPace(every_s=33, min_s=4, on_motion=False)
    assert made["zones"] == {"door": {"way": ((0, 0), (1, 0), (0, 1))}}


def test_segmenter_is_found_checked_and_opened(tmp_path: Path) -> None:
    """By name or directory, on the processor unless the configuration says otherwise."""
    save_pixel_colour_engine(tmp_path / "colours", make_segmenter_manifest(), weights=np.eye(3))
    config = read(directory=tmp_path, segmentation={"engine": "colours"})

    directory, manifest = find_segmenter(config)
    opened = open_configured_segmenter(directory, config)

    with opened.network as segmenter:
        scene = segmenter.segment(np.full((36, 64, 3), (255, 0, 0), np.uint8))
    assert manifest.classes == scene.classes == ("road", "car", "person")
    assert (scene.labels == 0).all()
    assert opened.fallback is None


def test_segmenter_with_every_class_that_it_lacks_is_refused_at_once(tmp_path: Path) -> None:
    """All mistakes together, each with its place."""
    save_pixel_colour_engine(tmp_path / "colours", make_segmenter_manifest(), weights=np.eye(3))
    wrong = {
        "polygon": CORNERS,
        "areas": ["lake"],
        "blocked": {"classes": ["cra"], "above": 0.5},
        "covered_by": [{"name": "flood", "classes": ["road", "water"], "above": 0.5}],
    }
    segmentation = {"engine": "colours", "surfaces": ["raod"], "moving": ["cat"]}

    with pytest.raises(ConfigError) as caught:
        find_segmenter(read(directory=tmp_path, segmentation=segmentation, zones={"way": wrong}, areas={"classes": ["sea"]}))

    places = {mistake.where for mistake in caught.value.mistakes}
    assert places == {
        "segmentation.surfaces[0]",
        "segmentation.moving[0]",
        "cameras.door.areas.classes[0]",
        "cameras.door.zones.way.areas[0]",
        "cameras.door.zones.way.blocked.classes[0]",
        "cameras.door.zones.way.covered_by[0].classes[1]",
    }
    assert "did you mean car? it knows road, car, person" in str(caught.value)


def test_segmenter_that_is_not_there_is_a_mistake_of_its_key(tmp_path: Path) -> None:
    """Named where it stands in the file."""
    with pytest.raises(ConfigError) as caught:
        find_segmenter(read(directory=tmp_path, segmentation={"engine": "none"}))

    assert [mistake.where for mistake in caught.value.mistakes] == ["segmentation.engine"]


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        pytest.param({"precision": "fp16"}, "a processor gains nothing by fp16", id="fp16 on a processor"),
        pytest.param({"backend": "tensorrt", "precision": "auto"}, "auto is measured on processors only", id="auto on a GPU"),
        pytest.param({"precision": "int8"}, "has no INT8 network", id="what the engine lacks"),
    ],
)
def test_segmenter_in_a_precision_that_cannot_be_is_a_mistake(tmp_path: Path, segmentation: dict, words: str) -> None:
    """Of its key, beside the classes that are wrong; another precision is not computed instead."""
    save_pixel_colour_engine(tmp_path / "colours", make_segmenter_manifest(), weights=np.eye(3))
    config = read(directory=tmp_path, segmentation={"engine": "colours", **segmentation}, areas={"classes": ["sea"]})

    with pytest.raises(ConfigError, match=words) as caught:
        find_segmenter(config)

    assert [mistake.where for mistake in caught.value.mistakes] == ["segmentation.precision", "cameras.door.areas.classes[0]"]
