"""What FFmpeg's errors mean."""

import errno

import av
import pytest

from edged.errors import SourceCause
from edged.sources.failures import FailureReporter
from edged.sources.url import Address


def ffmpeg_error(code: int) -> Exception:
    """What PyAV raises for one of FFmpeg's codes, with a URL in it as PyAV puts it there."""
    try:
        av.error.err_check(-code, "rtsp://admin:hunter2@cam/1")
    except Exception as error:  # whatever class the code has
        return error
    raise ValueError(f"{code} is no error")


@pytest.mark.parametrize(
    ("error", "is_late", "opening", "reading"),
    [
        pytest.param(ffmpeg_error(errno.ECONNREFUSED), False, "not_found", "not_found", id="refused"),
        pytest.param(ffmpeg_error(errno.ETIMEDOUT), False, "timeout", "stalled", id="FFmpeg's own time limit"),
        pytest.param(ffmpeg_error(errno.ECONNRESET), False, "eof", "eof", id="reset"),
        pytest.param(ffmpeg_error(errno.EPIPE), False, "eof", "eof", id="broken pipe"),
        pytest.param(ffmpeg_error(errno.EIO), False, "protocol", "eof", id="input/output error"),
        pytest.param(ffmpeg_error(errno.ENOENT), False, "not_found", "not_found", id="no such file"),
        pytest.param(ffmpeg_error(errno.EPERM), True, "timeout", "stalled", id="interrupted, reported as something else"),
        pytest.param(EOFError(), False, "eof", "eof", id="end"),
        pytest.param(EOFError(), True, "timeout", "stalled", id="interrupted, reported as the end"),
        pytest.param(IndexError("tuple index out of range"), False, "protocol", "protocol", id="PyAV stumbles over bad SDP"),
        pytest.param(ValueError("rtsp://admin:hunter2@cam/1 is bad"), False, "protocol", "protocol", id="anything else"),
    ],
)
def test_failure_error_becomes_cause(error: Exception, is_late: bool, opening: str, reading: str) -> None:
    """Each error has one cause while opening and one while reading."""
    reporter = FailureReporter("the camera")

    assert reporter.opening_failed(error, is_late=is_late).cause == SourceCause(opening)
    assert reporter.reading_failed(error, is_late=is_late).cause == SourceCause(reading)


def test_failure_message_shows_no_secret() -> None:
    """Not in a URL, and not when a camera says the password back."""
    reporter = FailureReporter("rtsp://cam/1", Address("rtsp://127.0.0.1:9/1", "admin", "hunter2"))

    message = str(reporter.reading_failed(ValueError("rtsp://admin:hunter2@cam/1: no admin with hunter2"), is_late=False))

    assert message.startswith("rtsp://cam/1: ")
    assert "hunter2" not in message
    assert "admin" not in message


def test_failure_bad_data_from_closed_port_is_not_found() -> None:
    """FFmpeg reports some connections that never came about as bad data; a plain connection says what it was."""
    reporter = FailureReporter("camera", Address("rtsp://127.0.0.1:1/x"))

    failure = reporter.opening_failed(ValueError("bad data"), is_late=False)

    assert failure.cause is SourceCause.NOT_FOUND
