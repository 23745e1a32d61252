"""Everything edged raises on purpose.

EdgedError
├── ConfigError        the configuration is wrong: every mistake of it at once        exit 78
├── ModelError         a network or its manifest cannot be used                       exit 78
│   ├── DeviceMissingError   there is no CUDA device, or no library for it            exit 78, or a CPU
│   ├── EngineMissingError   nothing was built for this device, or with other parts   exit 78, or a CPU
│   └── KernelError          nothing compiles what shall run on the device            exit 78, or the host does it
├── InputError         a file or argument given on the command line cannot be used    exit 78
├── SourceError        a camera gave no frame; carries its cause                      retried
├── SinkError          a message could not be handed on                               counted, retried
├── MessageError       a received message is not one of ours                           passed over
├── CommandError       a command cannot be done; carries its code and its mend         answered
│   ├── FaceError      a picture, a name or a request about people is refused             exit 78
│   └── GalleryError   the gallery cannot be used                                          exit 1
├── StateError         the state directory cannot be used                             exit 1
├── BuildCancelledError    somebody ended the building of an engine                   exit 130
├── DeviceError        the CUDA device is lost for this process                       exit 70
└── InferenceError     a backend failed on valid input                                exit 1
    └── DeviceMemoryError    the device has too little memory for it                  a smaller batch, once
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

EXIT_CONFIG = 78
"""What sysexits.h calls EX_CONFIG: systemd must not restart us for it."""

EXIT_DEVICE = 70
"""What sysexits.h calls EX_SOFTWARE: only a new process can use the device again, so systemd shall start one."""

EXIT_CANCELLED = 130
"""What a shell says of a program that Ctrl-C ended."""


class EdgedError(Exception):
    """The root of all errors that edged raises on purpose; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a file that a person wrote.

    Attributes:
        code: stable name for programs, e.g. `config.unknown_key`.
        where: path inside the file, e.g. `cameras.door.fps`; empty for the file as a whole.
        message: what is wrong and how to mend it; never contains a secret.
        line: from 1, None where the place has no line.
        is_override: the value was given on the command line, over what the file says.
    """

    code: str
    where: str
    message: str
    line: int | None = None
    is_override: bool = False

    def __str__(self) -> str:
        place = "command line: " if self.is_override else f"line {self.line}: " if self.line else ""
        path = f"{self.where}: " if self.where else ""
        return f"{place}{path}{self.message} [{self.code}]"


class ConfigError(EdgedError):
    """The configuration is wrong. Holds every mistake found, in file order."""

    def __init__(self, source: str, mistakes: list[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        lines = [f"{source}: {len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}"]
        lines += [f"  {mistake}" for mistake in mistakes]
        super().__init__("\n".join(lines))


class ModelError(EdgedError):
    """A network or its manifest cannot be used."""


class DeviceMissingError(ModelError):
    """There is no CUDA device here, or no library that could use it."""


class EngineMissingError(ModelError):
    """No engine was built for this device, or what it was built from or with has changed."""


class KernelError(ModelError):
    """There is no compiler for a kernel of ours, or it refuses it."""


class InputError(EdgedError):
    """A file or argument given by a person cannot be used."""


class SourceCause(str, Enum):
    """Why a camera gives no frames; published as its state."""

    TIMEOUT = "timeout"
    AUTH = "auth"
    NOT_FOUND = "not_found"
    PROTOCOL = "protocol"
    EOF = "eof"
    STALLED = "stalled"


class SourceError(EdgedError):
    """A camera gave no frame.

    Attributes:
        cause: which of the known reasons it was.
    """

    def __init__(self, cause: SourceCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class SinkError(EdgedError):
    """A message could not be handed on."""


class MessageError(EdgedError):
    """A received message is not one of ours."""


class CommandError(EdgedError):
    """A command cannot be done.

    Attributes:
        code: stable name for programs, e.g. `command.unknown`.
        message: what is wrong; goes to whoever commanded, so it may repeat what they sent.
        mend: what to do about it.
        where: place in the command, e.g. `arguments.person`; None for the command as a whole.
    """

    def __init__(self, code: str, message: str, *, mend: str, where: str | None = None) -> None:
        super().__init__(f"{message}; {mend}")
        self.code = code.value if isinstance(code, Enum) else code
        self.message = message
        self.mend = mend
        self.where = where


class FaceError(CommandError):
    """A picture, a name or a request about people is refused, and nothing has changed."""


class GalleryError(CommandError):
    """The gallery, its key or its disk cannot be used."""


class StateError(EdgedError):
    """The state directory cannot be used."""


class InferenceError(EdgedError):
    """A backend failed on valid input."""


class DeviceMemoryError(InferenceError):
    """The device has too little memory for it; a smaller batch may fit."""


class DeviceError(EdgedError):
    """The CUDA device is lost for this process: whatever is asked of it from now on fails.

    Attributes:
        code: the driver's number of the error.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class BuildCancelledError(EdgedError):
    """Somebody ended the building of an engine."""


def exit_status(error: EdgedError) -> int:
    """With what a command ends that ends with an error."""
    match error:
        case ConfigError() | ModelError() | InputError() | FaceError():
            return EXIT_CONFIG
        case DeviceError():
            return EXIT_DEVICE
        case BuildCancelledError():
            return EXIT_CANCELLED
    return 1
