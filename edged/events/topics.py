"""Where messages go and commands come, below `<prefix>/<device>/`."""

from __future__ import annotations

from edged.events.event import EventType

STATUS_TOPIC = "status"
"""The device's own `online` or `offline`: plain text, retained, the last will."""

COMMAND_TREE = "command"
"""Commands come below it, one level deep."""

ANSWER_TREE = "answer"
"""All answers to commands go below it."""

RESERVED_CAMERA_IDS = frozenset({"event", STATUS_TOPIC, COMMAND_TREE, ANSWER_TREE})
"""Words that stand where a camera's id may stand."""


def event_topic(type: EventType, *, camera: str | None) -> str:
    """Where an event of this type goes; `camera` None: an event of the device."""
    return f"event/{type.value}" if camera is None else f"{camera}/event/{type.value}"


def camera_state_topic(camera: str) -> str:
    """Where a camera's retained state goes."""
    return f"{camera}/state"


def counters_topic(camera: str) -> str:
    """Where a camera's retained counters go."""
    return f"{camera}/counters"


def areas_topic(camera: str) -> str:
    """Where it goes, retained, what a camera's picture and zones are made of."""
    return f"{camera}/areas"


def retained_topics(camera: str) -> tuple[str, ...]:
    """All that the broker keeps of a camera."""
    return camera_state_topic(camera), counters_topic(camera), areas_topic(camera)


def answer_topic(command: str) -> str:
    """Where the answer to a command goes that does not say where."""
    return f"{ANSWER_TREE}/{command}"
