"""Pictures with a class for every pixel: sizes, void around them, the same sample for the same key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_folders import HEIGHT_PX, WIDTH_PX, write_masks

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from tools.augmentation.settings import AugmentationSettings  # noqa: E402
from tools.datasets.choosing import choose_classes  # noqa: E402
from tools.datasets.opening import load_set  # noqa: E402
from tools.datasets.pictures import VOID  # noqa: E402
from tools.mask_data import TrainingMasks, collate_masks, nearest_side  # noqa: E402
from tools.training_data import Key  # noqa: E402

pytestmark = pytest.mark.torch

MASK = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
MASK[:, WIDTH_PX // 2 :] = 1


def make_pictures(folder: Path, *, ratio: float = 0.75, seed: int = 1, **changes: object) -> TrainingMasks:
    """One picture, its left half ground and its right half a person."""
    found = choose_classes(load_set(write_masks(folder / "set", {"a": MASK}), split="train"), ("ground", "person"))
    return TrainingMasks([found], settings=[AugmentationSettings(**{"mosaic": 0.0, **changes})], ratio=ratio, seed=seed)


def test_a_key_says_the_width_and_the_ratio_the_height(tmp_path: Path) -> None:
    """Multiples of 32, as the network wants them."""
    pictures = make_pictures(tmp_path)

    pixels, mask = pictures[Key(0, 0, 0, 128)]

    assert (pixels.shape, mask.shape) == ((3, 96, 128), (96, 128))
    assert [nearest_side(px) for px in (1, 47, 49, 96)] == [32, 32, 64, 96]


def test_what_surrounds_a_picture_is_void(tmp_path: Path) -> None:
    """Fitted into a square, a picture twice as wide as high leaves a quarter above and below."""
    pictures = make_pictures(tmp_path, ratio=1.0, plain=1.0)

    _, mask = pictures[Key(0, 0, 0, 160)]

    height = 160 * HEIGHT_PX // WIDTH_PX
    border = (160 - height) // 2
    assert (mask[: border - 1] == VOID).all()
    assert (mask[border + 2 : -border - 2, :70] == 0).all()
    assert (mask[border + 2 : -border - 2, 90:] == 1).all()


def test_the_same_key_gives_the_same_sample_and_another_epoch_another(tmp_path: Path) -> None:
    """All follows from the seed."""
    pictures = make_pictures(tmp_path)
    first, again, later = (pictures[Key(epoch, 3, 0, 96)] for epoch in (0, 0, 1))

    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], later[0])


def test_a_batch_has_bytes_for_pictures_and_class_ids_that_torch_can_index_with(tmp_path: Path) -> None:
    """Cross-entropy takes int64."""
    pictures = make_pictures(tmp_path)

    batch = collate_masks([pictures[Key(0, position, 0, 96)] for position in range(3)])

    assert (batch.images.dtype, batch.images.shape) == (torch.uint8, (3, 3, 64, 96))
    assert (batch.masks.dtype, batch.masks.shape) == (torch.int64, (3, 64, 96))
    assert set(batch.masks.unique().tolist()) <= {0, 1, VOID}
