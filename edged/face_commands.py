"""`edged faces`: people enrolled, verified, identified, shown and forgotten, beside a daemon that runs or without one."""

from __future__ import annotations

import argparse
import getpass
import json
import math
import os
import pwd
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edged.assembly import make_mqtt_settings
from edged.clock import SystemClock, now_at
from edged.config import Config, find_gallery_key, find_state_directory, load_config
from edged.config.faces import FacesConfig
from edged.errors import CommandError, ConfigError, EdgedError, FaceError, InputError, ModelError, exit_status
from edged.events.schema import IdentityFacts
from edged.events.wire import utc_text
from edged.face_assembly import FaceEngines, make_decision_settings, open_face_reader
from edged.identity import requests as ask
from edged.identity.archive import ArchiveSecret
from edged.identity.decision import DecisionSettings
from edged.identity.encryption import KeyPlace, load_key, make_key
from edged.identity.enrolment import MOST_PICTURE_BYTES, ReadsFaces
from edged.identity.forgetting import MediaTrace, Trace
from edged.identity.gallery import open_gallery
from edged.identity.operations import FaceOperations
from edged.models.manifest import DetectorManifest, EncoderManifest, LivenessManifest, ManifestT, find_engine, load_manifest
from edged.retained_messages import RetainedMessages

