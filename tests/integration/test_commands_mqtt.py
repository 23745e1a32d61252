"""Commands through real brokers on loopback: sent by a client that is not ours, answered by sink and command room as they run."""

import base64
import contextlib
import json
import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from daemons import DaemonProcess, save_still_engine
from mqtt_sinks import event, make_sink, running
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from stand_ins.faces import StandInFaceReader, draw_portrait
from waiting import wait_until

from edged import __version__
from edged.brokers import find_mosquitto, free_port, has_amqtt, open_amqtt, open_mosquitto
from edged.clock import SystemClock
from edged.events.command import StrictModel
from edged.identity.decision import DecisionSettings
from edged.identity.encryption import KeyPlace
from edged.identity.gallery import open_gallery
from edged.identity.operations import FaceOperations
from edged.runtime.commands import Command, CommandRoom, CommandSettings
from edged.runtime.device_commands import make_ping, with_describe
from edged.runtime.gallery_commands import MOST_PICTURE_BYTES, GalleryDesk, make_gallery_commands
from edged.runtime.loop import Loop
from edged.sinks.mqtt import MqttSink
from edged.sinks.mqtt_settings import MqttProtocol

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
needs_amqtt = pytest.mark.skipif(not has_amqtt(), reason="amqtt is not installed (extra `demo`)")

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
MINE = "edged/gate/answer/me"
READY = "ready-"
"""How ids of pings begin that only wait for the device."""


class Step(StrictModel):
    """Arguments and answer of a command that counts how often it was done."""

    n: int


