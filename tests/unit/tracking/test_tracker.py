"""Rules of the tracker, walked frame by frame."""

import itertools

import numpy as np
import pytest

from edged.tracking.settings import TrackerSettings
from edged.tracking.tracker import Tracker
from edged.types import Detections, Track, Tracks, TrackState

CLASS_NAMES = ("person", "car", "truck")
PERSON, CAR, TRUCK = 0, 1, 2
SETTINGS = TrackerSettings(
    high_score=0.5,
    new_score_ratio=1.2,
    low_score_ratio=0.2,
    confirm_hits=3,
    confirm_s=0.2,
    tentative_lost_s=0.3,
    lost_s=2.0,
    stationary_lost_s=4.0,
    gap_s=1.0,
    stationary_s=2.0,
)
STEP_S = 0.1
STANDING = (100.0, 100.0, 140.0, 200.0)


def _seen(*boxes: tuple[float, ...], score: float = 0.8, class_id: int = PERSON) -> Detections:
    """Detections of one score and class."""
    n = len(boxes)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(array, np.full(n, score, np.float32), np.full(n, class_id, np.int64))


def _both(first: Detections, second: Detections) -> Detections:
    return Detections(
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.class_ids, second.class_ids]),
    )


def _moved(box: tuple[float, ...], x: float, y: float = 0.0) -> tuple[float, ...]:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


class _Watch:
    """A tracker and a fake clock that moves on with every frame."""

    def __init__(self, settings: TrackerSettings = SETTINGS, *, step_s: float = STEP_S) -> None:
        self.tracker = Tracker(settings, class_names=CLASS_NAMES)
        self.step_s = step_s
        self.now_s = 50.0

    def sees(self, detections: Detections, *, frames: int = 1) -> Tracks:
        for _ in range(frames):
            self.now_s += self.step_s
            tracks = self.tracker.update(detections, now_s=self.now_s)
        return tracks

    def sees_nothing(self, *, frames: int = 1) -> Tracks:
        return self.sees(Detections.empty(), frames=frames)

    def holds(self, *, frames: int = 1) -> Tracks:
        for _ in range(frames):
            self.now_s += self.step_s
            tracks = self.tracker.hold(now_s=self.now_s)
        return tracks


def _only(tracks: Tracks) -> Track:
    (track,) = tracks.live
    return track


def test_tracker_without_detections_has_no_tracks():
    """Nothing in, nothing out, at any time."""
    watch = _Watch()

    tracks = watch.sees_nothing(frames=3)

    assert tracks.live == ()
    assert tracks.ended == ()


def test_tracker_object_seen_walks_tentative_to_confirmed():
    """Third detection and 0.2 s: confirmed, with number 1; before that tentative, with number 0."""
    watch = _Watch()

    states = [(_only(watch.sees(_seen(STANDING))).state, _only(watch.tracker.hold(now_s=watch.now_s)).number) for _ in range(3)]

    assert states == [(TrackState.TENTATIVE, 0), (TrackState.TENTATIVE, 0), (TrackState.CONFIRMED, 1)]


def test_tracker_confirmed_walks_lost_and_ended_once():
    """Missed: lost at once, alive for lost_s, then ended in exactly one answer and never seen again."""
    watch = _Watch()
    watch.sees(_seen(STANDING), frames=5)

    first_missed = _only(watch.sees_nothing())
    last_alive = _only(watch.sees_nothing(frames=19))
    ending = watch.sees_nothing()
    after = watch.sees_nothing()

    assert first_missed.state is TrackState.LOST
    assert last_alive.state is TrackState.LOST
    assert [track.number for track in ending.ended] == [1]
    assert ending.live == ()
    assert ending.ended[0].seen_s == pytest.approx(50.5)
    assert after.ended == ()


