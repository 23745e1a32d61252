"""The daemon: what it is made of, how it starts, what it watches, how it stops, in reading order."""

from __future__ import annotations

import argparse
import logging
import os
import random
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from edged import __version__, assembly
from edged.clock import SystemClock, now_at, read_clock_quality
from edged.config import CameraConfig, Config, find_changes, load_config
from edged.engine_opening import open_configured_network
from edged.errors import EXIT_CONFIG, EXIT_DEVICE, ConfigError, DeviceError, EdgedError, InputError, ModelError
from edged.events.event import Event, EventType
from edged.face_assembly import (
    FaceEngines,
    GalleryFollower,
    find_face_engines,
    make_face_watch,
    make_gallery_desk,
    open_face_reader,
)
from edged.log import configure_logging
from edged.map_assembly import (
    find_segmenter,
    make_area_settings,
    make_map_rules,
    make_map_watch,
    open_configured_segmenter,
    static_classes,
)
from edged.models.manifest import DetectorManifest, SegmenterManifest
from edged.pipeline import CameraPipeline, FrameResult
from edged.rules.scene import SceneMemory
from edged.runtime.analysis import Analysis, RuleChange
from edged.runtime.backoff import Backoff
from edged.runtime.board import FrameBoard, LatestFrame
from edged.runtime.camera_status import CameraState, CameraStatus, FrameCounts
from edged.runtime.capture import Capture
from edged.runtime.commands import Command, CommandRoom
from edged.runtime.counter_store import CounterStore
from edged.runtime.device_commands import make_ping, with_describe
from edged.runtime.faces import FaceWatch
from edged.runtime.gallery_commands import GalleryDesk, make_gallery_commands
from edged.runtime.interpreter import has_terminal, setter, settle_interpreter, tell_where_it_hangs, yield_processor
from edged.runtime.journal import Journal
from edged.runtime.loop import OPENING_LIMIT_S, Loop
from edged.runtime.map_commands import make_map_commands
from edged.runtime.maps import MapWatch
from edged.runtime.pacing import Interval
from edged.runtime.recorder import Overlay, Recorder
from edged.runtime.supervisor import LoopFailureError, Supervisor
from edged.runtime.systemd import Notifier
from edged.runtime.view_store import ViewStore
from edged.sinks.base import Sink
from edged.sinks.mqtt import MqttSink
from edged.sinks.video import VideoWriter
from edged.sources.base import FrameSource
from edged.state import StateDirectory
from edged.strict_yaml import format_path
from edged.types import Frame

logger = logging.getLogger(__name__)

TICK_S = 0.2
STALL_S = 1.0
"""Where a tick was late by so much the whole process stood still: it was stopped, or had no processor."""
STALL_PERIOD_S = 60.0
STATE_PERIOD_S = 30.0
"""A camera's state is published on every change, and this often for its figures."""
STARTING_PERIOD_S = 5.0
"""While networks are opened systemd is asked this often for as long as one may take; its own limit is for all together."""
CLOCK_PERIOD_S = 10.0
SUMMARY_PERIOD_S = 300.0
SAVE_PERIOD_S = 1.0
ABSENT_S = 30.0
"""A camera without a frame for this long has lost its objects."""
ANALYSIS_LIMIT_S = 30.0
FACES_LIMIT_S = 120.0
"""A gallery that has changed is decrypted as a whole, a million people at most."""
MAPS_LIMIT_S = 120.0
MQTT_LIMIT_S = 120.0
"""One try to connect may take three timeouts and a name look-up that nobody can cut short."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edged run`."""
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="the configuration")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one key, e.g. mqtt.port=1884 (repeatable)"
    )
    parser.add_argument("--for", dest="run_for_s", type=float, metavar="SECONDS", help="stop by itself after this time")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="write an annotated clip of every camera into this folder, for trying out; a further one when its size changes",
    )


