"""Rules of a track's life, walked step by step."""

import pytest

from edged.tracking.life import Life, LifeSettings
from edged.types import TrackState

SETTINGS = LifeSettings(confirm_hits=3, confirm_s=0.2, tentative_lost_s=0.3, lost_s=2.0, stationary_lost_s=5.0)
PERSON, CAR, TRUCK = 0, 1, 2


def _life(class_id: int = PERSON, score: float = 0.6) -> Life:
    votes = [0.0, 0.0, 0.0]
    votes[class_id] = score
    return Life(first_s=10.0, seen_s=10.0, still_since_s=10.0, votes=votes, class_id=class_id, score=score)


def _confirmed_life() -> Life:
    life = _life()
    life.state = TrackState.CONFIRMED
    life.number = 1
    return life


def test_life_first_sight_is_tentative():
    """Nobody believes a single detection."""
    life = _life()

    assert life.state is TrackState.TENTATIVE
    assert not life.is_believed
    assert not life.may_be_confirmed(SETTINGS)


@pytest.mark.parametrize(
    ("hits_s", "expected"),
    [
        pytest.param([10.1], False, id="too few hits, too early"),
        pytest.param([10.3], False, id="long enough, too few hits"),
        pytest.param([10.05, 10.1], False, id="hits enough, too early"),
        pytest.param([10.1, 10.2], True, id="equality at both"),
        pytest.param([10.1, 10.2, 10.3], True, id="more than needed"),
    ],
)
def test_life_confirmation_needs_hits_and_time(hits_s, expected):
    """Both the number of detections and the time they span decide."""
    life = _life()

    for now_s in hits_s:
        life.hit(0.6, PERSON, now_s=now_s)

    assert life.may_be_confirmed(SETTINGS) is expected


def test_life_missed_in_this_frame_is_not_confirmed():
    """Confirmation happens on a detection, never on a prediction."""
    life = _life()
    life.hit(0.6, PERSON, now_s=10.1)
    life.hit(0.6, PERSON, now_s=10.2)

    life.miss(0.1)

    assert not life.may_be_confirmed(SETTINGS)


def test_life_of_confirmed_walks_lost_and_back():
    """confirmed -> lost on the first miss -> confirmed on the next hit, with the patience restored."""
    life = _confirmed_life()

    life.miss(0.5)
    state_missed, missed_s = life.state, life.missed_s
    life.hit(0.4, PERSON, now_s=10.6)

    assert state_missed is TrackState.LOST
    assert missed_s == 0.5
    assert life.state is TrackState.CONFIRMED
    assert life.missed_s == 0.0
    assert (life.seen_s, life.score, life.is_detected) == (10.6, 0.4, True)


@pytest.mark.parametrize(
    ("state", "is_stationary", "patience_s"),
    [
        pytest.param(TrackState.TENTATIVE, False, 0.3, id="tentative"),
        pytest.param(TrackState.CONFIRMED, False, 2.0, id="moving"),
        pytest.param(TrackState.CONFIRMED, True, 5.0, id="stationary"),
    ],
)
def test_life_ends_after_its_patience_and_not_at_it(state, is_stationary, patience_s):
    """A track lives at exactly the time set and ends beyond it."""
    life = _life()
    life.state, life.is_stationary = state, is_stationary

    for _ in range(10):
        life.miss(patience_s / 10)
    is_over_at = life.is_over(SETTINGS)
    life.miss(0.01)

    assert not is_over_at
    assert life.is_over(SETTINGS)


def test_life_tentative_missed_stays_tentative():
    """A track that was never believed is never lost."""
    life = _life()

    life.miss(0.1)

    assert life.state is TrackState.TENTATIVE


def test_life_class_follows_the_weight_of_scores():
    """One doubtful detection of another class changes nothing; enough of them do."""
    life = _life(CAR, 0.6)

    life.hit(0.5, TRUCK, now_s=10.1)
    after_one = life.class_id
    life.hit(0.5, TRUCK, now_s=10.2)

    assert after_one == CAR
    assert life.class_id == TRUCK


def test_life_class_tie_keeps_the_class_it_had():
    """Equal votes change nothing."""
    life = _life(CAR, 0.5)

    life.hit(0.5, TRUCK, now_s=10.1)

    assert life.class_id == CAR


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"confirm_hits": 0}, "confirm_hits", id="no hits"),
        pytest.param({"lost_s": -1.0}, "at least 0", id="negative time"),
    ],
)
def test_life_settings_out_of_bounds_are_refused(change, message):
    """Settings that mean nothing are an error."""
    values = {"confirm_hits": 3, "confirm_s": 0.2, "tentative_lost_s": 0.3, "lost_s": 2.0, "stationary_lost_s": 5.0}

    with pytest.raises(ValueError, match=message):
        LifeSettings(**(values | change))
