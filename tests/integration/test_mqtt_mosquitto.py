"""The MQTT sink and `edged watch` against real brokers on loopback."""

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from mqtt_sinks import event, make_sink, running
from waiting import Stopwatch, wait_until

from edged.brokers import find_mosquitto, free_port, has_amqtt, open_amqtt, open_mosquitto
from edged.sinks.base import Message, MessageKind, Received
from edged.sinks.mqtt import MqttSink
from edged.sinks.mqtt_connection import MqttConnection, open_connection
from edged.sinks.mqtt_settings import MqttSettings, MqttTls

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
needs_amqtt = pytest.mark.skipif(not has_amqtt(), reason="amqtt is not installed (extra `demo`)")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

OPEN = ["allow_anonymous true"]


class Subscriber:
    """Keeps what a broker sends it, over lost connections."""

    def __init__(self, port: int, **settings: object) -> None:
        self.received: list[Received] = []
        self.arrived_s: dict[bytes, float] = {}
        self.is_subscribed = threading.Event()
        self._settings = MqttSettings(
            **{"host": "127.0.0.1", "port": port, "device": "+", "client_id": f"subscriber-{port}", **settings}
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="subscriber")

    def __enter__(self) -> "Subscriber":
        self._thread.start()
        assert self.is_subscribed.wait(10)
        time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def numbers(self) -> list[int]:
        return [json.loads(r.body)["n"] for r in self.received if "/event/" in r.topic]

    def said(self, topic: str) -> list[tuple[bytes, bool]]:
        return [(r.body, r.is_retained) for r in self.received if r.topic == f"edged/gate/{topic}"]

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(Exception), open_connection(self._settings) as connection:
                connection.subscribe("edged/#", qos=1)
                self.is_subscribed.set()
                self._receive(connection)
            time.sleep(0.02)

    def _receive(self, connection: MqttConnection) -> None:
        while not connection.lost and not self._stop.is_set():
            connection.turn(0.1)
            now_s = time.monotonic()
            for received in connection.take_received():
                self.received.append(received)
                self.arrived_s.setdefault(received.body, now_s)


