"""The fast loop counts what became of every frame and ends what is gone."""

from queue import SimpleQueue

import numpy as np
import pytest
from fakes import Done, FakeClock
from models_onnx import make_manifest

from edged.backends.base import TensorSpec
from edged.errors import InferenceError
from edged.events.event import EventType
from edged.models.detector import Detector
from edged.pipeline import CameraPipeline, DetectionSettings, Identified, Mapped, MapRules
from edged.rules.engine import Rules
from edged.rules.scene import SceneSettings, SceneState, SceneWatch, class_grid
from edged.rules.settings import AreaRuleSettings, AreaSettings, RuleSettings, ShareRule, ZoneSettings
from edged.rules.surfaces import AreaRules, AreaShares
from edged.runtime.analysis import POLL_S, Analysis, RuleChange
from edged.runtime.board import FrameBoard
from edged.runtime.camera_status import CameraState, CameraStatus
from edged.runtime.loop import Loop
from edged.tracking.tracker import Tracker, TrackerSettings
from edged.types import FaceDecision, FaceDecisionKind, Frame, SegmentationMap


class OnePersonBackend:
    """Sees one person in every picture."""

    label = "one person"

    def __init__(self):
        self.inputs = {"images": TensorSpec("uint8", (None, 3, 32, 64))}
        self.outputs = {"boxes": TensorSpec("float32", (None, 2, 4)), "scores": TensorSpec("float32", (None, 2, 2))}

    def submit(self, feeds):
        n = len(feeds["images"])
        boxes = np.tile(np.float32([24, 8, 40, 30]), (n, 2, 1))
        return Done({"boxes": boxes, "scores": np.tile(np.float32([[0.9, 0], [0, 0]]), (n, 1, 1))})

    def close(self):
        pass


class OverlappingBackend(OnePersonBackend):
    """The same beside the host: batches are numbered, and noted when they are submitted and fetched."""

    picture_input = None

    def __init__(self, *, fails_at=None):
        super().__init__()
        self.calls = []
        self._fails_at = fails_at

    def submit(self, feeds):
        number = sum(call.startswith("submit") for call in self.calls)
        self.calls.append(f"submit {number}")
        return Numbered(self, number, super().submit(feeds))

    def infer(self, feeds):
        return self.submit(feeds).result()

    def fetch(self, number, ticket):
        self.calls.append(f"result {number}")
        if number == self._fails_at:
            raise InferenceError("the batch failed")
        return ticket.result()


class Numbered:
    def __init__(self, backend, number, ticket):
        self._backend, self._number, self._ticket = backend, number, ticket

    def result(self):
        return self._backend.fetch(self._number, self._ticket)


class ListJournal:
    def __init__(self):
        self.events = []
        self.n_counts = 0
        self.areas = []

    def publish_events(self, camera, events, *, stages_ms):
        self.events += [event.type for event in events]

    def publish_counts(self, camera, counts, *, kept):
        self.n_counts += 1

    def publish_areas(self, camera, areas):
        self.areas.append((camera, areas))


class Rig:
    """Plays frames to the analysis: each `take` gives the next, None lets half a minute pass, the end stops the loop."""

    def __init__(self, frames, *, backend=None, faces=None, maps=None, map_rules=None):
        self.clock = FakeClock()
        detector = Detector(make_manifest(), backend or OnePersonBackend())
        names = detector.class_names
        self.status = CameraStatus(CameraState.ONLINE, now_s=0)
        self.journal = ListJournal()
        pipeline = CameraPipeline(
            gate=None,
            detection=DetectionSettings(thresholds=detector.thresholds),
            tracker=Tracker(TrackerSettings(), class_names=names),
            rules=Rules(RuleSettings(), class_names=names),
            map_rules=map_rules,
        )
        board = FrameBoard()
        self.frames = list(frames)
        self.events_at_take = []
        self.n_areas_at_take = []
        self.changes = SimpleQueue()
        self.timeouts_s = []
        board.take = self.take
        self.analysis = Analysis(
            board=board,
            cameras={"door": pipeline},
            statuses={"door": self.status},
            detector=detector,
            journal=self.journal,
            clock=self.clock,
            batch=1,
            absent_s=30,
            faces=faces,
            maps=maps,
            changes=self.changes,
        )
        self.loop = Loop("analysis", self.analysis.run, limit_s=30, now_s=self.clock.now_s)

    def take(self, most, *, timeout_s):
        self.events_at_take.append(list(self.journal.events))
        self.n_areas_at_take.append(len(self.journal.areas))
        self.timeouts_s.append(timeout_s)
        if not self.frames:
            self.loop.stop()
            return []
        frame = self.frames.pop(0)
        if frame is None:
            self.clock.advance(31)
            return []
        self.clock.time_s = frame.captured_s
        return [frame]

    def run(self):
        self.loop.run()
        assert self.loop.failure is None
        return self


