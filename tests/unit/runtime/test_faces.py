"""The slow loop: drawn faces of tracked persons, looked at under a budget."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from stand_ins.faces import STAND_IN_DIGEST, StandInFaceReader, draw_face, embedding_of

from edged.identity.decision import DecisionSettings, Yardstick
from edged.identity.matching import Matcher
from edged.identity.track_identity import LookSettings
from edged.pipeline import FrameResult, Identified
from edged.runtime.board import LatestFrame
from edged.runtime.faces import FaceWatch
from edged.runtime.loop import Loop
from edged.types import FaceDecisionKind, Frame, Track, Tracks, TrackState

PERSON, CAR = 0, 1
ANNA, BERT, STRANGER = 1, 2, 3
NAMES = {ANNA: "anna", BERT: "bert"}
LEFT, RIGHT = (100, 60, 160, 240), (300, 60, 360, 240)


SETTINGS = DecisionSettings(threshold=0.5, false_match_rate=None, margin=0.1, live_threshold=0.5, least_quality=0.3)


def make_yardstick(*numbers: int, version: int = 1) -> Yardstick:
    rows = np.stack([embedding_of(number) for number in numbers]) if numbers else np.zeros((0, 128), np.float32)
    ids = [NAMES[number] for number in numbers]
    return Yardstick(Matcher(rows, ids, version=version, model_digest=STAND_IN_DIGEST), SETTINGS)


FAMILY = make_yardstick(ANNA, BERT)


def make_watch(*, looks_per_s: float = 100.0, least_face_px: float = 20.0, **changed: object) -> FaceWatch:
    facts = {
        "cameras": ["door"],
        "person_class_id": PERSON,
        "looks": LookSettings(),
        "details": {},
        "now_s": lambda: 0.0,
    }
    return FaceWatch(looks_per_s=looks_per_s, least_face_px=least_face_px, **(facts | changed))


def make_track(number: int, box: Sequence[float], *, seen_s: float, **changed: object) -> Track:
    facts = {"class_id": PERSON, "score": 0.9, "state": TrackState.CONFIRMED, "is_stationary": False, "is_detected": True}
    return Track(number=number, box=np.array(box, np.float32), first_s=0.0, seen_s=seen_s, **(facts | changed))


class Scene:
    """Frames of one camera at 5 a second: who stands where, whose face they show."""

    def __init__(self, camera: str = "door") -> None:
        self.camera = camera
        self.frames: list[Frame] = []

    def result(self, *people: tuple[int, Sequence[int], int | None], at_s: float, **changed: object) -> FrameResult:
        """One analysed frame; of each person the track's number, the box and the number of the face, None for a back."""
        pixels = np.full((360, 640, 3), 90, np.uint8)
        for _, (x1, y1, x2, _), face in people:
            if face is not None:
                draw_face(pixels, face, (x1 + 10, y1 + 5, x2 - 10, y1 + 5 + (x2 - x1 - 20)))
        frame = Frame(self.camera, round(at_s * 5) + 1, at_s, at_s, 640, 360, lambda: pixels)
        self.frames.append(frame)
        tracks = tuple(make_track(number, box, seen_s=at_s, **changed) for number, box, _ in people)
        return FrameResult(frame, None, Tracks(tracks, ()), (), {})


def play(watch: FaceWatch, results: Sequence[FrameResult], *, yardstick: Yardstick = FAMILY) -> list[Identified]:
    """As a replay does: each frame is worked on before the next one."""
    reader, answers = StandInFaceReader(), []
    for result in results:
        watch.put(result)
        watch.work(reader, yardstick)
        answers += watch.take()
    return answers


def tell(answers: Sequence[Identified]) -> list[tuple[int, str, str | None]]:
    return [(answer.number, answer.decision.kind.value, answer.decision.subject) for answer in answers]


def test_watch_names_who_is_known_on_the_second_face() -> None:
    """The answer says which frame gave it, on the track's own number, and comes once."""
    scene = Scene()
    results = [scene.result((7, LEFT, ANNA), at_s=step / 5) for step in range(10)]

    (answer,) = play(make_watch(), results)

    assert (answer.camera, answer.number) == ("door", 7)
    assert (answer.decision.kind, answer.decision.subject) == (FaceDecisionKind.MATCH, "anna")
    assert (answer.captured_s, answer.frame_seq, answer.width, answer.height) == (0.2, 2, 640, 360)