def test_tracker_tentative_missed_ends_without_a_word():
    """What was never believed is not reported as ended."""
    watch = _Watch()
    watch.sees(_seen(STANDING), frames=2)

    survived = watch.sees_nothing(frames=3)
    gone = watch.sees_nothing()

    assert len(survived.live) == 1
    assert gone.live == ()
    assert gone.ended == ()


def test_tracker_missed_for_a_while_keeps_its_number():
    """An object not detected for a second while it walks behind something is the same one after."""
    watch = _Watch()
    for index in range(15):
        watch.sees(_seen(_moved(STANDING, 4 * index)))
    watch.sees_nothing(frames=10)

    tracks = watch.sees(_seen(_moved(STANDING, 4 * 25)))

    track = _only(tracks)
    assert (track.number, track.state) == (1, TrackState.CONFIRMED)


def test_tracker_snapshot_tells_times_and_detection():
    """first_s, seen_s and is_detected of the newest frame."""
    watch = _Watch()
    watch.sees(_seen(STANDING, score=0.9), frames=4)

    track = _only(watch.sees_nothing())

    assert track.first_s == pytest.approx(50.1)
    assert track.seen_s == pytest.approx(50.4)
    assert track.score == pytest.approx(0.9)
    assert not track.is_detected


@pytest.mark.parametrize("score", [0.3, 0.338, 0.7], ids=str)
def test_tracker_score_equal_to_the_threshold_is_sure(score):
    """Scores are float32, thresholds are written in decimals: equal is equal."""
    watch = _Watch(TrackerSettings(high_score=score))

    tracks = watch.sees(_seen(STANDING, score=score))

    assert len(tracks.live) == 1


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        pytest.param(0.75, 1, id="equality begins a track"),
        pytest.param(0.74, 0, id="sure but not enough to begin"),
        pytest.param(0.2, 0, id="doubtful"),
    ],
)
def test_tracker_new_track_needs_more_than_a_sure_score(score, expected):
    """Only a detection of at least new_score_ratio times high_score begins a track."""
    watch = _Watch(TrackerSettings(high_score=0.5, new_score_ratio=1.5))

    tracks = watch.sees(_seen(STANDING, score=score))

    assert len(tracks.live) == expected


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        pytest.param(0.3, TrackState.CONFIRMED, id="doubtful continues"),
        pytest.param(0.125, TrackState.CONFIRMED, id="equality at the lowest score"),
        pytest.param(0.12, TrackState.LOST, id="under it is nothing"),
    ],
)
def test_tracker_doubtful_detection_continues_a_confirmed_track(score, expected):
    """An object half hidden keeps its track on scores that would begin none."""
    watch = _Watch(TrackerSettings(high_score=0.5, low_score_ratio=0.25))
    watch.sees(_seen(STANDING), frames=5)

    track = _only(watch.sees(_seen(STANDING, score=score)))

    assert track.state is expected


@pytest.mark.parametrize(("below", "expected"), [(False, TrackState.CONFIRMED), (True, TrackState.LOST)], ids=["at", "below"])
def test_tracker_least_score_is_the_first_that_is_used(below, expected):
    """Whoever drops detections below it changes nothing: it is the lowest of all classes, as a float32 score."""
    watch = _Watch(TrackerSettings(high_score=0.7, class_high_scores={"person": 0.302}))
    watch.sees(_seen(STANDING), frames=5)
    score = np.float32(watch.tracker.least_score)

    track = _only(watch.sees(_seen(STANDING, score=np.nextafter(score, np.float32(0)) if below else score)))

    assert float(score) == watch.tracker.least_score
    assert track.state is expected


def test_tracker_doubtful_detections_never_confirm():
    """A tentative track is continued by sure detections only."""
    watch = _Watch()
    watch.sees(_seen(STANDING))

    tracks = watch.sees(_seen(STANDING, score=0.3), frames=3)

    assert _only(tracks).state is TrackState.TENTATIVE