class Client:
    """Somebody who commands, with paho's own thread; reads what it subscribes to."""

    def __init__(self, port: int, *, level: int = 5, topics: str = "edged/#", username: str | None = None) -> None:
        self.level = level
        self.heard: list[paho.MQTTMessage] = []
        self.n_pings = 0
        self._port, self._topics = port, topics
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5 if level == 5 else paho.MQTTv311)
        self._client.on_connect = lambda client, *_: client.subscribe(topics, 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self.heard.append(message)
        self._client.reconnect_delay_set(1, 1)
        if username:
            self._client.username_pw_set(username, "password")

    def __enter__(self) -> "Client":
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(
        self, name: str, body: bytes | dict, *, to: str | None = None, mark: bytes | None = None, retain: bool = False
    ) -> None:
        properties = None
        if self.level == 5:
            properties = Properties(PacketTypes.PUBLISH)
            if to is not None:
                properties.ResponseTopic = to
            if mark is not None:
                properties.CorrelationData = mark
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._client.publish(f"edged/gate/command/{name}", raw, 1, retain, properties)

    def answers(self, topic: str | None = None) -> list[dict]:
        """Answers heard so far, at one topic or all."""
        wanted = topic or "edged/gate/answer/"
        return [json.loads(message.payload) for message in self.heard if message.topic.startswith(wanted)]

    def ask(self, name: str, body: dict, **details: object) -> dict:
        """Send a command and wait for the next answer that is not a late one to `wait_for_ping`."""

        def answers() -> list[dict]:
            return [answer for answer in self.answers() if not str(answer.get("id")).startswith(READY)]

        n = len(answers())
        self.send(name, body, **details)
        wait_until(lambda: len(answers()) > n)
        return answers()[n]

    def wait_for_ping(self) -> None:
        """Return once the device answers: it has connected and subscribed."""
        mark = f"{READY}{len(self.heard)}-{random.randrange(10**9)}"

        def is_answered() -> bool:
            self.send("ping", {"id": mark})
            self.n_pings += 1
            time.sleep(0.3)
            return any(answer.get("id") == mark for answer in self.answers())

        wait_until(is_answered)


class Device:
    """A sink and a command room as the daemon runs them, with the command `step`."""

    def __init__(self, sink: MqttSink, *commands: Command) -> None:
        self.sink = sink
        self.steps: list[int] = []
        step = Command("step", "Counts.", Step, Step, self._step)
        self.room = CommandRoom(
            with_describe([make_ping(device="gate", epoch="e1"), step, *commands]),
            device="gate",
            topic_head=sink.topic_head,
            clock=SystemClock(),
            send=sink.publish,
            settings=CommandSettings(rate_per_s=100.0, queue_limit=64),
        )
        sink.listen(self.room.subscription)

    def _step(self, arguments: Step) -> Step:
        self.steps.append(arguments.n)
        return Step(n=len(self.steps))


@contextlib.contextmanager
def serving(port: int, *, desk: GalleryDesk | None = None, **settings: object) -> Iterator[Device]:
    """A device at a broker, until the end of the block; neither of its threads may fail."""
    device = Device(make_sink(port, **settings), *(make_gallery_commands(desk.operations) if desk else ()))

    def do_commands(loop: Loop) -> None:
        device.room.run(loop)
        if desk:
            desk.close()

    loop = Loop("commands", do_commands, limit_s=device.room.limit_s, now_s=time.monotonic)
    worker = threading.Thread(target=loop.run, name="commands under test")
    worker.start()
    try:
        with running(device.sink):
            yield device
    finally:
        loop.stop()
        worker.join(10)
        assert loop.failure is None


@needs_mosquitto
def test_mosquitto_command_of_mqtt_5_is_answered_at_its_response_topic():
    """With its correlation data, as JSON, not retained."""
    with open_mosquitto() as broker, Client(broker.port) as client, serving(broker.port):
        client.wait_for_ping()
        answer = client.ask("ping", {"id": "1"}, to=MINE, mark=b"\0\xff")
        message = next(message for message in client.heard if message.topic == MINE)

    assert (answer["ok"], answer["id"], answer["answer"]["version"]) == (True, "1", __version__)
    assert message.properties.CorrelationData == b"\0\xff"
    assert message.properties.ContentType == "application/json"
    assert not message.retain


@pytest.mark.parametrize(
    "open_it",
    [
        pytest.param(open_mosquitto, marks=needs_mosquitto, id="mosquitto"),
        pytest.param(open_amqtt, marks=needs_amqtt, id="amqtt"),
    ],
)
def test_command_of_3_1_1_is_answered_where_its_body_says(open_it):
    """Sender and device without a property of MQTT 5; mistakes are answered too."""
    with (
        open_it() as broker,
        Client(broker.port, level=4) as client,
        serving(broker.port, protocol=MqttProtocol.V3) as device,
    ):
        client.wait_for_ping()
        done = client.ask("step", {"id": "1", "reply_to": MINE, "arguments": {"n": 5}})
        wrong = client.ask("step", {"id": "2", "reply_to": MINE, "arguments": {"m": 5}})

        assert (done["ok"], done["id"], done["answer"]) == (True, "1", {"n": 1})
        assert (wrong["ok"], wrong["id"], wrong["error"]["code"]) == (False, "2", "command.invalid")
        assert [answer["id"] for answer in client.answers(MINE)] == ["1", "2"]
        assert device.steps == [5]


@needs_mosquitto
def test_mosquitto_sender_of_3_1_1_and_device_of_5_understand_each_other():
    """What a broker translates, it translates."""
    with open_mosquitto() as broker, Client(broker.port, level=4) as client, serving(broker.port, protocol=MqttProtocol.V5):
        client.wait_for_ping()

        assert client.ask("describe", {"id": "1", "reply_to": MINE, "arguments": {"command": "ping"}})["ok"]


@needs_mosquitto
def test_mosquitto_command_sent_three_times_is_done_once_and_answered_alike():
    """As a sender does that lost its acknowledgement."""
    with open_mosquitto() as broker, Client(broker.port) as client, serving(broker.port) as device:
        client.wait_for_ping()
        for _ in range(3):
            client.send("step", {"arguments": {"n": 7}}, to=MINE, mark=b"7")
        wait_until(lambda: len(client.answers(MINE)) == 3)

        assert device.steps == [7]
        assert len({message.payload for message in client.heard if message.topic == MINE}) == 1


@needs_mosquitto
@pytest.mark.parametrize("level", [pytest.param(5, id="MQTT 5"), pytest.param(4, id="MQTT 3.1.1")])
def test_mosquitto_command_retained_before_the_device_came_is_never_done(level):
    """Neither at its first connection nor at the next; it is answered, where it comes at all."""
    protocol = MqttProtocol.V5 if level == 5 else MqttProtocol.V3
    with open_mosquitto() as broker, Client(broker.port, level=level) as client:
        client.send("step", {"id": "old", "arguments": {"n": 1}}, retain=True)
        with serving(broker.port, protocol=protocol) as device:
            client.wait_for_ping()
            assert device.steps == []

            client.send("step", {"id": "now", "arguments": {"n": 2}}, retain=True)
            client.ask("step", {"id": "plain", "reply_to": MINE, "arguments": {"n": 3}})
            wait_until(lambda: any(answer.get("id") == "plain" for answer in client.answers()))
        codes = {answer["id"]: answer.get("error", {}).get("code") for answer in client.answers() if "id" in answer}

    assert codes["plain"] is None
    if level == 5:  # the broker keeps the old one to itself, and says of the new one that it is to be kept
        assert device.steps == [3]
        assert (codes.get("old"), codes["now"]) == (None, "command.retained")
    else:  # the broker says so only of the one that it kept; the sender of the new one is there and waits
        assert device.steps == [2, 3]
        assert (codes["old"], codes["now"]) == ("command.retained", None)


@needs_mosquitto
def test_mosquitto_killed_and_restarted_brings_commands_again():
    """The subscription is renewed with the connection; what was sent meanwhile is not done."""
    port = free_port()
    with serving(port) as device:
        for number in range(3):
            with open_mosquitto(port=port) as broker, Client(port) as client:
                client.wait_for_ping()
                assert client.ask("step", {"arguments": {"n": number}}, to=MINE)["ok"]
                broker.process.kill()
                broker.process.wait()

    assert device.steps == [0, 1, 2]
    assert device.sink.status().connections == 3


@needs_mosquitto
def test_mosquitto_flood_of_rubbish_is_answered_below_our_topic_and_events_go_on():
    """Random bytes, deep nesting, wrong and foreign topics for answers, large messages: no loop ends, no event is lost."""
    rng = random.Random(5)
    bodies = [rng.randbytes(rng.randrange(200)) for _ in range(100)]
    bodies += [b"[" * 5000, b'{"arguments":' * 1000, b'{"id":1e999}', b"\0", b"{", b'{"a":1,"a":2}', b"1" * 6000, b"x" * 60_000]
    foreign = ["home/lock/set", "edged/gate/status", "edged/other/answer/me", "edged/gate/command/ping", "edged/gate/answer/me"]
    with open_mosquitto() as broker, Client(broker.port, topics="#") as client, serving(broker.port) as device:
        client.wait_for_ping()
        for number, body in enumerate(bodies):
            client.send(
                rng.choice(["step", "ping", "nobody", "a b", "%s"]), body or b"x", to=rng.choice(foreign), mark=b"%d" % number
            )
            device.sink.publish(event(number))
            time.sleep(0.01)
        client.send("step", b"x" * 1_000_000)
        wait_until(lambda: sum("/event/" in message.topic for message in client.heard) == len(bodies))
        client.wait_for_ping()
        outcomes = device.room.outcomes
        others = [message for message in client.heard if "/command/" not in message.topic and "/event/" not in message.topic]

    assert device.steps == []
    assert outcomes.total() + device.room.passed_over >= len(bodies)
    assert outcomes["ok"] <= client.n_pings
    assert outcomes["again"] < 30
    strangers = [message for message in others if not message.topic.startswith("edged/gate/answer/")]
    assert [(message.topic, message.payload) for message in strangers] == [("edged/gate/status", b"online")]


@needs_mosquitto
def test_mosquitto_with_the_documented_access_list_lets_command_who_may(tmp_path):
    """The page's own list: the admin commands, the doorbell only pings, the dashboard hears neither commands nor answers."""
    (rules,) = re.findall(r"^```\n(pattern readwrite.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    passwords, access = tmp_path / "passwords", tmp_path / "acl"
    access.write_text(rules)
    for user in ("gate", "admin", "doorbell", "dashboard"):
        new = [] if passwords.exists() else ["-c"]
        subprocess.run(["mosquitto_passwd", "-b", *new, str(passwords), user, "password"], check=True, capture_output=True)
    lines = ["allow_anonymous false", f"password_file {passwords}", f"acl_file {access}"]
    with (
        open_mosquitto(settings=lines) as broker,
        serving(broker.port, username="gate", password="password") as device,
        Client(broker.port, username="dashboard") as dashboard,
        Client(broker.port, username="doorbell", topics="edged/gate/answer/doorbell/#") as doorbell,
        Client(broker.port, username="admin", topics="edged/gate/answer/admin/#") as admin,
    ):
        wait_until(lambda: device.sink.status().states_delivered == 1)  # it subscribes before it says that it is online
        device.sink.publish(event(1))
        assert doorbell.ask("ping", {}, to="edged/gate/answer/doorbell/1")["ok"]
        doorbell.send("step", {"arguments": {"n": 1}}, to="edged/gate/answer/doorbell/1")
        assert admin.ask("step", {"arguments": {"n": 2}}, to="edged/gate/answer/admin/1")["ok"]
        wait_until(lambda: any("/event/" in message.topic for message in dashboard.heard))

        assert device.steps == [2]
        assert len(doorbell.heard) == len(admin.heard) == 1
        assert {message.topic.split("/")[2] for message in dashboard.heard} == {"status", "door"}


@needs_mosquitto
@pytest.mark.parametrize("level", [pytest.param(5, id="MQTT 5"), pytest.param(4, id="MQTT 3.1.1")])
def test_mosquitto_person_is_enrolled_known_and_forgotten_over_mqtt(level, tmp_path):
    """A photograph of some megabytes goes through the broker; one above the limit is refused, and the next one goes."""
    protocol = MqttProtocol.V5 if level == 5 else MqttProtocol.V3
    state_dir, reader = tmp_path / "state", StandInFaceReader()
    desk = GalleryDesk(
        lambda opening: FaceOperations(
            open_gallery=lambda: open_gallery(state_dir, KeyPlace(state_dir / "gallery.key")),
            open_reader=lambda: reader,
            model_digest=reader.model_digest,
            settings=DecisionSettings(threshold=0.5, false_match_rate=0.001, margin=0.1, live_threshold=0.5, least_quality=0.2),
            actor="mqtt",
            now=time.time,
        )
    )
    photo = cv2.imencode(".bmp", draw_portrait(3, face_px=500))[1].tobytes()  # 3 MB, not compressed
    enrolment = {"arguments": {"name": "Anna", "consent": "form 12", "pictures": [base64.b64encode(photo).decode()]}}
    too_large = {"arguments": {"picture": "A" * MOST_PICTURE_BYTES}}
    with (
        open_mosquitto() as broker,
        Client(broker.port, level=level) as client,
        serving(broker.port, protocol=protocol, desk=desk),
    ):
        client.wait_for_ping()
        enrolled = client.ask("faces.enrol", enrolment | {"id": "1"})
        refused = client.ask("faces.identify", too_large | {"id": "2"})
        known = client.ask("faces.identify", {"id": "3", "arguments": {"picture": enrolment["arguments"]["pictures"][0]}})
        forgotten = client.ask("faces.forget", {"id": "4", "arguments": {"person": "Anna"}})
        left = client.ask("faces.list", {"id": "5"})

    assert enrolled["answer"]["name"] == "Anna"
    assert refused["error"]["code"] == "command.too_large"
    assert [face["identity"]["name"] for face in known["answer"]["faces"]] == ["Anna"]
    assert forgotten["answer"]["person_id"] == enrolled["answer"]["person_id"]
    assert left["answer"]["n_people"] == 0


@needs_mosquitto
def test_daemon_with_commands_answers_them_and_stops_as_ever(tmp_path):
    """As a user runs it: a ping, a list of all commands, nothing of them in the log but names, ids and outcomes."""
    save_still_engine(tmp_path / "engines" / "still")
    with open_mosquitto() as broker, Client(broker.port) as client:
        config = {
            "device": "gate",
            "state_dir": "state",
            "mqtt": {"host": "127.0.0.1", "port": broker.port},
            "commands": {"enabled": True},
            "detector": {"engine": "engines/still"},
            "cameras": {"door": {"source": "street:", "fps": 1}},
        }
        with DaemonProcess(tmp_path, config) as daemon:
            daemon.wait_for_log("mqtt connected")
            client.wait_for_ping()
            told = client.ask("describe", {"id": "all"}, to=MINE)
            client.ask("describe", {"id": "one", "arguments": {"command": "secret.word"}}, to=MINE)
            daemon.wait_for_log("command: name=describe id=one outcome=command.unknown")
            status = daemon.stop()

    assert status == 0
    assert {facts["name"] for facts in told["answer"]["commands"]} >= {"ping", "describe"}
    assert "command: name=describe id=all outcome=ok" in daemon.log
    assert "secret.word" not in daemon.log


@needs_mosquitto
def test_daemon_without_commands_takes_none(tmp_path):
    """Off is the default: nothing is subscribed to."""
    save_still_engine(tmp_path / "engines" / "still")
    with open_mosquitto() as broker, Client(broker.port) as client:
        config = {
            "device": "gate",
            "state_dir": "state",
            "mqtt": {"host": "127.0.0.1", "port": broker.port},
            "detector": {"engine": "engines/still"},
            "cameras": {"door": {"source": "street:", "fps": 1}},
        }
        with DaemonProcess(tmp_path, config) as daemon:
            daemon.wait_for_log("camera online")
            client.send("ping", {}, to=MINE)
            time.sleep(1.0)
            daemon.stop()

    assert client.answers() == []
