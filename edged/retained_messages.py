"""Messages that a broker keeps of this device and that mention somebody: found and taken back when they are forgotten."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace

from edged.identity.forgetting import Erased
from edged.identity.people import Person
from edged.sinks.mqtt_connection import MqttCause, MqttConnection, MqttError, open_connection
from edged.sinks.mqtt_settings import MqttSettings

_QUIET_S = 1.0
"""A broker that has sent nothing of it for so long, since it took the subscription, has handed over all that it keeps."""
_LONGEST_S = 15.0
_TURN_S = 0.1


class RetainedMessages:
    """What a broker keeps below this device's topics. edged itself asks it to keep nothing about people; others may have.

    Args:
        settings: where the broker is, and who we are.
    """

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = replace(settings, client_id=f"edged-forget-{secrets.token_hex(4)}")

    def erase(self, person: Person) -> Erased:
        """Publish nothing, retained, on every topic whose kept message mentions the person's id.

        Raises:
            MqttError: the broker cannot be reached, or refuses.
        """
        mark = person.person_id.encode()
        with open_connection(self._settings) as connection:
            connection.subscribe(f"{self._settings.topic_head}#", qos=1)
            topics = [topic for topic, body in _collect(connection) if mark in body or mark in topic.encode()]
            waiting = {connection.publish(topic, b"", qos=1, retain=True) for topic in topics}
            refused = _wait_for(connection, waiting)
            if connection.lost:
                raise connection.lost
            connection.close(_QUIET_S)
        if refused:
            return Erased(left=(f"{self._settings.broker}: {refused} of {len(topics)} kept messages that mention them",))
        return Erased(erased=tuple(f"{self._settings.broker}: the kept message of {topic}" for topic in topics))


def _collect(connection: MqttConnection) -> list[tuple[str, bytes]]:
    """Topics and bodies of the messages that the broker keeps.

    Raises:
        MqttError: the connection is lost, or the broker has not handed over everything in time.
    """
    kept: list[tuple[str, bytes]] = []
    quiet_s, end_s = 0.0, time.monotonic() + _LONGEST_S
    while not connection.lost and quiet_s < _QUIET_S and time.monotonic() < end_s:
        begun_s = time.monotonic()
        connection.turn(_TURN_S)
        received = [each for each in connection.take_received() if each.is_retained]
        kept += [(each.topic, each.body) for each in received]
        # A turn in which this process stood still has listened no longer than another one.
        listened_s = min(time.monotonic() - begun_s, _TURN_S) if connection.n_subscribed else 0.0
        quiet_s = 0.0 if received else quiet_s + listened_s
    if connection.lost:
        raise connection.lost
    if quiet_s < _QUIET_S:
        raise MqttError(MqttCause.UNANSWERED, f"the broker has not handed over all that it keeps within {_LONGEST_S:.0f} s")
    return kept


def _wait_for(connection: MqttConnection, waiting: set[int]) -> int:
    """How many of these messages the broker did not take."""
    refused, until_s = 0, time.monotonic() + _LONGEST_S
    while waiting and not connection.lost and time.monotonic() < until_s:
        connection.turn(_TURN_S)
        for packet_id, code in connection.take_acks():
            waiting.discard(packet_id)
            refused += code >= 0x80
    return refused + len(waiting)
