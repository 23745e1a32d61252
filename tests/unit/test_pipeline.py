"""One frame through everything, with a backend that answers what the test says."""

import numpy as np
import pytest
from fakes import Done
from models_onnx import make_manifest

from edged.backends.base import TensorSpec
from edged.errors import InferenceError
from edged.events.event import EventType
from edged.models.detector import Detector, SizeLimits
from edged.pipeline import CameraPipeline, DetectionSettings, Mapped, MapRules, begin, finish, process
from edged.rules.engine import Rules
from edged.rules.scene import SceneSettings, SceneState, SceneWatch, class_grid
from edged.rules.settings import AreaRuleSettings, AreaSettings, RuleSettings, ZoneSettings
from edged.rules.surfaces import AreaRules, AreaShares
from edged.tracking.tracker import Tracker, TrackerSettings
from edged.types import Frame, SegmentationMap, TrackState
from edged.vision.motion import MotionGate, MotionSettings

PERSON = np.float32([24, 8, 40, 30])


class ScriptedBackend:
    """Answers the same two boxes for every picture of a batch and counts the batches."""

    label = "scripted"

    def __init__(self):
        self.inputs = {"images": TensorSpec("uint8", (None, 3, 32, 64))}
        self.outputs = {"boxes": TensorSpec("float32", (None, 2, 4)), "scores": TensorSpec("float32", (None, 2, 2))}
        self.batches = []
        self.scores = np.float32([[0.9, 0.0], [0.0, 0.0]])

    def submit(self, feeds):
        n = len(feeds["images"])
        self.batches.append(n)
        boxes = np.stack([PERSON, PERSON])
        return Done({"boxes": np.stack([boxes] * n), "scores": np.stack([self.scores] * n)})

    def close(self):
        pass


class Rig:
    def __init__(self, *, cameras=("door",), gate=None, map_rules=None, **detection):
        self.backend = ScriptedBackend()
        self.detector = Detector(make_manifest(), self.backend)
        self.settings = DetectionSettings(thresholds=self.detector.thresholds, **detection)
        self.pipelines = {name: self.make_pipeline(gate, map_rules) for name in cameras}
        self.seq = 0

    def make_pipeline(self, gate, map_rules):
        names = self.detector.class_names
        zone = ZoneSettings("hall", ((0.1, 0.1), (0.9, 0.1), (0.9, 0.99), (0.1, 0.99)), dwell_s=2.0)
        return CameraPipeline(
            gate=MotionGate(gate) if gate else None,
            detection=self.settings,
            tracker=Tracker(TrackerSettings(), class_names=names),
            rules=Rules(RuleSettings((zone,)), class_names=names),
            map_rules=map_rules,
        )

    def make_frame(self, now_s, *, camera="door", width=64, height=32, shade=100):
        self.seq += 1
        return Frame(camera, self.seq, now_s, now_s, width, height, lambda: np.full((height, width, 3), shade, np.uint8))

    def begin(self, *frames):
        return begin(frames, self.pipelines, self.detector, now_s=lambda: 0.0)

    def finish(self, batch):
        return finish(batch, self.pipelines, self.detector)

    def process(self, *frames):
        return process(frames, self.pipelines, self.detector, now_s=lambda: 0.0)

    def play(self, seconds, *, fps=10, **frame):
        results = []
        for index in range(int(seconds * fps)):
            results += self.process(self.make_frame(index / fps, **frame))
        return results


def events_of(results):
    return [event.type for result in results for event in result.events]


def test_pipeline_with_a_standing_person_tells_new_enter_and_dwell():
    """Detections become a track, the track an object in a zone."""
    rig = Rig()

    results = rig.play(3.0)

    assert events_of(results)[:3] == [EventType.OBJECT_NEW, EventType.ZONE_ENTER, EventType.ZONE_DWELL]
    assert results[-1].tracks.confirmed[0].number == 1


def test_pipeline_with_still_frames_holds_tracks_and_lets_dwell_go_on():
    """The gate spares the detector; the object neither ages nor ends, and its dwell is told on time."""
    rig = Rig(gate=MotionSettings(recheck_s=60.0, linger_s=0.5))

    results = rig.play(4.0)

    gated = [result for result in results if result.detections is None]
    dwell = next(event for result in results for event in result.events if event.type is EventType.ZONE_DWELL)
    assert len(gated) > 30
    assert dwell in [event for result in gated for event in result.events]
    assert dwell.dwell_s == pytest.approx(2.0, abs=0.11)
    assert results[-1].tracks.live[0].state is TrackState.CONFIRMED


def test_pipeline_in_an_ignored_area_sees_nothing():
    """What must not be seen leaves no trace; what the network said is still there to be looked at."""
    rig = Rig(ignore=(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),))

    results = rig.play(1.0)

    assert events_of(results) == []
    assert len(results[-1].detections) == 1


def test_pipeline_with_a_least_size_leaves_smaller_boxes_out():
    """The limits are shares of the picture: this box is a quarter wide."""
    rig = Rig(sizes={0: SizeLimits(min_width_ratio=0.3)})

    assert events_of(rig.play(1.0)) == []