def test_watch_looks_no_more_at_a_track_that_has_its_answer() -> None:
    """Two faces were read, whatever came after; and no picture is kept that nobody will look at."""
    watch, scene = make_watch(), Scene()
    play(watch, [scene.result((7, LEFT, ANNA), at_s=step / 5) for step in range(10)])

    assert watch.n_read == 2
    assert watch.n_looks == 2


def test_watch_calls_a_stranger_unknown() -> None:
    """Not in the gallery is an answer."""
    scene = Scene()
    answers = play(make_watch(), [scene.result((7, LEFT, STRANGER), at_s=step / 5) for step in range(8)])

    assert set(tell(answers)) == {(7, "unknown", None)}


def test_watch_gives_each_person_their_own_face() -> None:
    """Two who stand so close that each one's region shows both faces are not mixed up; cars have no faces."""
    scene = Scene()
    near = (150, 60, 210, 240)
    results = [scene.result((7, LEFT, ANNA), (8, near, BERT), at_s=step / 5) for step in range(6)]

    answers = play(make_watch(), results)

    assert sorted(tell(answers)) == [(7, "match", "anna"), (8, "match", "bert")]
    assert play(make_watch(), [scene.result((9, LEFT, ANNA), at_s=step / 5, class_id=CAR) for step in range(6)]) == []


def test_watch_of_a_face_that_belongs_to_another_gives_none() -> None:
    """A back beside a face is a back."""
    scene = Scene()
    results = [scene.result((7, (150, 60, 210, 240), None), (8, LEFT, ANNA), at_s=step / 5) for step in range(6)]

    assert tell(play(make_watch(), results)) == [(8, "match", "anna")]


def test_watch_keeps_to_its_budget_and_serves_who_has_no_answer_first() -> None:
    """Two looks a second: the larger person is named first, then the other; never more than were allowed."""
    watch, scene = make_watch(looks_per_s=2.0), Scene()
    large = (300, 30, 380, 330)
    results = [scene.result((7, LEFT, ANNA), (8, large, BERT), at_s=step / 5) for step in range(16)]

    answers = play(watch, results)

    assert sorted(tell(answers)) == [(7, "match", "anna"), (8, "match", "bert")]
    assert watch.n_looks <= 2 + 3 * 2


@pytest.mark.parametrize(("least_face_px", "n_read"), [(40.0, 2), (40.1, 0)])
def test_watch_reads_no_face_that_is_too_small(least_face_px: float, n_read: int) -> None:
    """The bound itself is large enough."""
    watch, scene = make_watch(least_face_px=least_face_px), Scene()

    play(watch, [scene.result((7, LEFT, ANNA), at_s=step / 5) for step in range(3)])

    assert watch.n_read == n_read


def test_watch_corrects_a_track_that_was_lost_and_found_as_somebody_else() -> None:
    """After more than a second without a sight the track is asked anew; a still picture is no gap."""
    watch, scene = make_watch(), Scene()
    before = [scene.result((7, LEFT, ANNA), at_s=step / 5) for step in range(4)]
    still = [scene.result((7, LEFT, ANNA), at_s=0.8 + step / 5, is_detected=False) for step in range(10)]
    same = [scene.result((7, LEFT, ANNA), at_s=3.0 + step / 5) for step in range(3)]
    after = [scene.result((7, LEFT, BERT), at_s=5.0 + step / 5) for step in range(4)]

    first = play(watch, [*before, *still, *same])
    second = play(watch, after)

    assert tell(first) == [(7, "match", "anna")]
    assert tell(second) == [(7, "match", "bert")]


def test_watch_that_has_no_look_left_asks_a_track_that_was_found_again_later() -> None:
    """An empty budget delays the question, it does not drop it."""
    watch, scene = make_watch(looks_per_s=2.0), Scene()
    play(watch, [scene.result((7, LEFT, ANNA), at_s=step / 2) for step in range(2)])
    crowd = [(number, (100 * number, 60, 100 * number + 60, 240), None) for number in (2, 3, 4, 5)]
    tired = [scene.result(*crowd, (7, LEFT, BERT), at_s=4.0)]

    answers = play(watch, [*tired, *(scene.result((7, LEFT, BERT), at_s=4.6 + step / 2) for step in range(2))])

    assert tell(answers) == [(7, "match", "bert")]


