"""Every key of the configuration: meaning, unit, bounds, default. The attributes are named as the keys are.

Numbers that another module owns (tracking, rules, broker) are taken from there: a default has one home.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from edged.config.broker import MqttConfig
from edged.config.commands import CommandsConfig
from edged.config.computing import ComputingConfig
from edged.config.context import ReadingContext, default_state_directory, mistake
from edged.config.faces import FacesConfig
from edged.config.rules import LineConfig, ObjectsConfig, SizeLimits, ZoneConfig
from edged.config.segmentation import AreasConfig, SceneConfig, SegmentationConfig
from edged.config.source import SOURCE_FORMS, SourceKey
from edged.config.values import (
    EMPTY_IS_LIST,
    EMPTY_IS_MAPPING,
    CameraId,
    FilePath,
    Flag,
    Name,
    Number,
    Polygon,
    Section,
    Text,
    TimeOfDay,
    default_of,
    make_name_safe,
    setting,
)
from edged.errors import Mistake
from edged.models.manifest import SCORE_FLOOR
from edged.privacy import Pixelate, PrivacySettings, ScenePrivacy
from edged.rules.settings import (
    MAX_LINES,
    MAX_ZONES,
)
from edged.strict_yaml import KeyPath, format_path
from edged.tracking.tracker import TrackerSettings
from edged.vision.motion import MotionSettings
from edged.vision.redact import Style

MAX_CAMERAS = 64
MAX_IGNORED = 32
MAX_PRIVATE = 32

_Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[_Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SCORE = "Least score that counts as seen"
_NMS_IOU = "Two boxes of a class that overlap more than this are one object"


Polygons = Annotated[tuple[Polygon, ...], EMPTY_IS_LIST]


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a configuration was read from.

    Attributes:
        source: the file, for messages.
        directory: of the file.
        lines: line of every key and item.
        overridden: keys whose value was given on the command line.
        warnings: what is allowed but unwise.
        notify_socket: address of the service manager's socket; None outside systemd.
    """

    source: str = "configuration"
    directory: Path = Path()
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)
    overridden: Collection[KeyPath] = ()
    warnings: tuple[Mistake, ...] = ()
    notify_socket: str | None = None


def is_below(path: KeyPath, keys: Collection[KeyPath]) -> bool:
    """Whether a path is one of some keys, or inside one."""
    return any(path[: len(key)] == key for key in keys)


