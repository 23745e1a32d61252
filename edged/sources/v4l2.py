"""USB cameras, through OpenCV's V4L2 reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError, SourceCause, SourceError
from edged.sources.base import SourceFrame
from edged.types import Pixels

GRACE_S = 1.0


class CameraReader(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool: ...  # noqa: N802  (OpenCV's name)
    def set(self, propId: int, value: float) -> bool: ...  # noqa: N803
    def read(self) -> tuple[bool, NDArray[np.uint8] | None]: ...
    def release(self) -> None: ...


def open_reader(device: str) -> CameraReader:
    """OpenCV's reader of one device file."""
    import cv2  # only who has such a camera pays

    return cv2.VideoCapture(device, cv2.CAP_V4L2)


@dataclass(frozen=True, slots=True)
class V4l2Source:
    """A camera of this machine.

    Attributes:
        device: its device file. /dev/v4l/by-id/… stays the same over reboots.
        width, height, fps: asked for; the camera's own choice where None. It may choose otherwise.
        fourcc: pixel format to ask for. MJPG is what USB 2 needs for more than a few large frames a second.
        timeout_s: longest wait for the next picture. OpenCV itself waits 10 s and cannot be interrupted.
        open_reader: replaced in tests.
    """

    device: str = "/dev/video0"
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    fourcc: str | None = "MJPG"
    timeout_s: float = 10.0
    open_reader: Callable[[str], CameraReader] = field(default=open_reader, repr=False)

    def __post_init__(self) -> None:
        if self.fourcc is not None and len(self.fourcc) != 4:
            raise InputError(f"{self.device}: fourcc: expected four letters such as MJPG or YUYV, got {self.fourcc!r}")

    @property
    def is_live(self) -> bool:
        return True

    @property
    def label(self) -> str:
        return self.device

    @property
    def deadline_s(self) -> float:
        return self.timeout_s + GRACE_S

    def open(self) -> V4l2Stream:
        check_device(self.device)
        reader = self.open_reader(self.device)
        if not reader.isOpened():
            reader.release()
            raise SourceError(
                SourceCause.PROTOCOL,
                f"{self.device}: gives no pictures: another program uses it, or it is not the camera's picture device "
                "(`v4l2-ctl --list-devices` shows them; often the even numbers are right)",
            )
        self._ask_for_format(reader)
        return V4l2Stream(reader, self.device)

    def _ask_for_format(self, reader: CameraReader) -> None:
        import cv2

        wishes = (
            (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self.fourcc) if self.fourcc else None),  # first: it limits the rest
            (cv2.CAP_PROP_FRAME_WIDTH, self.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, self.height),
            (cv2.CAP_PROP_FPS, self.fps),
            (cv2.CAP_PROP_BUFFERSIZE, 1),  # the newest picture, not one that waited
        )
        for property_id, value in wishes:
            if value is not None:
                reader.set(property_id, value)


def check_device(device: str) -> None:
    """Find out early why a device cannot be read, for OpenCV only says "not opened".

    Raises:
        SourceError: not_found or auth.
    """
    if not Path(device).exists():
        raise SourceError(SourceCause.NOT_FOUND, f"{device}: no such device: is the camera plugged in?")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(SourceCause.AUTH, f"{device}: may not be read: add the user to the group video")


class V4l2Stream:
    """Pictures of one open device. Read and closed by the thread that opened it."""

    def __init__(self, reader: CameraReader, device: str) -> None:
        self._reader = reader
        self._device = device

    def read(self) -> SourceFrame:
        is_read, pixels_bgr = self._reader.read()
        if not is_read or pixels_bgr is None:
            if not Path(self._device).exists():
                raise SourceError(SourceCause.NOT_FOUND, f"{self._device}: the camera was unplugged")
            raise SourceError(SourceCause.STALLED, f"{self._device}: no picture in time")
        height, width = pixels_bgr.shape[:2]
        return SourceFrame(width, height, None, partial(_to_rgb, pixels_bgr))

    def close(self) -> None:
        self._reader.release()

    def __enter__(self) -> V4l2Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _to_rgb(pixels_bgr: NDArray[np.uint8]) -> Pixels:
    return np.ascontiguousarray(pixels_bgr[:, :, ::-1])