@dataclass
class Certificates:
    """A small authority of our own and what it signed."""

    directory: Path

    def path(self, name: str) -> Path:
        return self.directory / name

    def sign(self, name: str, *, names: str, days: int = 2) -> None:
        key, request, certificate = (str(self.path(f"{name}{end}")) for end in (".key", ".csr", ".crt"))
        extensions = self.path(f"{name}.ext")
        extensions.write_text(f"subjectAltName={names}\n")
        openssl(
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            f"/CN={name}",
            "-keyout",
            key,
            "-out",
            request,
        )
        authority = ["-CA", str(self.path("ca.crt")), "-CAkey", str(self.path("ca.key")), "-CAcreateserial"]
        openssl("x509", "-req", "-in", request, *authority, "-days", str(days), "-extfile", str(extensions), "-out", certificate)


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_authority(directory: Path) -> Certificates:
    key, certificate = directory / "ca.key", directory / "ca.crt"
    openssl(
        *[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-keyout",
        ],
        str(key),
        "-out",
        str(certificate),
    )
    return Certificates(directory)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority, brokers' certificates (good, for another host, expired) and a client's."""
    made = make_authority(tmp_path_factory.mktemp("authority"))
    made.sign("broker", names="IP:127.0.0.1,DNS:localhost")
    made.sign("elsewhere", names="DNS:broker.example")
    made.sign("expired", names="IP:127.0.0.1", days=-1)
    made.sign("client", names="DNS:gate")
    return made


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory):
    """An authority that signed nothing."""
    return make_authority(tmp_path_factory.mktemp("other"))


def tls_lines(certificates: Certificates, broker: str = "broker", *, asks_client: bool = False) -> list[str]:
    lines = [f"certfile {certificates.path(f'{broker}.crt')}", f"keyfile {certificates.path(f'{broker}.key')}"]
    if asks_client:
        lines += [f"cafile {certificates.path('ca.crt')}", "require_certificate true"]
    return [*lines, *OPEN]


@needs_mosquitto
def test_mosquitto_clean_stop_leaves_offline_retained():
    """A subscriber sees online, then offline; one who comes later finds offline kept."""
    with open_mosquitto() as broker:
        with Subscriber(broker.port) as watcher, running(make_sink(broker.port)) as sink:
            wait_until(lambda: sink.status().states_delivered == 1)
            sink.close()
            wait_until(lambda: len(watcher.said("status")) == 2)
        with Subscriber(broker.port) as late:
            wait_until(lambda: late.said("status"))

    assert watcher.said("status") == [(b"online", False), (b"offline", False)]
    assert late.said("status") == [(b"offline", True)]


@needs_mosquitto
def test_mosquitto_publisher_killed_publishes_the_will():
    """A daemon that vanishes is offline for everybody."""
    with open_mosquitto() as broker, Subscriber(broker.port) as watcher:
        program = (
            "import random, threading; from edged.runtime.backoff import Backoff; from edged.sinks.mqtt import *\n"
            f"settings = MqttSettings(host='127.0.0.1', port={broker.port}, device='gate')\n"
            "backoff = Backoff(first_s=1, most_s=1, rng=random.Random(1))\n"
            "MqttSink(settings, backoff=backoff).run(threading.Event())\n"
        )
        with subprocess.Popen([sys.executable, "-c", program]) as publisher:
            wait_until(lambda: watcher.said("status") == [(b"online", False)])
            publisher.kill()

        wait_until(lambda: watcher.said("status") == [(b"online", False), (b"offline", False)])


@needs_mosquitto
def test_mosquitto_state_is_retained_and_events_are_not():
    """Who comes later finds the newest state and no old event."""
    with open_mosquitto() as broker, running(make_sink(broker.port)) as sink:
        sink.publish(Message(MessageKind.STATE, "door/state", b'{"state":"connecting"}', None))
        sink.publish(Message(MessageKind.STATE, "door/state", b'{"state":"online"}', None))
        sink.publish(event(1))
        wait_until(lambda: sink.status().delivered == 1)

        with Subscriber(broker.port) as late:
            wait_until(lambda: late.said("door/state"))

            assert late.said("door/state") == [(b'{"state":"online"}', True)]
            assert late.numbers() == []


@needs_mosquitto
def test_mosquitto_killed_and_restarted_takes_every_event():
    """Events raised while the broker is killed, away and back again are all acknowledged in the end, none dropped."""
    port, rng = free_port(), random.Random(3)
    with running(make_sink(port, queue_limit=100_000)) as sink:
        published = 0
        for _ in range(3):
            connections = sink.status().connections
            with open_mosquitto(port=port) as broker:
                until_s = time.monotonic() + 1.0
                while time.monotonic() < until_s or sink.status().connections == connections:
                    sink.publish(event(published))
                    published += 1
                    time.sleep(rng.uniform(0, 0.004))
                broker.process.kill()
            for _ in range(100):
                sink.publish(event(published))
                published += 1
        with open_mosquitto(port=port):
            wait_until(lambda: sink.status().queued + sink.status().inflight == 0)
            status = sink.status()

    assert (status.accepted, status.delivered, status.dropped) == (published, published, {})
    assert status.connections >= 4


@needs_mosquitto
def test_mosquitto_away_for_longer_than_the_queue_counts_every_drop():
    """Above the queue's bound the oldest events go; delivered and dropped are together all that were raised."""
    port = free_port()
    with running(make_sink(port, queue_limit=50)) as sink:
        for number in range(80):
            sink.publish(event(number))
        with open_mosquitto(port=port):
            wait_until(lambda: sink.status().delivered == 50)

            assert sink.status().dropped == {"queue_full": 30}


@needs_mosquitto
def test_mosquitto_frozen_for_a_while_delivers_everything_in_order():
    """A broker that stands still for a second gets everything afterwards, to the subscriber, in order, once."""
    with open_mosquitto() as broker, Subscriber(broker.port) as watcher, running(make_sink(broker.port)) as sink:
        for number in range(300):
            if number == 100:
                broker.process.send_signal(signal.SIGSTOP)
            if number == 200:
                time.sleep(1.0)
                broker.process.send_signal(signal.SIGCONT)
            sink.publish(event(number))
            time.sleep(0.002)
        wait_until(lambda: len(watcher.numbers()) == 300)

        assert watcher.numbers() == list(range(300))
        assert sink.dropped == 0


@needs_mosquitto
@pytest.mark.parametrize("tls", [pytest.param(False, id="plain"), pytest.param(True, id="tls")])
def test_mosquitto_frozen_for_good_does_not_hold_the_stop(tls, request):
    """Stopping ends in under 8 s when the broker accepts connections and says nothing, encrypted or not."""
    certificates = request.getfixturevalue("certificates") if tls else None
    settings = {"tls": MqttTls(ca=certificates.path("ca.crt"))} if certificates else {}
    with open_mosquitto(settings=tls_lines(certificates) if certificates else OPEN) as broker:
        broker.process.send_signal(signal.SIGSTOP)
        sink = make_sink(broker.port, **settings)
        thread = threading.Thread(target=sink.run, args=(threading.Event(),))
        thread.start()
        sink.publish(event(1))
        time.sleep(0.5)

        with Stopwatch() as watch:
            sink.close()
            thread.join(30)

        assert not thread.is_alive()
        assert watch.ran_s < 8
        assert sink.status().dropped == {"stopped": 1}


