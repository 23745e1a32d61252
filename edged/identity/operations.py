"""What can be done with people, one method each, for the command line and for MQTT alike: checked, audited, all or nothing."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edged.errors import CommandError, EdgedError, FaceError, GalleryError
from edged.events.schema import IdentityFacts
from edged.events.wire import identity_facts, utc_text
from edged.identity import requests as ask
from edged.identity.archive import ArchiveSecret, export_gallery, import_gallery
from edged.identity.calibration import Calibration, calibrate, measure_impostors, settings_of
from edged.identity.decision import DecisionSettings, decide_pair, decide_single
from edged.identity.enrolment import (
    EnrolmentLimits,
    ReadsFaces,
    check_nobody_else,
    check_quality,
    check_same_person,
    make_crop,
    read_crop,
    read_one_face,
    read_picture,
)
from edged.identity.forgetting import Trace, forget
from edged.identity.gallery import Gallery
from edged.identity.matching import Candidate, Combination, Matcher
from edged.identity.people import Person, Snapshot, check_name
from edged.identity.snapshots import CurrentSnapshot
from edged.types import Face, FaceDecision, Pixels
from edged.vision.boxes import to_norm

logger = logging.getLogger(__name__)

_REFERENCE = "reference"
"""What the person of a second picture is called in the decision."""


class _AuditNote:
    """The line of the audit log that one operation leaves: with its change in one transaction, or after it."""

    def __init__(self, record: Callable[[_AuditNote], None]) -> None:
        self.person_id: str | None = None
        self.outcome = "ok"
        self.is_written = False
        self._record = record

    def write(self, person_id: str | None = None) -> None:
        """Write it, once."""
        self.person_id = person_id or self.person_id
        if not self.is_written:
            self._record(self)
            self.is_written = True


class FaceOperations:
    """The operations on a gallery. Used by one thread, which opens gallery and networks when they are first needed.

    A context manager. Whatever is done, or refused, leaves a line in the audit log.

    Args:
        open_gallery: opens the gallery.
        open_reader: opens the networks.
        model_digest: SHA-256 of the encoder that `open_reader` opens.
        settings: from where on a face is somebody's; a calibration of the gallery goes before its threshold.
        actor: who does all this, for the audit log.
        now: UTC seconds since 1970.
        traces: places outside of the gallery that `forget` searches.
        keeps_crops: whether aligned faces are kept where nothing is said.
        follows_calibration: False: the threshold was set by a person.
    """

    def __init__(
        self,
        *,
        open_gallery: Callable[[], Gallery],
        open_reader: Callable[[], ReadsFaces],
        model_digest: str,
        settings: DecisionSettings,
        actor: str,
        now: Callable[[], float],
        traces: Sequence[Trace] = (),
        limits: EnrolmentLimits | None = None,
        combination: Combination = "best",
        keeps_crops: bool = False,
        follows_calibration: bool = True,
    ) -> None:
        self._open_gallery = open_gallery
        self._open_reader = open_reader
        self._model_digest = model_digest
        self._settings = settings
        self._actor = actor
        self._now = now
        self._traces = traces
        self._limits = limits or EnrolmentLimits()
        self._combination: Combination = combination
        self._keeps_crops = keeps_crops
        self._follows_calibration = follows_calibration
        self._gallery_opened: Gallery | None = None
        self._snapshots: CurrentSnapshot | None = None
        self._reader_opened: ReadsFaces | None = None

    def __enter__(self) -> FaceOperations:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened."""
        for opened in (self._reader_opened, self._gallery_opened):
            if opened is not None:
                opened.close()
        self._reader_opened = self._gallery_opened = self._snapshots = None

    # -- operations

    def enrol(self, arguments: ask.EnrolArguments) -> ask.EnrolAnswer:
        """Enrol somebody new, or add pictures to somebody: all pictures, or none.

        Raises:
            FaceError: a picture, the name or the person will not do.
        """
        with self._audited("enrol") as note:
            expires_at = None if arguments.expires_at is None else self._in_future(arguments.expires_at)
            is_new = _is_new(arguments)
            if is_new:
                check_name(arguments.name or "")
            faces = [self._read_for_enrolment(picture) for picture in arguments.pictures]
            keeps_crops = self._keeps_crops if arguments.keep_crops is None else arguments.keep_crops
            with self._gallery.transaction():
                person = None if is_new else self._gallery.get(arguments.person or "")
                matcher, settings = self._yardstick(for_enrolment=True)
                threshold = math.inf if arguments.allow_look_alike else settings.threshold
                nearest = self._check_faces([face.embedding for _, face in faces], person, matcher, threshold)
                if person is None:
                    person_id = self._gallery.add_person(
                        arguments.name or "", consent=arguments.consent or "", enrolled_at=self._now(), expires_at=expires_at
                    )
                else:
                    person_id = person.person_id
                    if expires_at is not None:
                        self._gallery.set_expiry(person_id, expires_at)
                for pixels_rgb, face in faces:
                    self._gallery.add_template(
                        person_id,
                        face.embedding,
                        model_digest=self._model_digest,
                        crop_png=make_crop(pixels_rgb, face) if keeps_crops else None,
                    )
                note.write(person_id)
            enrolled = self._gallery.get(person_id)
            return ask.EnrolAnswer(
                person_id=person_id,
                name=enrolled.name,
                templates=enrolled.templates.get(self._model_digest, 0),
                gallery_version=self._gallery.version(),
                nearest=nearest
                and ask.Nearest(
                    person_id=nearest.person_id, name=matcher.names.get(nearest.person_id, ""), score=round(nearest.score, 4)
                ),
            )

    def verify(self, arguments: ask.VerifyArguments) -> ask.VerifyAnswer:
        """Whether a picture shows somebody.

        Raises:
            FaceError: it has not one face, or nobody is enrolled as that person, or their consent has ended.
        """
        with self._audited("verify") as note:
            if (arguments.person is None) == (arguments.reference is None):
                raise FaceError(
                    "faces.arguments",
                    "expected either somebody who is enrolled or a second picture to compare with",
                    mend="give `person` or `reference`",
                    where="arguments.person",
                )
            face = read_one_face(read_picture(arguments.picture), self._reader)
            if arguments.reference is not None:
                reference = read_one_face(read_picture(arguments.reference), self._reader)
                settings = self._decide_by(self._gallery.calibration(self._model_digest))
                decision = decide_pair(face, reference, settings, subject=_REFERENCE, model=self._model_digest)
            else:
                person = self._gallery.get(arguments.person or "")
                matcher, settings = self._yardstick()
                note.person_id = person.person_id
                try:
                    decision = decide_single(face, matcher, settings, person_id=person.person_id)
                except KeyError:
                    raise self._cannot_match(person) from None
            facts = self._told(decision, note)
            return ask.VerifyAnswer(verified=facts.kind.value == "match", identity=facts)

    def identify(self, arguments: ask.IdentifyArguments) -> ask.IdentifyAnswer:
        """Whom each face of a picture shows."""
        with self._audited("identify") as note:
            pixels_rgb = read_picture(arguments.picture)
            found = self._reader.read(pixels_rgb, self._reader.find(pixels_rgb))
            matcher, settings = self._yardstick()
            height, width = pixels_rgb.shape[:2]
            faces = []
            for face in sorted(found, key=_area, reverse=True):
                (box_norm,) = to_norm(face.box[None], width=width, height=height).clip(0, 1)
                faces.append(
                    ask.FaceFacts(
                        box_norm=[round(float(each), 4) for each in box_norm],
                        quality=round(face.quality, 3),
                        identity=self._told(decide_single(face, matcher, settings), note),
                    )
                )
            if not faces:
                note.outcome = "no_face"
            return ask.IdentifyAnswer(faces=faces)

    def list(self, arguments: ask.ListArguments) -> ask.ListAnswer:
        """Who is enrolled."""
        with self._audited("list"):
            people = self._gallery.people()
            shown = people[arguments.start : arguments.start + arguments.most]
            return ask.ListAnswer(
                people=[self._facts(person) for person in shown],
                n_people=len(people),
                gallery_version=self._gallery.version(),
            )

    def show(self, arguments: ask.ShowArguments) -> ask.PersonFacts:
        """What is kept of somebody, but for their templates.

        Raises:
            FaceError: nobody is enrolled so.
        """
        with self._audited("show") as note:
            person = self._gallery.get(arguments.person)
            note.person_id = person.person_id
            return self._facts(person)

    def is_enrolled(self, name_or_id: str) -> bool:
        """Whether somebody is called so, or has this id."""
        return self._gallery.find(name_or_id) is not None

    def forget(self, arguments: ask.ForgetArguments) -> ask.ForgetAnswer:
        """Forget somebody, with every trace that can be reached; see `forgetting.py`.

        Raises:
            FaceError: nobody is enrolled so.
        """
        with self._audited("forget") as note:
            person = self._gallery.get(arguments.person)
            note.person_id = person.person_id
            found = forget(
                self._gallery,
                person,
                traces=self._traces,
                keeps_exports=arguments.keep_exports,
                on_removed=note.write,
            )
            return ask.ForgetAnswer(
                person_id=person.person_id,
                erased=list(found.erased),
                left=list(found.left),
                gallery_version=self._gallery.version(),
            )

    def audit(self, arguments: ask.AuditArguments) -> ask.AuditAnswer:
        """What was done with the gallery."""
        with self._audited("audit"):
            person_id = arguments.person
            if person_id is not None and (person := self._gallery.find(person_id)) is not None:
                person_id = person.person_id
            return ask.AuditAnswer(
                entries=[
                    ask.AuditLine(
                        at=utc_text(entry.at),
                        actor=entry.actor,
                        action=entry.action,
                        person_id=entry.person_id,
                        outcome=entry.outcome,
                    )
                    for entry in self._gallery.audit(most=arguments.most, person_id=person_id)
                ]
            )

    def calibrate(self, arguments: ask.CalibrateArguments) -> ask.CalibrateAnswer:
        """The threshold that keeps the people of this gallery apart.

        Raises:
            FaceError: there are fewer than two.
        """
        with self._audited("calibrate") as note:
            matcher = self._current().matcher
            templates, person_ids = matcher.rows()
            scores = measure_impostors(templates, person_ids)
            found = calibrate(scores, wanted=arguments.false_match_rate, default_threshold=self._settings.threshold)
            note.outcome = f"ok, threshold {found.threshold:.4f}{'' if arguments.apply else ', not applied'}"
            if arguments.apply:
                with self._gallery.transaction():
                    self._gallery.set_calibration(self._model_digest, found)
                    note.write()
            near = found.threshold - self._settings.margin
            return ask.CalibrateAnswer(
                **found.model_dump(),
                any_of_all=1 - (1 - found.high) ** len(matcher),
                look_alikes=[
                    ask.LookAlikeFacts(
                        person_id=pair.person_id,
                        name=matcher.names[pair.person_id],
                        other_id=pair.other_id,
                        other_name=matcher.names[pair.other_id],
                        score=round(pair.score, 4),
                    )
                    for pair in scores.nearest
                    if pair.score >= near
                ],
                applied=arguments.apply,
                gallery_version=self._gallery.version(),
            )

    def reencode(self) -> ask.ReencodeAnswer:
        """Make templates of the encoder in use from the crops that were kept."""
        with self._audited("reencode") as note:
            made, left = {}, []
            for person in self._gallery.people():
                if person.templates.get(self._model_digest):
                    continue
                crops = [each.crop_png for each in self._gallery.templates(person.person_id) if each.crop_png is not None]
                made[person.person_id] = [(png, read_crop(png, self._reader).embedding) for png in crops]
            with self._gallery.transaction():
                for person_id, crops in made.items():
                    if not crops:
                        left.append(person_id)
                    elif self._gallery.find(person_id) is not None:  # nobody forgot them meanwhile
                        self._gallery.remove_templates(person_id)
                        for png, embedding in crops:
                            self._gallery.add_template(person_id, embedding, model_digest=self._model_digest, crop_png=png)
                note.outcome = f"ok, {len(made) - len(left)} people"
                note.write()
            self._gallery.erase()
            return ask.ReencodeAnswer(reencoded=len(made) - len(left), left=left, gallery_version=self._gallery.version())

    def export_to(self, path: Path, secret: ArchiveSecret) -> int:
        """Write everybody into an archive; how many they are. Raises as `export_gallery` does."""
        with self._audited("export") as note:
            n = export_gallery(self._gallery, path, secret, now_at=self._now())
            note.outcome = f"ok, {n} people"
            return n

    def import_from(self, path: Path, secret: ArchiveSecret, *, replaces: bool) -> int:
        """Add everybody of an archive; how many they are. Raises as `import_gallery` does."""
        with self._audited("import") as note:
            n = import_gallery(self._gallery, path, secret, replaces=replaces)
            self._gallery.erase()
            note.outcome = f"ok, {n} people"
            return n

    # -- inside

    @property
    def _gallery(self) -> Gallery:
        if self._gallery_opened is None:
            self._gallery_opened = self._open_gallery()
        return self._gallery_opened

    @property
    def _reader(self) -> ReadsFaces:
        if self._reader_opened is None:
            self._reader_opened = self._open_reader()
        return self._reader_opened

    def _current(self, *, for_enrolment: bool = False) -> Snapshot:
        gallery = self._gallery
        if self._snapshots is None:
            self._snapshots = CurrentSnapshot(gallery, model_digest=self._model_digest, combination=self._combination)
        return self._snapshots.get(self._now(), for_enrolment=for_enrolment)

    def _yardstick(self, *, for_enrolment: bool = False) -> tuple[Matcher, DecisionSettings]:
        """Whom faces are held against, and from where on they are somebody's."""
        snapshot = self._current(for_enrolment=for_enrolment)
        return snapshot.matcher, self._decide_by(snapshot.calibration)

    def _decide_by(self, calibration: Calibration | None) -> DecisionSettings:
        return settings_of(self._settings, calibration if self._follows_calibration else None)

    @contextlib.contextmanager
    def _audited(self, action: str) -> Iterator[_AuditNote]:
        note = _AuditNote(
            lambda note: self._gallery.record(
                at=self._now(), actor=self._actor, action=action, person_id=note.person_id, outcome=note.outcome
            )
        )
        try:
            yield note
        except EdgedError as error:
            note.outcome = error.code if isinstance(error, CommandError) else type(error).__name__
            note.is_written = False  # a transaction that failed took its line back
            self._try_to_write(note)
            raise
        self._try_to_write(note)

    def _try_to_write(self, note: _AuditNote) -> None:
        """A gallery that cannot be written can still be read."""
        try:
            note.write()
        except GalleryError as error:
            logger.warning("not in the audit log: outcome=%s error=%s", note.outcome, error)

    def _read_for_enrolment(self, picture: bytes) -> tuple[Pixels, Face]:
        pixels_rgb = read_picture(picture)
        face = read_one_face(pixels_rgb, self._reader)
        check_quality(pixels_rgb, face, self._limits)
        return pixels_rgb, face

    def _check_faces(
        self,
        embeddings: Sequence[NDArray[np.float32]],
        person: Person | None,
        matcher: Matcher,
        threshold: float,
    ) -> Candidate | None:
        """The other person who is nearest to any of the pictures (D,), none of which is somebody else's by the threshold."""
        known = []
        if person is not None:
            known = [
                each.embedding for each in self._gallery.templates(person.person_id) if each.model_digest == self._model_digest
            ]
        nearest = None
        for embedding in embeddings:
            check_same_person(embedding, known, threshold=self._settings.threshold)
            known.append(embedding)
            other = check_nobody_else(embedding, matcher, threshold=threshold, person_id=person and person.person_id)
            if other is not None and (nearest is None or other.score > nearest.score):
                nearest = other
        return nearest

    def _cannot_match(self, person: Person) -> FaceError:
        if person.is_expired(self._now()):
            return FaceError(
                "faces.expired",
                f"the consent of {person.name!r} ended at {utc_text(person.expires_at or 0)}",
                mend="enrol a picture with a later end, or forget them",
                where="arguments.person",
            )
        return FaceError(
            "faces.other_encoder",
            f"{person.name!r} was enrolled with another encoder",
            mend="add a picture of them, or `edged faces reencode` where crops were kept",
            where="arguments.person",
        )

    def _told(self, decision: FaceDecision, note: _AuditNote) -> IdentityFacts:
        """A decision as it is answered; what it was stands in the audit log."""
        facts = identity_facts(decision)
        note.outcome = facts.kind.value
        return facts

    def _facts(self, person: Person) -> ask.PersonFacts:
        own = person.templates.get(self._model_digest, 0)
        return ask.PersonFacts(
            person_id=person.person_id,
            name=person.name,
            consent=person.consent,
            enrolled_at=utc_text(person.enrolled_at),
            expires_at=None if person.expires_at is None else utc_text(person.expires_at),
            state="expired" if person.is_expired(self._now()) else "matching" if own else "stale",
            templates=own,
            other_templates=sum(person.templates.values()) - own,
            crops=person.n_crops,
        )

    def _in_future(self, text: str) -> float:
        """UTC seconds of a moment to come.

        Raises:
            FaceError: it is none, or over.
        """
        mend = "give a moment to come, e.g. 2030-01-31T00:00:00.000Z"
        try:
            at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()
        except ValueError as error:
            raise FaceError("enrol.expiry", f"{text}: is no moment: {error}", mend=mend, where="arguments.expires_at") from None
        if at <= self._now():
            raise FaceError("enrol.expiry", f"{text}: is over", mend=mend, where="arguments.expires_at")
        return at


def _is_new(arguments: ask.EnrolArguments) -> bool:
    """Whether somebody new is enrolled.

    Raises:
        FaceError: it is not said whether, or consent is missing.
    """
    if (arguments.name is None) == (arguments.person is None):
        raise FaceError(
            "enrol.arguments",
            "expected the name of somebody new, or somebody who is enrolled",
            mend="give `name` and `consent`, or `person`",
            where="arguments.name",
        )
    if arguments.name is not None and not (arguments.consent or "").strip():
        raise FaceError(
            "enrol.consent",
            "nobody is enrolled without their consent",
            mend="say where it is filed, e.g. `form 12, 2026-11-26`",
            where="arguments.consent",
        )
    return arguments.name is not None


def _area(face: Face) -> float:
    x1, y1, x2, y2 = face.box
    return float((x2 - x1) * (y2 - y1))
