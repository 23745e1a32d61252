"""The fast loop: the newest frame of every ready camera through the pipeline, what happened to the journal."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from edged.clock import Clock
from edged.models.detector import Detector
from edged.pipeline import BatchInFlight, CameraPipeline, FrameResult, begin, finish
from edged.rules.settings import AreaRuleSettings, RuleSettings
from edged.runtime.board import FrameBoard
from edged.runtime.camera_status import CameraStatus
from edged.runtime.faces import FaceWatch
from edged.runtime.journal import Journal
from edged.runtime.loop import Loop
from edged.runtime.maps import MapWatch
from edged.runtime.view_store import ViewStore
from edged.types import Frame

logger = logging.getLogger(__name__)

POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class RuleChange:
    """Other rules for one camera, from now on.

    Attributes:
        rules: its zones, lines and objects.
        areas: what is told of its zones, where maps are made.
        on_taken: called between the last result by the rules before and the first by these.
    """

    camera: str
    rules: RuleSettings
    areas: AreaRuleSettings
    on_taken: Callable[[], None] = lambda: None


class Analysis:
    """Analyses what the captures put on the board; the body of one `Loop`, and the only user of detector and pipelines.

    A device computes one batch while the next begins here; no batch waits for a next one that is not there.

    Args:
        board: where the frames are.
        cameras: the pipeline of each camera.
        statuses: where gated and detected frames are counted.
        detector: opened by the thread that runs this.
        journal: takes what happened.
        batch: the most frames computed at once.
        absent_s: a camera without a frame for this long has lost its objects: they end.
        listeners: called with every result, e.g. a recorder; must not block.
        faces: looks at faces beside this loop; None: nobody does.
        maps: has maps made of pictures beside this loop; None: nobody does.
        changes: what is to be judged by otherwise, put there by any thread.
        views: takes what the cameras have learnt to see; None: nobody keeps it.
    """

    def __init__(
        self,
        *,
        board: FrameBoard,
        cameras: Mapping[str, CameraPipeline],
        statuses: Mapping[str, CameraStatus],
        detector: Detector,
        journal: Journal,
        clock: Clock,
        batch: int,
        absent_s: float,
        listeners: Sequence[Callable[[FrameResult], None]] = (),
        faces: FaceWatch | None = None,
        maps: MapWatch | None = None,
        changes: SimpleQueue[RuleChange] | None = None,
        views: ViewStore | None = None,
    ) -> None:
        self._board = board
        self._cameras = cameras
        self._statuses = statuses
        self._detector = detector
        self._journal = journal
        self._clock = clock
        self._batch = batch
        self._most_in_flight = detector.most_in_flight
        self._absent_s = absent_s
        self._listeners = listeners
        self._faces = faces
        self._maps = maps
        self._changes = changes or SimpleQueue()
        self._views = views
        self._seen_s: dict[str, float] = {}  # cameras that may have objects, with the time of their newest frame
        self._unreadable: set[str] = set()
        self._count_changes = dict.fromkeys(cameras, -1)
        self._area_changes = dict.fromkeys(maps.cameras if maps else (), -1)

    def run(self, loop: Loop) -> None:
        """Analyse until the loop is asked to stop, then end every object."""
        for camera in self._cameras:
            self._publish_counts(camera)
            self._publish_areas(camera)
            self._statuses[camera].saw_scene(self._cameras[camera].scene_state)
        in_flight: deque[BatchInFlight] = deque()
        while not loop.stopping:
            loop.beat()
            frames = self._board.take(self._batch, timeout_s=0.0 if in_flight else POLL_S)
            self._take_changes()
            self._take_answers()
            self._take_maps()
            if frames:
                in_flight.append(self._begin(frames))
            if in_flight and (not frames or len(in_flight) == self._most_in_flight):
                self._finish(in_flight.popleft())
            self._end_absent()
        while in_flight:
            self._finish(in_flight.popleft())
        for camera in self._cameras:
            self._end(camera)

    def _begin(self, frames: Sequence[Frame]) -> BatchInFlight:
        batch = begin(frames, self._cameras, self._detector, now_s=self._clock.now_s)
        self._note_unreadable({frame.camera for frame in frames} - {frame.camera for frame in batch.frames})
        return batch

    def _finish(self, batch: BatchInFlight) -> None:
        for result in finish(batch, self._cameras, self._detector):
            self._report(result)

    def _report(self, result: FrameResult) -> None:
        camera = result.frame.camera
        self._seen_s[camera] = result.frame.captured_s
        if result.detections is None:
            self._statuses[camera].count(gated=1)
        else:
            self._statuses[camera].count(detected=1)
        self._journal.publish_events(camera, result.events, stages_ms=result.stages_ms)
        self._publish_counts(camera)
        self._publish_areas(camera)  # those of pictures of another size are forgotten
        if self._faces is not None:
            self._faces.put(result)
        if self._maps is not None:
            self._maps.put(result, is_undecided=self._cameras[camera].is_map_wanted)
        for listener in self._listeners:
            listener(result)

    def _take_changes(self) -> None:
        """Rules that were changed meanwhile: they count from the next frame and the next map on."""
        while not self._changes.empty():
            change = self._changes.get()
            camera, pipeline = change.camera, self._cameras[change.camera]
            events = pipeline.change(change.rules, change.areas)
            if self._maps is not None and pipeline.areas() is None:  # what is under way may be of other zones
                self._maps.change_zones(camera, change.rules.polygons)
            change.on_taken()
            self._journal.publish_events(camera, events, stages_ms={})
            self._publish_counts(camera)
            self._publish_areas(camera)

    def _take_answers(self) -> None:
        """Whose faces were recognised meanwhile: before the next frame, so that its events can say it."""
        for answer in self._faces.take() if self._faces is not None else ():
            events = self._cameras[answer.camera].identify(answer)
            self._journal.publish_events(answer.camera, events, stages_ms=answer.stages_ms)

    def _take_maps(self) -> None:
        """What the pictures are made of, as far as it was found meanwhile."""
        for mapped in self._maps.take() if self._maps is not None else ():
            camera = mapped.camera
            events = self._cameras[camera].take_map(mapped)
            self._journal.publish_events(camera, events, stages_ms=mapped.stages_ms)
            self._publish_areas(camera)
            self._statuses[camera].saw_scene(self._cameras[camera].scene_state)
            if self._views is not None:
                self._views.note(camera, self._cameras[camera].scene_memory)

    def _note_unreadable(self, cameras: set[str]) -> None:
        """Frames without a picture count as dropped; the first of a camera is logged."""
        for camera in cameras:
            self._statuses[camera].count(dropped=1)
            if camera not in self._unreadable:
                logger.warning("pictures of a camera cannot be converted and are dropped: name=%s", camera)
        self._unreadable |= cameras

    def _end_absent(self) -> None:
        now_s = self._clock.now_s()
        for camera in [camera for camera, seen_s in self._seen_s.items() if now_s - seen_s > self._absent_s]:
            self._end(camera)

    def _end(self, camera: str) -> None:
        self._seen_s.pop(camera, None)
        if self._faces is not None:
            self._faces.drop(camera)
        if self._maps is not None:
            self._maps.drop(camera)
        self._journal.publish_events(camera, self._cameras[camera].end(now_s=self._clock.now_s()), stages_ms={})
        self._publish_counts(camera)
        self._publish_areas(camera)

    def _publish_counts(self, camera: str) -> None:
        pipeline = self._cameras[camera]
        if pipeline.count_changes != self._count_changes[camera]:
            self._count_changes[camera] = pipeline.count_changes
            self._journal.publish_counts(camera, pipeline.counts(), kept=pipeline.counters())

    def _publish_areas(self, camera: str) -> None:
        pipeline = self._cameras[camera]
        if self._area_changes.get(camera, pipeline.area_changes) != pipeline.area_changes:
            self._area_changes[camera] = pipeline.area_changes
            self._journal.publish_areas(camera, pipeline.areas())