@needs_mosquitto
def test_mosquitto_password_refused_then_right_connects(tmp_path):
    """A wrong password is its own cause and delivers nothing; the right one delivers."""
    password_file = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(password_file), "edged", "right"], check=True, capture_output=True)
    with open_mosquitto(settings=["allow_anonymous false", f"password_file {password_file}"]) as broker:
        with running(make_sink(broker.port, username="edged", password="wrong")) as wrong:
            wait_until(lambda: wrong.status().cause == "auth")
        with running(make_sink(broker.port, username="edged", password="right")) as right:
            right.publish(event(1))
            wait_until(lambda: right.status().delivered == 1)


@needs_mosquitto
def test_mosquitto_acl_refusal_is_counted(tmp_path):
    """A topic that the broker's list forbids is a counted drop, not a delivery."""
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite edged/gate/status\ntopic readwrite edged/gate/yard/#\n")
    with open_mosquitto(settings=[*OPEN, f"acl_file {rules}"]) as broker, running(make_sink(broker.port)) as sink:
        sink.publish(event(1))
        sink.publish(Message(MessageKind.EVENT, "yard/event/zone.enter", b"{}", None))
        wait_until(lambda: sink.status().delivered == 1)
        wait_until(lambda: sink.status().dropped == {"not_authorized": 1})


@needs_mosquitto
def test_mosquitto_message_above_its_limit_is_given_up_and_the_next_goes():
    """Mosquitto answers a message above `message_size_limit` with a code that paho takes for garbage: five tries, then on."""
    settings = [*OPEN, "message_size_limit 100"]
    with open_mosquitto(settings=settings) as broker, running(make_sink(broker.port)) as sink:
        sink.publish(Message(MessageKind.EVENT, "door/event/zone.enter", b"x" * 200, None))
        sink.publish(event(2))
        wait_until(lambda: sink.status().delivered == 1, timeout_s=20)

        assert sink.status().dropped == {"undeliverable": 1}


@needs_mosquitto
@needs_openssl
def test_mosquitto_tls_with_trusted_certificate_delivers(certificates):
    """Encrypted, the broker's certificate and name checked."""
    tls = MqttTls(ca=certificates.path("ca.crt"))
    with open_mosquitto(settings=tls_lines(certificates)) as broker, running(make_sink(broker.port, tls=tls)) as sink:
        for number in range(200):
            sink.publish(event(number))
        wait_until(lambda: sink.status().delivered == 200)


@needs_mosquitto
@needs_openssl
@pytest.mark.parametrize(
    ("broker_name", "trusts_other", "cause"),
    [
        pytest.param("broker", True, "certificate", id="signed by nobody we trust"),
        pytest.param("elsewhere", False, "certificate_host", id="for another host"),
        pytest.param("expired", False, "certificate_time", id="expired"),
    ],
)
def test_mosquitto_tls_with_bad_certificate_is_refused(certificates, other_authority, broker_name, trusts_other, cause):
    """A broker that cannot prove itself gets nothing, and the cause says what is wrong with it."""
    tls = MqttTls(ca=(other_authority if trusts_other else certificates).path("ca.crt"))
    lines = tls_lines(certificates, broker_name)
    with open_mosquitto(settings=lines) as broker, running(make_sink(broker.port, tls=tls)) as sink:
        sink.publish(event(1))
        wait_until(lambda: sink.status().cause is not None)

        assert sink.status().cause == cause
        assert sink.status().delivered == 0


@needs_mosquitto
@needs_openssl
def test_mosquitto_tls_unverified_accepts_any_broker(certificates):
    """`verify: false` means it."""
    tls = MqttTls(verify=False)
    with open_mosquitto(settings=tls_lines(certificates, "expired")) as broker, running(make_sink(broker.port, tls=tls)) as sink:
        sink.publish(event(1))
        wait_until(lambda: sink.status().delivered == 1)