def test_tracker_sure_detection_wins_over_doubtful_one():
    """The doubtful detection that fits better does not take the track from the sure one."""
    watch = _Watch()
    watch.sees(_seen(STANDING), frames=10)

    both = _both(_seen(STANDING, score=0.3), _seen(_moved(STANDING, 10), score=0.9))
    track = _only(watch.sees(both))

    assert track.score == pytest.approx(0.9)


def test_tracker_class_has_its_own_high_score():
    """What is sure and what begins a track is a matter of the class."""
    watch = _Watch(TrackerSettings(high_score=0.5, class_high_scores={"car": 0.3}))

    tracks = watch.sees(_both(_seen(STANDING, score=0.45, class_id=CAR), _seen(_moved(STANDING, 200), score=0.45)))

    assert [track.class_id for track in tracks.live] == [CAR]


def test_tracker_person_never_becomes_a_car():
    """A car's box on a lost person begins a track of its own."""
    watch = _Watch()
    watch.sees(_seen(STANDING), frames=5)

    tracks = watch.sees(_seen(STANDING, class_id=CAR))

    assert [(track.class_id, track.state) for track in tracks.live] == [
        (PERSON, TrackState.LOST),
        (CAR, TrackState.TENTATIVE),
    ]


def test_tracker_car_taken_for_a_truck_stays_one_car():
    """Confusable classes continue the track; the vote names it."""
    watch = _Watch()
    watch.sees(_seen(STANDING, class_id=CAR), frames=5)

    track = _only(watch.sees(_seen(STANDING, class_id=TRUCK), frames=2))

    assert (track.number, track.class_id) == (1, CAR)


def test_tracker_own_class_is_preferred_to_a_confusable_one():
    """Of a car's and a truck's box that fit alike, the car's continues the car."""
    watch = _Watch()
    watch.sees(_seen(STANDING, class_id=CAR), frames=5)
    truck, car = _moved(STANDING, -8), _moved(STANDING, 8)

    tracks = watch.sees(_both(_seen(truck, class_id=TRUCK), _seen(car, class_id=CAR)))

    assert tracks.live[0].box[0] > STANDING[0]


def test_tracker_two_classes_on_one_object_begin_one_track():
    """Suppression works by class; the tracker does not follow the same thing as car and as truck."""
    watch = _Watch()
    both = _both(_seen(STANDING, score=0.7, class_id=TRUCK), _seen(_moved(STANDING, 1), score=0.9, class_id=CAR))

    tracks = watch.sees(both, frames=5)

    assert [(track.number, track.class_id) for track in tracks.live] == [(1, CAR)]


def test_tracker_second_track_on_one_object_ends():
    """Two tracks that come to cover one object: the younger goes after duplicate_s."""
    watch = _Watch()
    other = _moved(STANDING, 60)
    watch.sees(_both(_seen(STANDING), _seen(other, score=0.7)), frames=5)
    for index in range(1, 30):
        tracks = watch.sees(_both(_seen(STANDING), _seen(_moved(other, -2 * index), score=0.7)))
    ended = []
    for _ in range(20):
        tracks = watch.sees(_both(_seen(STANDING), _seen(_moved(STANDING, 2), score=0.7)))
        ended += [track.number for track in tracks.ended]

    assert [track.number for track in tracks.confirmed] == [1]
    assert ended == [2]


def test_tracker_crossing_objects_keep_their_numbers():
    """Two people walk through each other with every detection present."""
    watch = _Watch()
    for index in range(40):
        right, left = _moved(STANDING, 5 * index), _moved(STANDING, 200 - 5 * index, 8)
        tracks = watch.sees(_both(_seen(right), _seen(left)))
        if index == 5:
            start = {track.number: track.box[0] for track in tracks.live}
    end = {track.number: track.box[0] for track in tracks.live}

    assert start.keys() == end.keys() == {1, 2}
    assert (start[1] < start[2]) != (end[1] < end[2])


