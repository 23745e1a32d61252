"""Who is enrolled and what is kept of them, as values; and what a name is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.errors import FaceError
from edged.identity.calibration import Calibration
from edged.identity.matching import Matcher

LONGEST_NAME = 128
LONGEST_CONSENT = 200

_PERSON_ID = re.compile(r"p[0-9a-f]{16}")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that no name has: control, invisible, turning the direction of writing, unassigned."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is enrolled.

    Attributes:
        person_id: made at enrolment, means nothing outside this gallery.
        name: unique in the gallery, whatever its case.
        consent: where the consent is filed.
        enrolled_at: UTC seconds since 1970.
        expires_at: from then on they match no more; None: never.
        since: version of the gallery in which they were new.
        templates: how many there are, by the digest of their encoder.
        n_crops: aligned crops kept, for another encoder.
    """

    person_id: str
    name: str
    consent: str
    enrolled_at: float
    expires_at: float | None
    since: int
    templates: Mapping[str, int]
    n_crops: int

    def is_expired(self, now_at: float) -> bool:
        """Whether the consent has ended."""
        return self.expires_at is not None and now_at >= self.expires_at


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What an encoder said of one picture of somebody.

    Attributes:
        model_digest: SHA-256 of the encoder.
        embedding: (D,) float32 of unit length.
        crop_png: the aligned face, where it was kept for another encoder.
    """

    model_digest: str
    embedding: NDArray[np.float32]
    crop_png: bytes | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done with the gallery.

    Attributes:
        at: UTC seconds since 1970.
        actor: who, as far as we can tell: `cli:USER`, `mqtt`, `daemon`.
        action: what, e.g. `enrol`.
        person_id: with whom; it stays, meaning nothing, when they are forgotten.
        outcome: `ok`, the code of an error, or the decision.
    """

    at: float
    actor: str
    action: str
    person_id: str | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Export:
    """An archive of everybody who was enrolled when it was written.

    Attributes:
        number: in the list of them.
        path: where it was written to.
        at: when, UTC seconds since 1970.
        sha256: of the file.
        version: of the gallery that it holds.
    """

    number: int
    path: Path
    at: float
    sha256: str
    version: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What faces are matched against until the gallery changes or somebody expires.

    Attributes:
        renew_at: UTC seconds at which the next person expires; None: nobody does.
        n_people: who are enrolled, whether they can match or not.
        n_stale: people who cannot match, as all their templates come from another encoder.
        calibration: of this encoder's threshold in this gallery; None where nobody measured it.
    """

    matcher: Matcher
    renew_at: float | None
    n_people: int
    n_stale: int
    calibration: Calibration | None


def check_name(name: str) -> str:
    """A name in its normal form (NFC), without blanks around it.

    Raises:
        FaceError: it is empty, too long, holds characters that nobody sees, or looks like an id.
    """
    normal = unicodedata.normalize("NFC", name).strip()
    problem = ""
    if not normal:
        problem = "it is empty"
    elif len(normal) > LONGEST_NAME:
        problem = f"it has {len(normal)} characters"
    elif any(unicodedata.category(each) in _UNSEEN for each in normal):
        problem = "it holds characters that cannot be seen"
    elif _PERSON_ID.fullmatch(normal):
        problem = "it looks like the id of a person"
    if problem:
        raise FaceError(
            "enrol.name",
            f"this is no name: {problem}",
            mend=f"use 1 to {LONGEST_NAME} letters, digits, signs and blanks",
            where="arguments.name",
        )
    return normal


def compared_name(name: str) -> str:
    """The same for names that people take for the same."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
