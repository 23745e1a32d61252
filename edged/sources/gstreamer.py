"""Any GStreamer pipeline (CSI cameras, hardware decoders), run as a child process that writes raw pictures to a pipe.

No OpenCV wheel has GStreamer, and a decoder that crashes in a child costs one connection, not the daemon.
"""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

import numpy as np

from edged.errors import InputError, SourceCause, SourceError
from edged.sources.base import LARGEST_SIDE_PX, SourceFrame
from edged.sources.url import has_credentials, redact
from edged.types import Pixels

LAUNCHER = "gst-launch-1.0"
GRACE_S = 3.0
"""For ending the child, on top of the wait for its picture."""

END_LIMIT_S = 1.0
MOST_WORDS_BYTES = 4096
LONGEST_MESSAGE = 300
_PIPE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GstreamerSource:
    """What a pipeline shows.

    Attributes:
        pipeline: in gst-launch's language, up to raw video and without a sink, e.g. `nvarguscamerasrc ! nvvidconv`.
        width, height: of the pictures that it makes; put `! videoscale` at its end to have others.
        fps: most frames a second to take; the rest is dropped before it is converted. None for all.
        timeout_s: longest wait for the next picture, the first included.
        launcher: name or path of gst-launch.

    Raises:
        InputError: the text cannot be a pipeline, or holds a password.
    """

    pipeline: str = field(repr=False)
    width: int
    height: int
    fps: float | None = None
    timeout_s: float = 10.0
    launcher: str = LAUNCHER

    def __post_init__(self) -> None:
        check_pipeline(self.pipeline)
        if not (1 <= self.width <= LARGEST_SIDE_PX and 1 <= self.height <= LARGEST_SIDE_PX):
            raise InputError(f"gstreamer: expected a size of 1 to {LARGEST_SIDE_PX} pixels, got {self.width} x {self.height}")
        if self.fps is not None and self.fps <= 0:
            raise InputError(f"gstreamer: fps: expected more than 0, got {self.fps}")

    @property
    def is_live(self) -> bool:
        return True

    @property
    def label(self) -> str:
        return f"gstreamer:{shlex.split(self.pipeline)[0]}"

    @property
    def deadline_s(self) -> float:
        return self.timeout_s + GRACE_S

    def arguments(self, *, pipe: int) -> list[str]:
        """Command line of the child, which writes its pictures to the file descriptor `pipe`."""
        words = [self.launcher, "-q", "--no-fault", *shlex.split(self.pipeline)]  # a crash shall end it, not wait for gdb
        if self.fps is not None:
            words += ["!", "videorate", "drop-only=true", f"max-rate={max(1, round(self.fps))}"]
        size = f"width={self.width},height={self.height}"
        return [*words, "!", "videoconvert", "!", f"video/x-raw,format=RGB,{size}", "!", "fdsink", f"fd={pipe}"]

    def open(self) -> GstreamerStream:
        if shutil.which(self.launcher) is None:
            raise SourceError(
                SourceCause.NOT_FOUND,
                f"{self.label}: {self.launcher} is not installed: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-good",
            )
        return GstreamerStream(self)


def check_pipeline(pipeline: str) -> None:
    """Refuse a text that can be no pipeline; whether GStreamer knows its elements shows only when it runs.

    Raises:
        InputError: never repeats the text.
    """
    if has_credentials(pipeline):
        raise InputError(
            "gstreamer: the pipeline holds a user name, password or token, and every user of this machine could read it in "
            "the list of processes: use a source with an rtsp:// or http:// URL, or let the camera work without one"
        )
    try:
        words = shlex.split(pipeline)
    except ValueError as error:
        raise InputError(f"gstreamer: the pipeline cannot be read: {error}") from error
    if not words or "!" in (words[0], words[-1]):
        raise InputError("gstreamer: expected a pipeline such as `v4l2src device=/dev/video0 ! jpegdec`, without a sink")