def test_pipeline_whose_frames_change_their_size_ends_objects_and_says_so():
    """Boxes of one size mean nothing in another."""
    rig = Rig()
    rig.play(1.0)

    (result,) = rig.process(rig.make_frame(1.1, width=128, height=64))

    types = [event.type for event in result.events]
    assert types[-1] is EventType.CAMERA_FORMAT
    assert EventType.OBJECT_END in types
    assert result.events[-1].details == {"from_width": 64, "from_height": 32}


def test_pipeline_ended_closes_what_is_open():
    """Whoever waits for the end of an object gets it."""
    rig = Rig()
    rig.play(1.0)

    events = rig.pipelines["door"].end(now_s=2.0)

    assert [event.type for event in events] == [EventType.ZONE_LEAVE, EventType.OBJECT_END]
    assert rig.pipelines["door"].end(now_s=3.0) == ()


def test_process_of_two_cameras_computes_one_batch_and_keeps_them_apart():
    """Results come in the order of the frames; each camera has tracks of its own."""
    rig = Rig(cameras=("door", "yard"))

    results = rig.process(rig.make_frame(0.0, camera="yard"), rig.make_frame(0.0, camera="door"))

    assert rig.backend.batches == [2]
    assert [result.frame.camera for result in results] == ["yard", "door"]


def test_process_of_still_frames_only_asks_no_network():
    """A gated batch costs no inference."""
    rig = Rig(gate=MotionSettings(recheck_s=60.0, linger_s=0.1))
    rig.play(1.0)
    n_before = len(rig.backend.batches)

    rig.process(rig.make_frame(1.0))

    assert len(rig.backend.batches) == n_before


def test_process_names_every_stage_it_timed():
    """The first message on the wire already carries them."""
    rig = Rig()

    (result,) = rig.process(rig.make_frame(0.0))

    assert list(result.stages_ms) == ["convert", "motion", "letterbox", "infer", "nms", "track", "rules"]


def test_process_of_a_frame_without_a_picture_leaves_only_that_one_out():
    """A decoder that fails on one camera's frame concerns no other camera."""

    def fail():
        raise RuntimeError("no picture")

    rig = Rig(cameras=("door", "yard"))
    broken = Frame("door", 1, 0.0, 0.0, 64, 32, fail)

    results = rig.process(broken, rig.make_frame(0.0, camera="yard"))

    assert [result.frame.camera for result in results] == ["yard"]
    assert rig.process(broken) == []


def test_batches_begun_before_the_one_before_was_finished_give_the_same():
    """Whether the network computes beside the host or not: the same tracks and events, frame by frame."""
    one_by_one = Rig().play(3.0)
    rig = Rig()
    frames = [rig.make_frame(index / 10) for index in range(30)]

    overlapped, waiting = [], rig.begin(frames[0])
    for frame in frames[1:]:
        begun = rig.begin(frame)
        overlapped += rig.finish(waiting)
        waiting = begun
    overlapped += rig.finish(waiting)

    assert [result.frame.seq for result in overlapped] == [result.frame.seq for result in one_by_one]
    for found, expected in zip(overlapped, one_by_one, strict=True):
        assert [(event.type, event.captured_s) for event in found.events] == [
            (event.type, event.captured_s) for event in expected.events
        ]
        assert [(track.number, track.state) for track in found.tracks.live] == [
            (track.number, track.state) for track in expected.tracks.live
        ]
        assert list(found.stages_ms) == list(expected.stages_ms)


def test_still_frame_behind_a_moving_one_in_flight_is_shown_to_the_network():
    """What moved is undecided until its tracks are known: the frame behind it may be the one that confirms it."""
    rig = Rig(gate=MotionSettings(recheck_s=60.0, linger_s=0.1))

    first, second = rig.begin(rig.make_frame(0.0)), rig.begin(rig.make_frame(1.0))

    assert [len(batch.moving) for batch in (first, second)] == [1, 1]
    rig.finish(first)
    rig.finish(second)


def test_batch_whose_network_fails_raises_when_it_is_finished():
    """The error of a ticket reaches whoever asks for the results."""

    class Failed:
        def result(self):
            raise InferenceError("the network failed")

    rig = Rig()
    rig.backend.submit = lambda feeds: Failed()
    batch = rig.begin(rig.make_frame(0.0))

    with pytest.raises(InferenceError, match="the network failed"):
        rig.finish(batch)


SURFACES = ("road", "wall")


def make_map_rules():
    areas = AreaRules(AreaRuleSettings(), class_names=SURFACES, model="5" * 64)
    view = SceneWatch(SceneSettings(for_s=1, learn_s=1), np.array([True, True]))
    return MapRules(areas, view, ("road",))


def make_mapped(at_s, *, wall=0.0, size=(64, 32)):
    """A map whose upper part is wall, the rest road."""
    labels = np.zeros((16, 32), np.uint8)
    labels[: round(16 * wall)] = 1
    scene = SegmentationMap(labels, SURFACES, *size)
    shares = AreaShares(np.array([1 - wall, wall]), {})
    return Mapped(camera="door", map=scene, captured_s=at_s, frame_seq=1, shares=shares, grid=class_grid(labels, len(SURFACES)))


