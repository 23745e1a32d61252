"""How a camera behind rtsps:// or https:// proves that it is the camera.

FFmpeg by itself checks nothing (it will from libavformat 63 on), and the one in PyAV's wheels looks for the authorities where
Red Hat keeps them: both are said to it outright.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

AUTHORITIES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Arch, Alpine
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, RHEL
    Path("/etc/ssl/ca-bundle.pem"),  # openSUSE
    Path("/etc/ssl/cert.pem"),  # Alpine
)
"""Where systems keep the certificates of the authorities that they trust.

Source: Go, crypto/x509/root_linux.go.
"""


@dataclass(frozen=True, slots=True)
class CameraTls:
    """What a camera's certificate must be.

    Attributes:
        ca: PEM file of the certificates that may sign it, or of itself; None: the system's authorities.
        host_name: for which it must be; None: the host in the camera's URL.
        verify: False accepts any certificate, also that of somebody in between.
    """

    ca: Path | None = None
    host_name: str | None = None
    verify: bool = True


def make_tls_options(tls: CameraTls, *, authorities: Sequence[Path] = AUTHORITIES) -> dict[str, str]:
    """FFmpeg's options for it; they do no harm where nothing is encrypted.

    Source: FFmpeg, libavformat/tls.h: TLS_COMMON_OPTIONS.
    """
    if not tls.verify:
        return {"tls_verify": "0"}
    trusted = tls.ca or next((path for path in authorities if path.is_file()), None)
    given = {"ca_file": trusted and str(trusted), "verifyhost": tls.host_name}
    return {"tls_verify": "1", **{name: value for name, value in given.items() if value}}


def find_certificate_problem(host: str, port: int, tls: CameraTls, *, timeout_s: float) -> str | None:
    """Why the certificate of a host is not believed; None where it is, or where that is not what is wrong.

    FFmpeg only says "Input/output error", so the host is asked once more.
    """
    import ssl  # only who is refused pays for it

    if not tls.verify:
        return None
    ca = make_tls_options(tls).get("ca_file")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError):
        return f"{ca} cannot be read as certificates"
    try:
        with (
            socket.create_connection((host, port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=tls.host_name or host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError:
        return None
