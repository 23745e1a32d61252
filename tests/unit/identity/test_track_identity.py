"""When a track's face is looked at, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from edged.identity.decision import DecisionSettings, Yardstick
from edged.identity.matching import Matcher
from edged.identity.track_identity import MOST_WAIT_S, LookSettings, TrackIdentity
from edged.types import Face, FaceDecisionKind

DECISION = DecisionSettings(threshold=0.5, false_match_rate=1e-3, margin=0.1, live_threshold=0.5, least_quality=0.3)
LOOKS = LookSettings(doubt_looks=4, most_looks=6, recheck_s=60.0, growth_ratio=1.5)
ANNA, BERT, NOBODY = np.eye(8, dtype=np.float32)[:3]


def make_yardstick(*, version: int = 1, **templates: np.ndarray) -> Yardstick:
    rows = np.stack([*templates.values()]) if templates else np.zeros((0, 8), np.float32)
    return Yardstick(Matcher(rows, list(templates), version=version, model_digest="a" * 64), DECISION)


BOTH = make_yardstick(anna=ANNA, bert=BERT)


def make_face(embedding: np.ndarray | None, *, quality: float = 0.8, live: float = 0.9) -> Face:
    return Face(np.array([0, 0, 60, 60], np.float32), np.zeros((5, 2), np.float32), 0.9, quality, embedding, live)


def make_track() -> TrackIdentity:
    return TrackIdentity(LOOKS)


def is_wanted(track: TrackIdentity, *, now_s: float, height_ratio: float) -> bool:
    return track.plan.is_due(now_s=now_s, height_ratio=height_ratio)


def show(track: TrackIdentity, face: np.ndarray | None, times: int, *, now_s: float = 0.0, height_ratio: float = 0.25) -> list:
    """What is told after each of so many looks at one face."""
    told = [track.add(make_face(face), BOTH, now_s=now_s, height_ratio=height_ratio) for _ in range(times)]
    return [decision and decision.kind.value for decision in told]


def test_track_of_somebody_known_is_named_at_the_least_votes_and_left_alone() -> None:
    """Two pictures name her; then nothing more is asked."""
    track = make_track()

    told = show(track, ANNA, 2)

    assert told == [None, "match"]
    assert not is_wanted(track, now_s=1.0, height_ratio=0.25)


def test_track_of_a_stranger_is_doubted_before_and_given_up_after() -> None:
    """Unknown is said once four pictures agree, and after six nobody looks again."""
    track = make_track()

    told = show(track, NOBODY, 3)
    is_wanted_between = is_wanted(track, now_s=0.0, height_ratio=0.25)
    told += show(track, NOBODY, 3)

    assert told == [None, None, None, "unknown", "unknown", "unknown"]
    assert is_wanted_between
    assert not is_wanted(track, now_s=1.0, height_ratio=0.25)


def test_track_taken_for_a_stranger_is_corrected_by_better_pictures() -> None:
    """A doubtful start does not decide for ever."""
    track = make_track()
    weak = (0.3 * ANNA + np.sqrt(1 - 0.09) * NOBODY).astype(np.float32)

    told = show(track, weak, 4) + show(track, ANNA, 2)

    assert told == [None, None, None, "unknown", "unknown", "match"]  # mean cosines 0.3, 0.44, 0.53


def test_track_that_shows_a_picture_of_a_face_is_a_spoof() -> None:
    """A spoof is said as late as unknown is: one bad guess of the network is no alarm."""
    track = make_track()

    told = [track.add(make_face(ANNA, live=0.1), BOTH, now_s=0.0, height_ratio=0.25) for _ in range(4)]

    assert told[:3] == [None] * 3
    assert told[3].kind is FaceDecisionKind.SPOOF


def test_track_without_a_face_waits_longer_each_time_but_never_long() -> None:
    """Who turns their back does not use up the budget, and is not forgotten."""
    track = make_track()
    waits_s = []
    for number in range(8):
        track.miss(now_s=100.0 * number)
        waits_s.append(next(s for s in np.arange(0, 2, 0.01) if is_wanted(track, now_s=100.0 * number + s, height_ratio=0.25)))

    assert waits_s == sorted(waits_s)
    assert waits_s[0] > 0
    assert waits_s[-1] == pytest.approx(MOST_WAIT_S, abs=0.02)


def test_track_of_poor_faces_is_said_to_be_so_once() -> None:
    """Seen often and never well: low_quality, unless there ever was an answer."""
    track = make_track()
    told = show(track, None, 7)
    named = make_track()
    show(named, ANNA, 2)
    named.restart()

    assert told == [None] * 5 + ["low_quality", None]
    assert show(named, None, 7) == [None] * 7


@pytest.mark.parametrize(
    ("now_s", "height_ratio", "is_due"),
    [
        pytest.param(59.9, 0.374, False, id="as before"),
        pytest.param(60.0, 0.25, True, id="the answer has aged"),
        pytest.param(1.0, 0.375, True, id="much larger"),
    ],
)
def test_track_with_an_answer_is_looked_at_again_where_it_may_have_changed(
    now_s: float, height_ratio: float, is_due: bool
) -> None:
    """Bounds belong to the new look."""
    track = make_track()
    show(track, ANNA, 2)

    assert is_wanted(track, now_s=now_s, height_ratio=height_ratio) is is_due


def test_track_that_grew_needs_one_look_more_and_says_nothing_new() -> None:
    """What is known already still counts."""
    track = make_track()
    show(track, ANNA, 2)
    assert is_wanted(track, now_s=1.0, height_ratio=0.375)

    track.add(make_face(ANNA), BOTH, now_s=1.0, height_ratio=0.375)

    assert not is_wanted(track, now_s=1.2, height_ratio=0.375)


def test_track_that_was_taken_over_is_named_anew() -> None:
    """After a restart the old faces have no say, so another person outvotes nobody."""
    track = make_track()
    show(track, ANNA, 2)

    track.restart()

    assert is_wanted(track, now_s=1.0, height_ratio=0.25)
    told = [track.add(make_face(BERT), BOTH, now_s=1.0, height_ratio=0.25) for _ in range(2)]
    assert (told[1].kind, told[1].subject) == (FaceDecisionKind.MATCH, "bert")


def test_track_reconsiders_with_another_gallery_without_a_look() -> None:
    """Who is enrolled while they stand there is named; who is forgotten is no more, at once."""
    track = make_track()
    show(track, NOBODY, 4)

    named = track.reconsider(make_yardstick(carla=NOBODY, version=2))
    forgotten = track.reconsider(make_yardstick(anna=ANNA, version=3))

    assert (named.kind, named.subject) == (FaceDecisionKind.MATCH, "carla")
    assert (forgotten.kind, forgotten.subject) == (FaceDecisionKind.UNKNOWN, None)


def test_track_of_somebody_forgotten_is_retracted_though_its_faces_are_gone() -> None:
    """The name must not stand until the next good face."""
    track = make_track()
    show(track, ANNA, 2)
    track.restart()

    told = track.reconsider(make_yardstick(bert=BERT, version=2))

    assert told.kind is FaceDecisionKind.LOW_QUALITY
    assert track.reconsider(make_yardstick(bert=BERT, version=3)) is None


def test_track_about_to_end_says_what_there_is() -> None:
    """A stranger who passed quickly was unknown; one face is too little; of nobody's face nothing is said."""
    quick, glimpsed, faceless = make_track(), make_track(), make_track()
    show(quick, NOBODY, 2)
    show(glimpsed, ANNA, 1)
    faceless.miss(now_s=0.0)

    kinds = [told and told.kind.value for told in (one.conclude(BOTH) for one in (quick, glimpsed, faceless))]

    assert kinds == ["unknown", "low_quality", None]
    assert quick.conclude(BOTH) is None


@pytest.mark.parametrize(
    "wrong", [{"doubt_looks": 0}, {"doubt_looks": 11}, {"recheck_s": 0.0}, {"growth_ratio": 1.0}, {"refound_s": 0.0}]
)
def test_look_settings_out_of_bounds_are_refused(wrong: dict[str, float]) -> None:
    """Nothing that would look for ever or never."""
    with pytest.raises(ValueError, match="expected"):
        LookSettings(**wrong)
