"""Colours for any eyes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from edged.street.surfaces import CLASSES as STREET_CLASSES
from edged.vision.palette import PALETTE, class_colours, colour_of, readable_on

# How linear RGB looks to who lacks one kind of cone. Source: Machado et al., 2009, table of severity 1.0.
EYES = {
    "all cones": np.eye(3),
    "no long": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no medium": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "no short": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
WHITE = np.array([0.95047, 1.0, 1.08883])


def to_lab(colour: tuple[int, int, int], eyes: np.ndarray) -> np.ndarray:
    """CIELAB of an sRGB colour as these eyes see it. Source: IEC 61966-2-1, CIE 15."""
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(eyes @ linear, 0, 1) / WHITE
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("eyes", EYES)
def test_palette_colours_differ_for_everybody(eyes: str) -> None:
    """Any two are at least 16 apart in CIELAB, where 2 can just be told from each other side by side."""
    colours = [to_lab(colour, EYES[eyes]) for colour in PALETTE]

    assert min(np.linalg.norm(one - other) for one, other in combinations(colours, 2)) > 16


def test_colour_of_classes_beyond_the_palette_are_its_darker_shades() -> None:
    """Any class has a colour; the first ones have those of the palette."""
    assert tuple(map(colour_of, range(len(PALETTE)))) == PALETTE
    assert colour_of(len(PALETTE)) == (138, 95, 0)
    assert colour_of(3 * len(PALETTE)) == PALETTE[0]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(STREET_CLASSES, id="what a street is made of"),
        pytest.param(("person", "bicycle", "car", "motorcycle", "bus", "truck"), id="what a detector sees"),
        pytest.param(tuple(f"thing {number}" for number in range(12)), id="what nobody knows"),
        pytest.param(("wall", "person", "floor", "tree", "door"), id="some of both"),
    ],
)
def test_class_colours_of_one_network_are_all_different(names: tuple[str, ...]) -> None:
    """A name has its colour in every network, and takes it from nobody."""
    colours = class_colours(names)

    assert len(set(colours)) == len(names)
    assert set(colours) <= set(PALETTE)


def test_class_colours_of_the_same_name_are_the_same_in_all_networks() -> None:
    """A car's box and a car's pixels look alike."""
    assert class_colours(["road", "car"])[1] == class_colours(["car", "truck", "hat"])[0]


def test_class_colours_of_many_classes_never_end() -> None:
    """More classes than a palette can have."""
    assert len(class_colours([f"thing {number}" for number in range(255)])) == 255
    assert class_colours([]) == []


@pytest.mark.parametrize(("ground", "expected"), [((240, 228, 66), (0, 0, 0)), ((0, 0, 144), (255, 255, 255))])
def test_readable_on_a_ground_is_what_stands_out(ground: tuple, expected: tuple) -> None:
    """Black on light, white on dark."""
    assert readable_on(ground) == expected