@needs_mosquitto
@needs_openssl
def test_mosquitto_mutual_tls_takes_our_certificate_and_refuses_none(certificates):
    """A broker that asks for a certificate takes ours, and refuses us without."""
    ca = certificates.path("ca.crt")
    with_own = MqttTls(ca=ca, certificate=certificates.path("client.crt"), key=certificates.path("client.key"))
    with open_mosquitto(settings=tls_lines(certificates, asks_client=True)) as broker:
        with running(make_sink(broker.port, tls=MqttTls(ca=ca))) as without:
            wait_until(lambda: without.status().cause is not None)
        with running(make_sink(broker.port, tls=with_own)) as sink:
            sink.publish(event(1))
            wait_until(lambda: sink.status().delivered == 1)

    # TLS 1.3 refuses after the handshake: whether its alert or only the closing arrives is the network's choice.
    assert without.status().cause in ("tls", "closed")
    assert "does it ask for a certificate" in without.status().error
    assert without.status().connections == 0


@needs_mosquitto
@needs_openssl
def test_mosquitto_plain_client_at_a_tls_port_fails_with_a_hint(certificates):
    """Forgotten `tls` is told as such."""
    with open_mosquitto(settings=tls_lines(certificates)) as broker, running(make_sink(broker.port)) as sink:
        wait_until(lambda: sink.status().cause is not None)

        assert sink.status().cause == "closed"
        assert "TLS" in sink.status().error


@needs_amqtt
def test_amqtt_without_mqtt_5_delivers_over_3_1_1():
    """`auto` falls back, and the embedded broker delivers."""
    with open_amqtt() as broker, running(make_sink(broker.port, connect_timeout_s=2.0)) as sink:
        sink.publish(event(0))
        wait_until(lambda: sink.status().delivered == 1)
        with Subscriber(broker.port, protocol=broker.protocol) as watcher:
            for number in range(1, 100):
                sink.publish(event(number))
            wait_until(lambda: len(watcher.numbers()) == 99)

        assert sink.status().protocol == "3.1.1"
        assert watcher.numbers() == list(range(1, 100))
        assert watcher.said("status") == [(b"online", True)]


@needs_mosquitto
def test_mosquitto_latency_from_publish_to_subscriber_is_reported(record_property):
    """Report only: how long an event takes from `publish` to a subscriber, idle, on loopback."""
    with open_mosquitto() as broker, Subscriber(broker.port) as watcher, running(make_sink(broker.port)) as sink:
        sent_s = {}
        for number in range(200):
            message = event(number)
            sent_s[message.body] = time.monotonic()
            sink.publish(message)
            time.sleep(0.01)
        wait_until(lambda: len(watcher.numbers()) == 200)

    delays_ms = sorted((watcher.arrived_s[body] - at_s) * 1000 for body, at_s in sent_s.items())
    record_property("p50_ms", round(delays_ms[100], 2))
    record_property("p99_ms", round(delays_ms[197], 2))
    print(f"publish to subscriber: p50 {delays_ms[100]:.2f} ms, p99 {delays_ms[197]:.2f} ms")
    assert len(delays_ms) == 200


@needs_mosquitto
def test_watch_shows_events_and_ends_after_count():
    """`edged watch --json --count` prints every message with its topic and ends by itself."""
    with open_mosquitto() as broker, running(make_sink(broker.port)) as sink:
        wait_until(lambda: sink.status().states_delivered == 1)
        command = [sys.executable, "-m", "edged", "watch", "--port", str(broker.port), "--json", "--count", "3"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watcher:
            assert watcher.stderr.readline().startswith("edged watch: watching edged/+/#")
            wait_until(lambda: _publish_until_ended(sink, watcher), timeout_s=20)
            lines = [json.loads(line) for line in watcher.stdout]

    assert watcher.returncode == 0
    assert lines[0] == {"topic": "edged/gate/status", "retained": True, "payload": "online"}
    assert [line["topic"] for line in lines[1:]] == ["edged/gate/door/event/zone.enter"] * 3


@needs_mosquitto
def test_watch_interrupted_ends_with_0():
    """Ctrl-C is how one leaves it."""
    with open_mosquitto() as broker:
        command = [sys.executable, "-m", "edged", "watch", "--port", str(broker.port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watcher:
            assert watcher.stderr.readline()
            watcher.send_signal(signal.SIGINT)
            _, complaint = watcher.communicate(timeout=60)

    assert watcher.returncode == 0
    assert "Traceback" not in complaint


def _publish_until_ended(sink: MqttSink, watcher: subprocess.Popen[str]) -> bool:
    sink.publish(event(1))
    time.sleep(0.05)
    return watcher.poll() is not None
