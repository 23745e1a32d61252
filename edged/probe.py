"""`edged probe`: try one camera and show what it sends."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2

from edged.assembly import make_source
from edged.config.source import SOURCE_FORMS, AnySource, parse_source, read_source_argument
from edged.errors import InputError, SourceError
from edged.sources.base import FrameSource, FrameStream
from edged.types import Pixels
from edged.vision.redact import NOTHING, PublicPicture, redact

MEASURED_S = 2.0
"""How long arriving frames are counted."""

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a source sends.

    Attributes:
        source: without credentials.
        codec: FFmpeg's name of it, `raw` for sources that are not compressed on their way to us.
        transport: tcp, udp, http, https or file; `none` for sources on this machine.
        width, height: of the newest frame, pixels.
        fps: what the stream says of itself, None if nothing.
        measured_fps: frames a second that arrived while counting; of a recording that is how fast it can be decoded.
        first_frame_s: from before opening to the first frame.
        frames: how many were read.
        pixels_rgb: (H, W, 3) uint8 RGB of the newest frame.
    """

    source: str
    codec: str
    transport: str
    width: int
    height: int
    fps: float | None
    measured_fps: float | None
    first_frame_s: float
    frames: int
    pixels_rgb: Pixels = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, object]:
        """The facts without the picture, for JSON."""
        facts = asdict(replace(self, pixels_rgb=self.pixels_rgb[:0]))
        del facts["pixels_rgb"]
        return facts


def probe(source: FrameSource, *, measured_s: float = MEASURED_S) -> ProbeReport:
    """Open a source, read for a moment, close it.

    Raises:
        SourceError: it gives no frame; with the cause.
    """
    started_s = time.monotonic()
    with source.open() as stream:
        frame = stream.read()
        first_s = newest_s = time.monotonic()
        n_later = 0
        while newest_s - first_s < measured_s:
            try:
                frame = stream.read()
            except SourceError:
                break  # a recording that ended, or a camera that left: what was seen is told
            newest_s = time.monotonic()
            n_later += 1
        return ProbeReport(
            source=source.label,
            codec=_said(stream, "codec") or "raw",
            transport=_said(stream, "transport") or "none",
            width=frame.width,
            height=frame.height,
            fps=_rounded(_said(stream, "fps")),
            measured_fps=_rounded(n_later / (newest_s - first_s)) if newest_s > first_s else None,
            first_frame_s=round(first_s - started_s, 3),
            frames=1 + n_later,
            pixels_rgb=frame.make_pixels_rgb(),
        )


def _said(stream: FrameStream, name: str) -> object:
    """What only streams from FFmpeg know of themselves."""
    return getattr(stream, name, None)


def _rounded(fps: object) -> float | None:
    return round(float(fps), 2) if fps else None


def write_picture(path: Path, picture: PublicPicture) -> None:
    """Write a picture as JPEG or PNG.

    Raises:
        InputError: another suffix, or a path that cannot be written.
    """
    check_picture_path(path)
    is_encoded, data = cv2.imencode(path.suffix.lower(), cv2.cvtColor(picture.pixels_rgb, cv2.COLOR_RGB2BGR))
    if not is_encoded:
        raise InputError(f"{path}: the picture cannot be encoded")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def check_picture_path(path: Path) -> None:
    """Refuse a path that `write_picture` would refuse, before a camera is tried.

    Raises:
        InputError: naming what is wrong.
    """
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {', '.join(PICTURE_SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the directory {path.parent} does not exist")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edged probe`."""
    help_text = f"{SOURCE_FORMS}; or gstreamer:PIPELINE; or env:NAME, so that no process list shows a password in it"
    parser.add_argument("source", metavar="SOURCE", help=help_text)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write one picture, .jpg or .png")
    parser.add_argument("--transport", choices=("tcp", "udp"), help="of RTSP (default: tcp)")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificates that may sign the camera's, for rtsps and https")
    parser.add_argument("--host-name", metavar="NAME", help="that the camera's certificate is for, if not the one in the address")
    parser.add_argument("--no-verify", action="store_true", help="accept any certificate, for trying out")
    parser.add_argument("--snapshot", type=float, metavar="SECONDS", help="poll the URL for single pictures")
    parser.add_argument("--width", type=int, help="of a USB camera, a GStreamer pipeline or a drawn street, pixels")
    parser.add_argument("--height", type=int, help="of a USB camera, a GStreamer pipeline or a drawn street, pixels")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="longest wait (default: 10)")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Probe and tell; the exit status: 0 it sends pictures, 1 it does not.

    Raises:
        InputError: an argument that cannot be used.
    """
    if arguments.picture:
        check_picture_path(arguments.picture)
    source = make_source(_parse_source(arguments), timeout_s=arguments.timeout)
    try:
        report = probe(source)
    except SourceError as error:
        _tell_failure(error, source.label, as_json=arguments.json)
        return 1
    if arguments.picture:
        # Whoever sets a camera up must see what it sees, and nothing is configured yet that could say who may be shown.
        write_picture(arguments.picture, redact(report.pixels_rgb, NOTHING))
    _tell(report, arguments.picture, as_json=arguments.json)
    return 0


def _parse_source(arguments: argparse.Namespace) -> AnySource:
    keys = {
        "transport": arguments.transport,
        "interval_s": arguments.snapshot,
        "width": arguments.width,
        "height": arguments.height,
    }
    tls = {
        "ca": arguments.ca and str(arguments.ca),
        "host_name": arguments.host_name,
        "verify": False if arguments.no_verify else None,
    }
    keys["tls"] = {name: value for name, value in tls.items() if value is not None} or None
    given = {name: value for name, value in keys.items() if value is not None}
    return parse_source(read_source_argument(arguments.source), **given)


def _tell_failure(error: SourceError, label: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"source": label, "cause": error.cause.value, "error": str(error)}, ensure_ascii=False))
    else:
        print(f"edged: {error} [{error.cause.value}]", file=sys.stderr)


def _tell(report: ProbeReport, picture: Path | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**report.as_dict(), "picture": str(picture) if picture else None}, ensure_ascii=False))
        return
    said = f"{report.fps:g} a second" if report.fps else "not said"
    measured = f", {report.measured_fps:g} arrived" if report.measured_fps else ""
    lines = {
        "source": report.source,
        "codec": report.codec,
        "size": f"{report.width} x {report.height}",
        "frames": f"{said}{measured}",
        "transport": report.transport,
        "first frame": f"after {report.first_frame_s:.2f} s",
    }
    if picture:
        lines["picture"] = str(picture)
    print("\n".join(f"{name + ':':<13}{value}" for name, value in lines.items()))
