"""The life of one sample: put together, moved, then seen in another light and through another camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edged.types import Pixels
from tools.augmentation.chance import Chance
from tools.augmentation.geometry import place
from tools.augmentation.mosaic import MIDDLE, make_mosaic
from tools.augmentation.sample import Sample
from tools.augmentation.settings import AugmentationSettings

PIXEL_KINDS = (
    "fog",
    "rain",
    "colour",
    "pca_colour",
    "night",
    "motion_blur",
    "blur",
    "noise",
    "grey",
    "rescale",
    "jpeg",
)
"""From the air through lens and sensor to the encoder, as light goes."""


def augment(
    source: Sample,
    *,
    partners: Sequence[Sample],
    size: tuple[int, int],
    settings: AugmentationSettings,
    rng: np.random.Generator,
) -> Sample:
    """The source as a new picture of that (width, height); all follows from one number that is taken from the generator.

    Args:
        partners: pictures of the same set, to make mosaics with; may hold the source.

    Raises:
        InputError: points are to be mirrored, and `mirror_pairs` does not say which change places.
    """
    chance = Chance(int(rng.integers(2**63)))
    if chance.happens("plain", settings.plain):
        settings = settings.off()
    sample = _compose(source, partners, size, settings, chance)
    return replace(sample, pixels_rgb=change_pixels(sample.pixels_rgb, settings, chance))


def _compose(
    source: Sample, partners: Sequence[Sample], size: tuple[int, int], settings: AugmentationSettings, chance: Chance
) -> Sample:
    if rng := chance.happens("mosaic", settings.mosaic):
        others = [partners[number] for number in rng.integers(len(partners), size=3)]
        middle = tuple(rng.uniform(*MIDDLE, 2))
        return make_mosaic([source, *others], size=size, middle=middle, settings=settings, chance=chance)
    return place(source, size=size, settings=settings, chance=chance)


def change_pixels(pixels_rgb: Pixels, settings: AugmentationSettings, chance: Chance) -> Pixels:
    """Other light, weather and camera; nothing moves."""
    if chance.happens("light", settings.light):
        for name in PIXEL_KINDS:
            kind = getattr(settings, name)
            if rng := chance.happens(name, kind.share):
                pixels_rgb = kind.change(pixels_rgb, rng)
    return pixels_rgb