def test_tracker_hidden_while_crossing_keeps_its_number():
    """The one behind is hidden for half a second and its scores fall before and after."""
    watch = _Watch()
    numbers = set()
    for index in range(40):
        seen = _seen(_moved(STANDING, 5 * index), score=0.9)
        away = abs(index - 20)
        if away > 2:
            seen = _both(seen, _seen(_moved(STANDING, 200 - 5 * index, 8), score=0.8 if away > 6 else 0.25))
        tracks = watch.sees(seen)
        numbers |= {track.number for track in tracks.confirmed}

    assert numbers == {1, 2}
    assert [track.state for track in tracks.live] == [TrackState.CONFIRMED] * 2


def test_tracker_lost_prediction_goes_on_with_the_last_velocity():
    """A lost track's box keeps moving, so that the object is found again behind the tree."""
    watch = _Watch()
    for index in range(20):
        before = watch.sees(_seen(_moved(STANDING, 5 * index)))

    after = watch.sees_nothing(frames=5)

    assert _only(after).box[0] == pytest.approx(_only(before).box[0] + 25, abs=4)


def test_tracker_lost_prediction_keeps_its_size():
    """Someone who came nearer before the tree does not grow behind it."""
    watch = _Watch()
    for index in range(20):
        before = watch.sees(_seen((100.0 - index, 100.0 - 2 * index, 140.0 + index, 200.0 + 2 * index)))

    after = watch.sees_nothing(frames=10)

    before_box, after_box = _only(before).box, _only(after).box
    np.testing.assert_allclose(after_box[2:] - after_box[:2], before_box[2:] - before_box[:2], rtol=0.1)


@pytest.mark.parametrize("fps", [pytest.param(1.0, id="1 fps"), pytest.param(5.0, id="5 fps"), pytest.param(15.0, id="15 fps")])
def test_tracker_same_path_at_any_frame_rate_gives_the_same_track(fps):
    """Someone who walks, vanishes for a second and walks on is one track with the same life at every rate."""
    tracker = Tracker(SETTINGS, class_names=CLASS_NAMES)
    ended, numbers = [], set()
    for index in range(round(20 * fps)):
        now_s = index / fps
        is_seen = now_s < 6 or 7 < now_s < 12
        tracks = tracker.update(_seen(_moved(STANDING, 30 * now_s)) if is_seen else Detections.empty(), now_s=now_s)
        numbers |= {track.number for track in tracks.live if track.number}
        ended += tracks.ended

    assert numbers == {1}
    assert [track.number for track in ended] == [1]
    assert ended[0].first_s == 0.0
    assert ended[0].seen_s == pytest.approx(12.0, abs=1 / fps + 1e-6)


def test_tracker_standing_object_becomes_stationary_and_moving_one_does_not():
    """After stationary_s in one place it is stationary; leaving the place ends that."""
    watch = _Watch()
    walking = (100.0, 250.0, 130.0, 330.0)
    for index in range(19):
        early = watch.sees(_both(_seen(STANDING), _seen(_moved(walking, 3 * index))))
    late = watch.sees(_both(_seen(STANDING), _seen(_moved(walking, 3 * 20))), frames=3)
    for index in range(30):
        gone = watch.sees(_seen(_moved(STANDING, -3 * index)))

    assert [track.is_stationary for track in early.live] == [False, False]
    assert [track.is_stationary for track in late.live] == [True, False]
    assert not gone.live[0].is_stationary


def test_tracker_stationary_equality_at_the_time_counts():
    """Exactly stationary_s in one place is enough."""
    watch = _Watch(step_s=0.5)

    before = _only(watch.sees(_seen(STANDING), frames=4))
    at = _only(watch.sees(_seen(STANDING)))

    assert not before.is_stationary
    assert at.is_stationary


