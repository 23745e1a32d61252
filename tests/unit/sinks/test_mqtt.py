"""The MQTT sink against a scripted broker on loopback."""

import random
import socket
import threading
import time

import pytest
from mqtt_sinks import EVENT_TOPIC, assert_adds_up, event, make_sink, running
from servers.mqtt_broker import FakeBroker, Published, Script, Subscribed, encode_text
from waiting import Stopwatch, wait_until

from edged.sinks.base import Message, MessageKind, Received, Subscription
from edged.sinks.mqtt import MqttSink
from edged.sinks.mqtt_settings import MqttProtocol


def state(body: bytes, topic: str = "door/state") -> Message:
    return Message(MessageKind.STATE, topic, body)


def bodies(numbers: range) -> list[bytes]:
    return [event(number).body for number in numbers]


def wait_for_all(sink: MqttSink, timeout_s: float = 10.0) -> None:
    wait_until(lambda: sink.status().queued == sink.status().inflight == 0, timeout_s=timeout_s)


def test_sink_connected_publishes_events_in_order_unretained():
    """Every event reaches the broker once, in order, not retained, with QoS 1 and the properties of JSON."""
    with FakeBroker([Script()]) as broker, running(make_sink(broker.port)) as sink:
        for number in range(200):
            sink.publish(event(number))
        wait_for_all(sink)

        events = [published for published in broker.published if "/event/" in published.topic]

        assert [published.body for published in events] == bodies(range(200))
        assert {(p.topic, p.qos, p.is_retained) for p in events} == {(f"edged/gate/{EVENT_TOPIC}", 1, False)}
        assert {p.properties for p in events} == {b"\x01\x01\x03\x00\x10application/json"}
        assert sink.status().delivered == 200
        assert sink.dropped == 0


def test_sink_start_and_stop_says_online_and_offline_retained():
    """The status is `online` first of all, `offline` last of all, both retained, and the will says `offline` too."""
    with FakeBroker([Script()]) as broker:
        with running(make_sink(broker.port)) as sink:
            sink.publish(event(1))
            wait_for_all(sink)
        wait_until(lambda: broker.goodbyes)  # the broker reads on after the sink has closed

        said = [(p.topic, p.body, p.is_retained) for p in broker.published]
        will = broker.connects[0]

        assert said[0] == ("edged/gate/status", b"online", True)
        assert said[-1] == ("edged/gate/status", b"offline", True)
        assert (will.will_topic, will.will_body, will.will_retained) == ("edged/gate/status", b"offline", True)
        assert broker.goodbyes == [0]


def test_sink_states_keep_the_newest_of_each_topic_and_come_again_after_reconnect():
    """A new connection gets the newest value of every retained topic, older ones never."""
    with FakeBroker([Script(closes_after=4), Script()]) as broker, running(make_sink(broker.port)) as sink:
        sink.publish(state(b"old"))
        sink.publish(state(b"other", topic="yard/state"))
        wait_until(lambda: sink.status().states_delivered == 3)
        sink.publish(state(b"new"))
        wait_until(lambda: sink.status().connections == 2)
        wait_until(lambda: sink.status().states_delivered == 6)

        second = [(p.topic.removeprefix("edged/gate/"), p.body) for p in broker.published[4:]]

        assert second == [("status", b"online"), ("door/state", b"new"), ("yard/state", b"other")]
        assert all(p.is_retained for p in broker.published)


@pytest.mark.parametrize(
    ("receive_maximum", "most"),
    [pytest.param(5, 5, id="broker's is smaller"), pytest.param(100, 16, id="ours is smaller"), pytest.param(1, 1, id="one")],
)
def test_sink_after_outage_stays_inside_the_window(receive_maximum, most):
    """A full queue never has more un-acknowledged messages out than the broker's Receive Maximum and our 16 allow."""
    properties = b"\x21" + receive_maximum.to_bytes(2, "big")
    script = Script(receive_maximum=receive_maximum, connack_properties=properties, ack_delay_s=0.01)
    with FakeBroker([Script(connack=lambda level: 0x88), script]) as broker:
        sink = make_sink(broker.port)
        for number in range(60):
            sink.publish(event(number))
        with running(sink):
            wait_for_all(sink)

        assert broker.bodies() == bodies(range(60))
        assert broker.most_outstanding == most
        assert len(broker.connects) == 2


