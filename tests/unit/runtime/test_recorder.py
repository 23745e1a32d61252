"""One clip a camera and size of picture, one of them open at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from edged.errors import SinkError
from edged.pipeline import FrameResult
from edged.runtime import recorder as recorder_module
from edged.runtime.board import LatestFrame
from edged.runtime.loop import Loop
from edged.runtime.recorder import QUEUE, Overlay, Recorder
from edged.sinks.video import VideoWriter
from edged.types import Frame, Tracks
from edged.vision.redact import NOTHING, PublicPicture, redact

LARGE, SMALL = (64, 36), (32, 18)


class FakeClips:
    """Opens clips that only take notes.

    Attributes:
        sizes: of the pictures of each clip, by file name.
        most_open: the most clips that were open at one time.
    """

    def __init__(self, *, failing: str | None = None) -> None:
        self.sizes: dict[str, list[tuple[int, int]]] = {}
        self.closed: list[str] = []
        self.most_open = 0
        self._failing = failing

    def open(self, path: Path, fps: float) -> FakeClip:
        self.sizes[path.name] = []
        self.most_open = max(self.most_open, len(self.sizes) - len(self.closed))
        return FakeClip(path.name, self, fails=path.name == self._failing)


class FakeClip:
    """Fails when it is finished, if asked to."""

    def __init__(self, name: str, clips: FakeClips, *, fails: bool) -> None:
        self._name = name
        self._clips = clips
        self._fails = fails

    def write(self, picture: PublicPicture) -> None:
        height, width, _ = picture.pixels_rgb.shape
        self._clips.sizes[self._name].append((width, height))

    def close(self) -> None:
        assert self._name not in self._clips.closed
        self._clips.closed.append(self._name)
        if self._fails:
            raise SinkError(f"cannot finish {self._name}")


def make_result(camera: str, size: tuple[int, int], *, captured_s: float = 0.0) -> FrameResult:
    """One analysed grey picture with nothing in it."""
    width, height = size
    frame = Frame(camera, 1, captured_s, captured_s, width, height, lambda: np.full((height, width, 3), 90, np.uint8))
    return FrameResult(frame, detections=None, tracks=Tracks((), ()), events=(), stages_ms={})


def record(
    results: Sequence[FrameResult],
    clips: FakeClips,
    folder: Path,
    *,
    most_s: float | None = None,
    details: Mapping[str, LatestFrame] | None = None,
) -> None:
    """Offer results, at most as many as may wait, then let the recorder finish."""
    cameras = {result.frame.camera for result in results}
    recorder = Recorder(
        folder,
        clips.open,
        overlays=dict.fromkeys(cameras, lambda result, picture: redact(picture.pixels_rgb, NOTHING)),
        fps=dict.fromkeys(cameras, 5.0),
        details=details or {},
        most_s=most_s,
    )
    loop = Loop("recorder", recorder.run, limit_s=1.0, now_s=time.monotonic)
    loop.stop()
    for result in results:
        recorder.put(result)
    loop.run()
    assert loop.failure is None


def test_recorder_without_a_picture_writes_nothing(tmp_path: Path) -> None:
    """Not even a folder."""
    clips = FakeClips()

    record([], clips, tmp_path / "clips")

    assert not clips.sizes
    assert not (tmp_path / "clips").exists()


def test_recorder_of_a_camera_of_one_size_writes_one_clip(tmp_path: Path) -> None:
    """It has the camera's name and is finished at the end."""
    clips = FakeClips()

    record([make_result("door", LARGE)] * 3, clips, tmp_path)

    assert clips.sizes == {"door.mp4": [LARGE] * 3}
    assert clips.closed == ["door.mp4"]


def test_recorder_of_changing_sizes_keeps_one_clip_open_a_camera(tmp_path: Path) -> None:
    """The clip before is finished first; a size that returns begins a clip of its own and spoils no earlier one."""
    clips = FakeClips()
    sizes = [LARGE, LARGE, SMALL, LARGE]

    record([make_result("door", size) for size in sizes], clips, tmp_path)

    assert clips.sizes == {"door.mp4": [LARGE] * 2, "door.2.mp4": [SMALL], "door.3.mp4": [LARGE]}
    assert clips.closed == ["door.mp4", "door.2.mp4", "door.3.mp4"]
    assert clips.most_open == 1


