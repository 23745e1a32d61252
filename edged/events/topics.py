"""Where messages go, below `<prefix>/<device>/`."""

from __future__ import annotations

from edged.events.event import EventType

STATUS_TOPIC = "status"
"""The device's own `online` or `offline`: plain text, retained, the last will."""

RESERVED_CAMERA_IDS = frozenset({"event", "status", "command"})
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