def test_sink_told_to_send_less_halves_its_window():
    """A broker that ends the connection with 0x93 gets half as much at once the next time, until it bears it."""
    script = Script(receive_maximum=4, ack_delay_s=0.01)
    with FakeBroker([script]) as broker, running(make_sink(broker.port)) as sink:
        for number in range(60):
            sink.publish(event(number))
        wait_for_all(sink)

        assert set(broker.bodies()) == set(bodies(range(60)))
        assert len(broker.connects) == 3  # windows of 16, 8, 4


def test_sink_connection_lost_sends_unacknowledged_events_again_in_order():
    """What was sent and not acknowledged goes out again, before anything newer."""
    silent = Script(puback=lambda published: 0 if published.topic.endswith("status") else None, closes_after=11)
    with FakeBroker([silent, Script()]) as broker, running(make_sink(broker.port)) as sink:
        for number in range(30):
            sink.publish(event(number))
        wait_for_all(sink)

        first = len(broker.bodies()) - 30

        assert broker.bodies()[:first] == bodies(range(first))
        assert broker.bodies()[first:] == bodies(range(30))
        assert first > 0
        assert sink.status().delivered == 30


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param(0x87, "not_authorized", id="not authorised"),
        pytest.param(0x90, "topic_invalid", id="topic name invalid"),
        pytest.param(0x99, "payload_invalid", id="payload format invalid"),
        pytest.param(0x91, "refused", id="anything else"),
    ],
)
def test_sink_event_refused_is_dropped_with_its_reason_and_warned_once(code, reason, caplog):
    """A PUBACK that refuses is never counted as delivered, blocks nothing behind it and is logged once a topic."""

    def refuse_the_door(published: Published) -> int:
        return code if "door/event" in published.topic else 0

    with FakeBroker([Script(puback=refuse_the_door)]) as broker, running(make_sink(broker.port)) as sink:
        for number in range(5):
            sink.publish(event(number))
        sink.publish(event(9, topic="yard/event/zone.enter"))
        wait_for_all(sink)
        status = sink.status()

    assert status.dropped == {reason: 5}
    assert status.delivered == 1
    assert len([r for r in caplog.records if "refused" in r.message and f"reason={reason}" in r.message]) == 1


def test_sink_event_that_ends_every_connection_is_given_up_alone():
    """An event that the broker answers with the end of the connection is dropped after five; its neighbours arrive."""
    poison = event(3).body
    script = Script(puback=lambda published: 0x95 if published.body == poison else 0)  # not a code of PUBACK: paho hangs up
    with FakeBroker([script]) as broker, running(make_sink(broker.port)) as sink:
        for number in range(8):
            sink.publish(event(number))
        wait_for_all(sink)

        assert sink.status().dropped == {"undeliverable": 1}
        assert sink.status().delivered == 7
        assert broker.bodies().count(poison) == 5


def test_sink_event_that_ends_every_connection_is_blamed_not_the_ones_before_it():
    """A broker that ends the connection before it has acknowledged the neighbours does not get them dropped."""
    script = Script(closes_on=lambda published: published.body == event(3).body, ack_delay_s=0.02)
    with FakeBroker([script]) as broker, running(make_sink(broker.port)) as sink:
        for number in range(8):
            sink.publish(event(number))
        wait_for_all(sink)

        assert sink.status().dropped == {"undeliverable": 1}
        assert sink.status().delivered == 7


def test_sink_broker_that_acknowledges_nothing_is_left():
    """A broker that answers pings but no messages costs one connection, not the delivery."""
    deaf = Script(puback=lambda published: None)
    with FakeBroker([deaf, Script()]) as broker, running(make_sink(broker.port, keepalive_s=1)) as sink:
        sink.publish(event(1))
        wait_until(lambda: sink.status().delivered == 1)

        assert sink.status().connections == 2


