"""The command about maps: what a camera's picture is made of, with the outlines that no event carries."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum

from pydantic import Field

from edged.clock import Clock, now_at
from edged.errors import CommandError
from edged.events.command import MAX_ANSWER_BYTES, StrictModel
from edged.events.schema import Amount, Name, Seconds, Share, UtcTime, WireModel
from edged.events.wire import utc_text
from edged.pipeline import Mapped
from edged.runtime.commands import Command
from edged.types import SegmentationMap
from edged.vision.label_maps import class_shares, compress_runs, find_regions, mask_of, run_lengths

MOST_BYTES = MAX_ANSWER_BYTES - 4096
"""What the map itself may take of an answer."""

MOST_REGIONS, MOST_POINTS = 32, 64
"""Of a class at first; halved until the map is short enough."""

_OUTLINE_DIGITS = 4


class MapForm(str, Enum):
    """How the parts of a map are told."""

    POLYGONS = "polygons"
    RLE = "rle"


class MapFault(str, Enum):
    """Why there is no map to tell."""

    NO_CAMERA = "map.no_camera"
    NO_CLASS = "map.no_class"
    NONE_YET = "map.none_yet"
    TOO_LARGE = "map.too_large"


class MapArguments(StrictModel):
    """Which map, and how it is told."""

    camera: Name = Field(description="its id")
    form: MapForm = Field(MapForm.POLYGONS, description="polygons: simplified outlines; rle: every pixel, as COCO has it")
    classes: list[Name] | None = Field(None, min_length=1, max_length=255, description="only these; all if left out")


class RegionFacts(WireModel):
    """A connected part of a class."""

    outline_norm: list[tuple[Share, Share]] = Field(description="its corners [x, y] as shares of the picture")
    holes_norm: list[list[tuple[Share, Share]]] | None = Field(None, description="outlines of what it surrounds")
    share: Share = Field(description="of the picture")


class RleFacts(WireModel):
    """A mask as pycocotools reads it."""

    size: tuple[int, int] = Field(description="height and width of the map, pixels")
    counts: str = Field(description="COCO's compressed run lengths, down the columns")


class ClassFacts(WireModel):
    """Where one class is."""

    share: Share = Field(description="of the picture")
    regions: list[RegionFacts] | None = Field(None, description=f"form polygons: the {MOST_REGIONS} largest parts, largest first")
    rle: RleFacts | None = Field(None, description="form rle")


class MapAnswer(WireModel):
    """The newest map of a camera."""

    camera: Name
    captured_at: UtcTime = Field(description="when its picture was captured")
    age_s: Seconds = Field(description="how old that is")
    frame_seq: Amount
    width: Amount = Field(description="of the map, pixels")
    height: Amount = Field(description="of the map, pixels")
    classes: dict[str, ClassFacts] = Field(description="by name, those that are seen")
    simplified: bool = Field(False, description="polygons: further parts and corners were left out, or it would not fit")


def make_map_commands(
    newest: Callable[[str], Mapped | None], *, cameras: Collection[str], clock: Clock
) -> tuple[Command[MapArguments, MapAnswer]]:
    """`map.get`.

    Args:
        newest: the newest map of a camera; called on the thread of the command room.
        cameras: those of whose pictures maps are made.
        clock: tells when a picture was captured.
    """

    def get(arguments: MapArguments) -> MapAnswer:
        if arguments.camera not in cameras:
            known = ", ".join(cameras) or "none"
            message = f"there are no maps of a camera {arguments.camera}"
            raise CommandError(MapFault.NO_CAMERA, message, mend=f"maps are made of: {known}", where="arguments.camera")
        mapped = newest(arguments.camera)
        if mapped is None:
            message = f"there is no map of camera {arguments.camera} yet, or it gives no pictures"
            raise CommandError(MapFault.NONE_YET, message, mend="its state says whether it is online; ask again then")
        wanted = _wanted(arguments, mapped.map)
        captured_at, at = clock.at(mapped.captured_s), now_at(clock)
        height, width = mapped.map.labels.shape
        empty = MapAnswer(
            camera=arguments.camera,
            captured_at=utc_text(captured_at),
            age_s=round(max(0.0, at - captured_at), 3),
            frame_seq=mapped.frame_seq,
            width=width,
            height=height,
            classes={},
        )
        fill = _with_masks if arguments.form is MapForm.RLE else _with_outlines
        return fill(empty, mapped.map, wanted)

    return (Command("map.get", "Tells what a camera's picture is made of, and where.", MapArguments, MapAnswer, get),)


def _wanted(arguments: MapArguments, scene: SegmentationMap) -> dict[str, float]:
    """The classes that are asked for and seen, with their shares, in the order of the network's classes."""
    unknown = [name for name in arguments.classes or () if name not in scene.classes]
    if unknown:
        message = f"the maps know no class {', '.join(unknown)}"
        mend = f"they know: {', '.join(scene.classes)}"
        raise CommandError(MapFault.NO_CLASS, message, mend=mend, where="arguments.classes")
    shares = class_shares(scene.labels, len(scene.classes)).tolist()
    asked = scene.classes if arguments.classes is None else arguments.classes
    return {name: share for name, share in zip(scene.classes, shares, strict=True) if share and name in asked}


