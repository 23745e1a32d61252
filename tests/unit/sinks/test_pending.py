"""The bounded queue of events."""

import pytest

from edged.sinks.base import Message, MessageKind
from edged.sinks.pending import Pending


def event(number: int) -> Message:
    return Message(MessageKind.EVENT, "door/event/x", b"%d" % number)


def filled(n: int, *, limit: int) -> tuple[Pending, int]:
    pending = Pending(limit)
    given_up = sum(pending.put(event(number)) for number in range(n))
    return pending, given_up


def taken(pending: Pending) -> list[int]:
    events = []
    while (next_event := pending.take()) is not None:
        events.append(int(next_event.message.body))
    return events


@pytest.mark.parametrize(
    ("n", "given_up", "left"),
    [
        pytest.param(0, 0, [], id="empty"),
        pytest.param(1, 0, [0], id="one"),
        pytest.param(3, 0, [0, 1, 2], id="at the limit"),
        pytest.param(5, 2, [2, 3, 4], id="above the limit the oldest go"),
    ],
)
def test_pending_put_keeps_the_newest(n, given_up, left):
    """The bound gives up the oldest waiting event, and says so."""
    pending, lost = filled(n, limit=3)

    assert lost == given_up
    assert taken(pending) == left


def test_pending_events_in_hand_count_against_the_limit_and_are_never_given_up():
    """What was sent and not yet acknowledged keeps its room."""
    pending, _ = filled(3, limit=3)
    in_hand = [pending.take(), pending.take()]

    given_up = pending.put(event(3))
    pending.put_back(in_hand)

    assert given_up == 1
    assert taken(pending) == [0, 1, 3]


def test_pending_put_back_restores_the_order_of_acceptance():
    """Events that come back one by one do not overtake each other."""
    pending, _ = filled(5, limit=5)
    first, second = pending.take(), pending.take()

    pending.put_back([first])
    pending.put_back([second])

    assert pending.in_hand == 0
    assert taken(pending) == [0, 1, 2, 3, 4]


def test_pending_settle_makes_room():
    """An acknowledged event no longer counts."""
    pending, _ = filled(2, limit=2)
    pending.take()
    pending.settle()

    assert pending.put(event(2)) == 0
    assert (pending.accepted, pending.waiting, pending.in_hand) == (3, 2, 0)
