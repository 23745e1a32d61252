"""Where messages go."""

from edged.events.event import EventType
from edged.events.topics import RESERVED_CAMERA_IDS, STATUS_TOPIC, areas_topic, camera_state_topic, counters_topic, event_topic
from edged.events.wire import DEVICE_EVENTS


def test_topics_of_a_camera_start_with_its_id():
    """One level for the camera, then what it is."""
    assert event_topic(EventType.ZONE_ENTER, camera="door") == "door/event/zone.enter"
    assert camera_state_topic("door") == "door/state"
    assert counters_topic("door") == "door/counters"
    assert areas_topic("door") == "door/areas"


def test_topics_of_the_device_cannot_be_those_of_a_camera():
    """The words in a camera's place are reserved."""
    firsts = {event_topic(EventType.CLOCK_STEP, camera=None).split("/")[0], STATUS_TOPIC, DEVICE_EVENTS}

    assert event_topic(EventType.CLOCK_STEP, camera=None) == "event/clock.step"
    assert firsts <= RESERVED_CAMERA_IDS