def run(arguments: argparse.Namespace) -> int:
    """`edged run`: watch the cameras until told to stop."""
    stop, reload = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, setter(stop))
    if not has_terminal():  # one that is closed sends it, too, and means the end
        signal.signal(signal.SIGHUP, setter(reload))
    tell_where_it_hangs()
    read_config = partial(load_config, arguments.config, overrides=assembly.parse_overrides(arguments.set))
    config = read_config()
    configure_logging(level=config.log.level, style=config.log.format, stream=sys.stderr)
    for warning in config.warnings:
        logger.warning("configuration: %s", warning)
    daemon = Daemon(
        config,
        stop=stop,
        notifier=Notifier(config.notify_socket),
        run_for_s=arguments.run_for_s,
        record_directory=arguments.record,
        reload=reload,
        read_config=read_config,
    )
    status = daemon.run()
    if daemon.left_running:  # stuck in foreign code: an ordinary exit would wait for them or crash under them
        logger.warning("exits with threads still running: %s", ", ".join(daemon.left_running))
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)
    return status


class Daemon:
    """One run of the daemon.

    Args:
        config: validated.
        stop: set by a signal; noticed within a tick.
        notifier: to systemd.
        run_for_s: stop by itself after this time; None: never.
        record_directory: where annotated clips go; None: nowhere.
        record_s: how much of each camera they show; None: everything.
        reload: set by a signal: read the configuration again; None: never.
        read_config: does so.
    """

    def __init__(
        self,
        config: Config,
        *,
        stop: threading.Event,
        notifier: Notifier,
        run_for_s: float | None = None,
        record_directory: Path | None = None,
        record_s: float | None = None,
        reload: threading.Event | None = None,
        read_config: Callable[[], Config] | None = None,
    ) -> None:
        self._config = config
        self._reload = reload or threading.Event()
        self._read_config = read_config or (lambda: config)
        self._is_refused = False
        self._ticked_s = 0.0
        self._stall_told = Interval(STALL_PERIOD_S)
        self._changes: SimpleQueue[RuleChange] = SimpleQueue()
        self._stop = stop
        self._notifier = notifier
        self._run_for_s = run_for_s
        self._record_directory = record_directory
        self._record_s = record_s
        self._clock = SystemClock(self._on_clock_step)
        self._supervisor = Supervisor(_start_thread, now_s=self._clock.now_s)
        self._details = {name: LatestFrame() for name, camera in config.cameras.items() if camera.detect_source}
        self._board = FrameBoard()
        self._statuses: dict[str, CameraStatus] = {}
        self._published: dict[str, tuple[int, float, FrameCounts]] = {}  # number of changes, time, counts
        self._analysis_ready = threading.Event()
        self._faces_ready = threading.Event()
        self._faces: FaceWatch | None = None
        self._maps_ready = threading.Event()
        self._maps: MapWatch | None = None
        self._segmenter: Path | None = None
        self._views: ViewStore | None = None
        self._recorder: Recorder | None = None
        self._classes: tuple[str, ...] = ()
        self._map_classes: tuple[str, ...] | None = None
        self._fallback: str | None = None
        self._faces_fallback: str | None = None
        self._maps_fallback: str | None = None
        self._room: CommandRoom | None = None
        self._desk: GalleryDesk | None = None

    @property
    def left_running(self) -> list[str]:
        """Threads that did not end with `run`."""
        return self._supervisor.left_running

    def run(self) -> int:
        """Build, start, watch, stop. Returns the exit status."""
        config = self._config
        with ExitStack() as stack:
            state = stack.enter_context(StateDirectory(config.state_dir))
            engine, manifest = assembly.find_manifest(config)
            self._classes = manifest.classes
            face_engines = self._make_face_watch(manifest) if config.faces.enabled else None
            segmenter_manifest = self._make_map_watch() if config.segmentation.enabled else None
            memories = self._load_views(state, segmenter_manifest)
            store = CounterStore(state)
            counters = store.load()
            epoch = secrets.token_hex(6)
            sinks = [assembly.make_sink(config, backoff=_make_backoff())]
            self._room = self._make_command_room(sinks[0], face_engines, epoch=epoch)
            self._journal = Journal(
                device=config.device,
                epoch=epoch,
                clock=self._clock,
                quality=read_clock_quality,
                sinks=sinks,
            )
            for gone in sorted(counters.keys() - config.cameras.keys()):  # every camera that ever ran here has counters
                self._journal.take_back(gone)
            pipelines = {
                name: assembly.make_pipeline(
                    camera,
                    config,
                    manifest,
                    counters=counters.get(name),
                    map_rules=make_map_rules(camera, config, segmenter_manifest, memory=memories.get(name)),
                )
                for name, camera in config.cameras.items()
                if camera.enabled
            }
            try:
                self._start(engine, face_engines, pipelines, sinks)
                self._watch(store, sinks)
            except LoopFailureError as failure:
                return self._report(failure)
            finally:
                self._notifier.stopping()
                self._shut_down(store, sinks)
        logger.info("stopped")
        return 0

    def _make_face_watch(self, manifest: DetectorManifest) -> FaceEngines:
        """Before anything is started: what is wrong with faces is wrong with the configuration."""
        engines = find_face_engines(self._config)
        self._faces = make_face_watch(
            self._config, manifest.classes, details=self._details, now_s=self._clock.now_s, on_answer=self._board.wake
        )
        return engines

    def _make_map_watch(self) -> SegmenterManifest:
        """Likewise for maps."""
        self._segmenter, manifest = find_segmenter(self._config)
        self._map_classes = manifest.classes
        self._maps = make_map_watch(self._config, now_s=self._clock.now_s, on_map=self._board.wake)
        return manifest

    def _load_views(self, state: StateDirectory, manifest: SegmenterManifest | None) -> Mapping[str, SceneMemory]:
        """What the cameras had learnt to see by the last stop."""
        if manifest is None:
            return {}
        self._views = ViewStore(state, model=manifest.onnx.sha256, class_names=static_classes(self._config, manifest))
        return self._views.load()

    def _start(
        self,
        engine: Path,
        face_engines: FaceEngines | None,
        pipelines: dict[str, CameraPipeline],
        sinks: list[Sink],
    ) -> None:
        config, now_s = self._config, self._clock.now_s()
        logger.info("edged %s starts: device=%s cameras=%s", __version__, config.device, ", ".join(config.cameras))
        for name, camera in config.cameras.items():
            first = CameraState.CONNECTING if camera.enabled else CameraState.DISABLED
            self._statuses[name] = CameraStatus(first, now_s=now_s)
        for sink in sinks:
            if isinstance(sink, MqttSink):
                self._supervisor.run(
                    self._loop("mqtt", lambda loop, sink=sink: sink.run(loop.stop_event, beat=loop.beat), MQTT_LIMIT_S)
                )
        if self._room:
            do, limit_s = partial(self._do_commands, self._room), self._room.limit_s
            self._supervisor.run_replaceable(lambda: self._loop("commands", do, limit_s))
        listeners: list[Callable[[FrameResult], None]] = []
        if self._record_directory:
            self._recorder = self._make_recorder(self._record_directory)
            self._supervisor.run(self._loop("recorder", self._recorder.run, ANALYSIS_LIMIT_S))
            listeners.append(self._recorder.put)
        self._supervisor.run(
            self._loop("analysis", lambda loop: self._analyse(loop, engine, pipelines, listeners), ANALYSIS_LIMIT_S)
        )
        if not self._await(self._analysis_ready):
            return
        if self._faces is not None and face_engines is not None:
            look = partial(self._look_at_faces, self._faces, face_engines)
            self._supervisor.run(self._loop("faces", look, FACES_LIMIT_S))
            if not self._await(self._faces_ready):
                return
        if self._maps is not None and self._segmenter is not None:
            make_maps = partial(self._make_maps, self._maps, self._segmenter)
            self._supervisor.run(self._loop("maps", make_maps, MAPS_LIMIT_S))
            if not self._await(self._maps_ready):
                return
        settle_interpreter()
        for name in pipelines:
            self._supervisor.run_replaceable(partial(self._make_capture_loop, name, config.cameras[name]))
            if name in self._details:
                self._supervisor.run_replaceable(partial(self._make_detail_loop, name, config.cameras[name]))
        self._notifier.ready(f"{len(pipelines)} cameras")

    def _await(self, ready: threading.Event) -> bool:
        """Wait until a loop has opened what it uses; False where it is time to stop."""
        starting_due = Interval(STARTING_PERIOD_S)
        self._ticked_s = self._clock.now_s()
        while not self._sleep(ready) and not self._stop.is_set():
            self._supervisor.check()
            if starting_due.is_due(self._clock.now_s()):
                status = ", ".join(self._supervisor.openings) or "starts"
                self._notifier.starting(status, within_s=OPENING_LIMIT_S)
        return not self._stop.is_set()

    def _analyse(
        self,
        loop: Loop,
        engine: Path,
        pipelines: dict[str, CameraPipeline],
        listeners: list[Callable[[FrameResult], None]],
    ) -> None:
        """The analysis thread opens, uses and closes the detector."""
        config = self._config
        with loop.opening(engine.name):
            opened = open_configured_network(engine, config.detector, state_dir=config.state_dir, kind=DetectorManifest)
        with opened.network as detector:
            logger.info("detector ready: %s, %s", detector.label, config.detector.precision)
            self._fallback = opened.fallback
            self._analysis_ready.set()
            Analysis(
                board=self._board,
                cameras=pipelines,
                statuses=self._statuses,
                detector=detector,
                journal=self._journal,
                clock=self._clock,
                batch=opened.batch,
                absent_s=ABSENT_S,
                listeners=listeners,
                faces=self._faces,
                maps=self._maps,
                changes=self._changes,
                views=self._views,
            ).run(loop)

    def _make_command_room(self, sink: Sink, face_engines: FaceEngines | None, *, epoch: str) -> CommandRoom | None:
        if not self._config.commands.enabled or not isinstance(sink, MqttSink):
            return None
        config, clock = self._config, self._clock
        commands: list[Command] = [make_ping(device=config.device, epoch=epoch)]
        if face_engines is not None:
            self._desk = make_gallery_desk(config, face_engines, actor="mqtt", now=partial(now_at, self._clock))
            commands += make_gallery_commands(self._desk.operations)
        if self._maps is not None:
            commands += make_map_commands(self._maps.newest, cameras=self._maps.cameras, clock=clock)
        return assembly.make_command_room(config, with_describe(commands), sink=sink, clock=clock)

    def _do_commands(self, room: CommandRoom, loop: Loop) -> None:
        """The commands thread opens, uses and closes what commands need, and gives way to all others."""
        yield_processor()
        if self._desk:
            self._desk.begin(loop.opening)
        try:
            room.run(loop)
        finally:
            if self._desk:
                self._desk.close()

    def _look_at_faces(self, watch: FaceWatch, engines: FaceEngines, loop: Loop) -> None:
        """The faces thread opens, uses and closes networks and gallery of its own, and gives way to all others."""
        yield_processor()
        opened = open_face_reader(engines, self._config.faces, state_dir=self._config.state_dir, opening=loop.opening)
        with opened.reader as reader, GalleryFollower(self._config, engines) as gallery:
            logger.info("faces ready: %s, %s: %s", opened.label, self._config.faces.precision, ", ".join(watch.cameras))
            self._faces_fallback = opened.fallback
            self._faces_ready.set()
            watch.run(loop, reader, lambda: gallery.load(now_at(self._clock)))

    def _make_maps(self, watch: MapWatch, engine: Path, loop: Loop) -> None:
        """The maps thread opens, uses and closes a network of its own, and gives way to all others."""
        yield_processor()
        with loop.opening(engine.name):
            opened = open_configured_segmenter(engine, self._config)
        with opened.network as segmenter:
            logger.info("maps ready: %s, %s: %s", segmenter.label, self._config.segmentation.precision, ", ".join(watch.cameras))
            self._maps_fallback = opened.fallback
            self._maps_ready.set()
            watch.run(loop, segmenter)

    def _make_recorder(self, directory: Path) -> Recorder:
        cameras = self._config.cameras
        overlays = {name: self._make_overlay(name) for name in cameras}
        fps = {name: camera.fps for name, camera in cameras.items()}
        return Recorder(directory, VideoWriter, overlays=overlays, fps=fps, details=self._details, most_s=self._record_s)

    def _make_overlay_change(self, name: str) -> Callable[[], None]:
        """What has the recorder hide as the configuration says from now on: results and overlay go by the same rules."""
        return partial(self._recorder.change_overlay, name, self._make_overlay(name)) if self._recorder else lambda: None

    def _make_overlay(self, name: str) -> Overlay:
        camera = self._config.cameras[name]
        return assembly.make_overlay(camera, self._classes, caption=name, privacy=assembly.make_privacy(camera))

    def _make_capture_loop(self, name: str, camera: CameraConfig) -> Loop:
        """The stream that is analysed."""
        source = assembly.make_source(camera.detect_source or camera.source, timeout_s=camera.timeout_s)
        status = self._statuses[name]
        return self._make_loop_of(name, camera, source, loop_name=f"capture {name}", status=status, on_frame=self._board.put)

    def _make_detail_loop(self, name: str, camera: CameraConfig) -> Loop:
        """The main stream of a camera that detects on a smaller one: its newest frame is kept for whoever looks closely."""
        source = assembly.make_source(camera.source, timeout_s=camera.timeout_s)
        status = CameraStatus(CameraState.CONNECTING, now_s=self._clock.now_s())
        on_frame = self._details[name].put
        return self._make_loop_of(name, camera, source, loop_name=f"detail {name}", status=status, on_frame=on_frame)

    def _make_loop_of(
        self,
        name: str,
        camera: CameraConfig,
        source: FrameSource,
        *,
        loop_name: str,
        status: CameraStatus,
        on_frame: Callable[[Frame], bool],
    ) -> Loop:
        capture = Capture(
            camera=name,
            source=source,
            clock=self._clock,
            fps=camera.fps,
            schedule=assembly.make_schedule(camera),
            backoff=_make_backoff(),
            status=status,
            on_frame=on_frame,
            first_seq=status.snapshot().frames.captured + 1,
        )
        return self._loop(loop_name, capture.run, source.deadline_s)

    def _loop(self, name: str, body: Callable[[Loop], None], limit_s: float) -> Loop:
        return Loop(name, body, limit_s=limit_s, now_s=self._clock.now_s)

    def _watch(self, store: CounterStore, sinks: list[Sink]) -> None:
        """The main thread's life: until a signal, the end of the asked time, or a failure.

        Raises:
            LoopFailureError: a loop failed for good.
        """
        end_s = self._clock.now_s() + (self._run_for_s if self._run_for_s is not None else float("inf"))
        clock_due, save_due = Interval(CLOCK_PERIOD_S), Interval(SAVE_PERIOD_S)
        states_due, summary_due = Interval(STATE_PERIOD_S), Interval(SUMMARY_PERIOD_S)
        summary_due.is_due(self._clock.now_s())
        self._ticked_s = self._clock.now_s()
        while not self._sleep(self._stop) and self._clock.now_s() < end_s:
            now_s = self._clock.now_s()
            self._supervisor.check()
            if self._room:
                self._room.check()
            if self._reload.is_set():
                self._reload.clear()
                self._read_again(sinks)
            if clock_due.is_due(now_s):
                self._clock.refresh()
                self._notifier.alive(self._summary(sinks))
            self._publish_states(all_of_them=states_due.is_due(now_s))
            if save_due.is_due(now_s):
                store.save(self._journal.kept_counters)
                if self._views:
                    self._views.save(now_s=now_s)
            if summary_due.is_due(now_s):
                logger.info("%s", self._summary(sinks))

    def _sleep(self, until: threading.Event) -> bool:
        """Until the next tick, or an event; whether that is set."""
        is_set = until.wait(TICK_S)
        now_s = self._clock.now_s()
        late_s, self._ticked_s = now_s - self._ticked_s - TICK_S, now_s
        if late_s > STALL_S:
            if self._stall_told.is_due(now_s):
                logger.warning("edged stood still or had no processor: seconds=%.1f", late_s)
            self._supervisor.excuse(late_s)
        return is_set

    def _read_again(self, sinks: list[Sink]) -> None:
        """Take over what of the configuration may change while cameras run. With a mistake in it nothing of it counts."""
        self._notifier.reloading()
        try:
            read = self._read_config()
            changes = find_changes(self._config, read, class_names=self._classes, map_class_names=self._map_classes)
        except EdgedError as error:
            self._is_refused = True
            logger.error("the configuration is not taken over, the one before stays: %s", error)
        else:
            self._is_refused = False
            self._config = changes.config
            for warning in changes.config.warnings:
                logger.warning("configuration: %s", warning)
            for name in changes.cameras:
                camera = changes.config.cameras[name]
                rules, areas = assembly.make_rule_settings(camera), make_area_settings(camera)
                self._changes.put(RuleChange(name, rules, areas, self._make_overlay_change(name)))
            self._board.wake()
            logger.info("configuration read again: changed cameras: %s", ", ".join(changes.cameras) or "none")
            if changes.waiting:
                logger.warning("these keys count after a restart: %s", ", ".join(map(format_path, changes.waiting)))
                self._warn_of_next_start(read)
        self._notifier.ready(self._summary(sinks))

    def _warn_of_next_start(self, config: Config) -> None:
        """Say now what a start would refuse: who changed it is still there."""
        try:
            assembly.find_manifest(config)
            if config.faces.enabled:
                find_face_engines(config)
            if config.segmentation.enabled:
                find_segmenter(config)
        except ConfigError as error:
            logger.error("edged would not start with this configuration: %s", error)

    def _publish_states(self, *, all_of_them: bool) -> None:
        for name, status in self._statuses.items():
            changes, snapshot, now_s = status.changes, status.snapshot(), self._clock.now_s()
            last_changes, last_s, last = self._published.get(name, (-1, now_s, FrameCounts()))
            if not all_of_them and changes == last_changes:
                continue
            self._published[name] = (changes, now_s, snapshot.frames)
            passed_s = max(now_s - last_s, TICK_S)
            self._journal.publish_camera_state(
                name,
                snapshot,
                fps_captured=(snapshot.frames.captured - last.captured) / passed_s,
                fps_analysed=(snapshot.frames.analysed - last.analysed) / passed_s,
                fallback=self._fallback,
                faces_fallback=self._faces_fallback if self._faces and name in self._faces.cameras else None,
                maps_fallback=self._maps_fallback if self._maps and name in self._maps.cameras else None,
            )

    def _on_clock_step(self, step_s: float) -> None:
        logger.warning("the wall clock was set: step=%+.1fs", step_s)
        stepped = Event(EventType.CLOCK_STEP, self._clock.now_s(), 0, 0, 0, details={"step_s": round(step_s, 3)})
        self._journal.publish_events(None, [stepped], stages_ms={})

    def _shut_down(self, store: CounterStore, sinks: list[Sink]) -> None:
        """Captures first, then the analysis, which ends the objects, and the commands; then what is waiting is handed on."""
        cameras = self._config.cameras
        self._supervisor.stop([f"{kind} {name}" for kind in ("capture", "detail") for name in cameras], within_s=1.0)
        self._supervisor.stop(["analysis", "faces", "maps", "commands"], within_s=8.0)
        self._supervisor.stop(["recorder"], within_s=8.0)  # clips are finished by their last picture
        if self._room:
            self._room.close()
        store.save(self._journal.kept_counters)
        if self._views:
            self._views.save(now_s=self._clock.now_s(), is_last=True)
        for sink in sinks:
            sink.close()
        self._supervisor.stop(["mqtt"], within_s=1.0)

    def _report(self, failure: LoopFailureError) -> int:
        cause = failure.__cause__
        logger.error("edged stops: %s%s", failure, f": {cause}" if isinstance(cause, EdgedError) else "")
        if isinstance(cause, DeviceError):
            return EXIT_DEVICE
        return EXIT_CONFIG if isinstance(cause, ConfigError | ModelError | InputError) else 1

    def _summary(self, sinks: list[Sink]) -> str:
        snapshots = [status.snapshot() for status in self._statuses.values()]
        online = sum(snapshot.state is CameraState.ONLINE for snapshot in snapshots)
        analysed = sum(snapshot.frames.analysed for snapshot in snapshots)
        dropped = sum(snapshot.frames.dropped for snapshot in snapshots)
        lost = sum(sink.dropped for sink in sinks)
        return (
            f"{online}/{len(snapshots)} cameras online, {analysed} frames analysed, {dropped} dropped, "
            f"{lost} events dropped, {self._supervisor.abandonments} loops abandoned"
            + (", the configuration was refused when it was read again" if self._is_refused else "")
        )


def _start_thread(loop: Loop) -> threading.Thread:
    """The one place where threads are made. They are daemonic: what is stuck in foreign code must not hold the exit."""
    thread = threading.Thread(target=loop.run, name=loop.name, daemon=True)
    thread.start()
    return thread


def _make_backoff() -> Backoff:
    return Backoff(first_s=1.0, most_s=60.0, rng=random.Random())