_DAY_S = 86_400.0
_NOBODY = DecisionSettings(threshold=1.0, false_match_rate=None, margin=0.0)
"""Where there are no networks."""
_CODES: dict[type[EdgedError], str] = {ModelError: "model.unusable", InputError: "input.unusable"}
"""Of errors that have none of their own."""
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a command works.

    Attributes:
        config: None where none was named.
        faces: its section; the defaults without a configuration.
    """

    state_dir: Path
    config: Config | None
    faces: FacesConfig

    @classmethod
    def find(cls, arguments: argparse.Namespace) -> Site:
        """From the command line, and from the configuration that it names."""
        config = load_config(arguments.config, reads_secrets=_needs_broker(arguments)) if arguments.config else None
        state_dir = arguments.state_dir or (config.state_dir if config else find_state_directory())
        return cls(state_dir, config, config.faces if config else FacesConfig())

    def find_engines(self) -> FaceEngines:
        """The networks.

        Raises:
            ModelError: one is not there, or something else.
        """

        def find(name: str, kind: type[ManifestT]) -> tuple[Path, ManifestT]:
            directory = find_engine(name, config_dir=self.config.directory if self.config else None, state_dir=self.state_dir)
            return directory, load_manifest(directory, kind=kind)

        liveness = None if self.faces.liveness is None else find(self.faces.liveness, LivenessManifest)
        return FaceEngines(find(self.faces.detector, DetectorManifest), find(self.faces.encoder, EncoderManifest), liveness)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edged faces`."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    enrol = _add(actions, "enrol", "enrol somebody from photographs, or add some to somebody", _run_enrol)
    enrol.add_argument(
        "pictures", nargs="+", type=Path, metavar="PICTURE", help="JPEG, PNG or BMP with one face; all of one person"
    )
    who = enrol.add_mutually_exclusive_group(required=True)
    who.add_argument("--name", help="of somebody new")
    who.add_argument("--person", metavar="WHO", help="name or id of somebody who is enrolled")
    enrol.add_argument("--consent", metavar="TEXT", help="of somebody new: where their consent is filed, e.g. 'form 12'")
    end = enrol.add_mutually_exclusive_group()
    end.add_argument("--expires", type=_day, metavar="YYYY-MM-DD", help="the last day on which they match (default: for ever)")
    end.add_argument("--days", type=_count, metavar="N", help="the same in days from now")
    enrol.add_argument("--allow-look-alike", action="store_true", help="enrol though somebody else is taken for this one")
    enrol.add_argument(
        "--keep-crops",
        action=argparse.BooleanOptionalAction,
        help="keep the aligned faces, encrypted, for another encoder (default: as the configuration says, or no)",
    )
    verify = _add(actions, "verify", "say whether a picture shows a person (exit status: 0 it does, 1 it does not)", _run_verify)
    verify.add_argument("picture", type=Path, metavar="PICTURE")
    against = verify.add_mutually_exclusive_group(required=True)
    against.add_argument("--person", metavar="WHO", help="name or id of somebody who is enrolled")
    against.add_argument("--reference", type=Path, metavar="PICTURE", help="or whoever this other picture shows")
    identify = _add(actions, "identify", "say whom a picture shows", _run_identify)
    identify.add_argument("picture", type=Path, metavar="PICTURE")
    _add(actions, "list", "show who is enrolled", _run_list)
    show = _add(actions, "show", "show what is kept of somebody", _run_show)
    show.add_argument("person", metavar="WHO", help="name or id")
    forget = _add(actions, "forget", "forget somebody, and erase every trace of them that can be reached", _run_forget)
    forget.add_argument("person", metavar="WHO", help="name or id, or a picture of somebody who is enrolled")
    forget.add_argument("--keep-exports", action="store_true", help="leave exports that hold them")
    forget.add_argument(
        "--media",
        action="append",
        type=Path,
        default=[],
        metavar="DIR",
        help="erase files below it that mention them; may be repeated",
    )
    export = _add(actions, "export", "write everybody into an encrypted file", _run_export)
    export.add_argument("file", type=Path, metavar="FILE")
    _add_secret(export, "made if missing")
    import_ = _add(actions, "import", "add everybody of an encrypted file", _run_import)
    import_.add_argument("file", type=Path, metavar="FILE")
    import_.add_argument("--replace", action="store_true", help="whom the gallery knows is replaced by the file's")
    _add_secret(import_, "that it was encrypted with")
    audit = _add(actions, "audit", "show who did what with the gallery, the newest first", _run_audit)
    audit.add_argument("--person", metavar="WHO", help="name, or id, also of somebody who was forgotten")
    audit.add_argument("--most", type=_count, default=50, metavar="N", help="lines (default: 50, at most 200)")
    calibrate = _add(actions, "calibrate", "set the threshold by how alike the enrolled people are", _run_calibrate)
    calibrate.add_argument(
        "--false-match-rate",
        type=float,
        default=0.001,
        metavar="R",
        help="share of pairs of two people taken for one (default: 0.001)",
    )
    calibrate.add_argument("--dry-run", action="store_true", help="tell the threshold, change nothing")
    _add(actions, "reencode", "make templates of a new encoder from kept crops", _run_reencode)


def run(arguments: argparse.Namespace) -> int:
    """Run the action that was named; with `--json` an error is an object on standard output, too."""
    if not arguments.json:
        return arguments.run_action(arguments)
    try:
        return arguments.run_action(arguments)
    except EdgedError as error:
        print(json.dumps({"error": _error_facts(error)}, ensure_ascii=False))
        return exit_status(error)


def _error_facts(error: EdgedError) -> dict[str, object]:
    """An error as it is printed for programs; of a configuration with every mistake of it."""
    match error:
        case CommandError():
            return {"code": error.code, "message": error.message, "mend": error.mend}
        case ConfigError():
            mistakes = [
                {"code": each.code, "where": each.where, "message": each.message, "line": each.line} for each in error.mistakes
            ]
            facts = {"code": "config.mistakes", "message": str(error), "mend": "mend them; `edged check` says whether all are"}
            return {**facts, "mistakes": mistakes}
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "edged.failed")
    return {"code": code, "message": str(error), "mend": "mend what the message says and try again"}


def open_reader(engines: FaceEngines, faces: FacesConfig, *, state_dir: Path) -> ReadsFaces:
    """The networks, warm."""
    return open_face_reader(engines, faces, state_dir=state_dir).reader


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_text: str,
    run_action: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="take state directory, networks, thresholds and broker from it"
    )
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="where the gallery is")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.set_defaults(run_action=run_action)
    return parser


def _add_secret(parser: argparse.ArgumentParser, what: str) -> None:
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="its first line is the passphrase (default: it is asked for)"
    )
    secret.add_argument("--key-file", type=Path, metavar="FILE", help=f"a key file of its own, {what}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a day such as 2030-01-31") from None


def _needs_broker(arguments: argparse.Namespace) -> bool:
    return arguments.run_action is _run_forget


def _open(arguments: argparse.Namespace, *, needs_networks: bool) -> FaceOperations:
    """The operations on the gallery of this site. Where no network is needed none has to be there."""
    site = Site.find(arguments)
    engines, digest, settings = None, "", _NOBODY
    try:
        engines = site.find_engines()
        digest, settings = engines.encoder[1].onnx.sha256, make_decision_settings(site.faces, engines)
    except ModelError as error:
        if needs_networks:
            raise
        print(f"edged: nobody can match at present: {error}", file=sys.stderr)
    return FaceOperations(
        open_gallery=lambda: open_gallery(site.state_dir, find_gallery_key(site.state_dir)),
        open_reader=lambda: open_reader(engines or site.find_engines(), site.faces, state_dir=site.state_dir),
        model_digest=digest,
        settings=settings,
        actor=f"cli:{_user()}",
        now=partial(now_at, SystemClock()),
        traces=_traces(arguments, site),
        keeps_crops=site.faces.keep_crops,
        follows_calibration=site.faces.match is None,
    )


def _traces(arguments: argparse.Namespace, site: Site) -> list[Trace]:
    """Where else people who are forgotten may be mentioned."""
    if not _needs_broker(arguments):
        return []
    for directory in arguments.media:
        if not directory.is_dir():
            raise InputError(f"{directory}: is no directory")
    traces: list[Trace] = [MediaTrace(directory) for directory in arguments.media]
    mqtt = make_mqtt_settings(site.config) if site.config else None
    return [*traces, RetainedMessages(mqtt)] if mqtt else traces


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _make(model: type[_Model], **values: object) -> _Model:
    """Arguments of an operation; what is wrong with them is told without repeating them."""
    try:
        return model(**values)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False))
        raise FaceError("faces.arguments", told, mend="edged faces ACTION --help says what it takes") from None


def _read(path: Path) -> bytes:
    """The bytes of a picture; one that is far too large is not read to its end."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_PICTURE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _print_json(answer: BaseModel) -> None:
    print(answer.model_dump_json(exclude_none=True))