def test_tracker_stationary_box_is_calmer_than_its_detections():
    """The box shown of a standing object trembles less than half as much."""
    watch = _Watch()
    rng = np.random.default_rng(3)
    shown = []
    for index in range(80):
        jittered = tuple(np.array(STANDING) + rng.normal(0, 4, 4))
        track = _only(watch.sees(_seen(jittered)))
        if index >= 40:
            shown.append(track.box)

    assert np.std(shown, axis=0).max() < 2.0


def test_tracker_stationary_object_missed_waits_longer_where_it_stood():
    """Hidden by a bus for three seconds, a parked car is still the same car in the same place."""
    watch = _Watch()
    before = _only(watch.sees(_seen(STANDING, class_id=CAR), frames=40))

    hidden = _only(watch.sees_nothing(frames=30))
    again = _only(watch.sees(_seen(STANDING, class_id=CAR)))

    np.testing.assert_allclose(hidden.box, before.box)
    assert (again.number, again.state) == (1, TrackState.CONFIRMED)


def test_tracker_stationary_object_does_not_drift_while_hidden():
    """A last sway before it is hidden is no motion: it is expected where it stood."""
    watch = _Watch()
    watch.sees(_seen(STANDING), frames=40)
    for sway in (3, 6, 9):
        watch.sees(_seen(_moved(STANDING, sway)))
    watch.sees_nothing(frames=35)

    tracks = watch.sees(_seen(STANDING))

    assert [(track.number, track.state) for track in tracks.live] == [(1, TrackState.CONFIRMED)]
    assert _only(tracks).box[0] == pytest.approx(STANDING[0], abs=3)


def test_tracker_still_frame_stops_who_walked():
    """Nothing moves in the picture, so nobody is expected further on after it."""
    watch = _Watch()
    for index in range(20):
        before = watch.sees(_seen(_moved(STANDING, 5 * index)))
    watch.holds(frames=5)

    after = watch.sees_nothing(frames=5)

    np.testing.assert_allclose(_only(after).box, _only(before).box, atol=0.5)


def test_tracker_hold_changes_nothing_but_seen():
    """Still frames for ten minutes: same tracks, same boxes, nothing lost, nothing ended, nothing confirmed."""
    watch = _Watch()
    walking = (300.0, 100.0, 340.0, 200.0)
    for index in range(10):
        watch.sees(_both(_seen(STANDING), _seen(_moved(walking, 3 * index))))
    before = watch.sees(_both(_seen(STANDING), _seen((500.0, 100.0, 540.0, 200.0))))

    held = watch.holds(frames=6000)

    assert [(track.number, track.state) for track in held.live] == [(track.number, track.state) for track in before.live]
    assert [track.state for track in held.live] == [TrackState.CONFIRMED, TrackState.LOST, TrackState.TENTATIVE]
    np.testing.assert_array_equal([track.box for track in held.live], [track.box for track in before.live])
    assert [track.seen_s for track in held.live] == pytest.approx([watch.now_s, 51.0, watch.now_s])
    assert not any(track.is_detected for track in held.live)
    assert held.ended == ()


def test_tracker_after_hold_goes_on_where_it_was():
    """A re-check after a long hold finds the same object; a lost one has used up none of its patience."""
    watch = _Watch()
    watch.sees(_seen(STANDING), frames=10)
    watch.sees_nothing(frames=10)
    watch.holds(frames=300)

    still_there = watch.sees_nothing(frames=9)
    again = _only(watch.sees(_seen(STANDING)))

    assert still_there.ended == ()
    assert (again.number, again.state) == (1, TrackState.CONFIRMED)


def test_tracker_parked_car_rechecked_only_now_and_then_becomes_stationary():
    """With the motion gate on, a parked car is analysed every ten seconds; that is enough."""
    watch = _Watch()
    watch.sees(_seen(STANDING, class_id=CAR), frames=5)

    watch.holds(frames=100)
    track = _only(watch.sees(_seen(STANDING, class_id=CAR)))

    assert track.is_stationary
    assert track.number == 1