class GstreamerStream:
    """A running pipeline. Read and closed by the thread that opened it."""

    def __init__(self, source: GstreamerSource) -> None:
        # A pipe of its own for the pictures: some elements (nvarguscamerasrc) talk on standard output.
        pictures, child_end = os.pipe()
        try:
            self._child = subprocess.Popen(
                source.arguments(pipe=child_end),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(child_end,),
                start_new_session=True,  # a process group of its own, so that nothing of it is left behind
                bufsize=0,
            )
        except OSError as error:
            os.close(pictures)
            raise SourceError(SourceCause.PROTOCOL, f"{source.label}: cannot be started: {error.strerror}") from error
        finally:
            os.close(child_end)
        self._source = source
        self._pictures = pictures
        self._words = b""
        self._is_talking = True
        _widen(pictures)

    def read(self) -> SourceFrame:
        source = self._source
        row_bytes = -(-source.width * 3 // 4) * 4  # GStreamer pads rows of RGB to whole words
        buffer = bytearray(row_bytes * source.height)
        self._fill(memoryview(buffer))
        return SourceFrame(source.width, source.height, None, partial(_cut_rows, buffer, row_bytes, source.width))

    def close(self) -> None:
        if self._pictures >= 0:
            os.close(self._pictures)
            self._pictures = -1
        self._end_child()
        self._child.stdout.close()

    def __enter__(self) -> GstreamerStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _fill(self, rest: memoryview) -> None:
        until_s = time.monotonic() + self._source.timeout_s
        words = self._child.stdout.fileno()
        while rest:
            watched = [self._pictures, words] if self._is_talking else [self._pictures]
            ready, _, _ = select.select(watched, [], [], max(0.0, until_s - time.monotonic()))
            if not ready:
                raise self._failed(SourceCause.STALLED, f"no picture for {self._source.timeout_s:g} s")
            if words in ready:
                self._listen(words)
            if self._pictures in ready:
                n_bytes = os.readv(self._pictures, [rest])
                if n_bytes == 0:
                    raise self._ended()
                rest = rest[n_bytes:]

    def _listen(self, words: int) -> None:
        """Keep the last of what the child says: the pipe must not fill up, and an error ends it."""
        said = os.read(words, MOST_WORDS_BYTES)
        self._is_talking = bool(said)
        self._words = (self._words + said)[-MOST_WORDS_BYTES:]

    def _ended(self) -> SourceError:
        self._end_child()
        while self._is_talking:
            self._listen(self._child.stdout.fileno())
        if self._child.returncode == 0:
            return self._failed(SourceCause.EOF, "the pipeline ended")
        return self._failed(SourceCause.PROTOCOL, "the pipeline failed")

    def _failed(self, cause: SourceCause, what: str) -> SourceError:
        said = " ".join(redact(self._words.decode("utf-8", "replace")).split())
        said = said[said.find("ERROR") :][:LONGEST_MESSAGE] if "ERROR" in said else said[-LONGEST_MESSAGE:]
        return SourceError(cause, f"{self._source.label}: {what}" + (f": {said}" if said else ""))

    def _end_child(self) -> None:
        """Let it end by itself if it is about to, else ask, else kill; a killed CSI pipeline can leave its camera locked."""
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                _signal_group(self._child, number)
            try:
                self._child.wait(END_LIMIT_S if number else END_LIMIT_S / 4)
            except subprocess.TimeoutExpired:
                continue
            break


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def _widen(pipe: int) -> None:
    """Fewer wake-ups a picture; the system's default holds a tenth of one."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return  # over the user's limit: slower, not wrong


def _cut_rows(buffer: bytearray, row_bytes: int, width: int) -> Pixels:
    rows = np.frombuffer(buffer, np.uint8).reshape(-1, row_bytes)
    return np.ascontiguousarray(rows[:, : width * 3]).reshape(len(rows), width, 3)
