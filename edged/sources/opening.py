"""From what a person writes to the source that it means."""

from __future__ import annotations

from pathlib import Path

from edged.errors import InputError
from edged.sources.base import FrameSource
from edged.sources.folder import FolderSource
from edged.sources.gstreamer import GstreamerSource
from edged.sources.network import FileSource, NetworkSource, SnapshotSource, Transport
from edged.sources.street import StreetSource
from edged.sources.url import SCHEMES, redact, scheme_of
from edged.sources.v4l2 import V4l2Source, by_number

FORMS = (
    *(f"{scheme}://…" for scheme in SCHEMES),
    "/dev/video0",
    "a number (of a camera)",
    "a file",
    "a folder",
    "street: or street:seed=7,fps=15",
    "gstreamer:PIPELINE",
)
_PICTURE_SUFFIXES = (".jpg", ".jpeg")
_STREET_NUMBERS = {"seed": int, "width": int, "height": int, "fps": float, "seconds": float}


def make_source(
    text: str,
    *,
    transport: Transport = "tcp",
    snapshot_every_s: float | None = None,
    username: str | None = None,
    password: str | None = None,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    timeout_s: float = 10.0,
    pace: bool = False,
) -> FrameSource:
    """The source that a text means; looks at the file system to tell files from folders, opens nothing.

    Args:
        text: one of `FORMS`.
        transport: of RTSP.
        snapshot_every_s: poll an HTTP address for single pictures; one that ends in .jpg is polled each second without it.
        username, password: of a network camera.
        width, height, fps: of a USB camera, a GStreamer pipeline (where the size is needed) or a folder (fps).
        timeout_s: longest wait for an answer or a picture.
        pace: play a file at its own speed, like a camera.

    Raises:
        InputError: it means nothing; never shows a password.
    """
    scheme = scheme_of(text)
    if scheme in ("http", "https") and (snapshot_every_s is not None or _ends_like_picture(text)):
        interval_s = 1.0 if snapshot_every_s is None else snapshot_every_s
        return SnapshotSource(text, interval_s=interval_s, username=username, password=password, timeout_s=timeout_s)
    if scheme in SCHEMES:
        return NetworkSource(text, transport=transport, username=username, password=password, timeout_s=timeout_s)
    if scheme == "street":
        return _make_street(text)
    if scheme == "gstreamer":
        if width is None or height is None:
            raise InputError("gstreamer: give the width and height of the pictures that the pipeline makes")
        return GstreamerSource(text.partition(":")[2].strip(), width=width, height=height, fps=fps, timeout_s=timeout_s)
    if text.isdigit() or text.startswith("/dev/"):
        device = by_number(int(text)) if text.isdigit() else text
        return V4l2Source(device, width=width, height=height, fps=fps, timeout_s=timeout_s)
    return _make_recording(text, fps=fps, pace=pace)


def _ends_like_picture(url: str) -> bool:
    return url.partition("?")[0].lower().endswith(_PICTURE_SUFFIXES)


def _make_recording(text: str, *, fps: float | None, pace: bool) -> FrameSource:
    path = Path(text)
    if text and path.is_dir():
        return FolderSource(path) if fps is None else FolderSource(path, fps=fps)
    if text and (path.is_file() or scheme_of(text) is None):  # a missing file is found out when it is opened
        return FileSource(path, pace=pace)
    what = f"the scheme {scheme_of(text)!r} is not allowed" if text else "names no source"
    raise InputError(f"{redact(text)!r}: {what}; expected one of: {', '.join(FORMS)}")


def _make_street(text: str) -> StreetSource:
    """A drawn street from `street:`, `street:7` or `street:seed=7,fps=10`."""
    settings: dict[str, float] = {}
    for part in filter(None, text.partition(":")[2].split(",")):
        name, _, value = (part if "=" in part else f"seed={part}").partition("=")
        try:
            settings[name.strip()] = _STREET_NUMBERS[name.strip()](value)
        except (KeyError, ValueError):
            raise InputError(f"{text!r}: {part!r}: expected {'=…, '.join(_STREET_NUMBERS)}=…, each with a number") from None
    try:
        return StreetSource(**settings)
    except ValueError as error:
        raise InputError(f"{text!r}: {error}") from error
