"""YAML that has one meaning only."""

from __future__ import annotations

import time
import traceback

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edged.errors import ConfigError
from edged.strict_yaml import MAX_DEPTH, format_path, load_yaml


def _mistakes(text: str) -> list[tuple[str, str, int | None]]:
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, source="test.yaml")
    return [(mistake.code, mistake.where, mistake.line) for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        pytest.param("5", 5, id="integer"),
        pytest.param("-5", -5, id="negative integer"),
        pytest.param("0", 0, id="zero"),
        pytest.param("0.25", 0.25, id="fraction"),
        pytest.param(".5", 0.5, id="fraction without zero"),
        pytest.param("1e3", 1000.0, id="exponent"),
        pytest.param("true", True, id="true"),
        pytest.param("False", False, id="capital false"),
        pytest.param("~", None, id="tilde"),
        pytest.param("", None, id="nothing"),
        pytest.param("null", None, id="null"),
        pytest.param("y", "y", id="single letter"),
        pytest.param("'no'", "no", id="quoted no"),
        pytest.param('"12:30"', "12:30", id="quoted time"),
        pytest.param("'010'", "010", id="quoted zeros"),
        pytest.param("192.168.1.10", "192.168.1.10", id="address"),
        pytest.param("rtsp://camera:554/main", "rtsp://camera:554/main", id="url"),
        pytest.param("nano", "nano", id="word that begins with no"),
        pytest.param("=", "=", id="value tag of 1.1"),
        pytest.param("|\n  two\n  lines\n", "two\nlines\n", id="block of text"),
    ],
)
def test_load_yaml_scalar_has_one_meaning(typed: str, value: object) -> None:
    """Scalars follow YAML 1.2's core schema."""
    document = load_yaml(f"key: {typed}", source="test.yaml")

    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        pytest.param("no", "config.type", id="no"),
        pytest.param("Yes", "config.type", id="yes"),
        pytest.param("ON", "config.type", id="on"),
        pytest.param("off", "config.type", id="off"),
        pytest.param("12:30:45", "config.type", id="base 60"),
        pytest.param("07:00", "config.type", id="time of day"),
        pytest.param("2026-11-20", "config.type", id="date"),
        pytest.param("2026-11-20 10:00:00", "config.type", id="date and time"),
        pytest.param("010", "config.type", id="octal"),
        pytest.param("0o10", "config.type", id="octal of 1.2"),
        pytest.param("0x10", "config.type", id="hexadecimal"),
        pytest.param("0b10", "config.type", id="binary"),
        pytest.param("010.5", "config.type", id="leading zero"),
        pytest.param("1_000", "config.type", id="underscore"),
        pytest.param(".nan", "config.type", id="not a number"),
        pytest.param("-.inf", "config.type", id="infinity"),
        pytest.param("1e999", "config.type", id="infinity by exponent"),
        pytest.param("9" * 5000, "config.type", id="huge integer"),
        pytest.param('"a\\0b"', "config.type", id="escaped NUL"),
        pytest.param("!!python/object:os.system x", "config.tag_forbidden", id="python tag"),
        pytest.param("!!str 5", "config.tag_forbidden", id="core tag"),
        pytest.param("&a 5", "config.alias_forbidden", id="anchor"),
        pytest.param("*a", "config.alias_forbidden", id="alias"),
    ],
)
def test_load_yaml_surprise_is_refused_with_its_line(typed: str, code: str) -> None:
    """What YAML 1.1 and 1.2 read differently, and what runs or repeats things, is refused."""
    assert _mistakes(f"# first\nkey: {typed}\n") == [(code, "key", 2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", [("config.duplicate_key", "a", 3)], id="top level"),
        pytest.param("a: {b: 1, b: {c: [1, 2]}, d: 2}", [("config.duplicate_key", "a.b", 1)], id="flow, with a deep value"),
        pytest.param("1: x", [("config.type", "1", 1)], id="number as key"),
        pytest.param("on: x", [("config.type", "on", 1)], id="surprise as key"),
        pytest.param("[a, b]: x", [("config.type", "", 1)], id="list as key"),
        pytest.param("a: 1\n---\nb: 2\n", [("config.syntax", "", 2)], id="two documents"),
        pytest.param("a: 1\n\tb: 2\n", [("config.syntax", "", 2)], id="tab"),
        pytest.param("a: [1, 2\nb: 3\n", [("config.syntax", "", 2)], id="open bracket"),
        pytest.param("a: \x00", [("config.syntax", "", 1)], id="NUL"),
        pytest.param("a: \ud800", [("config.syntax", "", 1)], id="lone surrogate"),
        pytest.param(
            "a: no\nb: *x\na: 2\n",
            [("config.type", "a", 1), ("config.alias_forbidden", "b", 2), ("config.duplicate_key", "a", 3)],
            id="all at once",
        ),
    ],
)
def test_load_yaml_bad_structure_is_refused_with_its_line(text: str, expected: list[tuple[str, str, int]]) -> None:
    """Every mistake of a text is reported at once, in file order."""
    assert _mistakes(text) == expected