def test_recorder_hides_each_result_by_the_overlay_of_its_time(tmp_path: Path) -> None:
    """What waits was judged by the rules before: the names of its zones are theirs."""
    clips, used = FakeClips(), []

    def make_overlay(name: str) -> Overlay:
        def overlay(result: FrameResult, picture: Frame) -> PublicPicture:
            used.append(name)
            return redact(picture.pixels_rgb, NOTHING)

        return overlay

    recorder = Recorder(tmp_path, clips.open, overlays={"door": make_overlay("before")}, fps={"door": 5.0}, details={})
    recorder.put(make_result("door", LARGE))
    recorder.change_overlay("door", make_overlay("after"))
    recorder.put(make_result("door", LARGE))
    loop = Loop("recorder", recorder.run, limit_s=1.0, now_s=time.monotonic)
    loop.stop()
    loop.run()

    assert used == ["before", "after"]


def test_recorder_of_two_cameras_numbers_each_by_itself(tmp_path: Path) -> None:
    """What one camera does is nothing to the other."""
    clips = FakeClips()

    record([make_result("door", LARGE), make_result("yard", SMALL), make_result("door", SMALL)], clips, tmp_path)

    assert clips.sizes == {"door.mp4": [LARGE], "yard.mp4": [SMALL], "door.2.mp4": [SMALL]}


def test_recorder_of_a_camera_that_never_keeps_its_size_stops_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So many clips and no more; the others go on."""
    monkeypatch.setattr(recorder_module, "MOST_CLIPS", 3)
    clips = FakeClips()
    changing = [make_result("door", size) for size in (LARGE, SMALL, LARGE, SMALL, LARGE)]

    record([*changing, make_result("yard", SMALL)], clips, tmp_path)

    assert list(clips.sizes) == ["door.mp4", "door.2.mp4", "door.3.mp4", "yard.mp4"]
    assert sorted(clips.closed) == sorted(clips.sizes)
    assert "clip is not written: camera=door error=its pictures changed their size 3 times, the last time to 32x18" in caplog.text


def test_recorder_of_a_clip_that_cannot_be_finished_records_that_camera_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and the other cameras go on."""
    clips = FakeClips(failing="door.mp4")

    record([make_result("door", LARGE), *[make_result("door", SMALL)] * 2, make_result("yard", SMALL)], clips, tmp_path)

    assert clips.sizes == {"door.mp4": [LARGE], "yard.mp4": [SMALL]}
    assert caplog.text.count("camera=door") == 1


def test_recorder_stops_after_the_asked_time(tmp_path: Path) -> None:
    """Counted from a camera's first picture; a picture at the very end belongs to it."""
    clips = FakeClips()

    record([make_result("door", LARGE, captured_s=second) for second in (5.0, 7.0, 7.1)], clips, tmp_path, most_s=2.0)

    assert clips.sizes == {"door.mp4": [LARGE] * 2}


def test_recorder_leaves_out_what_the_queue_does_not_hold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And says how much."""
    clips = FakeClips()

    with caplog.at_level("INFO"):
        record([make_result("door", LARGE)] * (QUEUE + 2), clips, tmp_path)

    assert len(clips.sizes["door.mp4"]) == QUEUE
    assert "frames_left_out=2" in caplog.text


def test_recorder_clips_of_changing_sizes_can_be_read(tmp_path: Path) -> None:
    """Real clips: each holds the pictures of its time, whole."""
    recorder = Recorder(
        tmp_path,
        VideoWriter,
        overlays={"door": lambda result, picture: redact(picture.pixels_rgb, NOTHING)},
        fps={"door": 5.0},
        details={},
    )
    loop = Loop("recorder", recorder.run, limit_s=1.0, now_s=time.monotonic)
    loop.stop()
    for size in (LARGE, LARGE, SMALL, LARGE):
        recorder.put(make_result("door", size))

    loop.run()

    assert {path.name: _read_sizes(path) for path in sorted(tmp_path.iterdir())} == {
        "door.mp4": [LARGE] * 2,
        "door.2.mp4": [SMALL],
        "door.3.mp4": [LARGE],
    }


def _read_sizes(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [(frame.width, frame.height) for frame in container.decode(video=0)]


def test_recorder_of_a_main_stream_that_is_late_leaves_a_gap(tmp_path: Path) -> None:
    """The analysed stream's small picture stands in only as long as there is no clip in the main stream's size."""
    clips, main = FakeClips(), LatestFrame()
    main.put(make_result("door", LARGE, captured_s=10.0).frame)
    times_s = (10.0, 20.0, 10.2)  # the second has no picture of the main stream

    record([make_result("door", SMALL, captured_s=at_s) for at_s in times_s], clips, tmp_path, details={"door": main})

    assert clips.sizes == {"door.mp4": [LARGE, LARGE]}
