"""What can be asked about people, and what is answered: the models that command line and MQTT share."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from edged.events.command import StrictModel
from edged.events.schema import Amount, BoxNorm, IdentityFacts, PersonId, Share, UtcTime, WireModel
from edged.identity.people import LONGEST_CONSENT

MOST_PICTURES = 8
"""Of one person in one enrolment."""


def _from_base64(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise ValueError("expected the bytes of a picture in base64") from None


Picture = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "description": "a JPEG, PNG or BMP in base64"}),
]
Who = Annotated[str, Field(min_length=1, max_length=200, description="name or id of somebody who is enrolled")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Cosine = Annotated[float, Field(ge=-1.01, le=1.01)]


class EnrolArguments(StrictModel):
    """A new person, or further pictures of somebody who is enrolled: `name` and `consent`, or `person`."""

    pictures: list[Picture] = Field(min_length=1, max_length=MOST_PICTURES, description="one face each, of the same person")
    name: Name | None = Field(None, description="of somebody new")
    consent: str | None = Field(
        None, min_length=1, max_length=LONGEST_CONSENT, description="of somebody new: where their consent is filed"
    )
    person: Who | None = None
    expires_at: UtcTime | None = Field(None, description="from then on they match no more; never if left out")
    allow_look_alike: bool = Field(False, description="enrol though somebody else is taken for this one; both will be ambiguous")
    keep_crops: bool | None = Field(
        None, description="keep aligned faces, encrypted, for another encoder; as configured if left out"
    )


class Nearest(WireModel):
    """The other person who is most alike."""

    person_id: PersonId
    name: str
    score: Cosine


class EnrolAnswer(WireModel):
    """Who was enrolled."""

    person_id: PersonId
    name: str
    templates: Amount = Field(description="that this person now has of this encoder")
    gallery_version: Amount
    nearest: Nearest | None = Field(None, description="absent where nobody else is enrolled")


class VerifyArguments(StrictModel):
    """Whether a picture shows a person: somebody enrolled, or whoever another picture shows."""

    picture: Picture
    person: Who | None = None
    reference: Picture | None = None


class IdentifyArguments(StrictModel):
    """Whom a picture shows."""

    picture: Picture


class FaceFacts(WireModel):
    """One face of a picture."""

    box_norm: BoxNorm
    quality: Share
    identity: IdentityFacts


class VerifyAnswer(WireModel):
    """Whether it is them: `identity.kind` is `match`."""

    verified: bool
    identity: IdentityFacts


class IdentifyAnswer(WireModel):
    """The faces of a picture, the largest first."""

    faces: list[FaceFacts]


class ListArguments(StrictModel):
    """Which part of the list."""

    start: Amount = Field(0, description="leave out so many")
    most: int = Field(100, ge=1, le=100)


class PersonFacts(WireModel):
    """Somebody who is enrolled."""

    person_id: PersonId
    name: str
    consent: str
    enrolled_at: UtcTime
    expires_at: UtcTime | None = None
    state: str = Field(description="matching; expired; or stale: enrolled with another encoder only")
    templates: Amount = Field(description="of the encoder in use")
    other_templates: Amount = Field(description="of other encoders")
    crops: Amount = Field(description="aligned faces kept for another encoder")


class ListAnswer(WireModel):
    """Who is enrolled, in the order of enrolment."""

    people: list[PersonFacts]
    n_people: Amount = Field(description="in all")
    gallery_version: Amount


class ShowArguments(StrictModel):
    """Whom to show."""

    person: Who


class ForgetArguments(StrictModel):
    """Whom to forget."""

    person: Who
    keep_exports: bool = Field(False, description="leave archives that hold them; they are named in the answer")


class ForgetAnswer(WireModel):
    """What became of the traces of somebody."""

    person_id: PersonId
    erased: list[str]
    left: list[str] = Field(description="what is known and could not be erased: see to it")
    gallery_version: Amount


class AuditArguments(StrictModel):
    """Which part of the audit log."""

    most: int = Field(50, ge=1, le=200)
    person: str | None = Field(None, max_length=200, description="name, or id, also of somebody who was forgotten")


class AuditLine(WireModel):
    """One thing that was done."""

    at: UtcTime
    actor: str
    action: str
    person_id: PersonId | None = None
    outcome: str


class AuditAnswer(WireModel):
    """What was done with the gallery, the newest first."""

    entries: list[AuditLine]


class CalibrateArguments(StrictModel):
    """The false-match rate that is wanted."""

    false_match_rate: float = Field(0.001, gt=0, lt=1, description="share of pairs of two people that may be taken for one")
    apply: bool = Field(True, description="decide by the threshold that is found; otherwise only tell it")


class LookAlikeFacts(WireModel):
    """Two people whom the threshold does not keep apart, or hardly."""

    person_id: PersonId
    name: str
    other_id: PersonId
    other_name: str
    score: Cosine


class CalibrateAnswer(WireModel):
    """The threshold of this gallery, and how far it can be trusted."""

    threshold: Cosine
    wanted: Share
    measured: Share = Field(description="share of the pairs that reach the threshold")
    low: Share = Field(description="the true share is above this with the probability `level`, if pairs were independent")
    high: Share = Field(description="and below this")
    level: Share
    n_pairs: Amount
    n_people: Amount
    is_shown: bool = Field(description="whether `high` is at most `wanted`: fewer pairs than it takes show nothing")
    any_of_all: Share = Field(description="chance that a stranger is taken for any of the enrolled, if each were at `high`")
    look_alikes: list[LookAlikeFacts]
    applied: bool
    gallery_version: Amount


class ReencodeAnswer(WireModel):
    """Who was given templates of the encoder in use from kept crops, and who must be enrolled again."""

    reencoded: Amount
    left: list[PersonId] = Field(description="people without a kept crop")
    gallery_version: Amount
