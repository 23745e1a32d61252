"""Where a camera's pictures come from: one text for the usual, a mapping with `type` for everything."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from edged.config.context import ReadingContext, mistake
from edged.config.secret import Secret, SecretKey, SecretOrigin
from edged.config.values import FilePath, Flag, Number, ReadableFile, Section, Text, Whole, setting
from edged.errors import InputError
from edged.sources.gstreamer import check_pipeline
from edged.sources.url import SCHEMES, check_transport, redact, scheme_of, split_credentials

SOURCE_FORMS = "rtsp://…, http://…, /dev/video0, a file, a folder/, or street:"
"""What a text may be, for people."""

_STREET_HINT = "street: or street:SEED"
_PICTURE_SUFFIXES = (".jpg", ".jpeg")


class CameraTlsConfig(Section):
    """How a camera behind rtsps or https proves that it is the camera."""

    ca: ReadableFile | None = setting(
        None, "Certificates that may sign the camera's, or its own one; the system's authorities if left out."
    )
    host_name: Text | None = setting(
        None, "Name or address that the certificate is for, where it is not the one in the camera's address."
    )
    verify: Flag = setting(True, "Check the camera's certificate; false accepts any, also that of somebody in between.")


class _UrlSource(Section):
    """What sources with an address share: credentials inside it are taken out and kept as secrets."""

    @model_validator(mode="before")
    @classmethod
    def _take_credentials_out(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("url"), str) or _has_own_credentials(data):
            return data
        try:
            address = split_credentials(data["url"])
        except InputError:
            return data  # the check of `url` itself says what is wrong
        if address.username is None:
            return data
        apart = {**data, "url": address.url, "username": address.username}
        if address.password:
            warning = "the URL holds a password: it is never shown, but better give username and password: {file: …} beside it"
            apart["password"] = Secret(address.password, SecretOrigin.URL, warning)
        return apart

    @field_validator("url", check_fields=False)
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            address = split_credentials(url)
        except InputError as error:
            raise mistake("camera.url", str(error).removeprefix(f"{redact(url)}: ")) from None
        if address.username is not None:
            raise mistake("camera.url", "holds a user name although username or password are given beside it: keep one")
        return url

    @field_validator("tls", check_fields=False)
    @classmethod
    def _has_certificate(cls, tls: CameraTlsConfig, info: ValidationInfo) -> CameraTlsConfig:
        if tls != CameraTlsConfig() and scheme_of(info.data.get("url", "https:")) not in ("rtsps", "https"):
            raise mistake("camera.tls", "only rtsps:// and https:// are encrypted: change the address, or leave tls out")
        return tls


def _has_own_credentials(data: Mapping[str, Any]) -> bool:
    return data.get("username") is not None or data.get("password") is not None


class NetworkSourceConfig(_UrlSource):
    """A stream: RTSP, or video or MJPEG over HTTP."""

    type: Literal["network"] = setting(text="A stream over RTSP or HTTP.")
    url: Text = setting(text="Address: rtsp, rtsps, http or https.", repr=False)
    transport: Literal["tcp", "udp"] = setting("tcp", "How RTSP sends pictures. UDP is a little faster and loses some.")
    username: Text | None = setting(None, "User name that the camera asks for.", repr=False)
    password: SecretKey | None = setting(None, "Password that the camera asks for: {file: …}, {env: …} or {credential: …}.")
    tls: CameraTlsConfig = setting(CameraTlsConfig, "How the camera proves itself, for rtsps and https.")

    @field_validator("transport")
    @classmethod
    def _is_there(cls, transport: str, info: ValidationInfo) -> str:
        try:
            check_transport(info.data.get("url", ""), transport)
        except InputError as error:
            raise mistake("camera.transport", str(error).removeprefix("transport: ")) from None
        return transport


class SnapshotSourceConfig(_UrlSource):
    """Single pictures, asked for again and again."""

    type: Literal["snapshot"] = setting(text="Single pictures over HTTP, fetched again and again.")
    url: Text = setting(text="Address of the picture: http or https.", repr=False)
    interval_s: Number = setting(1.0, "Time between two fetches.", unit="s", ge=0.05, le=86_400)
    username: Text | None = setting(None, "User name that the camera asks for.", repr=False)
    password: SecretKey | None = setting(None, "Password that the camera asks for: {file: …}, {env: …} or {credential: …}.")
    tls: CameraTlsConfig = setting(CameraTlsConfig, "How the camera proves itself, for rtsps and https.")

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if scheme_of(url) not in ("http", "https"):
            raise mistake("camera.url", "a snapshot has an address with http or https; for RTSP use type: network")
        return url


class FileSourceConfig(Section):
    """A recording, played at its own speed like a camera."""

    type: Literal["file"] = setting(text="A video file, played at its own speed.")
    path: FilePath = setting(text="The file; relative paths start beside this configuration.")


class FolderSourceConfig(Section):
    """Pictures in a directory, in the order of their names."""

    type: Literal["folder"] = setting(text="A directory of pictures, in the order of their names.")
    path: FilePath = setting(text="The directory; relative paths start beside this configuration.")
    fps: Number = setting(5.0, "Pictures a second that they stand for.", unit="1/s", gt=0, le=60)


class V4l2SourceConfig(Section):
    """A camera on this machine."""

    type: Literal["v4l2"] = setting(text="A USB camera on this machine.")
    device: Annotated[str, Field(pattern=r"^/dev/[A-Za-z0-9/._:-]{1,200}$")] = setting("/dev/video0", "Its device file.")
    width: Whole | None = setting(None, "Width to ask for; the camera's own choice if left out.", unit="px", ge=16, le=4096)
    height: Whole | None = setting(None, "Height to ask for; the camera's own choice if left out.", unit="px", ge=16, le=4096)
    fps: Number | None = setting(
        None, "Frames a second to ask for; the camera's own choice if left out.", unit="1/s", gt=0, le=240
    )


class GstreamerSourceConfig(Section):
    """Anything that GStreamer can read."""

    type: Literal["gstreamer"] = setting(text="A GStreamer pipeline, run as a child process.")
    pipeline: Text = setting(text="The pipeline up to raw video, without sink, e.g. `nvarguscamerasrc ! nvvidconv`.", repr=False)
    width: Whole = setting(text="Width of the pictures that it makes.", unit="px", ge=16, le=4096)
    height: Whole = setting(text="Height of the pictures that it makes.", unit="px", ge=16, le=4096)
    fps: Number = setting(15.0, "Frames a second that it makes.", unit="1/s", gt=0, le=240)

    @field_validator("pipeline")
    @classmethod
    def _can_be_one(cls, pipeline: str) -> str:
        try:
            check_pipeline(pipeline)
        except InputError as error:
            raise mistake("camera.pipeline", str(error).removeprefix("gstreamer: ")) from None
        return pipeline


class StreetSourceConfig(Section):
    """The drawn street."""

    type: Literal["street"] = setting(text="The drawn street: a camera for trying things out.")
    scene_seed: Whole = setting(0, "Which street.", unit="count", ge=0, le=2**31 - 1)
    width: Whole = setting(640, "Width of the pictures.", unit="px", ge=64, le=4096)
    height: Whole = setting(360, "Height of the pictures.", unit="px", ge=36, le=4096)
    fps: Number = setting(15.0, "Frames a second.", unit="1/s", gt=0, le=60)
    seconds: Number | None = setting(None, "It ends after this; never if left out.", unit="s", gt=0, le=86_400 * 365)


def _parse_source(value: Any, info: ValidationInfo) -> Any:
    """The mapping that a text stands for."""
    if isinstance(value, Section):
        return value
    if isinstance(value, str):
        mapping = _mapping_of(value, ReadingContext.of(info))
        if mapping["type"] == "gstreamer":
            raise mistake("camera.url", "a GStreamer pipeline needs {type: gstreamer, pipeline: …, width: …, height: …}")
        return mapping
    if not isinstance(value, Mapping):
        raise mistake("config.type", "expected a text such as rtsp://…, or a mapping with type: …")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in SOURCE_MODELS:
        near = difflib.get_close_matches(str(kind), SOURCE_MODELS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise mistake("config.choice", f"expected type: followed by one of {', '.join(SOURCE_MODELS)}{hint}")
    return value


def _mapping_of(text: str, context: ReadingContext) -> dict[str, Any]:
    if not text.strip():
        raise mistake("camera.url", "is empty")
    scheme = scheme_of(text)
    if scheme in SCHEMES:
        return {"type": "snapshot" if _is_picture(text) else "network", "url": text}
    if scheme == "street":
        seed = text.partition(":")[2]
        if seed and not (seed.isascii() and seed.isdigit() and len(seed) <= 10):
            raise mistake("camera.url", f"expected {_STREET_HINT}, the seed being a whole number")
        return {"type": "street", **({"scene_seed": int(seed)} if seed else {})}
    if scheme == "gstreamer":
        return {"type": "gstreamer", "pipeline": text.partition(":")[2].strip()}
    if scheme is not None:
        raise mistake("camera.url", _scheme_message(scheme))
    if text.startswith("/dev/"):
        return {"type": "v4l2", "device": text}
    is_folder = text.endswith("/") or context.resolve(text).is_dir()
    return {"type": "folder" if is_folder else "file", "path": text}


def _is_picture(url: str) -> bool:
    """Whether an address gives one picture a request, by its path."""
    path = re.split("[?#]", url, maxsplit=1)[0]
    return scheme_of(url) in ("http", "https") and path.lower().endswith(_PICTURE_SUFFIXES)


def _scheme_message(scheme: str) -> str:
    if scheme == "file":
        return "write the bare path of the file, without file://"
    allowed = ", ".join(f"{name}://" for name in SCHEMES)
    near = difflib.get_close_matches(scheme, [*SCHEMES, "street"], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    message = f"the scheme {scheme!r:.40} is not allowed{hint}; allowed are {allowed}, {_STREET_HINT}, /dev/… and paths"
    return f"{message} (a path with a colon: {{type: file, path: …}})"


SOURCE_MODELS: Mapping[str, type[Section]] = {
    "network": NetworkSourceConfig,
    "snapshot": SnapshotSourceConfig,
    "file": FileSourceConfig,
    "folder": FolderSourceConfig,
    "v4l2": V4l2SourceConfig,
    "gstreamer": GstreamerSourceConfig,
    "street": StreetSourceConfig,
}

AnySource = Union[  # noqa: UP007 - named at run time
    NetworkSourceConfig,
    SnapshotSourceConfig,
    FileSourceConfig,
    FolderSourceConfig,
    V4l2SourceConfig,
    GstreamerSourceConfig,
    StreetSourceConfig,
]


class _OrText:
    """Tells editors that a text will do as well."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1, "description": SOURCE_FORMS}, handler(core_schema)]}


