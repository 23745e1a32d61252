"""Camera addresses: which are allowed, and how a user name, a password or a token never shows again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from edged.errors import InputError

SCHEMES = ("rtsp", "rtsps", "http", "https")
"""What a camera's URL may begin with. FFmpeg would open many more (concat:, ftp:, data:, …): they are refused."""

HIDDEN = "***"

_URL_CREDENTIALS = re.compile(r"""([A-Za-z][A-Za-z0-9+.-]*://)[^\s'"<>]*@""")
_SECRET_PARAMETER = re.compile(
    r"""((?<![A-Za-z])(?:user(?:name|-id|_id)?|usr|login|password|passwd|pass|pwd|user-pw|psk|auth|sig|signature
        |(?:access|auth|api|refresh)?[_-]?token|secret|(?:api|access|secret)[_-]?key|session[_-]?id)=)
        (?:"[^"]*"|'[^']*'|[^\s&;,'"<>]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_AUTHORIZATION = re.compile(r"(authorization\s*:\s*|\b(?:basic|bearer)\s+(?=[A-Za-z0-9+/=._-]{8}))\S.*", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def redact(text: str) -> str:
    """The text with every user name, password and token in it replaced by `***`.

    Works on URLs and on whatever contains them, such as FFmpeg's messages. Rather hides too much: everything from
    `scheme://` to the last `@` of a word goes, because people write passwords with `@` and `/` in them.
    """
    text = _URL_CREDENTIALS.sub(rf"\g<1>{HIDDEN}@", text)
    text = _AUTHORIZATION.sub(rf"\g<1>{HIDDEN}", text)
    return _SECRET_PARAMETER.sub(rf"\g<1>{HIDDEN}", text)


def has_credentials(text: str) -> bool:
    """Whether `redact` would hide something of it."""
    return redact(text) != text


@dataclass(frozen=True, slots=True)
class Address:
    """A camera's URL with its credentials apart.

    Attributes:
        url: without user name and password; may still hold a token in its query, so show it through `redact` only.
        username, password: as the camera knows them (not percent-encoded), None where the URL has none.
    """

    url: str = field(repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def with_credentials(self) -> str:
        """The URL that FFmpeg wants: credentials inside, percent-encoded. Never shown."""
        if self.username is None:
            return self.url
        secret = f":{quote(self.password, safe='')}" if self.password is not None else ""
        return self.url.replace("://", f"://{quote(self.username, safe='')}{secret}@", 1)


def split_credentials(url: str) -> Address:
    """Take a camera's URL apart.

    Raises:
        InputError: the scheme is not allowed, the host is missing, or the password has signs that end a host name.
    """
    check_scheme(url)
    try:
        parts = urlsplit(url)
        has_host, _ = bool(parts.hostname), parts.port  # .port raises for anything but a number
    except ValueError:
        has_host = False
    if not has_host and "@" in url:
        raise InputError(
            f"{redact(url)}: no host name found. Write the password's special signs percent-encoded "
            "(/ as %2F, ? as %3F, # as %23, @ as %40), or give username and password as keys of their own"
        )
    if not has_host or any(character.isspace() or ord(character) < 32 for character in url):
        raise InputError(f"{redact(url)}: expected a URL such as rtsp://192.168.1.20:554/stream, without spaces")
    authority, host = parts.netloc, parts.netloc.rpartition("@")[2]
    if authority == host:
        return Address(url)
    username, separator, password = authority.rpartition("@")[0].partition(":")
    return Address(url.replace(authority, host, 1), unquote(username), unquote(password) if separator else None)


def scheme_of(text: str) -> str | None:
    """The scheme in lower case, None for a plain path."""
    found = _SCHEME.match(text)
    return found[1].lower() if found else None


def check_scheme(url: str) -> None:
    """Refuse what is no camera URL.

    Raises:
        InputError: naming the allowed schemes.
    """
    scheme = scheme_of(url)
    if scheme not in SCHEMES or "://" not in url:
        found = f"scheme {scheme!r}" if scheme else "no scheme"
        raise InputError(f"{redact(url)}: {found}; allowed are {', '.join(f'{name}://' for name in SCHEMES)}")


def check_transport(url: str, transport: str) -> None:
    """Refuse to promise UDP where there is none.

    Raises:
        InputError: RTSPS has its pictures inside its one encrypted connection, which is TCP.
    """
    if scheme_of(url) == "rtsps" and transport != "tcp":
        raise InputError(f"transport: rtsps:// sends its pictures through its encrypted TCP connection: leave {transport} out")
