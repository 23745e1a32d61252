"""Segmentation sets: masks decoded when asked for, void, and what is wrong."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from labelled_folders import HEIGHT_PX, WIDTH_PX, write_masks, write_text

from edged.errors import InputError
from tools.datasets.opening import Layout, find_layout, load_set
from tools.datasets.pictures import VOID, Part


def _mask(*values: int) -> np.ndarray:
    """Vertical stripes of these values."""
    return np.repeat(np.array(values, np.uint8), WIDTH_PX // len(values))[None].repeat(HEIGHT_PX, axis=0)


def _palette_png(indexes: np.ndarray) -> bytes:
    """A PNG whose indexes stand for colours of a palette."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", indexes.shape[1], indexes.shape[0], 8, 3, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in indexes)
    palette = bytes(255 - number // 3 for number in range(3 * 256))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"PLTE", palette)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_load_set_of_masks_gives_indexes_names_and_what_is_void(tmp_path: Path) -> None:
    """Indexes are class ids; a class named void is not labelled."""
    folder = write_masks(tmp_path / "set", {"a": _mask(0, 1, 2, VOID), "b": _mask(1)})

    found = load_set(folder, split="train")

    assert find_layout(folder) is Layout.MASKS
    assert (found.part, found.classes) == (Part.MASK, ("ground", "person", "void"))
    assert found.labelled.tolist() == [True, True, False]
    assert found.pictures[0].mask.indexes()[0, ::20].tolist() == [0, 1, 2, VOID]


def test_mask_of_a_palette_png_gives_its_indexes_not_its_colours(tmp_path: Path) -> None:
    """Tools write masks with a palette so that people can look at them."""
    folder = write_masks(tmp_path / "set", {"a": _mask(0, 1), "b": _mask(1)})
    (folder / "masks" / "a.png").write_bytes(_palette_png(_mask(0, 1, 2, VOID)))

    assert load_set(folder, split="train").pictures[0].mask.indexes()[0, ::20].tolist() == [0, 1, 2, VOID]


def test_load_set_of_masks_with_wanted_classes_renumbers_the_indexes(tmp_path: Path) -> None:
    """What is not wanted counts neither way."""
    folder = write_masks(tmp_path / "set", {"a": _mask(0, 1, 2, VOID)})

    found = load_set(folder, classes=("Person",))

    assert found.pictures[0].mask.indexes()[0, ::20].tolist() == [VOID, 0, VOID, VOID]


def test_mask_that_is_a_colour_picture_is_named(tmp_path: Path) -> None:
    """Three channels are no indexes."""
    folder = write_masks(tmp_path / "set", {"a": np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)})

    with pytest.raises(InputError, match=r"set/masks/a\.png: expected a PNG of one 8-bit channel"):
        load_set(folder).pictures[0].mask.indexes()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("split.csv", "image,mask,split\nimages/a.png,masks/x.png,train\n", r"split\.csv, line 2: names masks/x\.png"),
        ("classes.txt", "0 ground\n2 person\n", r"classes\.txt, line 2: index 2: expected 1"),
    ],
)
def test_load_set_of_wrong_masks_names_the_row(tmp_path: Path, file: str, text: str, message: str) -> None:
    """The error says where and what."""
    folder = write_masks(tmp_path / "set", {"a": _mask(0, 1)})
    write_text(folder / file, text)

    with pytest.raises(InputError, match=message):
        load_set(folder)