SourceKey = Annotated[AnySource, Field(discriminator="type"), BeforeValidator(_parse_source), _OrText()]
"""The type of a key that takes a source."""


def read_source_argument(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """A source given on a command line; `env:NAME` takes it from the environment, where no process list shows it.

    Raises:
        InputError: the environment has no such name.
    """
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if name not in environ:
        raise InputError(f"{text}: the environment has no {name}")
    return environ[name]


def parse_source(text: str, *, directory: Path = Path(), **given: object) -> AnySource:
    """The source that a text means, outside a configuration: on a command line.

    Args:
        text: as after `source:` in a configuration, or `gstreamer:PIPELINE`.
        directory: where relative paths start.
        given: keys of the mapping that the text stands for, e.g. `width=640`. `interval_s` makes an address a snapshot.

    Raises:
        InputError: it means nothing, or its kind of source takes no such key; shows no password.
    """
    context = ReadingContext(directory)
    try:
        mapping = {**_mapping_of(text, context), **given}
        if mapping["type"] == "network" and "interval_s" in mapping:
            mapping["type"] = "snapshot"
        return TypeAdapter(SourceKey).validate_python(mapping, context=context)
    except PydanticCustomError as error:
        problem = error.message()
    except ValidationError as error:  # not raised on from here: it holds the values, secrets among them
        problem = "; ".join(_problem(details) for details in error.errors(include_url=False, include_input=False))
    raise InputError(f"{redact(text) or 'source'}: {problem}")


def _problem(details: ErrorDetails) -> str:
    """What is wrong with one key of a source, for the command line."""
    kind, *path = details["loc"]
    name = ".".join(map(str, path))
    if details["type"] == "extra_forbidden":
        return f"{name}: a source of type {kind} has no such key"
    if details["type"] == "missing":
        return f"{name} must be given"
    return f"{name}: {details['msg']}"


def source_path(source: AnySource) -> Path | None:
    """The file or directory that a source reads; None for cameras."""
    if isinstance(source, FileSourceConfig | FolderSourceConfig):
        return source.path
    return None
