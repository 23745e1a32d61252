"""The one gate for pictures that leave the process."""

from __future__ import annotations

import ast
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from edged.vision.masks import spread
from edged.vision.redact import BLOCKS, FILL_COLOUR, LEAST_BLOCK_PX, NOTHING, Cover, PublicPicture, redact

PACKAGE = Path(__file__).parents[3] / "edged"

OUTLETS = {"imwrite", "imencode", "imencodemulti", "imshow", "from_ndarray", "tofile", "savez"}
"""What turns pixels into something outside: OpenCV's files and windows, PyAV's frames, NumPy's files."""

SEALED = {"identity/enrolment.py": {"make_crop"}}
"""A crop that the gallery keeps, if its owner wants that: encrypted before it is written, shown to nobody."""


def noise(height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_redact_nothing_is_an_equal_copy() -> None:
    """What leaves is never the very array that the fast loop uses."""
    pixels = noise()

    public = redact(pixels, NOTHING)

    np.testing.assert_array_equal(public.pixels_rgb, pixels)
    assert not np.shares_memory(public.pixels_rgb, pixels)


def test_redact_leaves_few_colours_of_an_area_and_the_rest_as_it_was() -> None:
    """Of a face of 64 pixels 4 x 4 blocks are left; the picture that came in stays."""
    pixels = noise()

    public = redact(pixels, boxes((40, 20, 104, 84)))

    hidden = public.pixels_rgb[20:84, 40:104]
    assert len(np.unique(hidden.reshape(-1, 3), axis=0)) <= BLOCKS**2
    outside = np.ones((120, 160), bool)
    outside[20:84, 40:104] = False
    np.testing.assert_array_equal(public.pixels_rgb[outside], pixels[outside])
    np.testing.assert_array_equal(public.hidden, ~outside)
    np.testing.assert_array_equal(pixels, noise())


@pytest.mark.parametrize(
    "box",
    [(-50, -50, 30, 30), (150, 100, 400, 400), (10.2, 10.2, 12.1, 12.4), (0, 0, 160, 120)],
    ids=["over the corner", "beyond the end", "smaller than a block", "all of it"],
)
def test_redact_hides_what_is_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    """Areas are cut to the picture; blocks are never smaller than their least size, broken pixels are hidden too."""
    public = redact(noise(), boxes(box))

    x1, y1, x2, y2 = np.clip(box, 0, (160, 120, 160, 120))
    hidden = public.pixels_rgb[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))]
    height, width, _ = hidden.shape
    assert len(np.unique(hidden.reshape(-1, 3), axis=0)) <= max(1, width // LEAST_BLOCK_PX) * max(1, height // LEAST_BLOCK_PX)


@pytest.mark.parametrize("box", [(-10, -10, -1, -1), (200, 0, 300, 50), (50, 50, 50, 90), (80, 80, 20, 20)])
def test_redact_of_an_area_that_is_none_changes_nothing(box: tuple[float, float, float, float]) -> None:
    """Outside the picture, without width, turned inside out."""
    np.testing.assert_array_equal(redact(noise(), boxes(box)).pixels_rgb, noise())


MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16))


@settings(max_examples=60, deadline=None)
@given(mask=MASKS, other=MASKS)
def test_redact_filled_leaves_no_trace_of_what_was_there(mask: np.ndarray, other: np.ndarray) -> None:
    """Two pictures that differ only where a cover fills are the same picture outside, whatever else is pixelated."""
    hidden = spread(mask, width=160, height=120)
    picture, twin = noise(), noise()
    twin[hidden] = 255 - twin[hidden]
    covers = [Cover(other, "pixelate"), Cover(mask, "fill")]

    public, public_twin = (redact(pixels, boxes((30, 30, 90, 90)), covers) for pixels in (picture, twin))

    np.testing.assert_array_equal(public.pixels_rgb, public_twin.pixels_rgb)


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_redact_covers_what_the_mask_says_and_nothing_else(mask: np.ndarray) -> None:
    """One grey inside, the picture outside."""
    hidden = spread(mask, width=160, height=120)

    public = redact(noise(), NOTHING, [Cover(mask, "fill")])

    assert np.all(public.pixels_rgb[hidden] == FILL_COLOUR)
    np.testing.assert_array_equal(public.pixels_rgb[~hidden], noise()[~hidden])
    np.testing.assert_array_equal(public.hidden, hidden)


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_redact_pixelated_leaves_few_colours_of_every_part(mask: np.ndarray) -> None:
    """Of each connected part so many as of an area as large; outside nothing changes."""
    hidden = spread(mask, width=160, height=120)

    pixels = redact(noise(), NOTHING, [Cover(mask, "pixelate")]).pixels_rgb

    np.testing.assert_array_equal(pixels[~hidden], noise()[~hidden])
    n_parts, parts = cv2.connectedComponents(hidden.astype(np.uint8))
    for part in range(1, n_parts):
        rows, columns = np.nonzero(parts == part)
        sides = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
        block = max(LEAST_BLOCK_PX, sides.min() / BLOCKS)
        colours = np.unique(pixels[rows, columns], axis=0)
        assert len(colours) <= np.prod(np.maximum(1, sides // block))


def test_redact_of_a_cover_of_everything_leaves_blocks_of_a_quarter_of_the_height() -> None:
    """Where nothing may be shown, hardly anything is."""
    pixels = redact(noise(), NOTHING, [Cover(np.ones((1, 1), bool), "pixelate")]).pixels_rgb

    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) <= BLOCKS * 5


def test_public_pictures_come_from_redact_alone() -> None:
    """Nobody else can declare pixels harmless."""
    with pytest.raises(ValueError, match=r"only redact\(\)"):
        PublicPicture(noise(), np.zeros((120, 160), np.bool_), object())


def test_no_code_lets_pixels_out_by_another_way() -> None:
    """Calls that encode or show pixels stand in two functions that take a PublicPicture, and where the gallery encrypts them."""
    found, without_picture = {}, set()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                if name in OUTLETS:
                    found.setdefault(path.relative_to(PACKAGE).as_posix(), set()).add(function.name)
                    if "PublicPicture" not in ast.unparse(function.args):
                        without_picture.add(function.name)

    assert found == {"probe.py": {"write_picture"}, "sinks/video.py": {"write"}, **SEALED}
    assert without_picture == {"make_crop"}


def test_no_sink_takes_pixels() -> None:
    """A sink's arguments are messages or PublicPictures, never arrays of pixels."""
    offending = []
    for path in sorted((PACKAGE / "sinks").glob("*.py")):
        for function in (n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.FunctionDef)):
            for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
                annotation = ast.unparse(argument.annotation) if argument.annotation else ""
                if "Pixels" in annotation or "NDArray" in annotation or "ndarray" in annotation or "pixels" in argument.arg:
                    offending.append(f"{path.name}: {function.name}({argument.arg})")

    assert not offending