@pytest.mark.parametrize("gap_s", [pytest.param(5.0, id="5 s"), pytest.param(3600.0, id="an hour")])
def test_tracker_camera_gap_keeps_standing_object(gap_s):
    """A gap ends nothing by itself: what stood there is found again even on the second frame."""
    watch = _Watch()
    watch.sees(_seen(STANDING), frames=40)
    watch.now_s += gap_s

    missed = watch.sees_nothing()
    again = _only(watch.sees(_seen(STANDING)))

    assert missed.ended == ()
    assert (again.number, again.state) == (1, TrackState.CONFIRMED)


def test_tracker_camera_gap_ends_who_does_not_come_back():
    """After the gap a moving object has watched time lost_s, of which the gap is gap_s."""
    watch = _Watch()
    for index in range(20):
        watch.sees(_seen(_moved(STANDING, 5 * index)))
    watch.now_s += 30.0

    alive = watch.sees_nothing(frames=11)
    over = watch.sees_nothing()

    assert len(alive.live) == 1
    assert [track.number for track in over.ended] == [1]


def test_tracker_reset_ends_everything_and_numbers_go_on():
    """Another size of picture: confirmed tracks end, tentative ones vanish, numbers are never used twice."""
    watch = _Watch()
    watch.sees(_seen(STANDING), frames=5)
    watch.sees(_both(_seen(STANDING), _seen(_moved(STANDING, 300))))

    reset = watch.tracker.reset()
    after = watch.sees(_seen(STANDING), frames=5)

    assert reset.live == ()
    assert [track.number for track in reset.ended] == [1]
    assert [track.number for track in after.live] == [2]


def test_tracker_numbers_are_dense_and_belong_to_the_instance():
    """Only confirmed tracks use up a number, and a second tracker starts at 1 again."""
    first, second = _Watch(), _Watch()
    numbers = []
    for index in range(6):
        first.sees(_seen(STANDING, _moved(STANDING, 300 + 50 * index)))
        tracks = first.sees(_seen(STANDING))
        numbers += [track.number for track in tracks.live if track.number]
    first.sees(_seen(STANDING, _moved(STANDING, 300), _moved(STANDING, 400)), frames=6)

    tracks = second.sees(_seen(STANDING), frames=5)

    assert set(numbers) == {1}
    assert [track.number for track in first.tracker.hold(now_s=first.now_s).live] == [1, 2, 3]
    assert _only(tracks).number == 1


def test_tracker_live_is_ordered_by_number_tentative_last():
    """Also after an older track was found again behind younger ones."""
    watch = _Watch()
    a, b, c = STANDING, _moved(STANDING, 200), _moved(STANDING, 400)
    watch.sees(_seen(c), frames=4)
    watch.sees(_seen(a, c), frames=4)

    tracks = watch.sees(_seen(b, a, c))

    assert [track.number for track in tracks.live] == [1, 2, 0]


def test_tracker_time_that_falls_is_refused():
    """A clock that runs backwards is a fault of the caller."""
    watch = _Watch()
    watch.sees(_seen(STANDING))

    with pytest.raises(ValueError, match="never fall"):
        watch.tracker.update(Detections.empty(), now_s=watch.now_s - 1.0)


def test_tracker_same_time_twice_is_taken():
    """Streams may repeat a time stamp."""
    watch = _Watch()
    watch.sees(_seen(STANDING), frames=5)

    track = _only(watch.tracker.update(_seen(STANDING), now_s=watch.now_s))

    assert (track.number, track.state) == (1, TrackState.CONFIRMED)


def test_tracker_snapshots_are_never_changed_afterwards():
    """An answer keeps its values while the tracker goes on."""
    watch = _Watch()
    tracks = watch.sees(_seen(STANDING), frames=5)
    box, seen_s = _only(tracks).box.copy(), _only(tracks).seen_s

    watch.sees(_seen(_moved(STANDING, 10)), frames=5)

    np.testing.assert_array_equal(_only(tracks).box, box)
    assert _only(tracks).seen_s == seen_s
    assert _only(tracks).box.dtype == np.float32


