"""The keys about zones, lines and objects."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, ValidationInfo, field_validator
from pydantic_core import CoreSchema

from edged.config.context import mistake
from edged.config.segmentation import BlockedConfig, ClassNames, CoverConfig, CoverRules, check_unique
from edged.config.values import (
    MIN_LINE_LENGTH,
    AnchorName,
    Number,
    Point,
    Polygon,
    Section,
    Text,
    Whole,
    default_of,
    setting,
)
from edged.privacy import Pixelate
from edged.rules.settings import ClassLimits, CrowdSettings, LineSettings, ObjectSettings, ZoneSettings


def _classes_of_list(value: Any) -> Any:
    """A list of names means these classes, without limits."""
    if not isinstance(value, list):
        return value
    for name in value:
        if not isinstance(name, str):
            raise mistake("config.type", "a list of classes holds their names; limits need a mapping, {person: {min_score: …}}")
        if value.count(name) > 1:
            raise mistake("config.duplicate_key", f"the class {name!r:.60} stands twice")
    return {name: {} for name in value}


class _OrNames:
    """Tells editors that a list of names will do as well."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        names = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
        return {"anyOf": [names, handler(core_schema)]}


class SizeLimits(Section):
    """Least and most size of a box."""

    min_width_ratio: Number = setting(0.0, "Least width of the box, as a share of the picture's.", unit="ratio", ge=0, le=1)
    max_width_ratio: Number = setting(1.0, "Most width of the box, as a share of the picture's.", unit="ratio", gt=0, le=1)
    min_height_ratio: Number = setting(0.0, "Least height of the box, as a share of the picture's.", unit="ratio", ge=0, le=1)
    max_height_ratio: Number = setting(1.0, "Most height of the box, as a share of the picture's.", unit="ratio", gt=0, le=1)

    @field_validator("max_width_ratio", "max_height_ratio")
    @classmethod
    def _is_not_below_least(cls, most: float, info: ValidationInfo) -> float:
        name = str(info.field_name).replace("max_", "min_")
        least = info.data.get(name)
        if least is not None and most < least:
            raise mistake("config.range", f"is below {name} ({least}): no box would fit")
        return most


class ClassLimitsConfig(SizeLimits):
    """What an object of one class must be like before a rule looks at it."""

    min_score: Number = setting(
        default_of(ClassLimits, "min_score"), "The object's best score so far must reach this.", unit="ratio", ge=0, le=1
    )


ClassLimitsKey = Annotated[
    dict[Text, ClassLimitsConfig],
    Field(min_length=1),
    BeforeValidator(_classes_of_list),
    _OrNames(),
]


class ObjectsConfig(Section):
    """Which objects make events when they appear, change and go."""

    classes: ClassLimitsKey | None = setting(None, "Classes that are announced, with limits or as a list; all if left out.")
    update_every_s: Number | None = setting(
        default_of(ObjectSettings, "update_every_s"),
        "A moving object is reported again after this; null: on change only.",
        unit="s",
        gt=0,
        le=86_400,
    )
    update_min_s: Number = setting(
        default_of(ObjectSettings, "update_min_s"), "An object is reported at most this often.", unit="s", ge=0, le=3600
    )


class CrowdConfig(Section):
    """When a zone counts as crowded."""

    at: Whole = setting(text="This many objects or more are a crowd.", unit="count", ge=1, le=1000)
    for_s: Number = setting(
        default_of(CrowdSettings, "for_s"), "How long it must last, and be over, before it is said.", unit="s", ge=0, le=3600
    )


class ZoneConfig(Section):
    """An area that objects enter, stay in and leave."""

    polygon: Polygon = setting(text="Its corners in order, [x, y] as shares of the picture from the top left.")
    classes: ClassLimitsKey | None = setting(None, "Classes that count, with limits or as a list; all if left out.")
    anchor: AnchorName = setting(default_of(ZoneSettings, "anchor"), "Point of the box that must be inside.")
    dwell_s: Number | None = setting(
        None, "An object that stays this long is reported; never if left out.", unit="s", gt=0, le=86_400
    )
    dwell_repeat_s: Number | None = setting(
        None, "It is reported again each time this has passed; once if left out.", unit="s", gt=0, le=86_400
    )
    crowd: CrowdConfig | None = setting(None, "When it counts as crowded; never if left out.")
    hysteresis_ratio: Number = setting(
        default_of(ZoneSettings, "hysteresis_ratio"),
        "Width of the band along the border in which a change is not yet believed, as a share of the object's size.",
        unit="ratio",
        ge=0,
        le=1,
    )
    settle_s: Number = setting(
        default_of(ZoneSettings, "settle_s"), "Inside that band an object has entered after this.", unit="s", ge=0, le=60
    )

    pixelate: Pixelate | None = setting(
        None, "Whose head is hidden in pictures while they are in it, as under privacy; the camera's own if left out."
    )

    areas: ClassNames | None = setting(
        None, "Classes whose shares of it are told; those of the camera's `areas` if left out, none if empty."
    )
    blocked: BlockedConfig | None = setting(None, "When it counts as a way that is blocked; never if left out.")
    covered_by: CoverRules = setting((), "By what else it may be covered, each with a name.")

    _are_unique = field_validator("areas")(check_unique)

    @field_validator("covered_by")
    @classmethod
    def _have_names(cls, rules: tuple[CoverConfig, ...]) -> tuple[CoverConfig, ...]:
        names = [rule.name for rule in rules]
        for name in names:
            if names.count(name) > 1:
                raise mistake("config.duplicate_key", f"the name {name!r:.60} stands twice")
        return rules

    @field_validator("dwell_repeat_s")
    @classmethod
    def _needs_dwell(cls, repeat_s: float | None, info: ValidationInfo) -> float | None:
        if repeat_s is not None and "dwell_s" in info.data and info.data["dwell_s"] is None:
            raise mistake("config.missing_key", "needs dwell_s beside it")
        return repeat_s


class LineConfig(Section):
    """A line whose crossings are counted: `in` is from the left to the right of one who looks from `from` to `to`."""

    from_: Point = setting(text="Where it begins, [x, y] as shares of the picture from the top left.", alias="from")
    to: Point = setting(text="Where it ends; looking there from `from`, crossing from left to right is in.")
    classes: ClassLimitsKey | None = setting(None, "Classes that count, with limits or as a list; all if left out.")
    anchor: AnchorName = setting(default_of(LineSettings, "anchor"), "Point of the box that must cross.")
    hysteresis_ratio: Number = setting(
        default_of(LineSettings, "hysteresis_ratio"),
        "How far beyond the line a crossing is believed, as a share of the object's size.",
        unit="ratio",
        ge=0,
        le=1,
    )

    @field_validator("to")
    @classmethod
    def _has_length(cls, to: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        start = info.data.get("from_")
        if start is not None and math.dist(start, to) < MIN_LINE_LENGTH:
            raise mistake("config.line", f"is closer than {MIN_LINE_LENGTH} to the other end: a line needs a length")
        return to