def test_load_yaml_duplicate_key_names_both_lines() -> None:
    """The first of two equal keys is named in the message, the second is the place."""
    with pytest.raises(ConfigError, match=r"line 3: score: the key 'score' stands twice, first on line 1"):
        load_yaml("score: 0.9\nother: 1\nscore: 0.1\n", source="test.yaml")


def test_load_yaml_tab_is_explained() -> None:
    """A tab as indentation gets the mend beside the parser's own words."""
    with pytest.raises(ConfigError, match="spaces, not with tabs"):
        load_yaml("a:\n\tb: 2\n", source="test.yaml")


def test_load_yaml_depth_at_the_limit_is_read() -> None:
    """Exactly the allowed depth is no mistake, one more is."""
    load_yaml("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH, source="test.yaml")

    assert _mistakes("[" * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1))[0][0] == "config.too_large"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(
            "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9)),
            "config.alias_forbidden",
            id="billion laughs",
        ),
        pytest.param("\n".join(f"key{i}: {i}" for i in range(200_000)), "config.too_large", id="200,000 keys"),
        pytest.param("[" * 3000, "config.too_large", id="3,000 deep"),
        pytest.param("{a: " * 3000, "config.too_large", id="3,000 mappings deep"),
        pytest.param("- " * 3000, "config.too_large", id="3,000 blocks deep"),
        pytest.param("a: " + "x" * (1 << 20), "config.too_large", id="long text"),
        pytest.param("a: " + "9" * 1_000_000, "config.type", id="long number"),
        pytest.param("a: 1\n" * 150_000, "config.too_many", id="one key again and again"),
    ],
)
def test_load_yaml_bomb_is_refused_fast(text: str, code: str) -> None:
    """A hostile file costs less than a second of processor time, on a slow machine too; taken at its word it would cost hours."""
    start_s = time.process_time()

    found = _mistakes(text)

    assert code in [mistake[0] for mistake in found]
    assert time.process_time() - start_s < 1.0


def test_load_yaml_many_values_are_given_up_at_the_limit() -> None:
    """The most values that 1 MiB holds cost no more than half as many; read through they would cost double."""
    half, most = ("[" + "1," * n + "1]" for n in (250_000, 500_000))
    costs_s = {half: [], most: []}

    for text in [half, most] * 3:
        start_s = time.process_time()
        found = _mistakes(text)
        costs_s[text].append(time.process_time() - start_s)
        assert found == [("config.too_large", "", 1)]

    assert min(costs_s[most]) < 1.5 * min(costs_s[half])


def test_load_yaml_empty_text_is_no_data() -> None:
    """An empty file and one of comments only hold nothing."""
    assert load_yaml("", source="test.yaml").data is None
    assert load_yaml("# nothing\n", source="test.yaml").data is None


def test_line_of_unknown_path_is_the_nearest_above() -> None:
    """A key that is missing is reported where it should have been."""
    document = load_yaml("cameras:\n  door:\n    zones:\n      - [1, 2]\n      - [3,\n         4]\n", source="test.yaml")

    assert document.line_of(("cameras", "door", "zones", 1, 1)) == 6
    assert document.line_of(("cameras", "door", "zones", 1)) == 5
    assert document.line_of(("cameras", "door", "source")) == 2
    assert document.line_of(("mqtt",)) == 1


def test_text_of_scalar_is_as_typed() -> None:
    """Messages can show what was typed, not what it became."""
    document = load_yaml("fps: 1.50e1\nname: [0.10]", source="test.yaml")

    assert document.text_of(("fps",)) == "1.50e1"
    assert document.text_of(("name", 0)) == "0.10"
    assert document.text_of(("name",)) is None


def test_load_yaml_password_is_never_repeated() -> None:
    """A password that is a surprise is refused without being shown."""
    with pytest.raises(ConfigError) as caught:
        load_yaml("mqtt:\n  password: 0123456\n", source="test.yaml")

    assert "0123456" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param((), "", id="empty"),
        pytest.param(("cameras", "door", "polygon", 2), "cameras.door.polygon[2]", id="plain"),
        pytest.param(("cameras", "a/+\n"), "cameras['a/+\\n']", id="odd key"),
        pytest.param(("x" * 10_000,), "['" + "x" * 39 + "…']", id="long key"),
    ],
)
def test_format_path_any_key_is_readable(path: tuple[str | int, ...], text: str) -> None:
    """Paths read like the file; odd and long keys cannot break a log line."""
    assert format_path(path) == text


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text(alphabet="ab:-[]{},&*!|>'\"#?%@` \n\t01.~", max_size=60)))
@example("? a\n: b")
@example("a: !<x> b")
@example("%YAML 1.1\n---\na")
@example("\ufeffa: 1")
def test_load_yaml_any_text_is_read_or_refused(text: str) -> None:
    """Whatever the text, the answer is data or a ConfigError that can be printed."""
    try:
        load_yaml(text, source="test.yaml")
    except ConfigError as error:
        str(error).encode()


def test_load_yaml_syntax_error_never_quotes_the_line() -> None:
    """The line that cannot be read may hold a password: neither the message nor its cause repeats it."""
    text = 'mqtt:\n  password: "hunter2\n'

    with pytest.raises(ConfigError) as caught:
        load_yaml(text, source="test.yaml")

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
