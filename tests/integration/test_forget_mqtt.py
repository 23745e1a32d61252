"""Messages that a real broker keeps are taken back when somebody is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from paho.mqtt import client as paho
from waiting import wait_until

from edged.brokers import find_mosquitto, free_port, open_mosquitto
from edged.identity.people import Person
from edged.retained_messages import RetainedMessages
from edged.sinks.mqtt_connection import MqttError
from edged.sinks.mqtt_settings import MqttProtocol, MqttSettings

MARK = "mark"
ANNA = Person("p0123456789abcdef", "Anna", "form 12", 0.0, None, 1, {}, 0)

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")


def connect(port: int) -> paho.Client:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def kept_topics(port: int) -> set[str]:
    """What the broker keeps: all that comes before a mark that is published once we are subscribed."""
    heard: list[paho.MQTTMessage] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe("#", 1)
    client.on_subscribe = lambda client, *_: client.publish(MARK, qos=1)
    client.on_message = lambda _client, _data, message: heard.append(message)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_until(lambda: any(message.topic == MARK for message in heard))
    client.disconnect()
    client.loop_stop()
    return {message.topic for message in heard if message.retain and not message.topic.startswith("$SYS")}


@pytest.mark.parametrize("protocol", [MqttProtocol.V5, MqttProtocol.V3])
def test_kept_messages_that_mention_somebody_are_taken_back(protocol: MqttProtocol) -> None:
    """By their body or their topic; others stay, also those of other devices."""
    with open_mosquitto() as broker:
        client = connect(broker.port)
        bodies = {
            "edged/gate/door/event/object.identity": f'{{"subject":"{ANNA.person_id}"}}',
            f"edged/gate/last/{ANNA.person_id}": "08:15",
            "edged/gate/door/state": '{"state":"online"}',
            "edged/other/door/state": f'{{"subject":"{ANNA.person_id}"}}',
        }
        for topic, body in bodies.items():
            client.publish(topic, body, qos=1, retain=True).wait_for_publish(30)
        settings = MqttSettings(host="127.0.0.1", port=broker.port, device="gate", protocol=protocol)

        found = RetainedMessages(settings).erase(ANNA)

        client.disconnect()
        client.loop_stop()
        assert sorted(line.split()[-1] for line in found.erased) == sorted(list(bodies)[:2])
        assert found.left == ()
        assert kept_topics(broker.port) == {"edged/gate/door/state", "edged/other/door/state"}


def test_broker_that_keeps_nothing_of_somebody_has_nothing_taken_back() -> None:
    """edged itself publishes nothing about people to be kept."""
    with open_mosquitto() as broker:
        settings = MqttSettings(host="127.0.0.1", port=broker.port, device="gate")

        assert RetainedMessages(settings).erase(ANNA).erased == ()


def test_broker_that_is_away_is_told(tmp_path: Path) -> None:
    """`forget` names it as left."""
    settings = MqttSettings(host="127.0.0.1", port=free_port(), device="gate")

    with pytest.raises(MqttError, match=r"127\.0\.0\.1"):
        RetainedMessages(settings).erase(ANNA)