def make_frames(n, *, fails=False):
    def pixels():
        if fails:
            raise RuntimeError("no picture")
        return np.full((32, 64, 3), 100, np.uint8)

    return [Frame("door", index + 1, 100 + index / 10, 0.0, 64, 32, pixels) for index in range(n)]


def test_analysis_when_stopped_ends_its_objects():
    """Whoever waits for the end of an object gets it."""
    rig = Rig(make_frames(10)).run()

    assert rig.journal.events == [EventType.OBJECT_NEW, EventType.OBJECT_END]
    assert rig.status.snapshot().frames.detected == 10


def test_analysis_of_a_camera_that_is_gone_for_long_ends_its_objects():
    """Not at once: the camera may come back to the same scene."""
    rig = Rig([*make_frames(10), None]).run()

    before_pause, after_pause = rig.events_at_take[-2:]
    assert EventType.OBJECT_END not in before_pause
    assert EventType.OBJECT_END in after_pause


class FakeFaceWatch:
    """Answers about track 1 once it was offered three results."""

    def __init__(self):
        self.n_results = 0
        self.dropped = []

    def put(self, result):
        self.n_results += 1

    def take(self):
        if self.n_results != 3:
            return []
        decision = FaceDecision(FaceDecisionKind.UNKNOWN, None, 0.1, None, 0.5, None, 2, None, 1, "a" * 64)
        return [
            Identified(camera="door", number=1, decision=decision, captured_s=100.1, frame_seq=2, width=64, height=32),
            Identified(camera="door", number=9, decision=decision, captured_s=100.1, frame_seq=2, width=64, height=32),
        ]

    def drop(self, camera):
        self.dropped.append(camera)


def test_analysis_says_whose_face_it_is_before_the_next_frame():
    """Every result is offered; an answer about an object that is gone is none; at the end nothing is kept of a camera's faces."""
    faces = FakeFaceWatch()

    rig = Rig(make_frames(4), faces=faces).run()

    assert faces.n_results == 4
    assert rig.journal.events == [EventType.OBJECT_NEW, EventType.OBJECT_IDENTITY, EventType.OBJECT_END]
    assert faces.dropped == ["door"]


class FakeMapWatch:
    """Has a map of all cars of each third picture; notes what it was told."""

    cameras = ("door",)

    def __init__(self):
        self.n_results = 0
        self.undecided = []
        self.dropped = []
        self.zones = {"way": ()}
        self.on_put = lambda n: None
        self.is_taken = True

    def put(self, result, *, is_undecided):
        self.n_results += 1
        self.undecided.append(is_undecided)
        self.is_taken = self.n_results % 3 != 0
        self.on_put(self.n_results)

    def take(self):
        if self.is_taken:
            return []
        self.is_taken = True
        scene = SegmentationMap(np.ones((8, 16), np.uint8), ("road", "car"), 64, 32)
        shares = AreaShares(np.array([0.0, 1.0]), dict.fromkeys(self.zones, np.array([0.0, 1.0])))
        grid = class_grid(scene.labels, 2)
        captured_s = 100 + self.n_results / 10
        return [Mapped(camera="door", map=scene, captured_s=captured_s, frame_seq=self.n_results, shares=shares, grid=grid)]

    def change_zones(self, camera, polygons):
        self.zones = polygons

    def drop(self, camera):
        self.dropped.append(camera)


WAY = AreaSettings(blocked=ShareRule(classes=("car",), above=0.5, for_s=0.3))


def make_map_rules():
    areas = AreaRules(AreaRuleSettings({"way": WAY}), class_names=("road", "car"), model="5" * 64)
    return MapRules(areas, SceneWatch(SceneSettings(), np.array([True, True])), ("road",))


def test_analysis_says_what_maps_tell_before_the_next_frame():
    """Every result is offered, with whether a rule waits; areas are published on change, and taken back at the end."""
    maps = FakeMapWatch()

    rig = Rig(make_frames(8), maps=maps, map_rules=make_map_rules()).run()

    told = [areas for _, areas in rig.journal.areas]
    assert maps.undecided == [False] * 3 + [True] * 3 + [False] * 2
    assert rig.journal.events == [EventType.OBJECT_NEW, EventType.ZONE_BLOCKED, EventType.OBJECT_END]
    assert [areas and areas.zones["way"].is_blocked for areas in told] == [None, False, True, None]
    assert told[-1] is None
    assert rig.status.snapshot().scene is SceneState.LEARNING
    assert maps.dropped == ["door"]