def _random_life(seed: int) -> list[tuple[int, str, list[float]]]:
    """Everything a tracker says about 200 frames of jitter, misses, phantoms and stillness."""
    rng = np.random.default_rng(seed)
    watch, said = _Watch(), []
    places = rng.uniform(0, 400, (5, 2))
    for frame in range(200):
        corners = np.concatenate([places + rng.normal(0, 3, (5, 2)), rng.uniform(0, 400, (2, 2))])
        boxes = np.concatenate([corners, corners + np.array([40, 100])], axis=1).astype(np.float32)
        detections = Detections(boxes, rng.uniform(0.1, 1, 7).astype(np.float32), rng.integers(1, 3, 7))
        tracks = watch.holds() if frame % 17 == 3 else watch.sees(detections)
        said += [(track.number, track.state.value, track.box.tolist()) for track in tracks.live + tracks.ended]
    return said


def test_tracker_same_input_gives_the_same_answers():
    """Deterministic to the last bit, also among ties and noise."""
    first, second = _random_life(5), _random_life(5)

    assert first == second
    assert any(number > 1 for number, _, _ in first)


@pytest.mark.parametrize("seed", range(5))
def test_tracker_any_noise_keeps_its_promises(seed):
    """Numbers are dense, never reused after their end, ended once; boxes are finite and not inside out."""
    rng = np.random.default_rng(seed)
    watch = _Watch()
    gone, highest = set(), 0
    for frame in range(300):
        n = int(rng.integers(0, 7))
        low = rng.uniform(0, 200, (n, 2))
        boxes = np.concatenate([low, low + rng.uniform(0, 150, (n, 2))], axis=1).astype(np.float32)
        detections = Detections(boxes, rng.uniform(0.3, 1, n).astype(np.float32), rng.integers(0, 3, n))
        watch.now_s += float(rng.choice([0.0, 0.03, 4.0], p=[0.1, 0.85, 0.05]))
        tracks = watch.holds() if frame % 11 == 0 else watch.sees(detections)
        live = [track.number for track in tracks.live if track.number]
        ended = [track.number for track in tracks.ended]

        assert live == sorted(set(live))
        assert gone.isdisjoint(live)
        assert gone.isdisjoint(ended)
        assert all(number > highest for number in set(live + ended) - set(range(1, highest + 1)))
        gone |= set(ended)
        highest = max([highest, *live, *ended])
        for track in itertools.chain(tracks.live, tracks.ended):
            assert np.isfinite(track.box).all()
            assert (track.box[2:] > track.box[:2]).all()
    assert highest > 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"low_score_ratio": 1.1}, "low_score_ratio", id="low over high"),
        pytest.param({"new_score_ratio": 0.9}, "new_score_ratio", id="new under high"),
        pytest.param({"high_score": 0.0}, "high_score", id="everything is sure"),
        pytest.param({"class_high_scores": {"car": 1.5}}, "high_score", id="nothing of a class is ever sure"),
        pytest.param({"gap_s": 1.5}, "half of lost_s", id="gap uses up the patience"),
        pytest.param({"high_iou": 0.0}, "high_iou", id="iou of zero"),
        pytest.param({"confirm_hits": 0}, "confirm_hits", id="no hits"),
        pytest.param({"class_high_scores": {"cat": 0.5}}, "cat", id="unknown class"),
    ],
)
def test_tracker_settings_that_contradict_are_refused(change, message):
    """Settings are checked before the first frame."""
    with pytest.raises(ValueError, match=message):
        Tracker(TrackerSettings(**change), class_names=CLASS_NAMES)


PARKED = (300.0, 100.0, 460.0, 160.0)


