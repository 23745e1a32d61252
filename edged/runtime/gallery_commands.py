"""Commands about people: the operations on the gallery, as the command room does them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext

from edged.identity import requests as ask
from edged.identity.operations import FaceOperations
from edged.runtime.commands import Command
from edged.runtime.loop import Opening

MOST_PICTURE_BYTES = 6 * 1024 * 1024
"""Longest command with pictures: 4.5 MB of them, in base64."""

PICTURE_DEADLINE_S = 30.0
"""The first picture opens the networks, and a small processor has cameras to look at, too."""

GALLERY_DEADLINE_S = 60.0
"""What goes through all templates, or through every file that may hold somebody."""


class GalleryDesk:
    """The operations, opened by each thread that needs them for itself: a gallery belongs to the thread that opened it.

    There is one such thread, but for a while two where a command was stuck and its loop was opened anew.

    Args:
        open_operations: makes the operations; they open gallery and networks when they are first needed.
    """

    def __init__(self, open_operations: Callable[[Opening], FaceOperations]) -> None:
        self._open_operations = open_operations
        self._opened = threading.local()

    def begin(self, opening: Opening) -> None:
        """Say how the calling thread opens networks, before it asks for operations."""
        self._opened.opening = opening

    def operations(self) -> FaceOperations:
        """The operations of the calling thread."""
        if not hasattr(self._opened, "operations"):
            self._opened.operations = self._open_operations(getattr(self._opened, "opening", nullcontext))
        return self._opened.operations

    def close(self) -> None:
        """Close those of the calling thread, if it has any."""
        if hasattr(self._opened, "operations"):
            self._opened.operations.close()
            del self._opened.operations


def make_gallery_commands(operations: Callable[[], FaceOperations]) -> tuple[Command, ...]:
    """`faces.enrol` and the others; `operations` gives those of the calling thread, when a command is done."""
    pictures = {"deadline_s": PICTURE_DEADLINE_S, "most_bytes": MOST_PICTURE_BYTES}
    return (
        Command(
            "faces.enrol",
            "Enrols somebody new, or adds pictures to somebody.",
            ask.EnrolArguments,
            ask.EnrolAnswer,
            lambda arguments: operations().enrol(arguments),
            **pictures,
        ),
        Command(
            "faces.verify",
            "Says whether a picture shows somebody.",
            ask.VerifyArguments,
            ask.VerifyAnswer,
            lambda arguments: operations().verify(arguments),
            **pictures,
        ),
        Command(
            "faces.identify",
            "Says whom each face of a picture shows.",
            ask.IdentifyArguments,
            ask.IdentifyAnswer,
            lambda arguments: operations().identify(arguments),
            **pictures,
        ),
        Command(
            "faces.list",
            "Lists who is enrolled.",
            ask.ListArguments,
            ask.ListAnswer,
            lambda arguments: operations().list(arguments),
        ),
        Command(
            "faces.show",
            "Tells what is kept of somebody.",
            ask.ShowArguments,
            ask.PersonFacts,
            lambda arguments: operations().show(arguments),
        ),
        Command(
            "faces.forget",
            "Forgets somebody, with every trace that can be reached.",
            ask.ForgetArguments,
            ask.ForgetAnswer,
            lambda arguments: operations().forget(arguments),
            deadline_s=GALLERY_DEADLINE_S,
            erases=True,
        ),
        Command(
            "faces.audit",
            "Lists what was done with the gallery.",
            ask.AuditArguments,
            ask.AuditAnswer,
            lambda arguments: operations().audit(arguments),
        ),
        Command(
            "faces.calibrate",
            "Finds the threshold that keeps the enrolled people apart.",
            ask.CalibrateArguments,
            ask.CalibrateAnswer,
            lambda arguments: operations().calibrate(arguments),
            deadline_s=GALLERY_DEADLINE_S,
        ),
    )