def test_pipeline_with_a_map_tells_what_objects_stand_on():
    """From the next frame on; the result carries the map."""
    rig = Rig(map_rules=make_map_rules())
    rig.play(1)
    mapped = make_mapped(0.9)

    rig.pipelines["door"].take_map(mapped)
    (result,) = rig.process(rig.make_frame(1.0))

    assert result.objects[1].surface == "road"
    assert result.scene is mapped
    assert rig.pipelines["door"].areas().picture == {"road": 1.0, "wall": 0.0}


def test_pipeline_that_stands_on_other_ground_says_so_in_an_update():
    """Once it has been there for a second."""
    rig = Rig(map_rules=make_map_rules())
    rig.play(1)
    rig.pipelines["door"].take_map(make_mapped(1.0))

    results = [result for step in range(30) for result in rig.process(rig.make_frame(1 + step / 10))]

    updates = [event for result in results for event in result.events if event.type is EventType.OBJECT_UPDATE]
    assert [update.details["changes"] for update in updates if "surface" in update.details["changes"]] == [["surface"]]
    assert updates[0].object.surface == "road"


def test_pipeline_whose_view_changes_says_that_the_camera_moved():
    """With how much, once; and what is known of the view."""
    rig = Rig(map_rules=make_map_rules())
    rig.process(rig.make_frame(0.0))
    pipeline = rig.pipelines["door"]
    walls = [0.5] * 6 + [1.0] * 6

    events = [event for second, wall in enumerate(walls) for event in pipeline.take_map(make_mapped(float(second), wall=wall))]

    (moved,) = events
    assert (moved.type, moved.captured_s) == (EventType.CAMERA_MOVED, 7.0)
    assert moved.details["difference"] == pytest.approx(5 / 9, abs=1e-3)  # five of the nine rows of the grid
    assert pipeline.scene_state is SceneState.SAME


def test_pipeline_with_other_rules_tells_what_ends_by_that_and_goes_on_by_them():
    """Of objects and of areas; the tracks stay."""
    rig = Rig(map_rules=make_map_rules())
    rig.play(1.0)
    rig.pipelines["door"].take_map(make_mapped(1.0))
    pipeline, porch = rig.pipelines["door"], ZoneSettings("porch", ((0.1, 0.1), (0.9, 0.1), (0.9, 0.99), (0.1, 0.99)))

    areas = AreaRuleSettings({"porch": AreaSettings()})
    events = pipeline.change(RuleSettings((porch,)), areas)

    assert [(event.type.value, event.zone, event.captured_s) for event in events] == [("zone.leave", "hall", 0.9)]
    assert pipeline.areas() is None
    assert pipeline.scene.shares.zones == {}
    assert events_of(rig.process(rig.make_frame(5.1))) == [EventType.ZONE_ENTER, EventType.OBJECT_UPDATE]


def test_pipeline_whose_zones_lie_elsewhere_knows_nothing_of_their_areas():
    """Though what is told of them is the same; with the same zones it goes on knowing."""
    rig = Rig(map_rules=make_map_rules())
    rig.play(1.0)
    pipeline = rig.pipelines["door"]
    settings = RuleSettings((ZoneSettings("hall", ((0.1, 0.1), (0.9, 0.1), (0.9, 0.99), (0.1, 0.99)), dwell_s=2.0),))

    pipeline.take_map(make_mapped(1.0))
    pipeline.change(settings, AreaRuleSettings())
    known = pipeline.areas()
    pipeline.change(RuleSettings((ZoneSettings("hall", ((0.2, 0.1), (0.9, 0.1), (0.9, 0.99))),)), AreaRuleSettings())

    assert known is not None
    assert pipeline.areas() is None


def test_pipeline_that_is_ended_forgets_its_map():
    """A camera that is gone shows nothing."""
    rig = Rig(map_rules=make_map_rules())
    rig.process(rig.make_frame(0.0))
    pipeline = rig.pipelines["door"]
    pipeline.take_map(make_mapped(0.0))

    pipeline.end(now_s=1.0)

    assert (pipeline.scene, pipeline.areas()) == (None, None)


def test_pipeline_passes_over_a_map_of_another_size():
    """It was made while the camera changed its format."""
    rig = Rig(map_rules=make_map_rules())
    rig.process(rig.make_frame(0.0))

    events = rig.pipelines["door"].take_map(make_mapped(0.0, size=(128, 64)))

    assert events == ()
    assert rig.pipelines["door"].scene is None


def test_pipeline_without_rules_about_maps_passes_over_them():
    """The camera's `segmentation` is false."""
    rig = Rig()
    rig.process(rig.make_frame(0.0))
    pipeline = rig.pipelines["door"]

    assert pipeline.take_map(make_mapped(0.0)) == ()
    assert (pipeline.scene_state, pipeline.areas(), pipeline.area_changes, pipeline.is_map_wanted) == (None, None, 0, False)