def _with_masks(empty: MapAnswer, scene: SegmentationMap, wanted: dict[str, float]) -> MapAnswer:
    height, width = scene.labels.shape
    classes = {}
    for name, share in wanted.items():
        counts = compress_runs(run_lengths(mask_of(scene.labels, [scene.classes.index(name)])))
        classes[name] = ClassFacts(share=round(share, 4), rle=RleFacts(size=(height, width), counts=counts))
    answer = empty.model_copy(update={"classes": classes})
    if _size_of(answer) > MOST_BYTES:
        message = f"the map takes {_size_of(answer)} bytes as RLE, an answer has {MAX_ANSWER_BYTES}"
        raise CommandError(MapFault.TOO_LARGE, message, mend="name fewer classes, or ask for polygons", where="arguments.form")
    return answer


def _with_outlines(empty: MapAnswer, scene: SegmentationMap, wanted: dict[str, float]) -> MapAnswer:
    """With as many parts and corners as fit: from the most on, half of both while that is too much."""
    halvings = 0
    while True:
        most_regions, most_points = max(1, MOST_REGIONS >> halvings), max(4, MOST_POINTS >> halvings)
        classes = {name: _outlines(scene, name, share, most_regions, most_points) for name, share in wanted.items()}
        answer = empty.model_copy(update={"classes": classes, "simplified": halvings > 0})
        if _size_of(answer) <= MOST_BYTES:
            return answer
        if most_regions == 1 and most_points == 4:
            message = f"the outlines of {len(wanted)} classes take {_size_of(answer)} bytes at the least"
            raise CommandError(MapFault.TOO_LARGE, message, mend="name fewer classes", where="arguments.classes")
        halvings += 1


def _outlines(scene: SegmentationMap, name: str, share: float, most_regions: int, most_points: int) -> ClassFacts:
    mask = mask_of(scene.labels, [scene.classes.index(name)])
    regions = [
        RegionFacts(
            outline_norm=_rounded(region.outline),
            holes_norm=[_rounded(hole) for hole in region.holes] or None,
            share=round(region.area_ratio, 4),
        )
        for region in find_regions(mask, most_regions=most_regions, most_points=most_points)
    ]
    return ClassFacts(share=round(share, 4), regions=regions)


def _rounded(outline: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    return [(round(x, _OUTLINE_DIGITS), round(y, _OUTLINE_DIGITS)) for x, y in outline]


def _size_of(answer: MapAnswer) -> int:
    return len(answer.model_dump_json(exclude_none=True).encode())
