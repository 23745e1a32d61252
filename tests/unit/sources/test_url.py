"""Camera addresses: which are allowed, and that no secret shows."""

import pytest

from edged.errors import InputError
from edged.sources.url import Address, has_credentials, redact, scheme_of, split_credentials

SECRETS = ("hunter2", "admin", "t0ps3cret")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("rtsp://admin:hunter2@10.0.0.5:554/live", id="URL"),
        pytest.param("rtsp://admin:hun@ter2/hunter2@10.0.0.5/live", id="password with @ and /"),
        pytest.param("rtsp://admin:hunter2#?@10.0.0.5/live", id="password with # and ?"),
        pytest.param("RTSP://admin:hunter2@CAM/live", id="upper case scheme"),
        pytest.param("http://admin@cam/x", id="user name only"),
        pytest.param(
            "[Errno 1] no: 'rtsp://admin:hunter2@cam/1'; last error log: [tcp] rtsp://admin:hunter2@cam/1", id="message, twice"
        ),
        pytest.param("http://cam/x.jpg?user=admin&password=hunter2&channel=1", id="query"),
        pytest.param("http://cam/x.jpg?access_token=t0ps3cret", id="token in query"),
        pytest.param("rtsp://cam/user=admin&password=hunter2&channel=1.sdp", id="parameters in path"),
        pytest.param("http://cam/x?api_key='t0ps3cret'", id="quoted"),
        pytest.param("Authorization: Basic YWRtaW46aHVudGVyMg== hunter2", id="header"),
        pytest.param('Authorization: Digest username="admin", response="t0ps3cret"', id="digest header"),
        pytest.param("rtspsrc location=rtsp://cam/1 user-id=admin user-pw=hunter2", id="GStreamer"),
    ],
)
def test_redact_text_with_secret_hides_it(text: str) -> None:
    """Whatever form a user name, password or token has, it goes."""
    shown = redact(text)

    assert not any(secret in shown for secret in SECRETS), shown
    assert "***" in shown
    assert "YWRtaW46" not in shown


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("rtsp://10.0.0.5:554/live?channel=1&subtype=0", id="URL without secret"),
        pytest.param("Server returned 401 Unauthorized (authorization failed)", id="FFmpeg's words"),
        pytest.param("unknown key: thresold, did you mean threshold?", id="message about a key"),
        pytest.param("monkey=1 author=me key=3", id="harmless names"),
        pytest.param("mail me@example.org", id="mail address"),
        pytest.param("x264enc key-int-max=30 ! digest of basic things", id="pipeline"),
    ],
)
def test_redact_text_without_secret_stays(text: str) -> None:
    """What holds no secret is not touched."""
    assert redact(text) == text
    assert not has_credentials(text)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("rtsp://cam/1", Address("rtsp://cam/1"), id="none"),
        pytest.param("rtsp://u:p@cam:8554/1", Address("rtsp://cam:8554/1", "u", "p"), id="both"),
        pytest.param("rtsp://u@cam/1", Address("rtsp://cam/1", "u", None), id="user only"),
        pytest.param("rtsp://u:@cam/1", Address("rtsp://cam/1", "u", ""), id="empty password"),
        pytest.param("rtsp://u:p%40%2F%25@cam/1", Address("rtsp://cam/1", "u", "p@/%"), id="percent-encoded"),
        pytest.param("rtsp://u:p@ss:word@cam/1", Address("rtsp://cam/1", "u", "p@ss:word"), id="raw @ and :"),
        pytest.param("http://u:p@[fe80::1]:80/x?a=b@c", Address("http://[fe80::1]:80/x?a=b@c", "u", "p"), id="IPv6, @ in query"),
    ],
)
def test_split_credentials_url_gives_address(url: str, expected: Address) -> None:
    """User name and password come out decoded, the rest stays as written."""
    assert split_credentials(url) == expected


def test_address_with_credentials_survives_round_trip() -> None:
    """What was split is put together so that it splits into the same again."""
    address = Address("rtsp://cam:554/1", "ü:ser", "p@/#?% ss")

    again = split_credentials(address.with_credentials())

    assert again == address
    assert "p@" not in address.with_credentials()


def test_address_repr_shows_no_secret() -> None:
    """Even printed by accident it shows nothing."""
    assert "hunter2" not in repr(Address("rtsp://cam/1?token=hunter2", "admin", "hunter2"))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("concat:a|b", "rtsps://", id="FFmpeg protocol"),
        pytest.param("file:///etc/shadow", "'file'", id="file URL"),
        pytest.param("ftp://u:hunter2@cam/1", "'ftp'", id="other scheme"),
        pytest.param("rtsp:cam", "allowed are", id="no slashes"),
        pytest.param("cam/1", "no scheme", id="no scheme"),
        pytest.param("", "no scheme", id="empty"),
        pytest.param("rtsp:///1", "expected a URL", id="no host"),
        pytest.param("rtsp://cam:port/1", "expected a URL", id="port is no number"),
        pytest.param("rtsp://cam/a b", "without spaces", id="space"),
        pytest.param("rtsp://cam/a\nb", "without spaces", id="line feed"),
        pytest.param("rtsp://admin:hun/ter2@cam/1", "%2F", id="raw / in password"),
        pytest.param("rtsp://admin:hun#ter2@cam/1", "%23", id="raw # in password"),
    ],
)
def test_split_credentials_wrong_url_is_refused_without_secret(url: str, words: str) -> None:
    """The message says what to do and shows no password."""
    with pytest.raises(InputError) as refused:
        split_credentials(url)

    assert words in str(refused.value)
    assert "ter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("RTSP://cam", "rtsp", id="lower case"),
        pytest.param("clip.mp4", None, id="file"),
        pytest.param("/dev/video0", None, id="device"),
        pytest.param("street:", "street", id="street"),
    ],
)
def test_scheme_of_text_gives_scheme(text: str, expected: str | None) -> None:
    """Paths have none."""
    assert scheme_of(text) == expected