def test_sink_quota_exceeded_sends_the_event_again():
    """A refusal that may pass is not a drop: the event waits and goes again."""
    answers = iter([0x97, 0x97])

    def full_at_first(published: Published) -> int:
        return next(answers, 0) if "/event/" in published.topic else 0

    with FakeBroker([Script(puback=full_at_first)]) as broker, running(make_sink(broker.port)) as sink:
        sink.publish(event(1))
        wait_for_all(sink)

        assert broker.bodies() == [event(1).body] * 3
        assert sink.status().delivered == 1
        assert sink.dropped == 0


def test_sink_event_above_the_brokers_packet_size_is_dropped_unsent():
    """A packet that the broker would end the connection for is given up, and the next one goes."""
    script = Script(connack_properties=b"\x27" + (200).to_bytes(4, "big"))
    with FakeBroker([script]) as broker, running(make_sink(broker.port)) as sink:
        sink.publish(event(1, size_bytes=500))
        sink.publish(event(2))
        wait_for_all(sink)

        assert broker.bodies() == [event(2).body]
        assert sink.status().dropped == {"too_large": 1}
        assert sink.status().connections == 1


def test_sink_topic_with_wildcard_is_dropped():
    """A topic that nobody may publish to is given up, and the connection stays."""
    with FakeBroker([Script()]) as broker, running(make_sink(broker.port)) as sink:
        sink.publish(event(1, topic="door/+/x"))
        sink.publish(event(2))
        wait_for_all(sink)

        assert sink.status().dropped == {"topic_invalid": 1}
        assert sink.status().delivered == 1
        assert sink.status().connections == 1


@pytest.mark.parametrize(("events", "dropped"), [pytest.param(10, 0, id="at the limit"), pytest.param(13, 3, id="three above")])
def test_sink_queue_above_its_limit_drops_the_oldest(events, dropped):
    """With nobody to send to, the newest `queue_limit` events are kept and the others counted."""
    with FakeBroker([Script()]) as broker:
        sink = make_sink(broker.port, queue_limit=10)
        for number in range(events):
            sink.publish(event(number))
            assert_adds_up(sink.status())
        with running(sink):
            wait_for_all(sink)

        assert broker.bodies() == bodies(range(dropped, events))
        assert sink.dropped == dropped


@pytest.mark.parametrize(
    ("script", "timeout_s"),
    [
        pytest.param(Script(connack=lambda level: 0x84 if level == 5 else 0), 20.0, id="code of MQTT 5"),
        pytest.param(Script(connack=lambda level: 0x01 if level == 5 else 0), 20.0, id="code of MQTT 3"),
        pytest.param(Script(closes_on_level=5), 20.0, id="closes"),
        pytest.param(Script(connack=lambda level: None if level == 5 else 0), 1.0, id="says nothing"),
    ],
)
def test_sink_broker_without_mqtt_5_gets_3_1_1(script, timeout_s, caplog):
    """`auto` tries 5 and then 3.1.1, and says so once."""
    with FakeBroker([script]) as broker, running(make_sink(broker.port, connect_timeout_s=timeout_s)) as sink:
        sink.publish(event(1))
        wait_until(lambda: sink.status().delivered == 1)

        assert [connected.level for connected in broker.connects[:2]] == [5, 4]
        assert sink.status().protocol == "3.1.1"
        assert len([r for r in caplog.records if "speaking 3.1.1" in r.message]) == 1


def test_sink_protocol_5_wanted_never_falls_back():
    """Who asks for 5 gets 5 or nothing."""
    script = Script(connack=lambda level: 0x84)
    with FakeBroker([script]) as broker, running(make_sink(broker.port, protocol=MqttProtocol.V5)) as sink:
        wait_until(lambda: len(broker.connects) >= 2)

        assert {connected.level for connected in broker.connects} == {5}
        assert sink.status().cause == "version"


