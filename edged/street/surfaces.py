"""What the pixels of the drawn street show, in the names and order of CamVid's eleven classes; signs and fences it has none."""

from __future__ import annotations

from typing import Final

from edged.street.plan import Kind

CLASSES: Final = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
"""Name of each label. Source: Badrinarayanan et al., SegNet, 2015, which joins CamVid's 32 classes to these."""

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, _SIGN, _FENCE, CAR, PEDESTRIAN, BICYCLIST = range(len(CLASSES))


def label_of(kind: Kind) -> int:
    """The label of somebody or something that moves: buses and trucks are cars; who rides is one with what they ride."""
    if kind is Kind.PERSON:
        return PEDESTRIAN
    return BICYCLIST if kind in (Kind.BICYCLE, Kind.MOTORCYCLE) else CAR