# -- enrol, verify, identify


def _run_enrol(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=True) as operations:
        answer = operations.enrol(
            _make(
                ask.EnrolArguments,
                pictures=[_read(path) for path in arguments.pictures],
                name=arguments.name,
                consent=arguments.consent,
                person=arguments.person,
                expires_at=_expiry(arguments),
                allow_look_alike=arguments.allow_look_alike,
                keep_crops=arguments.keep_crops,
            )
        )
    if arguments.json:
        _print_json(answer)
        return 0
    print(f"{answer.name} ({answer.person_id}): {_number(answer.templates, 'template')}")
    if answer.nearest is not None:
        print(f"nearest other person: {answer.nearest.name} ({answer.nearest.person_id}), score {answer.nearest.score:.3f}")
    return 0


def _expiry(arguments: argparse.Namespace) -> str | None:
    """The moment at which the consent ends, as it is sent: days are local ones and end at midnight."""
    if arguments.days is not None:
        return utc_text(now_at(SystemClock()) + arguments.days * _DAY_S)
    if arguments.expires is None:
        return None
    end = datetime.combine(arguments.expires + timedelta(days=1), time()).astimezone(timezone.utc)
    return utc_text(end.timestamp())


def _run_verify(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=True) as operations:
        answer = operations.verify(
            _make(
                ask.VerifyArguments,
                picture=_read(arguments.picture),
                person=arguments.person,
                reference=arguments.reference and _read(arguments.reference),
            )
        )
    if arguments.json:
        _print_json(answer)
    else:
        print(_describe(answer.identity))
    return 0 if answer.verified else 1