@pytest.mark.parametrize(("level", "code"), [pytest.param("5", 0x86, id="MQTT 5"), pytest.param("3.1.1", 0x05, id="MQTT 3")])
def test_sink_login_refused_waits_long_and_says_why(level, code):
    """A refused login is retried slowly, so that no account is locked."""
    with FakeBroker([Script(connack=lambda _: code)]) as broker:
        sink = make_sink(broker.port, protocol=MqttProtocol(level), username="edged", password="wrong-secret")
        with running(sink):
            wait_until(lambda: sink.status().cause == "auth")
            time.sleep(0.4)

            assert len(broker.connects) == 1
            assert broker.connects[0].password == "wrong-secret"


def test_sink_login_refused_keeps_the_password_out_of_the_log(caplog):
    """No secret is ever logged."""
    with FakeBroker([Script(connack=lambda _: 0x86)]) as broker, caplog.at_level(0):
        sink = make_sink(broker.port, username="edged", password="wrong-secret")
        with running(sink):
            wait_until(lambda: sink.status().cause == "auth")

    assert "wrong-secret" not in caplog.text + str(sink.status()) + repr(sink._settings)


def test_sink_twin_with_the_same_client_id_is_not_fought():
    """When another client takes our id over we wait long, and say so."""
    script = Script(closes_after=1, disconnect_code=0x8E)
    with FakeBroker([script]) as broker, running(make_sink(broker.port)) as sink:
        wait_until(lambda: sink.status().cause == "taken_over")
        time.sleep(0.3)

        assert len(broker.connects) == 1
        assert "edged-gate" in sink.status().error


