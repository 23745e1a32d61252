"""`map.get`: outlines and masks of the newest map, never larger than an answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import FakeClock

from edged.errors import CommandError
from edged.events.command import MAX_ANSWER_BYTES, decode_arguments, encode_answer
from edged.pipeline import Mapped
from edged.rules.scene import class_grid
from edged.rules.surfaces import AreaShares
from edged.runtime.map_commands import make_map_commands
from edged.types import SegmentationMap
from edged.vision.label_maps import decompress_runs, mask_from_runs

CLASSES = ("sky", "road", "car")


def make_mapped(labels, classes=CLASSES):
    scene = SegmentationMap(np.asarray(labels, np.uint8), classes, 640, 360)
    return Mapped(
        camera="door",
        map=scene,
        captured_s=90.0,
        frame_seq=451,
        shares=AreaShares(np.zeros(len(classes)), {}),
        grid=class_grid(scene.labels, len(classes)),
    )


def get(mapped, **arguments):
    (command,) = make_map_commands(lambda camera: mapped, cameras=("door", "yard"), clock=FakeClock(100.5))
    answer = command.run(decode_arguments(command.arguments, {"camera": "door", **arguments}))
    return json.loads(encode_answer(answer, device="gate", command=command.name, id="1", at=0.0))["answer"]


def road_with_a_car():
    labels = np.zeros((60, 80), np.uint8)
    labels[30:] = 1
    labels[40:50, 20:40] = 2
    return labels


def test_map_as_polygons_has_outlines_and_holes_of_what_is_seen():
    """In shares of the picture, with the age of the map; the road surrounds the car."""
    answer = get(make_mapped(road_with_a_car()))

    assert (answer["camera"], answer["frame_seq"], answer["width"], answer["height"]) == ("door", 451, 80, 60)
    assert (answer["captured_at"], answer["age_s"]) == ("1970-01-12T13:48:10.000Z", 10.5)
    assert list(answer["classes"]) == ["sky", "road", "car"]
    (car,) = answer["classes"]["car"]["regions"]
    assert sorted(car["outline_norm"]) == [[0.25, 0.6667], [0.25, 0.8333], [0.5, 0.6667], [0.5, 0.8333]]
    assert "holes_norm" not in car
    (road,) = answer["classes"]["road"]["regions"]
    assert len(road["holes_norm"]) == 1
    assert answer["classes"]["car"]["share"] == pytest.approx(200 / 4800, abs=1e-4)
    assert not answer["simplified"]


def test_map_as_rle_gives_every_pixel_back():
    """As COCO has it: size and compressed counts."""
    labels = road_with_a_car()

    answer = get(make_mapped(labels), form="rle")

    for class_id, name in enumerate(CLASSES):
        rle = answer["classes"][name]["rle"]
        assert rle["size"] == [60, 80]
        mask = mask_from_runs(decompress_runs(rle["counts"]), width=80, height=60)
        np.testing.assert_array_equal(mask, labels == class_id)


def test_map_tells_only_classes_that_are_asked_for_and_seen():
    """A class that is known and not seen is no mistake."""
    answer = get(make_mapped(np.zeros((60, 80))), classes=["car", "sky"])

    assert list(answer["classes"]) == ["sky"]


@pytest.mark.parametrize(
    ("n_classes", "is_simplified"),
    [pytest.param(11, False, id="the largest parts fit"), pytest.param(60, True, id="nor do they")],
)
def test_map_of_noise_fits_into_an_answer_as_polygons(n_classes, is_simplified):
    """The worst there is is told more and more coarsely, and the answer says so."""
    labels = np.random.default_rng(4).integers(0, n_classes, (360, 480))

    answer = get(make_mapped(labels, tuple(f"class{number}" for number in range(n_classes))))

    assert answer["simplified"] is is_simplified
    assert len(answer["classes"]) == n_classes


def test_map_whose_classes_have_names_of_many_bytes_fits_into_an_answer():
    """A letter may be three bytes, and bytes are what an answer has few of."""
    labels = np.random.default_rng(4).integers(0, 60, (360, 480))
    names = tuple(f"{number}{'路' * 300}" for number in range(60))

    answer = get(make_mapped(labels, names))

    assert answer["simplified"] is True
    assert tuple(answer["classes"]) == names


@pytest.mark.parametrize(
    ("arguments", "code", "mend"),
    [
        pytest.param({"camera": "attic"}, "map.no_camera", "maps are made of: door, yard", id="camera"),
        pytest.param({"classes": ["cra"]}, "map.no_class", "they know: sky, road, car", id="class"),
        pytest.param({"classes": []}, "command.invalid", "camera, form, classes", id="no class"),
        pytest.param({"form": "png"}, "command.invalid", "camera, form, classes", id="form"),
    ],
)
def test_map_that_cannot_be_told_is_an_error_with_its_mend(arguments, code, mend):
    """What is known here is named."""
    with pytest.raises(CommandError) as caught:
        get(make_mapped(road_with_a_car()), **arguments)

    assert caught.value.code == code
    assert mend in caught.value.mend


def test_map_of_a_camera_that_has_none_says_so():
    """It has just begun, or it is gone."""
    with pytest.raises(CommandError, match="no map of camera door") as caught:
        get(None)

    assert caught.value.code == "map.none_yet"


def test_map_of_noise_as_rle_is_refused_with_what_to_ask_for_instead():
    """A mask is told whole or not at all."""
    labels = np.random.default_rng(4).integers(0, 3, (360, 480))

    with pytest.raises(CommandError) as caught:
        get(make_mapped(labels), form="rle")

    assert caught.value.code == "map.too_large"
    assert str(MAX_ANSWER_BYTES) in caught.value.message
    assert "polygons" in caught.value.mend
