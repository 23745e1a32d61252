"""The drawn street as sets to learn from: boxes and masks of the same frames."""

from __future__ import annotations

import numpy as np

from edged.street.scene import Street
from edged.street.surfaces import CLASSES
from tools.datasets.pictures import Part
from tools.drawn import draw_masks, draw_set


def test_masks_are_the_streets_own_labels_of_the_frames_that_have_boxes() -> None:
    """A detector and a segmenter see the same pictures."""
    masks, boxes = draw_masks(3, split="val"), draw_set(3, split="val")

    assert (masks.part, masks.classes, masks.labelled.all()) == (Part.MASK, CLASSES, True)
    assert [one.name for one in masks.pictures] == [one.name for one in boxes.pictures]
    for one, other in zip(masks.pictures, boxes.pictures, strict=True):
        seed, frame = (int(part) for part in one.name.split("/")[1:])
        np.testing.assert_array_equal(one.mask.indexes(), Street(seed, fps=1.0).labels(frame))
        assert one.encoded == other.encoded
