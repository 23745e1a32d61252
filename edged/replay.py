"""A recording through the same pipeline, on stream time: every run of it gives the same bytes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

import numpy as np

from edged import assembly
from edged.clock import SystemClock, now_at
from edged.config import CameraConfig, Config, load_config, parse_config
from edged.engine_opening import open_configured_network
from edged.errors import InputError, SourceCause, SourceError
from edged.events.event import Event
from edged.events.golden import compare
from edged.events.wire import REPLAY_EPOCH
from edged.face_assembly import GalleryFollower, find_face_engines, make_face_watch, open_face_reader
from edged.map_assembly import find_segmenter, make_map_rules, make_map_watch, makes_maps, open_configured_segmenter
from edged.models.manifest import DetectorManifest
from edged.pipeline import FrameResult, process
from edged.runtime.journal import Journal
from edged.runtime.pacing import Pacer
from edged.runtime.recorder import Overlay
from edged.sinks.base import Message, MessageKind, Sink
from edged.sinks.jsonl import JsonLinesSink
from edged.sinks.video import VideoWriter
from edged.sources.base import FrameSource, SourceFrame
from edged.sources.street import StreetSource
from edged.types import Frame, TrackState

DEVICE = "replay"
CAMERA = "replay"
STREET_S = 60.0
"""How much of the drawn street is replayed, unless its source says how much."""
FALLBACK_FPS = 15.0
"""What a stream without time stamps, or of one frame, is taken to have."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edged replay`."""
    parser.add_argument("recording", help="a video file, a folder of pictures, or a drawn street, e.g. street:7")
    parser.add_argument("--config", type=Path, metavar="FILE", help="zones, lines and thresholds of a site; without: defaults")
    parser.add_argument("--camera", metavar="NAME", help="which camera of the configuration; needed if it has several")
    parser.add_argument(
        "--start", type=_parse_start, default=0.0, metavar="TIME", help="UTC time of the first frame, e.g. 2026-11-20T08:00:00Z"
    )
    parser.add_argument("--fps", type=float, metavar="N", help="pictures a second of a folder (default: 5); a video has its own")
    parser.add_argument(
        "--tracks",
        type=Path,
        metavar="FILE",
        help="write confirmed tracks as frame,id,x,y,w,h,conf,class,-1,-1 (pixels; index of the class)",
    )
    parser.add_argument("--detections", type=Path, metavar="FILE", help="write detections from 0.05 on in the same form, id -1")
    parser.add_argument(
        "--overlay", type=Path, metavar="FILE", help="write an annotated clip; with segmentation it shows the maps, too"
    )
    parser.add_argument(
        "--show-faces", action="store_true", help="leave everybody's head in it as it is; polygons and classes stay hidden"
    )
    parser.add_argument("--expect", type=Path, metavar="FILE", help="compare the events with these; exit status 1 if they differ")
    parser.add_argument("--engine", metavar="NAME", help="use this engine instead of the configuration's")


def run(arguments: argparse.Namespace) -> int:
    """`edged replay`: events go to standard output as JSON lines."""
    camera, config = _read_config(arguments)
    expected = _read_expected(arguments.expect) if arguments.expect else None
    collected = CollectingSink()
    sinks: list[Sink] = [collected] if expected is not None else [JsonLinesSink(sys.stdout.buffer)]
    replay = Replay(
        config,
        camera,
        every_frame=arguments.config is None,
        reports_weak=arguments.detections is not None,
        start_at=arguments.start,
        sinks=sinks,
        draws=arguments.overlay is not None,
        shows_faces=arguments.show_faces,
    )
    with ExitStack() as stack:
        replay.outputs = _open_outputs(arguments, stack, replay.overlay)
        try:
            replay.run(_make_source(config.cameras[camera]))
        except SourceError as error:
            raise InputError(str(error)) from error
    print(replay.summary(), file=sys.stderr)
    if expected is None:
        return 0
    report = compare(expected, collected.bodies, expected_name=str(arguments.expect), actual_name="this run")
    print(report)
    return 0 if report.is_equal else 1