def _with_passing_car(watch: _Watch, parked: tuple[float, ...], *, x: float, frames: int, score: float = 0.8) -> Tracks:
    """A car passes in front of where another one is parked, from `x` on to the right, while that one is seen at `parked`."""
    for frame in range(frames):
        passing = (x + 10.0 * frame, 140.0, x + 10.0 * frame + 190.0, 215.0)
        tracks = watch.sees(_both(_seen(parked, class_id=CAR, score=score), _seen(passing, class_id=CAR)))
    return tracks


def test_tracker_parked_car_keeps_its_place_while_another_passes_in_front():
    """Half hidden it is seen less surely, and drawn to what hides it; it has not moved, and is as stationary as before."""
    watch = _Watch()
    watch.sees(_seen(PARKED, class_id=CAR), frames=30)
    _with_passing_car(watch, PARKED, x=0.0, frames=19)

    hidden = _with_passing_car(watch, _moved(PARKED, 25.0, 22.0), x=190.0, frames=10, score=0.55)
    after = watch.sees(_seen(PARKED, class_id=CAR), frames=5)

    for tracks in (hidden, after):
        assert tracks.live[0].is_stationary
        np.testing.assert_allclose(tracks.live[0].box, PARKED, atol=3.0)
    assert after.live[0].number == 1


def test_tracker_parked_car_that_drives_off_alone_leaves_its_place():
    """Nothing passes: where it is seen is where it is."""
    watch = _Watch()
    watch.sees(_seen(PARKED, class_id=CAR), frames=30)

    for frame in range(10):
        gone = watch.sees(_seen(_moved(PARKED, 8.0 * frame), class_id=CAR))

    assert gone.live[0].number == 1
    assert not gone.live[0].is_stationary
    assert gone.live[0].box[0] > PARKED[0] + 50


def test_tracker_parked_car_that_drives_off_while_another_passes_leaves_its_place():
    """It is seen as surely as ever: so it is where it is seen."""
    watch = _Watch()
    watch.sees(_seen(PARKED, class_id=CAR), frames=30)
    _with_passing_car(watch, PARKED, x=0.0, frames=19)

    for frame in range(8):
        tracks = _with_passing_car(watch, _moved(PARKED, 10.0 * frame), x=190.0 + 10.0 * frame, frames=1)

    assert tracks.live[0].number == 1
    assert not tracks.live[0].is_stationary
    assert tracks.live[0].box[0] > PARKED[0] + 50


def test_tracker_parked_car_seen_elsewhere_after_another_passed_has_left():
    """Once nothing is in front of it any more, its detections count again."""
    watch = _Watch()
    watch.sees(_seen(PARKED, class_id=CAR), frames=30)
    _with_passing_car(watch, PARKED, x=0.0, frames=19)
    _with_passing_car(watch, _moved(PARKED, 60.0), x=190.0, frames=22, score=0.55)

    tracks = watch.sees(_seen(_moved(PARKED, 60.0), class_id=CAR), frames=5)

    assert not tracks.live[0].is_stationary
    np.testing.assert_allclose(tracks.live[0].box, _moved(PARKED, 60.0), atol=6.0)


@pytest.mark.parametrize(
    ("other_class", "shift", "expected"),
    [
        pytest.param(TRUCK, 40.0, 1, id="a class that is confused with it"),
        pytest.param(TRUCK, 70.0, 2, id="too far away to be the same"),
        pytest.param(CAR, 40.0, 2, id="its own class: two of them close together"),
        pytest.param(PERSON, 0.0, 2, id="a class of another kind"),
    ],
)
def test_tracker_object_seen_as_two_classes_at_once_is_one(other_class, shift, expected):
    """A thing that looks like a car and like a truck is one of them; a car and a person are two."""
    watch = _Watch()

    tracks = watch.sees(
        _both(_seen(PARKED, class_id=CAR, score=0.9), _seen(_moved(PARKED, shift), class_id=other_class)), frames=6
    )

    assert len(tracks.confirmed) == expected
