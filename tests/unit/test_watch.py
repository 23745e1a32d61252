"""What `edged watch` prints."""

import argparse
import io
import json

import pytest

from edged import watch
from edged.errors import InputError
from edged.events.wire import decode_event
from edged.sinks.base import Received
from edged.watch import Printer, event_line

EVENT = {
    "schema_version": 1,
    "type": "zone.enter",
    "id": "gate/abc/door/7",
    "device": "gate",
    "camera": "door",
    "epoch": "abc",
    "seq": 7,
    "captured_at": "2026-11-20T20:00:01.250Z",
    "frame": {"seq": 12, "width": 640, "height": 360},
    "object": {
        "id": "door-abc-3",
        "class": "person",
        "score": 0.87,
        "top_score": 0.9,
        "box_norm": [0.1, 0.2, 0.3, 0.4],
        "stationary": False,
        "first_seen_at": "2026-11-20T20:00:00.000Z",
        "zones": ["porch"],
    },
    "zone": "porch",
    "count": 2,
    "details": {},
}
TOPIC = "edged/gate/door/event/zone.enter"


def received(body: object = EVENT, topic: str = TOPIC) -> Received:
    return Received(topic, body if isinstance(body, bytes) else json.dumps(body).encode(), False)


def shown(*messages: Received, as_json: bool = False, camera: str | None = None, in_colour: bool = False) -> tuple[str, Printer]:
    stream = io.StringIO()
    printer = Printer(stream, as_json=as_json, camera=camera, in_colour=in_colour)
    for message in messages:
        printer.show(message)
    return stream.getvalue(), printer


def test_event_line_says_when_where_and_what():
    """Camera, type, class, score, zone, count and the object's id stand on one line."""
    line = event_line(decode_event(json.dumps(EVENT)))

    for word in (":01.250", "door", "zone.enter", "person 0.87", "porch", "count=2", "door-abc-3"):
        assert word in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(received(b"\xff\xfe\x00"), id="bytes"),
        pytest.param(received(b"[1, 2]"), id="another JSON"),
        pytest.param(received({**EVENT, "schema_version": 2}), id="another version"),
        pytest.param(received(b"{}", topic="edged/gate/somebody/else"), id="another topic"),
        pytest.param(received(b""), id="nothing"),
    ],
)
def test_printer_foreign_message_is_shown_by_its_topic(foreign):
    """What is not ours neither stops the watch nor is guessed at."""
    text, _ = shown(foreign)

    assert foreign.topic in text
    assert "not a message of edged" in text


@pytest.mark.parametrize("topic", ["state", "counters", "areas"])
def test_printer_says_what_a_broker_no_longer_keeps(topic):
    """Of a camera that was taken out of the configuration."""
    text, printer = shown(received(b"", topic=f"edged/gate/door/{topic}"))

    assert f"edged/gate/door/{topic} is no more" in text
    assert printer.events == 0


def test_printer_text_that_commands_a_terminal_is_defused():
    """A message cannot clear the screen, rename the window or start a new line."""
    text, _ = shown(
        received({**EVENT, "zone": "\x1b[2Jporch\n\x07"}),
        received(b"\x1b]0;mine\x07", topic="edged/gate/status"),
        received(b"x", topic="edged/\x1b[31m/door"),
    )

    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.count("\n") == 3


@pytest.mark.parametrize(("in_colour", "has_escapes"), [(True, True), (False, False)])
def test_printer_colours_only_a_terminal(in_colour, has_escapes):
    """A file or a pipe gets plain text."""
    text, _ = shown(received(), in_colour=in_colour)

    assert ("\x1b[" in text) is has_escapes


def test_printer_camera_filter_hides_other_cameras_and_does_not_count_them():
    """`--camera` shows one camera's messages only."""
    text, printer = shown(received(), received(topic="edged/gate/yard/event/zone.enter"), camera="door")

    assert len(text.splitlines()) == 1
    assert printer.events == 1


def test_printer_json_keeps_topic_and_message():
    """With `--json` every message is one line of JSON, foreign ones as text."""
    text, _ = shown(received(), received(b"online", topic="edged/gate/status"), as_json=True)

    first, second = (json.loads(line) for line in text.splitlines())
    assert first == {"topic": TOPIC, "retained": False, "payload": EVENT}
    assert second["payload"] == "online"


@pytest.mark.parametrize("topic", ["counters", "areas"])
def test_printer_figures_are_not_shown_as_text(topic):
    """Totals that change with every event would drown the events."""
    text, printer = shown(received(b"{}", topic=f"edged/gate/door/{topic}"))

    assert text == ""
    assert printer.events == 0


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    watch.add_arguments(parser)
    return parser.parse_args(words)


def test_watch_settings_come_from_the_configuration_and_are_overridden(tmp_path):
    """`--config` gives broker and device; arguments win; the client id is never the daemon's own."""
    config = tmp_path / "edged.yaml"
    text = "version: 1\ndevice: gate\nmqtt: {host: broker.lan, port: 1884, prefix: site}\ncameras: {door: {source: 'street:'}}\n"
    config.write_text(text)

    settings = watch._make_settings(parsed("--config", str(config), "--port", "1999"))

    assert (settings.host, settings.port, settings.topic_head) == ("broker.lan", 1999, "site/gate/")
    assert settings.wire_client_id.startswith("edged-watch-")


def test_watch_with_tls_uses_the_port_of_tls(tmp_path):
    """`--tls-ca` alone moves the port to 8883."""
    assert watch._make_settings(parsed("--tls-ca", str(tmp_path / "ca.crt"))).port == 8883


def test_watch_configuration_without_broker_is_refused(tmp_path):
    """There is nothing to watch, and the message says what to add."""
    config = tmp_path / "edged.yaml"
    config.write_text("version: 1\ndevice: gate\ncameras: {door: {source: 'street:'}}\n")

    with pytest.raises(InputError, match="no broker"):
        watch._make_settings(parsed("--config", str(config)))


def test_watch_password_file_unreadable_is_refused(tmp_path):
    """The message names the file."""
    with pytest.raises(InputError, match="nowhere"):
        watch._make_settings(parsed("--password-file", str(tmp_path / "nowhere")))