def test_watch_with_another_gallery_answers_without_another_look() -> None:
    """Who is enrolled later is named from the faces that were read, also when the camera sends nothing more."""
    watch, scene, reader = make_watch(), Scene(), StandInFaceReader()
    play(watch, [scene.result((7, LEFT, BERT), at_s=step / 5) for step in range(12)], yardstick=make_yardstick(ANNA))
    n_looks = watch.n_looks

    watch.work(reader, make_yardstick(ANNA, BERT, version=2))

    assert tell(watch.take()) == [(7, "match", "bert")]
    assert watch.n_looks == n_looks


def test_watch_says_what_there_is_before_a_track_ends() -> None:
    """A stranger who passed too quickly for a sure answer is unknown when they are gone for half a second."""
    watch, scene = make_watch(), Scene()
    answers = play(watch, [scene.result((7, LEFT, STRANGER), at_s=step / 5) for step in range(2)])
    frame = scene.result((7, LEFT, None), at_s=0.8).frame
    lost = make_track(7, LEFT, seen_s=0.2, state=TrackState.LOST, is_detected=False)

    answers += play(watch, [FrameResult(frame, None, Tracks((lost,), ()), (), {})])

    assert tell(answers) == [(7, "unknown", None)]


def test_watch_looks_into_the_main_stream_where_there_is_one() -> None:
    """A face that is too small in the detecting stream is read in the large picture, at the same place."""
    latest = LatestFrame()
    watch, scene = make_watch(details={"door": latest}, least_face_px=60.0), Scene()
    answers = []
    for step in range(4):
        result = scene.result((7, LEFT, None), at_s=step / 5)
        pixels = np.full((720, 1280, 3), 90, np.uint8)
        draw_face(pixels, ANNA, (220, 130, 300, 210))
        latest.put(Frame("door", 1, step / 5, 0.0, 1280, 720, lambda pixels=pixels: pixels))
        answers += play(watch, [result])

    assert tell(answers) == [(7, "match", "anna")]
    assert (answers[0].width, answers[0].height) == (640, 360)


def test_watch_passes_over_cameras_whose_faces_are_not_asked_for() -> None:
    """Nothing of them is kept."""
    watch, scene = make_watch(), Scene("garden")

    assert play(watch, [scene.result((7, LEFT, ANNA), at_s=step / 5) for step in range(4)]) == []
    assert watch.n_looks == 0


def test_watch_holds_the_newest_picture_of_a_camera_until_it_is_looked_at() -> None:
    """One job a camera: the older one is replaced and counted, and dropped with its camera."""
    watch, scene = make_watch(), Scene()
    for step in range(3):
        watch.put(scene.result((7, LEFT, ANNA), at_s=step / 5))

    watch.work(StandInFaceReader(), FAMILY)
    watch.put(scene.result((7, LEFT, ANNA), at_s=0.6))
    watch.drop("door")
    watch.work(StandInFaceReader(), FAMILY)

    assert watch.n_replaced == 2
    assert watch.n_looks == 1


def test_watch_in_two_threads_answers_and_wakes_the_fast_loop() -> None:
    """As in the daemon: results are put by one thread, looked at by another."""
    woken = threading.Event()
    watch, scene = make_watch(on_answer=woken.set), Scene()
    loop = Loop("faces", lambda loop: watch.run(loop, StandInFaceReader(), lambda: FAMILY), limit_s=10.0, now_s=lambda: 0.0)
    thread = threading.Thread(target=loop.run)
    thread.start()

    step = 0
    while not woken.wait(0.05) and step < 100:
        watch.put(scene.result((7, LEFT, ANNA), at_s=step / 5))
        step += 1
    loop.stop()
    thread.join(timeout=10.0)

    assert tell(watch.take()) == [(7, "match", "anna")]
    assert loop.failure is None
    assert not thread.is_alive()
