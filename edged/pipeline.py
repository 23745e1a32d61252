"""The life of one frame, on one screen.

frame → moved? → letterbox → infer → suppress → filter → track → rules → events
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edged.backends.base import Ticket
from edged.events.areas import Areas
from edged.events.counts import Counts
from edged.events.event import Event, EventType, ObjectFacts
from edged.models.detector import Detector, DetectorThresholds, SizeLimits, filter_detections
from edged.rules.counters import CounterState
from edged.rules.engine import Rules
from edged.rules.scene import Grid, Moved, SceneMemory, SceneState, SceneWatch
from edged.rules.settings import AreaRuleSettings, RuleSettings
from edged.rules.surfaces import AreaRules, AreaShares, Ground, MapMoment
from edged.tracking.tracker import Tracker
from edged.types import Detections, FaceDecision, Frame, SegmentationMap, Tracks, TrackState
from edged.vision.letterbox import LetterboxTransform
from edged.vision.masks import Polygon
from edged.vision.motion import MotionGate

logger = logging.getLogger(__name__)


class StageTimer:
    """How long each stage took. A batch's stages count for every frame of it, and while it computes all that the host does.

    Args:
        now_s: monotonic seconds; the first stage begins now.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._began_s = now_s()
        self.stages_ms: dict[str, float] = {}

    def end(self, stage: str) -> None:
        """Add what has passed since the stage before to this one."""
        now_s = self._now_s()
        self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + 1000.0 * (now_s - self._began_s)
        self._began_s = now_s


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Mapped:
    """What one picture of a camera is made of, found beside the fast loop.

    Attributes:
        camera: id of the camera.
        map: of the whole picture.
        captured_s, frame_seq: of that picture, as it was analysed.
        shares: of the classes in the picture and in each zone.
        grid: of the classes in each cell of a coarse grid.
        stages_ms: how long it took, by stage.
    """

    camera: str
    map: SegmentationMap
    captured_s: float
    frame_seq: int
    shares: AreaShares
    grid: Grid
    stages_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What one analysed frame gave.

    Attributes:
        detections: after suppression, before the site's filters; None for a still frame that the gate kept back.
        tracks: the camera's tracks after it.
        events: what it made happen, in order.
        stages_ms: stage name to milliseconds.
        objects: what is known of each confirmed track after it, by the track's number.
        scene: the newest map of the camera, mostly of an earlier frame; None where there is none yet, or nobody makes maps.
    """

    frame: Frame
    detections: Detections | None
    tracks: Tracks
    events: tuple[Event, ...]
    stages_ms: Mapping[str, float]
    objects: Mapping[int, ObjectFacts] = field(default_factory=dict)
    scene: Mapped | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """Whose face a track shows, found beside the fast loop.

    Attributes:
        camera: id of the camera.
        number: of the track.
        decision: what its pictures amount to.
        captured_s, frame_seq, width, height: of the newest frame that counted, as it was analysed.
        stages_ms: how long looking at that frame took, by stage.
    """

    camera: str
    number: int
    decision: FaceDecision
    captured_s: float
    frame_seq: int
    width: int
    height: int
    stages_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionSettings:
    """What one camera accepts from the detector.

    Attributes:
        thresholds: scores and overlaps.
        sizes: least and most box by class id.
        ignore: areas whose objects are dropped, in shares of the picture.
    """

    thresholds: DetectorThresholds
    sizes: Mapping[int, SizeLimits] = field(default_factory=dict)
    ignore: Sequence[Polygon] = ()


@dataclass(frozen=True, slots=True, eq=False)
class MapRules:
    """What follows from the maps of one camera.

    Attributes:
        areas: what its zones are made of.
        view: whether it still shows what it did; None where nobody asks.
        surfaces: names of the classes that objects stand on.
    """

    areas: AreaRules
    view: SceneWatch | None
    surfaces: Collection[str]


class CameraPipeline:
    """Everything that one camera remembers from frame to frame. Used by one thread.

    Args:
        gate: holds back still frames; None analyses every frame.
        detection, tracker, rules: as set for this camera.
        map_rules: None where no maps are made of its pictures.
    """

    def __init__(
        self,
        *,
        gate: MotionGate | None,
        detection: DetectionSettings,
        tracker: Tracker,
        rules: Rules,
        map_rules: MapRules | None = None,
    ) -> None:
        self.detection = detection
        self.scene: Mapped | None = None
        self._gate = gate
        self._tracker = tracker
        self._rules = rules
        self._map_rules = map_rules
        self._size: tuple[int, int] | None = None
        self._is_undecided = False

    @property
    def count_changes(self) -> int:
        """Rises whenever `counts` gives something new."""
        return self._rules.count_changes

    def counts(self) -> Counts:
        """What its lines and zones have counted."""
        return self._rules.counts()

    def counters(self) -> CounterState:
        """The totals to keep over a restart."""
        return self._rules.counters()

    @property
    def area_changes(self) -> int:
        """Rises whenever `areas` gives something new."""
        return self._map_rules.areas.changes if self._map_rules else 0

    def areas(self) -> Areas | None:
        """What its picture and zones are made of; None where that is not known now."""
        return self._map_rules.areas.areas() if self._map_rules else None

    @property
    def is_map_wanted(self) -> bool:
        """Whether a rule about maps waits for the next one."""
        rules = self._map_rules
        return rules is not None and (rules.areas.is_undecided or (rules.view is not None and rules.view.is_undecided))

    @property
    def scene_state(self) -> SceneState | None:
        """Whether it shows the view that was learnt; None where nobody asks."""
        return self._map_rules.view.state if self._map_rules and self._map_rules.view else None

    @property
    def scene_memory(self) -> SceneMemory:
        """What it knows of its views now."""
        return self._map_rules.view.memory if self._map_rules and self._map_rules.view else SceneMemory()

    def needs_detection(self, frame: Frame) -> bool:
        """Whether something may have changed since the last frame that the detector saw, or is not yet decided."""
        if self._gate is None:
            return True
        has_moved = self._gate.update(frame.pixels_rgb, now_s=frame.captured_s)  # always: it follows the light
        self._is_undecided = has_moved or self._is_undecided  # what moves is, until the tracks say otherwise
        return self._is_undecided

    def follow(self, frame: Frame, detections: Detections | None, timer: StageTimer) -> tuple[Tracks, tuple[Event, ...]]:
        """Tracks and rules for one frame; `detections` is None when it was still."""
        events = self._follow_size(frame)
        tracks = self._track(frame, detections)
        timer.end("track")
        events += self._judge(tracks, frame)
        timer.end("rules")
        return tracks, tuple(events)

    def objects(self) -> Mapping[int, ObjectFacts]:
        """What is known of each confirmed track, by its number."""
        return self._rules.objects()

    def identify(self, identified: Identified) -> tuple[Event, ...]:
        """Take over whose face an object shows."""
        return tuple(
            self._rules.identify(
                identified.number,
                identified.decision,
                now_s=identified.captured_s,
                frame_seq=identified.frame_seq,
                width=identified.width,
                height=identified.height,
            )
        )

    def take_map(self, mapped: Mapped) -> tuple[Event, ...]:
        """Take over what its picture is made of; a map of pictures of another size than the newest is passed over."""
        rules, scene = self._map_rules, mapped.map
        if rules is None or self._size != (scene.frame_width, scene.frame_height):
            return ()
        self.scene = mapped
        self._rules.stand_on(Ground(scene, rules.surfaces))
        moment = MapMoment(mapped.captured_s, mapped.frame_seq, scene.frame_width, scene.frame_height)
        events = rules.areas.update(mapped.shares, moment)
        moved = rules.view.update(mapped.grid, mapped.captured_s) if rules.view else None
        return (*events, *([] if moved is None else [_moved_event(moved, moment)]))

    def change(self, rules: RuleSettings, areas: AreaRuleSettings) -> tuple[Event, ...]:
        """Judge by other rules from the next frame and the next map on; `areas` count where maps are made.

        Where zones lie elsewhere, or something else is told of them, nothing is known of the areas until that map.
        """
        before, after = self._rules.settings.polygons, rules.polygons
        moved = {name for name in before | after if before.get(name) != after.get(name)}
        events = self._rules.change(rules)
        if self._map_rules:
            width, height = self._size or (1, 1)
            events += self._map_rules.areas.change(areas, MapMoment(self._rules.newest_s, 0, width, height))
            if moved:
                self._map_rules.areas.forget_zones(moved)
        if moved and self.scene:
            self.scene = replace(self.scene, shares=AreaShares(self.scene.shares.picture, {}))
        return tuple(events)

    def end(self, *, now_s: float) -> tuple[Event, ...]:
        """End every object and forget the map: the camera is gone for long, or the daemon stops."""
        self._tracker.reset()
        self.scene = None
        self._rules.stand_on(None)
        if self._map_rules:
            self._map_rules.areas.forget()
            if self._map_rules.view:
                self._map_rules.view.pause()
        return tuple(self._rules.finish(now_s=now_s))

    def _track(self, frame: Frame, detections: Detections | None) -> Tracks:
        if detections is None:
            tracks = self._tracker.hold(now_s=frame.captured_s)
        else:
            accepted = filter_detections(
                detections,
                width=frame.width,
                height=frame.height,
                sizes=self.detection.sizes,
                ignore=self.detection.ignore,
            )
            tracks = self._tracker.update(accepted, now_s=frame.captured_s)
        self._is_undecided = any(track.state is TrackState.TENTATIVE for track in tracks.live)
        return tracks

    def _judge(self, tracks: Tracks, frame: Frame) -> list[Event]:
        return self._rules.update(tracks, now_s=frame.captured_s, frame_seq=frame.seq, width=frame.width, height=frame.height)

    def _follow_size(self, frame: Frame) -> list[Event]:
        """A camera that changes its size starts its tracks anew, and says so."""
        before, self._size = self._size, (frame.width, frame.height)
        if before is None or before == self._size:
            return []
        events = [*self.end(now_s=frame.captured_s)]
        facts = {"from_width": before[0], "from_height": before[1]}
        changed = Event(EventType.CAMERA_FORMAT, frame.captured_s, frame.seq, frame.width, frame.height, details=facts)
        return [*events, changed]


@dataclass(frozen=True, slots=True, eq=False)
class BatchInFlight:
    """Frames on their way: the network computes, `finish` waits for it.

    Attributes:
        frames: those that have a picture, at most one a camera.
        moving: of these, those that the network is shown.
        transforms: where each of those lies in its input.
        ticket: for its outputs; None where nothing moves.
    """

    frames: Sequence[Frame]
    moving: Sequence[Frame]
    transforms: Sequence[LetterboxTransform]
    ticket: Ticket | None
    timer: StageTimer


def process(
    frames: Sequence[Frame], cameras: Mapping[str, CameraPipeline], detector: Detector, *, now_s: Callable[[], float]
) -> list[FrameResult]:
    """Take a batch of frames, at most one a camera, through everything; results in the same order.

    A frame whose picture its decoder cannot give has no result; the others are not concerned.

    Raises:
        InferenceError: the network failed.
    """
    return finish(begin(frames, cameras, detector, now_s=now_s), cameras, detector)


def begin(
    frames: Sequence[Frame], cameras: Mapping[str, CameraPipeline], detector: Detector, *, now_s: Callable[[], float]
) -> BatchInFlight:
    """The first half of `process`: up to the network, which computes from here on.

    Up to `detector.most_in_flight` batches may have begun before the first is finished; they are finished in their order.
    """
    timer = StageTimer(now_s)
    frames = [frame for frame in frames if has_pixels(frame)]
    timer.end("convert")
    moving = [frame for frame in frames if cameras[frame.camera].needs_detection(frame)]
    timer.end("motion")
    if not moving:
        return BatchInFlight(frames, (), (), None, timer)
    prepared = detector.prepare([frame.pixels_rgb for frame in moving])
    timer.end("letterbox")
    return BatchInFlight(frames, moving, prepared.transforms, detector.submit(prepared), timer)


def finish(batch: BatchInFlight, cameras: Mapping[str, CameraPipeline], detector: Detector) -> list[FrameResult]:
    """The second half: what the network has found, and all that follows from it."""
    timer = batch.timer
    detections = _detect(batch, cameras, detector)
    results = []
    for frame in batch.frames:
        found = detections.get(frame.camera)
        tracks, events = cameras[frame.camera].follow(frame, found, timer)
        objects = cameras[frame.camera].objects()
        scene = cameras[frame.camera].scene
        results.append(FrameResult(frame, found, tracks, events, dict(timer.stages_ms), objects, scene))
    return results


def has_pixels(frame: Frame) -> bool:
    """Make a frame's pixels now, so that the time is counted; whether its decoder could give them."""
    try:
        return frame.pixels_rgb is not None
    except Exception as error:  # border to the decoder, whose conversion may raise whatever it likes
        logger.debug("picture cannot be converted: camera=%s seq=%d error=%s", frame.camera, frame.seq, error)
        return False


def _moved_event(moved: Moved, moment: MapMoment) -> Event:
    details = {"difference": round(moved.difference, 4), "usual": round(moved.usual, 4)}
    return moment.event(EventType.CAMERA_MOVED, details=details)


def _detect(batch: BatchInFlight, cameras: Mapping[str, CameraPipeline], detector: Detector) -> dict[str, Detections]:
    """The detections of each camera's frame, from the detector's floor on."""
    if batch.ticket is None:
        return {}
    outputs = batch.ticket.result()
    batch.timer.end("infer")
    thresholds = [cameras[frame.camera].detection.thresholds for frame in batch.moving]
    found = detector.decode(outputs, batch.transforms, thresholds=thresholds)
    batch.timer.end("nms")
    return {frame.camera: each for frame, each in zip(batch.moving, found, strict=True)}
