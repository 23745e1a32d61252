"""The motion plan of the drawn street."""

import itertools

import pytest

from edged.street import geometry as place
from edged.street.plan import CYCLE_S, FUTURE_CYCLES, IDS_PER_CYCLE, PAST_CYCLES, CyclePlan, Kind, Traffic, View

MANY_CYCLES = [(seed, cycle) for seed in range(20) for cycle in range(-PAST_CYCLES, 12)]


def test_plan_same_seed_and_cycle_is_the_same_plan() -> None:
    """A cycle is planned from its seed and number alone."""
    first, second = CyclePlan(7, 3).make(), CyclePlan(7, 3).make()

    assert first == second
    assert first != CyclePlan(7, 4).make()
    assert first != CyclePlan(8, 3).make()


def test_plan_every_life_lies_within_the_cycles_looked_at() -> None:
    """Nobody is on the street outside the few cycles that a frame asks for: no cost that grows, nobody forgotten."""
    for seed, cycle in MANY_CYCLES:
        for actor in CyclePlan(seed, cycle).make():
            assert actor.legs[0].start_s >= (cycle - FUTURE_CYCLES) * CYCLE_S
            assert actor.legs[-1].end_s <= (cycle + PAST_CYCLES + 1) * CYCLE_S


def test_plan_every_way_has_no_gaps() -> None:
    """Each leg starts where and when the one before it ends."""
    for seed, cycle in MANY_CYCLES:
        for actor in CyclePlan(seed, cycle).make():
            for leg, following in itertools.pairwise(actor.legs):
                assert leg.end_s == pytest.approx(following.start_s, abs=1e-6)
                assert leg.at(leg.end_s) == pytest.approx((following.x, following.y), abs=1e-6)


def test_plan_every_way_begins_and_ends_outside() -> None:
    """Nobody appears or vanishes in the middle of the picture."""
    for seed, cycle in MANY_CYCLES:
        for actor in CyclePlan(seed, cycle).make():
            ends = (actor.legs[0].x, actor.legs[-1].at(actor.legs[-1].end_s)[0])
            assert all(x <= -29 or x >= 669 for x in ends)


def test_plan_ids_are_unique_for_ever() -> None:
    """No two actors of a street share an id, riders included."""
    ids = [actor.track_id for cycle in range(-PAST_CYCLES, 40) for actor in CyclePlan(2, cycle).make()]

    assert len(set(ids)) == len(ids)
    assert all(track_id >= 0 and track_id % 2 == 0 for track_id in ids)
    assert max(len(CyclePlan(seed, cycle).make()) for seed, cycle in MANY_CYCLES) * 2 <= IDS_PER_CYCLE


def test_plan_vehicles_of_one_lane_keep_apart() -> None:
    """No vehicle drives through another one of its lane."""
    for seed in range(6):
        actors = [actor for cycle in range(-PAST_CYCLES, 8) for actor in CyclePlan(seed, cycle).make()]
        vehicles = [actor for actor in actors if actor.kind not in (Kind.PERSON, Kind.BICYCLE)]
        for tenth in range(0, int(4 * CYCLE_S * 10), 3):
            time_s = tenth / 10
            points = [leg.at(time_s) for leg in (actor.leg_at(time_s) for actor in vehicles) if leg is not None]
            seen = sorted((y, x) for x, y in points if -50 < x < 690)
            assert all(one[0] != other[0] or other[1] - one[1] > 90 for one, other in itertools.pairwise(seen))


def test_plan_over_a_while_holds_every_kind_of_behaviour() -> None:
    """People cross, linger and pass; a car parks; a vehicle waits at the crossing."""
    actors = [actor for cycle in range(20) for actor in CyclePlan(1, cycle).make()]

    stops = [(actor.kind, leg.end_s - leg.start_s) for actor in actors for leg in actor.legs if leg.is_still]
    crossers = [actor for actor in actors if any(leg.speed_y for leg in actor.legs)]

    assert {actor.kind for actor in actors} == set(Kind)
    assert any(kind is Kind.PERSON and seconds > 5 for kind, seconds in stops)
    assert any(kind is Kind.CAR and seconds > 15 for kind, seconds in stops)
    assert any(kind is Kind.CAR and 0 < seconds < 10 for kind, seconds in stops)
    assert {leg.view for actor in crossers for leg in actor.legs} >= {View.TOWARD, View.AWAY}


def test_plan_of_other_traffic_has_those_shares() -> None:
    """Shares say what drives in the lanes; heavy vehicles keep to the far one."""
    traffic = Traffic(motorcycles=0.4, heavy=0.3)
    actors = [actor for cycle in range(60) for actor in CyclePlan(1, cycle, traffic).make()]
    far = [actor.kind for actor in actors if actor.legs[0].y == place.FAR_LANE_Y and len(actor.legs) == 1]
    near = [actor.kind for actor in actors if actor.legs[0].y == place.NEAR_LANE_Y and len(actor.legs) == 1]

    shares = {kind: far.count(kind) / len(far) for kind in set(far)}
    assert shares == pytest.approx({Kind.MOTORCYCLE: 0.4, Kind.BUS: 0.3, Kind.TRUCK: 0.3}, abs=0.1)
    assert set(near) == {Kind.CAR, Kind.MOTORCYCLE}


@pytest.mark.parametrize("shares", [(0.5, 0.3), (-0.1, 0.1), (0.1, -0.1)])
def test_traffic_of_more_than_everything_is_refused(shares: tuple[float, float]) -> None:
    """What is left for cars is at least nothing."""
    with pytest.raises(ValueError, match="shares"):
        Traffic(motorcycles=shares[0], heavy=shares[1])
