"""What it means when FFmpeg gives no picture.

auth        401, 403; a certificate that does not prove that it is the camera
not_found   404; no such host or file; nobody listens there (connection refused)
timeout     no answer, or no way to the host, while connecting
stalled     connected, then no picture for too long
eof         the stream ended, or the camera hung up
protocol    it answered, but not with video that we can use
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edged.errors import SourceCause, SourceError
from edged.sources.certificates import CameraTls, find_certificate_problem
from edged.sources.url import HIDDEN, Address, redact

DIAGNOSIS_LIMIT_S = 1.0
_DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_TLS_HINT = "give the certificate or its authority as tls: {ca: FILE}, or accept any with tls: {verify: false}"
_SHORTEST_SECRET = 3  # replacing shorter ones would only garble the message


@dataclass(frozen=True, slots=True)
class FailureReporter:
    """Turns what PyAV raised into a `SourceError` without any secret in its message.

    Raise its answers `from None`: PyAV's errors hold the URL with its password, and a traceback would show them.

    Attributes:
        label: what people may see of the source.
        address: of the camera; None for a file.
        tls: what its certificate had to be.
    """

    label: str
    address: Address | None = field(default=None, repr=False)
    tls: CameraTls = field(default_factory=CameraTls)

    def opening_failed(self, error: Exception, *, is_late: bool) -> SourceError:
        """What `av.open` raised; is_late: our time limit had passed, so that FFmpeg's own reason means nothing."""
        cause, message = self._judge(error, is_late=is_late, when_late=SourceCause.TIMEOUT)
        if cause is SourceCause.PROTOCOL and self.address:
            cause, message = _diagnose_connection(self.address.url, self.tls) or (cause, message)
        return self._error(cause, message)

    def reading_failed(self, error: Exception, *, is_late: bool) -> SourceError:
        """What reading the next packet raised, `EOFError` at the end of the stream."""
        cause, message = self._judge(error, is_late=is_late, when_late=SourceCause.STALLED)
        if cause is SourceCause.PROTOCOL and getattr(error, "errno", None) == errno.EIO:
            cause, message = SourceCause.EOF, "the stream broke off"  # how FFmpeg reports an unfinished HTTP answer
        return self._error(cause, message)

    def stalled(self, reason: str) -> SourceError:
        """Nothing for too long, although connected."""
        return self._error(SourceCause.STALLED, reason)

    def unusable(self, reason: str) -> SourceError:
        """It answers, but not with video that we can use."""
        return self._error(SourceCause.PROTOCOL, reason)

    def _judge(self, error: Exception, *, is_late: bool, when_late: SourceCause) -> tuple[SourceCause, str]:
        from av import error as av_errors  # loaded by now: it raised

        if isinstance(error, (av_errors.HTTPUnauthorizedError, av_errors.HTTPForbiddenError)):
            return SourceCause.AUTH, f"user name or password refused: {_reason(error)}"
        if isinstance(error, (av_errors.HTTPNotFoundError, FileNotFoundError)):
            return SourceCause.NOT_FOUND, f"nothing at this address: {_reason(error)}"
        if isinstance(error, ConnectionRefusedError):
            return SourceCause.NOT_FOUND, "connection refused: is the camera on, and the port right?"
        if is_late or isinstance(error, (av_errors.ExitError, TimeoutError)):
            return when_late, "no answer in time" if when_late is SourceCause.TIMEOUT else "no picture in time"
        if isinstance(error, (EOFError, ConnectionError)):
            return SourceCause.EOF, "the stream ended"
        return SourceCause.PROTOCOL, f"no usable video: {_reason(error)}"

    def _error(self, cause: SourceCause, message: str) -> SourceError:
        message = redact(message)
        secrets = (self.address.password, self.address.username) if self.address else ()
        for secret in secrets:
            if secret and len(secret) >= _SHORTEST_SECRET:
                message = message.replace(secret, HIDDEN)
        return SourceError(cause, f"{self.label}: {message}")


def _reason(error: Exception) -> str:
    """The error's words without the URL that PyAV appends."""
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"


def _diagnose_connection(url: str, tls: CameraTls) -> tuple[SourceCause, str] | None:
    """What a connection of our own says: FFmpeg reports a wrong name, a missing route and a refused certificate as bad data."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]
    try:
        socket.create_connection((host, port), DIAGNOSIS_LIMIT_S).close()
    except socket.gaierror as error:
        return SourceCause.NOT_FOUND, f"host name not found: {error.strerror}"
    except ConnectionRefusedError:
        return SourceCause.NOT_FOUND, "connection refused: is the camera on, and the port right?"
    except OSError as error:
        return SourceCause.TIMEOUT, f"cannot be reached: {error.strerror or error}"
    if parts.scheme in ("rtsps", "https"):
        problem = find_certificate_problem(host, port, tls, timeout_s=DIAGNOSIS_LIMIT_S)
        if problem:
            return SourceCause.AUTH, f"its certificate does not prove that it is this camera: {problem}; {_TLS_HINT}"
    return None
