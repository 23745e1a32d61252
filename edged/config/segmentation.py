"""The keys about what pictures are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from edged.config.computing import Batch, ComputingConfig
from edged.config.context import mistake
from edged.config.values import EMPTY_IS_LIST, Flag, Name, Number, Section, Text, default_of, setting
from edged.rules.scene import SceneSettings
from edged.rules.settings import MAX_COVER_RULES, AreaRuleSettings, ShareRule
from edged.runtime.maps import MapPace

SCENE_SEGMENTER = "scene-segmenter"
"""The engine that ships."""

ClassNames = Annotated[tuple[Text, ...], EMPTY_IS_LIST, Field(max_length=255)]
"""Names of classes of the segmenter."""


def check_unique(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The same names, none of them twice."""
    for name in names or ():
        if names.count(name) > 1:
            raise mistake("config.duplicate_key", f"the class {name!r:.60} stands twice")
    return names


class SegmentationConfig(ComputingConfig):
    """What pictures are made of: a network says of every pixel what it shows, now and then."""

    enabled: Flag = setting(False, "Whether maps are made of the cameras' pictures.")
    engine: Text = setting(SCENE_SEGMENTER, "The network that makes them: name of an engine, or path of its directory.")
    every_s: Number = setting(
        default_of(MapPace, "every_s"), "A map of each camera is made so often in any case.", unit="s", ge=0.2, le=86_400
    )
    min_s: Number = setting(
        default_of(MapPace, "min_s"),
        "And so often at most where something asks for one sooner: motion, or a rule that waits for the next map.",
        unit="s",
        ge=0,
        le=3600,
    )
    on_motion: Flag = setting(default_of(MapPace, "on_motion"), "Whether the beginning and the end of motion ask for one.")
    surfaces: ClassNames | None = setting(
        None, "Classes that objects stand on; left out: those called road, pavement, grass, floor and the like."
    )
    moving: ClassNames | None = setting(
        None, "Classes that come and go, and are no part of the view; left out: those called person, car, dog and the like."
    )

    _are_unique = field_validator("surfaces", "moving")(check_unique)

    @field_validator("batch")
    @classmethod
    def _one_at_a_time(cls, batch: Batch) -> Batch:
        if batch not in ("auto", 1):
            raise mistake("config.choice", "maps are made one at a time: leave it out")
        return batch

    @property
    def networks(self) -> tuple[str, ...]:
        """The engines that are named."""
        return (self.engine,)


class AreasConfig(Section):
    """What is published of the areas of a camera."""

    classes: ClassNames | None = setting(None, "Classes whose shares of the picture and of its zones are told; all if left out.")
    min_change_ratio: Number = setting(
        default_of(AreaRuleSettings, "min_change_ratio"),
        "A share is told again once it has changed by so much of the area.",
        unit="ratio",
        gt=0,
        le=1,
    )

    _are_unique = field_validator("classes")(check_unique)


class SceneConfig(Section):
    """Notices that a camera shows another view: that it was pushed, turned or covered."""

    enabled: Flag = setting(True, "Whether its view is learnt and watched.")
    for_s: Number = setting(
        default_of(SceneSettings, "for_s"), "Another view must last so long before it is said.", unit="s", ge=0, le=86_400
    )
    learn_s: Number = setting(
        default_of(SceneSettings, "learn_s"),
        "A view is learnt for so long, each one.",
        unit="s",
        ge=0,
        le=86_400,
    )
    min_difference_ratio: Number = setting(
        default_of(SceneSettings, "min_difference_ratio"),
        "Views differ when so much of what does not move is something else, in the mean over the picture.",
        unit="ratio",
        gt=0,
        lt=1,
    )


class ShareRuleConfig(Section):
    """A rule about how much of a zone some classes cover."""

    classes: Annotated[ClassNames, Field(min_length=1)] = setting(text="Classes whose shares of the zone are added.")
    for_s: Number = setting(
        default_of(ShareRule, "for_s"), "How long it must last, and be over, before it is said.", unit="s", ge=0, le=86_400
    )
    hysteresis_ratio: Number = setting(
        default_of(ShareRule, "hysteresis_ratio"),
        "It is over once they cover so much less than above, or more than below.",
        unit="ratio",
        ge=0,
        lt=1,
    )

    _are_unique = field_validator("classes")(check_unique)


class BlockedConfig(ShareRuleConfig):
    """When a way counts as blocked: by classes that cover it (`above`), or by too little of its own surface (`below`)."""

    above: Number | None = setting(None, "It is blocked while they cover so much of the zone, or more.", unit="ratio", gt=0, le=1)
    below: Number | None = setting(None, "It is blocked while they cover so much of the zone, or less.", unit="ratio", ge=0, lt=1)

    @model_validator(mode="after")
    def _can_begin_and_end(self) -> BlockedConfig:
        if (self.above is None) == (self.below is None):
            raise mistake("config.missing_key", "needs above (these block it) or below (too little of these is left), not both")
        check_bounds(self.above, self.below, self.hysteresis_ratio)
        return self


class CoverConfig(ShareRuleConfig):
    """By what else a zone may be covered."""

    name: Name = setting(text="What the events call it.")
    above: Number = setting(text="It is so while they cover so much of the zone, or more.", unit="ratio", gt=0, le=1)

    @model_validator(mode="after")
    def _can_end(self) -> CoverConfig:
        check_bounds(self.above, None, self.hysteresis_ratio)
        return self


def check_bounds(above: float | None, below: float | None, hysteresis: float) -> None:
    """Refuse a rule that would never be over."""
    if above is not None and hysteresis >= above:
        message = f"would never be over: hysteresis_ratio ({hysteresis:g}) must be less than above ({above:g})"
        raise mistake("config.range", message)
    if below is not None and below + hysteresis >= 1:
        message = f"would never be over: below ({below:g}) and hysteresis_ratio ({hysteresis:g}) must add up to less than 1"
        raise mistake("config.range", message)


CoverRules = Annotated[tuple[CoverConfig, ...], EMPTY_IS_LIST, Field(max_length=MAX_COVER_RULES)]
