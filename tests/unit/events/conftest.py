"""Events made by hand: everything that an event can say."""

import numpy as np
import pytest

from edged.clock import ClockQuality
from edged.events.event import BestShot, Direction, Event, EventType, ObjectFacts
from edged.events.wire import Stamp
from edged.types import FaceDecision, FaceDecisionKind

MODEL = "0123456789abcdef" * 4
MATCH = FaceDecision(FaceDecisionKind.MATCH, "p4k2", 0.71234, 0.31, 0.5, 1e-4, 3, 0.98765, 12, MODEL, "Anna")
UNKNOWN = FaceDecision(FaceDecisionKind.UNKNOWN, None, 0.41, 0.02, 0.5, 1e-4, 2, 0.9, 12, MODEL)

START_AT = 1_700_000_000.0  # 2023-11-14T22:13:20Z


@pytest.fixture
def full_object():
    return ObjectFacts(
        number=5,
        class_name="person",
        score=0.87654321,
        top_score=0.95,
        box=np.array([64, 36, 128, 180], np.float32),
        is_stationary=True,
        first_s=10.0,
        zones=("porch", "road"),
        best=BestShot(11.0, np.array([32, 36, 96, 180], np.float32), 0.95, 0.41),
        identity=MATCH,
        surface="road",
    )


@pytest.fixture
def full_event(full_object):
    """An event with every field set, though no type of event has all."""
    return Event(
        EventType.ZONE_DWELL,
        captured_s=12.3456,
        frame_seq=123,
        width=640,
        height=360,
        object=full_object,
        zone="porch",
        line="gate",
        direction=Direction.IN,
        dwell_s=10.00049,
        count=2,
        identity=MATCH,
        former=UNKNOWN,
        details={"reason": "left", "nothing": None, "changes": ["class"]},
    )


@pytest.fixture
def full_stamp():
    return Stamp(
        device="gate",
        epoch="0123456789ab",
        camera="door",
        seq=17,
        captured_at=lambda captured_s: START_AT + captured_s,
        clock=ClockQuality(is_synchronised=True, max_error_ms=3.25),
        stages_ms={"decode": 0.61234, "infer": 10.9},
    )