@dataclass(frozen=True, slots=True)
class StreamClock:
    """Stream seconds as time, beginning at a chosen moment.

    Attributes:
        start_at: UTC seconds since 1970 of stream second 0.
    """

    start_at: float

    def now_s(self) -> float:
        """Nothing in a replay depends on when it is run."""
        return 0.0

    def at(self, monotonic_s: float) -> float:
        return self.start_at + monotonic_s


class CollectingSink:
    """Keeps the bodies of the events."""

    dropped = 0

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def publish(self, message: Message) -> None:
        if message.kind is MessageKind.EVENT:
            self.bodies.append(message.body)

    def close(self) -> None:
        """Nothing is held."""


class Replay:
    """One recording through one camera's pipeline.

    Args:
        config: of the site, or the defaults.
        camera: which of its cameras.
        every_frame: analyse every frame; False keeps to the camera's `fps`.
        start_at: UTC seconds of the first frame.
        sinks: take the events.
        reports_weak: results hold detections that no track can use, too.
        draws: results hold the map of their very picture where the camera hides by class, so that not all of it must be hidden.
            Only those who draw see it: events are as they are without.
        shows_faces: nobody's head is hidden in the overlay, whatever the configuration says.
    """

    def __init__(
        self,
        config: Config,
        camera: str,
        *,
        every_frame: bool,
        start_at: float,
        sinks: list[Sink],
        reports_weak: bool = False,
        draws: bool = False,
        shows_faces: bool = False,
    ) -> None:
        self._camera = camera
        settings = config.cameras[camera]
        self._engine, manifest = assembly.find_manifest(config)
        self._settings, self._state_dir = config.detector, config.state_dir
        self._segmenter, segmenter_manifest = find_segmenter(config) if config.segmentation.enabled else (None, None)
        map_rules = make_map_rules(settings, config, segmenter_manifest)
        self._pipeline = assembly.make_pipeline(settings, config, manifest, map_rules=map_rules, reports_weak=reports_weak)
        self._pacer = Pacer(None if every_frame else settings.fps)
        self._clock = StreamClock(start_at)
        self._config = config
        self._face_engines = find_face_engines(config) if config.faces.enabled and settings.faces else None
        self._class_names = manifest.classes
        self._journal = Journal(device=DEVICE, epoch=REPLAY_EPOCH, clock=self._clock, quality=lambda: None, sinks=sinks)
        privacy = assembly.make_privacy(settings)
        if shows_faces:
            privacy = replace(privacy, pixelate="nobody", zones={})
        self._maps_every_picture = draws and privacy.scene is not None
        self.overlay = assembly.make_overlay(settings, manifest.classes, caption=camera, privacy=privacy)
        self.outputs: list[Callable[[FrameResult], None]] = []
        self._n_frames = self._n_analysed = self._n_events = 0

    def run(self, source: FrameSource) -> None:
        """Read to the end.

        Raises:
            SourceError: it cannot be read, or holds no frame.
        """
        last_s = 0.0
        opened = open_configured_network(self._engine, self._settings, state_dir=self._state_dir, kind=DetectorManifest)
        with ExitStack() as stack:
            detector = stack.enter_context(opened.network)
            look_at_faces = self._open_faces(stack)
            make_map = self._open_maps(stack)
            for frame in self._frames(source):
                last_s = frame.captured_s
                (result,) = process([frame], {self._camera: self._pipeline}, detector, now_s=self._clock.now_s)
                self._n_analysed += 1
                self._publish(result.events)
                look_at_faces(result)
                result = make_map(result)
                for output in self.outputs:
                    output(result)
        if not self._n_frames:
            raise SourceError(SourceCause.EOF, f"{source.label}: holds no frame that can be read")
        self._publish(self._pipeline.end(now_s=last_s))

    def _open_faces(self, stack: ExitStack) -> Callable[[FrameResult], None]:
        """Looks at the faces of a result, inline: its answers come before the next frame, in every run at the same one."""
        config, engines = self._config, self._face_engines
        if engines is None:
            return lambda result: None
        watch = make_face_watch(config, self._class_names, details={}, now_s=self._clock.now_s)
        reader = stack.enter_context(open_face_reader(engines, config.faces, state_dir=config.state_dir).reader)
        gallery = stack.enter_context(GalleryFollower(config, engines))
        yardstick = gallery.load(now_at(SystemClock()))  # consents end by today's date, also in a recording of last year

        def look(result: FrameResult) -> None:
            watch.put(result)
            watch.work(reader, yardstick)
            for answer in watch.take():
                self._publish(self._pipeline.identify(answer))

        return look

    def _open_maps(self, stack: ExitStack) -> Callable[[FrameResult], FrameResult]:
        """Makes maps, inline, and puts them into the results: what one says comes before the next frame, in every run."""
        if self._segmenter is None or not makes_maps(self._config.cameras[self._camera]):
            return lambda result: result
        watch = make_map_watch(self._config, now_s=self._clock.now_s)
        segmenter = stack.enter_context(open_configured_segmenter(self._segmenter, self._config).network)

        def make_map(result: FrameResult) -> FrameResult:
            watch.put(result, is_undecided=self._pipeline.is_map_wanted)
            watch.work(segmenter)
            for mapped in watch.take():
                self._publish(self._pipeline.take_map(mapped))
            scene = self._pipeline.scene
            if self._maps_every_picture and (scene is None or scene.frame_seq != result.frame.seq):
                scene = watch.map_of(result.frame, segmenter)
            return replace(result, scene=scene)

        return make_map

    def summary(self) -> str:
        """What was done, for people."""
        return f"{self._n_frames} frames, {self._n_analysed} analysed, {self._n_events} events"

    def _frames(self, source: FrameSource) -> Iterator[Frame]:
        with source.open() as stream:
            while True:
                try:
                    source_frame = stream.read()
                except SourceError as error:
                    if error.cause is SourceCause.EOF:
                        return
                    raise
                self._n_frames += 1
                frame = self._stamp(source_frame)
                if self._pacer.is_due(frame.captured_s):
                    yield frame

    def _stamp(self, source_frame: SourceFrame) -> Frame:
        stream_s = source_frame.stream_s
        captured_s = (self._n_frames - 1) / FALLBACK_FPS if stream_s is None else stream_s
        return Frame(
            camera=self._camera,
            seq=self._n_frames,
            captured_s=captured_s,
            captured_at=self._clock.at(captured_s),
            width=source_frame.width,
            height=source_frame.height,
            make_pixels_rgb=source_frame.make_pixels_rgb,
        )

    def _publish(self, events: Sequence[Event]) -> None:
        self._n_events += len(events)
        self._journal.publish_events(self._camera, events, stages_ms={})


