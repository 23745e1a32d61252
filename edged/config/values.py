"""The kinds of values that keys take, and how a key is declared."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable
from datetime import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema, model_validator
from pydantic_core import PydanticUndefined

from edged.config.context import mistake, resolve_path, resolve_readable_file
from edged.events.topics import RESERVED_CAMERA_IDS
from edged.vision.boxes import Anchor
from edged.vision.masks import polygon_area

NAME_PATTERN = r"[a-z0-9_-]{1,64}"
MIN_POLYGON_AREA = 1e-5
"""Share of the picture; below it a polygon is a slip of the pen."""

MAX_CORNERS = 64
MIN_LINE_LENGTH = 0.01
"""Share of the picture."""


class Section(BaseModel):
    """A mapping in the file. One that is left empty has all its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: Any) -> Any:
        return {} if data is None else data


def setting(default: Any = PydanticUndefined, text: str = "", *, unit: str | None = None, **bounds: Any) -> Any:
    """One key of a section.

    Args:
        default: its value where the file has none, or the class that makes it; left out for keys that must be given.
        text: what it means, for people.
        unit: of a number: s, 1/s, px, ratio, count, ...
        bounds: ge, gt, le, lt, min_length, max_length, alias, validate_default: as pydantic's.
    """
    extra = {"unit": unit} if unit else None
    if isinstance(default, type):
        return Field(default_factory=default, description=text, json_schema_extra=extra, **bounds)
    return Field(default, description=text, json_schema_extra=extra, **bounds)


def default_of(settings: type, name: str) -> Any:
    """The default of a field of a settings dataclass: the one home of that number."""
    (found,) = (field for field in dataclasses.fields(settings) if field.name == name)
    return found.default


def _text_of_length(value: str) -> str:
    if not value.strip():
        raise mistake("config.length", "must not be empty")
    if len(value) > 1024:
        raise mistake("config.length", f"at most 1024 characters, found {len(value)}")
    return value


def check_name(value: str) -> str:
    """A name that can stand in topics, paths and messages."""
    if not re.fullmatch(NAME_PATTERN, value):
        message = f"a name has 1 to 64 of the characters a-z 0-9 _ -, found {_shown(value)}{_made_safe(value)}"
        raise mistake("config.id", message)
    return value


def check_camera_id(value: str) -> str:
    """The id of a camera: a name that no topic uses."""
    if not re.fullmatch(NAME_PATTERN, value):
        message = f"a camera's id has 1 to 64 of the characters a-z 0-9 _ -, found {_shown(value)}{_made_safe(value)}"
        raise mistake("camera.id", message)
    if value in RESERVED_CAMERA_IDS:
        raise mistake("camera.id", f"the id {value!r} is reserved, it stands in topics: choose another")
    return value


def make_name_safe(text: str) -> str:
    """The nearest allowed name, or the empty text if nothing of it is left."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:64]


def _made_safe(value: str) -> str:
    safe = make_name_safe(value)
    return f"; did you mean {safe}?" if safe else ""


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:39] + "…")


def _check_pair(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise mistake("config.polygon", "a point is a list of two numbers, [x, y]")
    return value


def _check_polygon(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Corners that enclose an area once."""
    if len(points) < 3:
        raise mistake("config.polygon", f"a polygon needs at least 3 corners, found {len(points)}")
    if len(points) > MAX_CORNERS:
        raise mistake("config.polygon", f"a polygon has at most {MAX_CORNERS} corners, found {len(points)}")
    if points[0] == points[-1]:
        raise mistake("config.polygon", "the last corner repeats the first: leave it out, polygons close themselves")
    for index, (a, b) in enumerate(itertools.pairwise(points)):
        if a == b:
            raise mistake("config.polygon", f"the corners {index + 1} and {index + 2} are the same point: leave one out")
    crossing = _first_crossing(points)
    if crossing:
        first, second = crossing
        message = f"the sides that begin at corners {first + 1} and {second + 1} meet: list the corners in order around the area"
        raise mistake("config.polygon", message)
    if polygon_area(points) < MIN_POLYGON_AREA:
        raise mistake("config.polygon", "its corners enclose no area")
    return points


def _first_crossing(points: tuple[tuple[float, float], ...]) -> tuple[int, int] | None:
    """Indices of the first two sides that are no neighbours and share a point."""
    n = len(points)
    sides = [(points[i], points[(i + 1) % n]) for i in range(n)]
    for i in range(n):
        for j in range(i + 2, n):
            if (j + 1) % n != i and _do_meet(*sides[i], *sides[j]):
                return i, j
    return None


def _do_meet(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], d: tuple[float, float]) -> bool:
    """Whether the segments ab and cd share a point."""
    turns = (_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b))
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    ends = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(turn == 0 and _is_between(*end) for turn, end in zip(turns, ends, strict=True))


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> int:
    cross = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return 0 if abs(cross) < 1e-12 else int(math.copysign(1, cross))


def _is_between(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether c, on the straight line through a and b, lies within their rectangle."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _parse_time(value: Any) -> time:
    if isinstance(value, time):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00", value):
        raise mistake("config.schedule", 'expected a time of day in quotes, "00:00" to "24:00"')
    return time(int(value[:2]) % 24, int(value[3:]))


def _none_is(empty: Callable[[], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: empty() if value is None else value)


def _parse_anchor(value: Any) -> Any:
    names = [anchor.value for anchor in Anchor]
    if not isinstance(value, Anchor) and value not in names:
        raise mistake("config.choice", f"expected one of {', '.join(names)}")
    return value


EMPTY_IS_MAPPING = _none_is(dict)
EMPTY_IS_LIST = _none_is(tuple)

Text = Annotated[str, Strict(), AfterValidator(_text_of_length)]
Name = Annotated[str, Strict(), AfterValidator(check_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})]
CameraId = Annotated[
    str, Strict(), AfterValidator(check_camera_id), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})
]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Coordinate = Annotated[Number, Field(ge=0, le=1)]
Point = Annotated[tuple[Coordinate, Coordinate], BeforeValidator(_check_pair)]
Polygon = Annotated[tuple[Point, ...], AfterValidator(_check_polygon)]
TimeOfDay = Annotated[
    time, BeforeValidator(_parse_time), WithJsonSchema({"type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"})
]
AnchorName = Annotated[Anchor, BeforeValidator(_parse_anchor)]
FilePath = Annotated[Path, BeforeValidator(resolve_path)]
ReadableFile = Annotated[Path, BeforeValidator(resolve_readable_file)]