def _run_identify(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=True) as operations:
        answer = operations.identify(_make(ask.IdentifyArguments, picture=_read(arguments.picture)))
    if arguments.json:
        _print_json(answer)
        return 0
    for face in answer.faces:
        box = ", ".join(f"{each:.3f}" for each in face.box_norm)
        print(f"{_describe(face.identity)}, quality {face.quality:.2f}, box [{box}]")
    if not answer.faces:
        print("no face")
    return 0


def _describe(identity: IdentityFacts) -> str:
    """A decision in one line, with its evidence."""
    name = identity.name or identity.subject
    parts = [f"{identity.kind.value}: {name}" if name else identity.kind.value]
    if identity.score is not None:
        rate = identity.false_match_rate
        stands_for = "" if rate is None else f", false-match rate {rate:.2g}"
        parts.append(f"score {identity.score:.3f} (threshold {identity.threshold:.3f}{stands_for})")
    if identity.margin is not None:
        parts.append(f"margin {identity.margin:.3f}")
    if identity.live is not None:
        parts.append(f"live {identity.live:.2f}")
    return ", ".join(parts)


# -- list, show, forget


def _run_list(arguments: argparse.Namespace) -> int:
    people: list[ask.PersonFacts] = []
    with _open(arguments, needs_networks=False) as operations:
        while True:
            answer = operations.list(ask.ListArguments(start=len(people)))
            people += answer.people
            if not answer.people or len(people) >= answer.n_people:
                break
    if arguments.json:
        _print_json(answer.model_copy(update={"people": people}))
        return 0
    if not people:
        print("nobody is enrolled: edged faces enrol PICTURE --name NAME --consent TEXT")
        return 0
    rows = [("NAME", "ID", "ENROLLED", "EXPIRES", "TEMPLATES", "STATE")]
    rows += [
        (
            person.name,
            person.person_id,
            person.enrolled_at[:10],
            person.expires_at[:10] if person.expires_at else "-",
            str(person.templates + person.other_templates),
            person.state,
        )
        for person in people
    ]
    _print_table(rows)
    return 0


def _run_show(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=False) as operations:
        person = operations.show(_make(ask.ShowArguments, person=arguments.person))
    if arguments.json:
        _print_json(person)
        return 0
    for name, value in person.model_dump(exclude_none=True).items():
        print(f"{name.replace('_', ' '):16} {value}")
    return 0


def _run_forget(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=False) as operations:
        answer = operations.forget(
            _make(ask.ForgetArguments, person=_who(arguments.person, operations), keep_exports=arguments.keep_exports)
        )
    if arguments.json:
        _print_json(answer)
        return 0
    print(f"forgotten: {answer.person_id}")
    for line in answer.erased:
        print(f"  erased  {line}")
    for line in answer.left:
        print(f"  LEFT    {line}")
    return 0


def _who(text: str, operations: FaceOperations) -> str:
    """Whom a name, an id or a picture means.

    Raises:
        FaceError: the picture shows nobody who is enrolled, or not surely.
    """
    path = Path(text)
    if operations.is_enrolled(text) or not path.is_file():
        return text
    faces = operations.identify(_make(ask.IdentifyArguments, picture=_read(path))).faces
    matches = [face.identity.subject for face in faces if face.identity.subject is not None]
    if len(faces) != 1 or len(matches) != 1:
        found = ", ".join(face.identity.kind.value for face in faces) or "no face"
        raise FaceError(
            "faces.unknown_person",
            f"{path}: does not show one person who is surely enrolled, but: {found}",
            mend="give the name or the id; `edged faces list` shows them",
        )
    return matches[0]


# -- export, import, audit, calibrate, reencode