class LogConfig(Section):
    """What edged says about itself, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting("info", "The least important messages to show.")
    format: Literal["text", "json"] = setting("text", "Lines for people, or one JSON object a line for collectors.")


class ClassThresholdsConfig(Section):
    """What differs for one class everywhere."""

    score: Number | None = setting(None, f"{_SCORE}; the section's own if left out.", unit="ratio", ge=SCORE_FLOOR, lt=1)
    nms_iou: Number | None = setting(None, f"{_NMS_IOU}; the section's own if left out.", unit="ratio", gt=0, lt=1)


class DetectorConfig(ComputingConfig):
    """The network that sees objects."""

    engine: Text = setting("detector", "Name of an engine, or path of its directory beside this configuration.")
    score: Number | None = setting(None, f"{_SCORE}; the engine's own if left out.", unit="ratio", ge=SCORE_FLOOR, lt=1)
    nms_iou: Number | None = setting(None, f"{_NMS_IOU}; the engine's own if left out.", unit="ratio", gt=0, lt=1)
    classes: Annotated[dict[Text, ClassThresholdsConfig], EMPTY_IS_MAPPING] = setting(
        dict, "What differs for single classes, by name."
    )


class OnTimeConfig(Section):
    """A stretch of local time in which a camera is on."""

    days: tuple[_Day, ...] = setting(
        _DAYS, "Days on which it begins: mon, tue, wed, thu, fri, sat, sun; all if left out.", min_length=1
    )
    from_: TimeOfDay = setting(text='When it begins, "HH:MM" in quotes, local time.', alias="from")
    to: TimeOfDay = setting(text="When it ends; a time not after `from` means on the following day.")


class DetectClassConfig(SizeLimits):
    """What a box of one class must be like to count as seen by this camera."""

    score: Number | None = setting(None, f"{_SCORE}; the camera's own if left out.", unit="ratio", ge=SCORE_FLOOR, lt=1)
    nms_iou: Number | None = setting(None, f"{_NMS_IOU}; the camera's own if left out.", unit="ratio", gt=0, lt=1)


class DetectConfig(Section):
    """What counts as seen by this camera."""

    score: Number | None = setting(None, f"{_SCORE}; the detector's if left out.", unit="ratio", ge=SCORE_FLOOR, lt=1)
    nms_iou: Number | None = setting(None, f"{_NMS_IOU}; the detector's if left out.", unit="ratio", gt=0, lt=1)
    classes: Annotated[dict[Text, DetectClassConfig], EMPTY_IS_MAPPING] = setting(
        dict, "What differs for single classes, by name; the others stay as they are."
    )
    ignore: Polygons = setting(
        (), "Areas in which nothing is seen: an object whose bottom centre is inside is left out.", max_length=MAX_IGNORED
    )


class MotionConfig(Section):
    """Skips pictures on which nothing moved."""

    enabled: Flag = setting(True, "Whether still pictures are skipped.")
    threshold: Number = setting(
        default_of(MotionSettings, "threshold"), "Change of brightness that counts as motion.", unit="grey levels", ge=1, le=254
    )
    min_area_ratio: Number = setting(
        default_of(MotionSettings, "min_area_ratio"), "Share of the picture that must change.", unit="ratio", gt=0, lt=1
    )
    recheck_s: Number = setting(
        default_of(MotionSettings, "recheck_s"), "A still picture is looked at anyway after this.", unit="s", ge=0.2, le=3600
    )
    linger_s: Number = setting(
        default_of(MotionSettings, "linger_s"),
        "Pictures are looked at for this long after the last motion.",
        unit="s",
        ge=0,
        le=600,
    )
    ignore: Polygons = setting(
        (), "Areas whose motion does not count, e.g. a tree or the clock in the picture.", max_length=MAX_IGNORED
    )


class TrackConfig(Section):
    """How objects are followed from picture to picture."""

    confirm_s: Number = setting(
        default_of(TrackerSettings, "confirm_s"), "An object is believed once it was seen for this long.", unit="s", ge=0, le=60
    )
    lost_s: Number = setting(
        default_of(TrackerSettings, "lost_s"), "It is given up once it was not seen for this long.", unit="s", ge=0.2, le=600
    )
    stationary_s: Number = setting(
        default_of(TrackerSettings, "stationary_s"),
        "It counts as standing once it kept its place for this long.",
        unit="s",
        ge=0.5,
        le=3600,
    )
    stationary_lost_s: Number = setting(
        default_of(TrackerSettings, "stationary_lost_s"),
        "A standing one is given up once it was not seen for this long.",
        unit="s",
        ge=0.2,
        le=3600,
    )


def _names_some(value: Any) -> Any:
    """Who writes the key means to hide something: left empty it must not hide nothing."""
    if not value:
        raise mistake("config.length", "names no class: list at least one, or leave the key out")
    return value


PrivateClasses = Annotated[
    tuple[Text, ...] | None,
    BeforeValidator(_names_some),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]


class PrivacyConfig(Section):
    """What its pictures show once they leave edged: clips and overlays."""

    pixelate: Pixelate = setting(
        default_of(PrivacySettings, "pixelate"),
        "Whose head is hidden: everybody's, that of unknown people (all but those whose face was recognised), or nobody's.",
    )
    polygons: Polygons = setting((), "Areas that are always hidden, whatever is in them.", max_length=MAX_PRIVATE)
    hide: PrivateClasses = setting(None, "Classes of the segmenter: every pixel of them is hidden.")
    show: PrivateClasses = setting(None, "Classes of the segmenter: every pixel of any other is hidden.")
    style: Style = setting(
        default_of(PrivacySettings, "style"), "How polygons and classes are hidden: as coarse blocks, or filled with one grey."
    )
    map_age_s: Number = setting(
        default_of(ScenePrivacy, "most_age_s"),
        "A map further from the picture's moment than this counts as none: with hide or show everything is hidden.",
        unit="s",
        ge=0,
        le=60,
    )
    speed_ratio: Number = setting(
        default_of(ScenePrivacy, "speed_ratio"),
        "So far what is hidden may move in a second, as a share of the picture's width; as much more is hidden around it.",
        unit="ratio",
        ge=0,
        le=10,
    )
    margin_ratio: Number = setting(
        default_of(ScenePrivacy, "margin_ratio"),
        "So much more is hidden around it in any case, as a share of the picture's width: maps are not exact along borders.",
        unit="ratio",
        ge=0,
        le=1,
    )


class CameraConfig(Section):
    """One camera and everything that is said about it."""

    source: SourceKey = setting(text=f"Where its pictures come from: {SOURCE_FORMS}; or a mapping with type.")
    detect_source: SourceKey | None = setting(
        None, "A smaller stream of the same camera to detect on; source then serves the best shots."
    )
    enabled: Flag = setting(True, "Whether it is watched at all.")
    schedule: Annotated[tuple[OnTimeConfig, ...], EMPTY_IS_LIST] = setting(
        (), "When it is watched; always if left out.", max_length=64
    )
    fps: Number = setting(5.0, "Pictures a second to analyse.", unit="1/s", gt=0, le=60)
    timeout_s: Number = setting(10.0, "No picture for this long: connect anew.", unit="s", ge=1, le=300)
    motion: MotionConfig = setting(MotionConfig, "Skips pictures on which nothing moved.")
    detect: DetectConfig = setting(DetectConfig, "What counts as seen.")
    track: TrackConfig = setting(TrackConfig, "How objects are followed.")
    objects: ObjectsConfig = setting(ObjectsConfig, "Which objects make events.")
    faces: Flag = setting(True, "Whether faces are looked for in its pictures, where the section faces is enabled.")
    segmentation: Flag = setting(True, "Whether maps are made of its pictures, where the section segmentation is enabled.")
    areas: AreasConfig = setting(AreasConfig, "What is told of what its pictures are made of.")
    scene: SceneConfig = setting(SceneConfig, "Notices that it shows another view.")
    privacy: PrivacyConfig = setting(PrivacyConfig, "What its pictures show.")
    zones: Annotated[dict[Name, ZoneConfig], EMPTY_IS_MAPPING] = setting(dict, "Areas, by name.", max_length=MAX_ZONES)
    lines: Annotated[dict[Name, LineConfig], EMPTY_IS_MAPPING] = setting(dict, "Lines, by name.", max_length=MAX_LINES)


class Config(Section):
    """The whole file."""

    version: Literal[1] = setting(1, "Version of this format.")
    device: Name = setting(None, "Name of this machine in topics and events; the host name if left out.", validate_default=True)
    state_dir: FilePath = setting(
        None, "Where state is kept; $STATE_DIRECTORY or ~/.local/state/edged if left out.", validate_default=True
    )
    log: LogConfig = setting(LogConfig, "What edged says about itself.")
    mqtt: MqttConfig | None = setting(
        None, "The broker that gets the events; if left out, they go to standard output as JSON lines."
    )
    commands: CommandsConfig = setting(CommandsConfig, "What others may ask of this device through the broker.")
    detector: DetectorConfig = setting(DetectorConfig, "The network that sees objects.")
    faces: FacesConfig = setting(FacesConfig, "Whose faces the persons show.")
    segmentation: SegmentationConfig = setting(SegmentationConfig, "What the pictures are made of.")
    cameras: Annotated[dict[CameraId, CameraConfig], EMPTY_IS_MAPPING] = setting(
        text="The cameras, by id.", min_length=1, max_length=MAX_CAMERAS
    )
    _reading: Reading = PrivateAttr(default_factory=Reading)

    @field_validator("device", mode="before")
    @classmethod
    def _default_device(cls, device: Any, info: ValidationInfo) -> Any:
        if device is not None:
            return device
        host_name = ReadingContext.of(info).host_name.split(".")[0]
        return make_name_safe(host_name) or "edge"

    @field_validator("state_dir", mode="before")
    @classmethod
    def _default_state_dir(cls, path: Any, info: ValidationInfo) -> Any:
        return default_state_directory(ReadingContext.of(info)) if path is None else path

    @field_validator("commands")
    @classmethod
    def _commands_need_a_broker(cls, commands: CommandsConfig, info: ValidationInfo) -> CommandsConfig:
        if commands.enabled and "mqtt" in info.data and info.data["mqtt"] is None:
            raise mistake("config.missing_key", "commands come through a broker: add mqtt, or leave enabled out")
        return commands

    @property
    def source(self) -> str:
        """What was read, for messages: the path of the file."""
        return self._reading.source

    @property
    def directory(self) -> Path:
        """Where the file lies; relative paths in it start here."""
        return self._reading.directory

    @property
    def warnings(self) -> tuple[Mistake, ...]:
        """What is allowed but unwise, in file order."""
        return self._reading.warnings

    @property
    def notify_socket(self) -> str | None:
        """Address of the service manager's socket; None outside systemd. Not from the file."""
        return self._reading.notify_socket

    @property
    def reading(self) -> Reading:
        """Where it was read, and what there is to say about that."""
        return self._reading

    def mistake_at(self, code: str, path: KeyPath, message: str) -> Mistake:
        """What is wrong with a key, found after the reading: with its line, or named as given on the command line."""
        where = format_path(path)
        if is_below(path, self._reading.overridden):
            return Mistake(code, where, message, is_override=True)
        return Mistake(code, where, message, self._line_of(path))

    def _line_of(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest thing above it; None where the file has neither."""
        while path:
            if path in self._reading.lines:
                return self._reading.lines[path]
            path = path[:-1]
        return None

    def with_reading(self, reading: Reading) -> Config:
        """The same settings, knowing where they were read."""
        copy = self.model_copy()
        copy._reading = reading
        return copy