def test_sink_nobody_listens_retries_and_delivers_later(caplog):
    """A broker that comes late gets what waited; its absence is logged once, not at every try."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with running(make_sink(port)) as sink:
        sink.publish(event(1))
        wait_until(lambda: sink.status().cause == "nobody")
        time.sleep(0.3)
        warned = [record for record in caplog.records if "not connected" in record.message]

        assert len(warned) == 1
        assert sink.status().queued == 1

    assert sink.status().dropped == {"stopped": 1}


def test_sink_host_name_without_address_is_its_own_cause():
    """A host that cannot be found is told apart from one that refuses."""
    sink = make_sink(1883, host="broker.invalid")
    with running(sink):
        wait_until(lambda: sink.status().cause is not None, timeout_s=30)

        assert sink.status().cause == "unresolved"
        assert "broker.invalid" in sink.status().error


def test_sink_stopped_hands_on_what_waits():
    """Events published a moment before the end still go out, before `offline`."""
    with FakeBroker([Script(ack_delay_s=0.02)]) as broker:
        with running(make_sink(broker.port)) as sink:
            wait_until(lambda: sink.status().is_connected)
            for number in range(100):
                sink.publish(event(number))

        assert broker.bodies() == bodies(range(100))
        assert broker.published[-1].body == b"offline"
        assert sink.dropped == 0


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Script(reads=False), id="after CONNACK"),
        pytest.param(Script(reads=False, connack=lambda level: None), id="before CONNACK"),
    ],
)
def test_sink_stopped_while_the_broker_is_frozen_ends_in_time_without_a_goodbye(script):
    """A frozen broker cannot hold the daemon: what it did not take is counted, and it gets no DISCONNECT, so the will stands."""
    with FakeBroker([script]) as broker:
        sink = make_sink(broker.port)
        thread = threading.Thread(target=sink.run, args=(threading.Event(),))
        thread.start()
        wait_until(lambda: broker.connects)
        for number in range(100):
            sink.publish(event(number))
        time.sleep(0.2)

        with Stopwatch() as watch:
            sink.close()
            closed_s = watch.ran_s
            thread.join(30)

        assert not thread.is_alive()
        assert watch.ran_s - closed_s < 1
        assert watch.ran_s < 8
        assert sink.status().dropped == {"stopped": 100}
        assert broker.goodbyes == []
        assert_adds_up(sink.status())


def test_sink_silent_broker_is_noticed_and_left():
    """A broker that no longer answers pings is left, though nothing waits to be sent."""
    with FakeBroker([Script(answers_pings=False), Script()]) as broker, running(make_sink(broker.port, keepalive_s=1)) as sink:
        wait_until(lambda: sink.status().connections == 2)

        assert sink.status().is_connected


def test_sink_event_published_while_idle_reaches_the_broker_at_once():
    """No polling sleep stands between `publish` and the wire."""
    with FakeBroker([Script()]) as broker, running(make_sink(broker.port)) as sink:
        wait_until(lambda: sink.status().states_delivered == 1)
        delays_s = []
        for number in range(20):
            time.sleep(0.02)
            published_s = time.monotonic()
            sink.publish(event(number))
            wait_until(lambda number=number: len(broker.bodies()) == number + 1)
            delays_s.append(broker.published[-1].at_s - published_s)

        assert sorted(delays_s)[4] < 0.02  # a sleep would delay most of them; a busy machine does so too


def test_sink_qos_0_counts_what_was_written():
    """At QoS 0 an event counts as delivered once the socket took it."""
    with FakeBroker([Script()]) as broker, running(make_sink(broker.port, qos_event=0)) as sink:
        for number in range(50):
            sink.publish(event(number))
        wait_until(lambda: sink.status().delivered == 50)
        wait_until(lambda: len(broker.bodies()) == 50)

        assert {p.qos for p in broker.published if "/event/" in p.topic} == {0}


def test_sink_broker_without_retain_and_qos_1_gets_neither():
    """What the broker says that it cannot do is not asked of it."""
    script = Script(connack_properties=b"\x24\x00\x25\x00")
    with FakeBroker([script]) as broker, running(make_sink(broker.port)) as sink:
        sink.publish(event(1))
        wait_until(lambda: sink.status().delivered == 1)
        wait_until(broker.bodies)

        assert {(p.qos, p.is_retained) for p in broker.published} == {(0, False)}


def test_sink_closed_counts_later_events_as_dropped():
    """After the end every event is accepted, given up and counted."""
    sink = make_sink(1)
    sink.publish(event(1))
    sink.close()
    sink.publish(event(2))

    assert sink.status().dropped == {"stopped": 2}
    assert_adds_up(sink.status())


def test_sink_without_subscribers_counts_them():
    """Reason code 0x10 is a delivery that nobody heard."""
    with FakeBroker([Script(puback=lambda published: 0x10)]) as broker, running(make_sink(broker.port)) as sink:
        sink.publish(event(1))
        wait_for_all(sink)

        assert (sink.status().delivered, sink.status().no_subscriber) == (1, 1)


def test_sink_counts_add_up_at_every_moment():
    """accepted == delivered + dropped + queued + in flight, whenever it is asked, over lost connections and refusals."""
    rng = random.Random(7)

    def moody(published: Published) -> int:
        return rng.choice([0, 0, 0, 0x87, 0x97]) if "/event/" in published.topic else 0

    scripts = [Script(puback=moody, closes_after=rng.randrange(3, 40)) for _ in range(25)] + [Script()]
    with FakeBroker(scripts) as broker, running(make_sink(broker.port, queue_limit=40)) as sink:
        for number in range(600):
            sink.publish(event(number))
            assert_adds_up(sink.status())
            if number % 20 == 0:
                time.sleep(0.01)
        wait_until(lambda: (assert_adds_up(sink.status()), sink.status().queued + sink.status().inflight == 0)[1], timeout_s=30)

        assert sink.status().connections > 1
        assert sink.status().accepted == 600


def listening(sink: MqttSink, heard: list[Received], *, most_bytes: int = 10_000) -> MqttSink:
    """The same sink, keeping what comes under `command/`."""
    sink.listen(Subscription("command/+", most_bytes, heard.append))
    return sink


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        pytest.param(MqttProtocol.V5, 0x01 | 0x08 | 0x20, id="MQTT 5: as published, nothing kept"),
        pytest.param(MqttProtocol.V3, 0x01, id="MQTT 3.1.1"),
    ],
)
def test_sink_listening_subscribes_after_each_connection(protocol, options):
    """A broker that forgot us, or a new one, is asked again; MQTT 5 is asked to keep old commands to itself."""
    with (
        FakeBroker([Script(closes_after=1), Script()]) as broker,
        running(listening(make_sink(broker.port, protocol=protocol), [])) as sink,
    ):
        wait_until(lambda: sink.status().connections == 2)
        wait_until(lambda: len(broker.subscribed) == 2)

        assert broker.subscribed == [Subscribed("edged/gate/command/+", options)] * 2


def test_sink_listening_tells_the_broker_the_longest_message_it_takes():
    """A flood of megabytes ends at the broker; one that only publishes says nothing."""
    with FakeBroker([Script()]) as broker:
        with running(listening(make_sink(broker.port), [], most_bytes=10_000)):
            wait_until(lambda: broker.subscribed)
        with running(make_sink(broker.port)) as silent:
            wait_until(lambda: silent.status().states_delivered == 1)

        assert [connected.properties for connected in broker.connects] == [b"\x27" + (10_000).to_bytes(4, "big"), b""]
        assert len(broker.subscribed) == 1


def test_sink_hears_what_comes_with_topic_of_answer_and_correlation():
    """The listener gets each message once, whole, and the broker its acknowledgement."""
    heard: list[Received] = []
    topic = "edged/gate/command/ping"
    properties = b"\x08" + encode_text("edged/gate/answer/me") + b"\x09" + encode_text("\x01\x7f")
    with FakeBroker([Script()]) as broker, running(listening(make_sink(broker.port), heard)):
        wait_until(lambda: broker.subscribed)
        broker.deliver(topic, b"{}", properties=properties, mid=7)
        broker.deliver(topic, b"\xff" * 2000, retain=True, mid=8)
        wait_until(lambda: broker.confirmed == [7, 8])
        wait_until(lambda: len(heard) == 2)

    assert heard[0] == Received(topic, b"{}", False, answer_topic="edged/gate/answer/me", correlation=b"\x01\x7f")
    assert heard[1] == Received(topic, b"\xff" * 2000, True)


def test_sink_subscription_refused_goes_on_publishing_and_warns_once(caplog):
    """A broker that lets us not listen costs the commands, not the events."""
    with (
        FakeBroker([Script(suback=0x87, closes_after=3), Script(suback=0x87)]) as broker,
        running(listening(make_sink(broker.port), [])) as sink,
    ):
        for number in range(10):
            sink.publish(event(number))
        wait_for_all(sink)
        wait_until(lambda: len(broker.subscribed) == 2)

        assert sink.status().delivered == 10
        assert len([r for r in caplog.records if "topic=edged/gate/command/+" in r.getMessage()]) == 1


@pytest.mark.parametrize(
    ("protocol", "properties"),
    [
        pytest.param(MqttProtocol.V5, b"\x01\x01\x03\x00\x10application/json\x09\x00\x02\x01\x7f", id="MQTT 5"),
        pytest.param(MqttProtocol.V3, b"", id="MQTT 3.1.1, which cannot say it"),
    ],
)
def test_sink_answer_goes_unretained_in_turn_with_its_correlation(protocol, properties):
    """An answer waits its turn among the events, is counted as they are, and says what it answers."""
    with FakeBroker([Script()]) as broker, running(make_sink(broker.port, protocol=protocol)) as sink:
        sink.publish(event(1))
        sink.publish(Message(MessageKind.ANSWER, "answer/me", b"{}", correlation=b"\x01\x7f"))
        wait_for_all(sink)

        answer = broker.published[-1]

        assert (answer.topic, answer.body, answer.is_retained) == ("edged/gate/answer/me", b"{}", False)
        assert answer.properties == properties
        assert sink.status().delivered == 2
