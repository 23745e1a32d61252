"""All that can be set about augmentation, by the keys of the training YAML. What is off costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from tools.augmentation.bounds import check_range, check_share, check_within
from tools.augmentation.damage import Blur, Jpeg, MotionBlur, Noise, Rescale
from tools.augmentation.geometry import Crop, Rotation, Shear, Shift
from tools.augmentation.light import Colour, Grey, PcaColour
from tools.augmentation.warp import LocalWarp
from tools.augmentation.weather import Fog, Night, Rain


@dataclass(frozen=True, slots=True)
class AugmentationSettings:
    """How often and how far. Kinds with a `share` happen in that share of samples, each for itself; 0 turns a kind off.

    Attributes:
        plain: share of samples that are only fitted into the picture, whatever else is set.
        mosaic: share of samples put together from four pictures.
        mirror: share of pictures shown mirrored.
        mirror_pairs: which points of an object change places in a mirror, such as left and right eye; [] if none.
            Needed where there are points and mirrors.
        scale: least and most size against a picture that just fits, the logarithm spread evenly; [1, 1] is off.
        stretch: most change of the ratio of the sides; 1 is off.
        off_centre: how much of the room beside the picture, or of its overhang, is used: 1 all of it, 0 keeps it in the middle.
        crop, shift, rotation, shear, warp: see there.
        light: share of samples in which any of the following may happen at all.
        fog, rain, colour, pca_colour, night, blur, motion_blur, noise, grey, rescale, jpeg: see there.
        smallest_px: a box with a shorter side is ignored from there on.
        visible_ratio: a box with less of it left in the picture is ignored.
    """

    plain: float = 0.0
    mosaic: float = 0.5
    mirror: float = 0.5
    mirror_pairs: tuple[tuple[int, int], ...] | None = None
    scale: tuple[float, float] = (0.5, 1.5)
    stretch: float = 1.25
    off_centre: float = 1.0
    crop: Crop = field(default_factory=Crop)
    shift: Shift = field(default_factory=Shift)
    rotation: Rotation = field(default_factory=Rotation)
    shear: Shear = field(default_factory=Shear)
    warp: LocalWarp = field(default_factory=LocalWarp)
    light: float = 1.0
    fog: Fog = field(default_factory=Fog)
    rain: Rain = field(default_factory=Rain)
    colour: Colour = field(default_factory=Colour)
    pca_colour: PcaColour = field(default_factory=PcaColour)
    night: Night = field(default_factory=Night)
    blur: Blur = field(default_factory=Blur)
    motion_blur: MotionBlur = field(default_factory=MotionBlur)
    noise: Noise = field(default_factory=Noise)
    grey: Grey = field(default_factory=Grey)
    rescale: Rescale = field(default_factory=Rescale)
    jpeg: Jpeg = field(default_factory=Jpeg)
    smallest_px: float = 4.0
    visible_ratio: float = 0.35

    def __post_init__(self) -> None:
        for name in ("plain", "mosaic", "mirror", "light"):
            check_share(getattr(self, name), name=name)
        check_range("scale", self.scale, least=0.05, most=20)
        check_within("stretch", self.stretch, least=1, most=10)
        check_within("off_centre", self.off_centre, least=0, most=1)
        check_within("smallest_px", self.smallest_px, least=0, most=1000)
        check_within("visible_ratio", self.visible_ratio, least=0, most=1)
        swapped = [point for pair in self.mirror_pairs or () for point in pair]
        if min(swapped, default=0) < 0 or len(set(swapped)) != len(swapped):
            raise ValueError(f"mirror_pairs: expected each point at most once, from 0, got {self.mirror_pairs}")

    def off(self) -> AugmentationSettings:
        """The same rules for what is ignored, and every kind off: the picture fitted in, in the middle."""
        shares = {name: replace(getattr(self, name), share=0.0) for name in KINDS_WITH_A_SHARE}
        return replace(
            self, plain=0.0, mosaic=0.0, mirror=0.0, scale=(1.0, 1.0), stretch=1.0, off_centre=0.0, light=0.0, **shares
        )

    def only(self, kind: str) -> AugmentationSettings:
        """One kind as it is set, in every sample where it has a share, and all others off; for people who want to see it."""
        value = getattr(self, kind)
        if kind in KINDS_WITH_A_SHARE:
            value = replace(value, share=1.0)
        elif kind in ("mosaic", "mirror"):
            value = 1.0
        return replace(self.off(), light=1.0, **{kind: value})


KINDS_WITH_A_SHARE = tuple(one.name for one in fields(AugmentationSettings) if hasattr(one.default_factory, "share"))
"""Keys of the kinds that are more than a number."""
KINDS = ("mosaic", "mirror", "scale", "stretch", "off_centre", *KINDS_WITH_A_SHARE)
"""Keys of all kinds."""