def _run_export(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=False) as operations:
        n = operations.export_to(arguments.file, _secret(arguments, makes=True))
    if arguments.json:
        print(json.dumps({"file": str(arguments.file), "people": n}, ensure_ascii=False))
    else:
        print(f"{arguments.file}: {_number(n, 'person')}; `edged faces forget` removes it, as long as it stays there")
    return 0


def _run_import(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=False) as operations:
        n = operations.import_from(arguments.file, _secret(arguments, makes=False), replaces=arguments.replace)
    if arguments.json:
        print(json.dumps({"file": str(arguments.file), "people": n}, ensure_ascii=False))
    else:
        print(f"{_number(n, 'person')} imported")
    return 0


def _secret(arguments: argparse.Namespace, *, makes: bool) -> ArchiveSecret:
    """What an archive is encrypted with; a passphrase that is made is asked for twice."""
    if arguments.key_file is not None:
        makes = makes and not arguments.key_file.exists()
        return ArchiveSecret(key=make_key(arguments.key_file) if makes else load_key(KeyPlace(arguments.key_file)))
    if arguments.passphrase_file is not None:
        try:
            text = arguments.passphrase_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the passphrase file {arguments.passphrase_file}: {error}") from error
        return ArchiveSecret(passphrase=text.split("\n", maxsplit=1)[0].rstrip("\r"))
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask for a passphrase: give --passphrase-file or --key-file")
    passphrase = getpass.getpass("passphrase: ")
    if makes and getpass.getpass("once more: ") != passphrase:
        raise InputError("the two passphrases differ")
    return ArchiveSecret(passphrase=passphrase)


def _run_audit(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=False) as operations:
        answer = operations.audit(_make(ask.AuditArguments, person=arguments.person, most=arguments.most))
    if arguments.json:
        _print_json(answer)
        return 0
    rows = [("AT", "WHO", "WHAT", "PERSON", "OUTCOME")]
    rows += [(each.at, each.actor, each.action, each.person_id or "-", each.outcome) for each in answer.entries]
    _print_table(rows)
    return 0


def _run_calibrate(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=True) as operations:
        answer = operations.calibrate(
            _make(ask.CalibrateArguments, false_match_rate=arguments.false_match_rate, apply=not arguments.dry_run)
        )
    if arguments.json:
        _print_json(answer)
        return 0
    print(f"{answer.n_people} people, {answer.n_pairs} pairs of two: threshold {answer.threshold:.4f}")
    print(
        f"false-match rate: wanted {answer.wanted:.2g}, measured {answer.measured:.2g}, "
        f"{answer.level:.0%} interval {answer.low:.2g} to {answer.high:.2g}"
    )
    if not answer.is_shown:
        needed = math.ceil(-math.log((1 - answer.level) / 2) / answer.wanted)
        print(f"so few pairs show no rate of {answer.wanted:.2g}: it takes about {needed}; the threshold is on the safe side")
    print(f"a stranger is taken for any of the {answer.n_people} with a chance of at most {answer.any_of_all:.2g}")
    for pair in answer.look_alikes:
        print(f"look alike: {pair.name} ({pair.person_id}) and {pair.other_name} ({pair.other_id}), score {pair.score:.3f}")
    if not answer.applied:
        print("nothing was changed")
    return 0


def _run_reencode(arguments: argparse.Namespace) -> int:
    with _open(arguments, needs_networks=True) as operations:
        answer = operations.reencode()
    if arguments.json:
        _print_json(answer)
        return 0
    print(f"{_number(answer.reencoded, 'person')} encoded again")
    for person_id in answer.left:
        print(f"no crop was kept of {person_id}: edged faces enrol PICTURE --person {person_id}")
    return 0


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


def _number(n: int, noun: str) -> str:
    if noun == "person" and n != 1:
        return f"{n} people"
    return f"{n} {noun}{'' if n == 1 else 's'}"