def test_analysis_of_a_camera_that_changes_its_size_takes_its_areas_back_at_once():
    """Not only when the next map comes: what is retained is of pictures that it no longer gives."""
    turned = Frame("door", 5, 100.5, 0.0, 32, 64, lambda: np.full((64, 32, 3), 100, np.uint8))

    rig = Rig([*make_frames(4), turned], maps=FakeMapWatch(), map_rules=make_map_rules()).run()

    assert [areas is None for _, areas in rig.journal.areas] == [True, False, True]
    assert rig.n_areas_at_take[-2:] == [2, 3]


def test_analysis_takes_over_other_rules_before_the_next_frame():
    """Events and areas follow at once, the maps have the new zones, and who draws is told in between."""
    maps, zone = FakeMapWatch(), ZoneSettings("all", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
    rig = Rig(make_frames(8), maps=maps, map_rules=make_map_rules())
    areas, told = AreaRuleSettings({"all": AreaSettings()}), []
    rig.changes.put(RuleChange("door", RuleSettings((zone,)), areas, lambda: told.append(list(rig.journal.events))))

    rig.run()

    assert maps.zones == {"all": zone.polygon_norm}
    assert told == [[]]
    assert rig.journal.events == [EventType.OBJECT_NEW, EventType.ZONE_ENTER, EventType.ZONE_LEAVE, EventType.OBJECT_END]
    assert [areas and set(areas.zones) for _, areas in rig.journal.areas] == [None, {"all"}, None]


def test_analysis_of_other_rules_with_the_same_zones_keeps_its_maps():
    """A change of what is announced, or of what is hidden, has no map made anew."""
    maps, rules = FakeMapWatch(), make_map_rules()
    rig = Rig(make_frames(8), maps=maps, map_rules=rules)
    changes = {5: RuleChange("door", RuleSettings(), AreaRuleSettings({"way": WAY}))}
    maps.on_put = lambda n: rig.changes.put(changes[n]) if n in changes else None

    rig.run()

    assert maps.zones == {"way": ()}
    assert EventType.ZONE_BLOCKED in rig.journal.events
    assert [areas and areas.zones["way"].is_blocked for _, areas in rig.journal.areas] == [None, False, True, None]


def test_analysis_says_that_a_view_is_learnt_before_the_first_map():
    """Absent means that nobody looks."""
    assert Rig([], maps=FakeMapWatch(), map_rules=make_map_rules()).run().status.snapshot().scene is SceneState.LEARNING
    assert Rig([]).run().status.snapshot().scene is None


def test_analysis_without_maps_publishes_no_areas():
    """Nobody asked for them."""
    assert Rig(make_frames(3)).run().journal.areas == []


def test_analysis_of_frames_without_a_picture_counts_them_as_dropped(caplog):
    """They neither stop the daemon nor fill the log."""
    rig = Rig(make_frames(5, fails=True)).run()

    assert rig.status.snapshot().frames.dropped == 5
    assert rig.journal.events == []
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


@pytest.mark.parametrize("n_frames", [0, 3])
def test_analysis_publishes_counts_once_while_nothing_counts(n_frames):
    """The retained counters are there from the start and repeated only on change."""
    assert Rig(make_frames(n_frames)).run().journal.n_counts == 1


def test_analysis_on_a_device_submits_a_batch_before_it_fetches_the_one_before():
    """Never more than two are in flight, results are fetched in their order, and the last one at the end."""
    backend = OverlappingBackend()

    rig = Rig(make_frames(4), backend=backend).run()

    order = "submit 0, submit 1, result 0, submit 2, result 1, submit 3, result 2, result 3"
    assert ", ".join(backend.calls) == order
    assert rig.status.snapshot().frames.detected == 4


def test_analysis_on_a_device_tells_the_same_as_without():
    """The same events in the same order, and the same counts."""
    plain, overlapped = Rig(make_frames(10)).run(), Rig(make_frames(10), backend=OverlappingBackend()).run()

    assert overlapped.journal.events == plain.journal.events == [EventType.OBJECT_NEW, EventType.OBJECT_END]
    assert overlapped.status.snapshot().frames == plain.status.snapshot().frames


def test_analysis_on_a_device_waits_for_no_frame_while_a_batch_is_in_flight():
    """A batch without a next one is finished at once; only then the loop sleeps until there is a frame."""
    backend = OverlappingBackend()

    rig = Rig([*make_frames(1), None, *make_frames(1)], backend=backend).run()

    assert backend.calls == ["submit 0", "result 0", "submit 1", "result 1"]
    assert rig.timeouts_s == [POLL_S, 0.0, POLL_S, 0.0]


@pytest.mark.parametrize("fails_at", [0, 3])
def test_analysis_on_a_device_ends_when_a_batch_fails(fails_at):
    """The error ends the loop, as it does on a processor; results before it were told."""
    rig = Rig(make_frames(4), backend=OverlappingBackend(fails_at=fails_at))

    rig.loop.run()

    assert isinstance(rig.loop.failure, InferenceError)
    assert rig.status.snapshot().frames.detected == fails_at