class ClipOutput:
    """Writes annotated pictures at the rate of the first two of them."""

    def __init__(self, path: Path, overlay: Overlay) -> None:
        self._path = path
        self._overlay = overlay
        self._first: FrameResult | None = None
        self._writer: VideoWriter | None = None

    def write(self, result: FrameResult) -> None:
        """Append one picture."""
        if self._writer is None and self._first is None:
            self._first = result
            return
        if self._writer is None:
            self._open(result)
        self._writer.write(self._overlay(result, result.frame))

    def close(self) -> None:
        """Finish the clip."""
        if self._writer is None and self._first is not None:
            self._open(None)
        if self._writer is not None:
            self._writer.close()

    def _open(self, second: FrameResult | None) -> None:
        step_s = second.frame.captured_s - self._first.frame.captured_s if second else 0.0
        self._writer = VideoWriter(self._path, 1.0 / step_s if step_s > 0 else FALLBACK_FPS)
        self._writer.write(self._overlay(self._first, self._first.frame))


def _parse_start(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write e.g. 2026-11-20T08:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _read_config(arguments: argparse.Namespace) -> tuple[str, Config]:
    """The camera's name and the configuration, with the recording as the camera's source."""
    source = json.dumps(_describe_recording(arguments.recording, fps=arguments.fps))
    overrides = {} if arguments.engine is None else {"detector.engine": json.dumps(arguments.engine)}
    if arguments.config is None:
        text = f"cameras: {{{CAMERA}: {{source: {source}, motion: {{enabled: false}}}}}}"
        return CAMERA, parse_config(text, source="replay", directory=Path(), overrides=overrides)
    camera = _choose_camera(load_config(arguments.config, reads_secrets=False), arguments)
    overrides[f"cameras.{camera}.source"] = source
    return camera, load_config(arguments.config, overrides=overrides, reads_secrets=False)


def _describe_recording(recording: str, *, fps: float | None) -> str | dict[str, object]:
    """The recording as a configuration's `source`."""
    path = Path(recording)
    if fps is None:
        return str(path.absolute()) if path.exists() else recording
    if not path.is_dir():
        raise InputError(f"--fps {fps:g} is the rate of a folder of pictures, and {recording} is none; leave it out")
    return {"type": "folder", "path": str(path.absolute()), "fps": fps}


def _choose_camera(config: Config, arguments: argparse.Namespace) -> str:
    names = list(config.cameras)
    if arguments.camera is None and len(names) == 1:
        return names[0]
    if arguments.camera in config.cameras:
        return arguments.camera
    wrong = f"there is no camera {arguments.camera!r}" if arguments.camera else "it has several cameras"
    raise InputError(f"{arguments.config}: {wrong}; choose one with --camera: {', '.join(names)}")


def _make_source(settings: CameraConfig) -> FrameSource:
    source = assembly.make_source(settings.source, timeout_s=settings.timeout_s)
    if isinstance(source, StreetSource):
        source = replace(source, seconds=source.seconds or STREET_S, is_live=False)
    if source.is_live:
        raise InputError(f"{settings.source.type} sources cannot be replayed: give a file, a folder of pictures or street:")
    return source


def _read_expected(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"--expect {path}: {error.strerror}") from error


def _open_outputs(arguments: argparse.Namespace, stack: ExitStack, overlay: Overlay) -> list[Callable[[FrameResult], None]]:
    """What is written beside the events; closed by the stack."""
    outputs: list[Callable[[FrameResult], None]] = []
    if arguments.tracks:
        tracks = _open_text(arguments.tracks, stack)
        outputs.append(lambda result: _write_tracks(result, tracks))
    if arguments.detections:
        detections = _open_text(arguments.detections, stack)
        outputs.append(lambda result: _write_detections(result, detections))
    if arguments.overlay:
        clip = ClipOutput(arguments.overlay, overlay)
        stack.callback(clip.close)
        outputs.append(clip.write)
    return outputs


def _open_text(path: Path, stack: ExitStack) -> TextIO:
    try:
        return stack.enter_context(path.open("w", encoding="ascii"))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _write_tracks(result: FrameResult, file: TextIO) -> None:
    for track in result.tracks.live:
        if track.state is TrackState.CONFIRMED:
            file.write(_mot_row(result.frame.seq, track.number, track.box, track.score, track.class_id))


def _write_detections(result: FrameResult, file: TextIO) -> None:
    found = result.detections
    if found is not None:
        for box, score, class_id in zip(found.boxes, found.scores, found.class_ids, strict=True):
            file.write(_mot_row(result.frame.seq, -1, box, float(score), int(class_id)))


def _mot_row(frame_seq: int, number: int, box: np.ndarray, score: float, class_id: int) -> str:
    """One row of the MOTChallenge form; box in frame pixels, class as index into the manifest's list."""
    x1, y1, x2, y2 = box.tolist()
    return f"{frame_seq},{number},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},{class_id},-1,-1\n"
