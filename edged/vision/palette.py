"""The one home of colours: what a class is drawn in, so that people with any colour vision tell classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

Colour = tuple[int, int, int]
"""Red, green, blue."""

PALETTE: Final[tuple[Colour, ...]] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (213, 94, 0),  # vermillion
    (204, 121, 167),  # reddish purple
    (0, 114, 178),  # blue
    (144, 36, 252),  # violet
    (108, 36, 0),  # brown
    (216, 252, 252),  # pale blue
    (0, 0, 144),  # navy
    (0, 0, 0),  # black
)
"""Colours that people with any colour vision tell apart: nearest are sky blue and bluish green to who sees no blue.

Source: the first seven and the last are Okabe and Ito's, Color Universal Design, 2008, https://jfly.uni-koeln.de/color/. The
others are those that are furthest from all before, as trichromats and the three kinds of dichromats see them (Machado et al.,
A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009), in CIELAB.
"""

_SHADE, _SHADES = 0.6, 3

_ORANGE, _SKY_BLUE, _GREEN, _YELLOW, _VERMILLION, _PURPLE, _BLUE, _VIOLET, _BROWN, _PALE, _NAVY, _BLACK = range(len(PALETTE))

_OF_NAME: Final = {
    "bicycle": _ORANGE,
    "bicyclist": _ORANGE,
    "building": _PALE,
    "bus": _VIOLET,
    "car": _BLUE,
    "fence": _PURPLE,
    "grass": _GREEN,
    "motorcycle": _PURPLE,
    "pavement": _YELLOW,
    "pedestrian": _VERMILLION,
    "person": _VERMILLION,
    "pole": _BROWN,
    "road": _BLACK,
    "sign": _VIOLET,
    "sky": _SKY_BLUE,
    "tree": _GREEN,
    "truck": _NAVY,
}
"""What people expect something to look like, as far as the palette goes."""


def colour_of(class_id: int) -> Colour:
    """The colour of a class: of the palette, and where that ends a darker shade of it, twice; then it begins anew."""
    shade = _SHADE ** (class_id // len(PALETTE) % _SHADES)
    red, green, blue = PALETTE[class_id % len(PALETTE)]
    return round(red * shade), round(green * shade), round(blue * shade)


def class_colours(names: Sequence[str]) -> list[Colour]:
    """The colours of the classes of one network: what is known by its name has its own, the others have what is left.

    Up to twelve classes, no two of which are known under the same colour, all have different ones.
    """
    taken = {_OF_NAME[name] for name in names if name in _OF_NAME}
    free = iter([index for index in range(_SHADES * len(PALETTE)) if index not in taken] * len(names))
    return [colour_of(_OF_NAME[name] if name in _OF_NAME else next(free)) for name in names]


def readable_on(colour: Colour) -> Colour:
    """Black or white, whichever stands out more.

    Source: luma of ITU-R BT.601.
    """
    luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (0, 0, 0) if luma > 110 else (255, 255, 255)
