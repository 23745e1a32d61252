"""Text in pictures."""

from __future__ import annotations

from typing import Final

import cv2

from edged.types import Pixels
from edged.vision.palette import Colour

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINES_OF_TEXT = 28
"""How many lines of text a picture's height would hold."""
_SMALLEST = 0.35

SMALL: Final = 0.85
"""Text that says the less important is so much smaller."""


def text_scale(height: int) -> float:
    """The size of text, in OpenCV's unit, that is readable in a picture of this height, pixels."""
    return max(_SMALLEST, height / _LINES_OF_TEXT / 30)


def text_size(text: str, scale: float) -> tuple[int, int, int]:
    """Width of a text, its height above the line it stands on, and how far letters reach below that, pixels."""
    (width, height), below = cv2.getTextSize(text, _FONT, scale, 1)
    return width, height, below


def line_height(scale: float) -> int:
    """From one line of text on its ground to the next, pixels."""
    _, height, below = text_size("Ag", scale)
    return height + below + 3


def write(drawn: Pixels, text: str, at: tuple[int, int], *, colour: Colour, scale: float) -> None:
    """Write into a picture; `at` is the left end of the line that the text stands on."""
    cv2.putText(drawn, text, at, _FONT, scale, colour, 1, cv2.LINE_AA)


def write_on_ground(
    drawn: Pixels, text: str, at: tuple[int, int], *, colour: Colour, ground: Colour, scale: float, above: bool = False
) -> int:
    """Write on a filled ground whose left top (`above`: left bottom) corner is at a point, kept inside the picture.

    Returns:
        The row below the ground.
    """
    height, width = drawn.shape[:2]
    text_width, text_height, below = text_size(text, scale)
    ground_width, ground_height = text_width + 4, text_height + below + 3
    left = max(0, min(at[0], width - ground_width))
    top = max(0, min(at[1] - ground_height if above else at[1], height - ground_height))
    cv2.rectangle(drawn, (left, top), (left + ground_width - 1, top + ground_height - 1), ground, -1)
    write(drawn, text, (left + 2, top + text_height + 1), colour=colour, scale=scale)
    return top + ground_height
