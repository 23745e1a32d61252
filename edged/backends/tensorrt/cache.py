"""Built engines on disk: what each was built from, with and for, and whether it still is what was built.

An engine (TensorRT's word for its file is plan) is code: it runs as us once it is loaded. So nobody else may write where
engines lie, and no byte of one reaches TensorRT before its digest was compared. The digests guard against damage and mix-ups;
against people who can write as us they guard nothing.

`STEM.json` is the record of an engine and names its plan, `STEM.DIGEST.plan`. The record is renamed into place last: whoever
reads meanwhile, and whoever comes after a power cut, finds the old engine or the new one, whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from edged.backends.tensorrt.builder import BuildOptions
from edged.errors import EngineMissingError, ModelError, StateError

_FORM = 2
"""Of the record; a later edged that writes other fields counts on."""
_DIRECTORY_MODE, _FILE_MODE = 0o700, 0o600
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_RECORD, _PLAN, _PART, _TIMING = ".json", ".plan", ".part", "timing-"
_LOCK = "lock"
_ELSEWHERE = "name another state directory"
_MAKE_WRITABLE = f"make room, make it writable, or {_ELSEWHERE}"
_HEAD = b'{\n  "sha256": "'
_SEAL = slice(len(_HEAD), len(_HEAD) + 64)


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine runs on: a device with the driver that it has now.

    Attributes:
        gpu: its name, e.g. `Orin`.
        compute_capability: e.g. `8.7`.
        driver: the CUDA version of its driver, e.g. `13.2`.
    """

    gpu: str
    compute_capability: str
    driver: str

    def __str__(self) -> str:
        return "any GPU" if self == PORTABLE else f"{self.gpu} ({self.compute_capability}), driver {self.driver}"


PORTABLE = Target("any", "any", "any")
"""What TensorRT-RTX builds for: it finishes an engine on the device that loads it."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that an engine depends on: where one of these differs, another engine is needed.

    Attributes:
        name: of the engine directory's manifest.
        onnx_sha256: of the network that it is built from.
        library, library_version: of `backends.tensorrt.library.Library`.
    """

    name: str
    onnx_sha256: str
    library: str
    library_version: str
    target: Target
    options: BuildOptions

    @property
    def label(self) -> str:
        """For people, e.g. `detector fp16`."""
        return f"{self.name} {self.options.precision}"

    @property
    def stem(self) -> str:
        """Its file name without suffix, one for each key."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
        return f"{self.name}-{self.options.precision}-b{self.options.batch[2]}-{digest}"


def name_in(stem: str) -> str:
    """The engine's name in a stem."""
    return stem.rsplit("-", 3)[0]


@dataclass(frozen=True, slots=True)
class Commands:
    """What to type about an engine, whatever the directory and the environment of whoever types it.

    Attributes:
        build: builds it.
        verify: compares it with ONNX Runtime, on the device.
    """

    build: str
    verify: str


@dataclass(frozen=True, slots=True)
class ParityRecord:
    """How an engine's answers compared with those of the same network in ONNX Runtime.

    Attributes:
        target: where they were compared; elsewhere it says nothing.
        figures: by name, 1 is the same; see `edged.parity.Parity`. Empty where it failed instead of answering.
        pictures: so many.
        is_passed: all reached the limits that held then.
    """

    target: Target
    figures: Mapping[str, float]
    pictures: int
    is_passed: bool


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """What is known of a built engine.

    Attributes:
        directory: of the manifest and network that it was built from.
        plan_name, plan_sha256, plan_bytes: its file, that file's digest and length.
        seconds: how long TensorRT built.
        types: how many layers write each type, e.g. `{"float16": 71, "float32": 4}`.
        fell_back: names of layers that a DLA was asked for and that run on the GPU.
        edged_version: which edged built it.
        parity: None until it was compared on a device.
    """

    key: EngineKey
    directory: str
    plan_name: str
    plan_sha256: str
    plan_bytes: int
    seconds: float
    types: Mapping[str, int]
    fell_back: tuple[str, ...]
    edged_version: str
    parity: ParityRecord | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """One file that had to go, and why.

    Attributes:
        failure: why it is still there, and what to do; None: it went.
    """

    name: str
    reason: str
    n_bytes: int
    failure: str | None = None


class EngineCache:
    """The directory of built engines. Reading needs no lock; whatever writes holds it.

    Args:
        path: `tensorrt` in the state directory; made with mode 0700 by `lock`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_locked = False

    @contextmanager
    def lock(self, wait: Callable[[], None]) -> Iterator[None]:
        """Make the directory if it is missing and be the only one who writes there: another process, or thread, waits.

        Args:
            wait: called again and again while somebody else writes; sleeps a moment, and raises to give up.

        Raises:
            ModelError: others could have written there.
            StateError: the directory cannot be made or written.
        """
        try:
            self.path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            self.path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        except OSError as error:
            there = next(each for each in (self.path, *self.path.absolute().parents) if os.path.lexists(each))
            mend = f"make {there} writable" if os.path.isdir(there) else f"{there} is no directory: move it away"
            raise StateError(f"{self.path}: cannot be made: {error.strerror}: {mend}, or {_ELSEWHERE}") from error
        with self._open_directory() as directory:
            try:
                file = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE, dir_fd=directory)
            except OSError as error:
                raise StateError(f"{self.path / _LOCK}: cannot be written: {error.strerror}: {_MAKE_WRITABLE}") from error
        try:
            while not _is_taken(file):
                wait()
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False
        finally:
            os.close(file)

    def find(self, wanted: EngineKey, commands: Commands) -> EngineRecord:
        """The engine of a key.

        Args:
            commands: about it, for messages.

        Raises:
            EngineMissingError: there is none, or only one of another network, library, device or of other options.
            ModelError: its record was changed, or others could have changed it.
        """
        stems = self.stems()
        if wanted.stem in stems:
            return self.load(wanted.stem, mend=f"run {commands.build}")
        label = wanted.label
        stale = [record.key for record in self._readable(stems) if record.key.label == label]
        if stale:
            raise EngineMissingError(describe_stale(stale[-1], wanted, commands))
        raise EngineMissingError(f"{label}: no engine in {self.path}: run {commands.build} [engine.missing]")

    def stems(self) -> list[str]:
        """What `load` can load, oldest first; empty where there is no directory.

        Raises:
            ModelError: others could have written there.
        """
        if not os.path.lexists(self.path):
            return []
        with self._open_directory() as directory:
            ages: dict[str, int] = {}
            for name in os.listdir(directory):
                if name.endswith(_RECORD):
                    with suppress(FileNotFoundError):  # pruned at this moment
                        ages[name] = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns
        return [name.removesuffix(_RECORD) for name in sorted(ages, key=lambda name: (ages[name], name))]

    def load(self, stem: str, *, mend: str | None = None) -> EngineRecord:
        """The record of an engine; the plan is not looked at.

        Args:
            mend: what to do where it is damaged; by default what removes it.

        Raises:
            EngineMissingError: another edged wrote it, in another form.
            ModelError: it was changed since it was written, or others could have changed it.
        """
        path, mend = self.path / (stem + _RECORD), mend or self._mend
        with self._open_directory() as directory:
            content = _read(directory, path, mend)
        expected, found = content[_SEAL].decode(errors="replace"), _seal(content)
        if expected != found:
            raise ModelError(_changed(path, expected, found, "the record", mend))
        record = _decode(content, path, mend)
        if record.key.stem != stem:
            raise ModelError(f"{path}: it is the record of {record.key.stem}: rename it back, or remove it [engine.digest]")
        return record

    def check(self, record: EngineRecord) -> None:
        """See that the plan of an engine is there, ours alone, and as long as it was: all but its bytes, which take time.

        Raises:
            ModelError: it is not.
        """
        path = self.path / record.plan_name
        with self._open_directory() as directory, _open(directory, path, self._mend) as stream:
            n_bytes = os.fstat(stream.fileno()).st_size
        if n_bytes != record.plan_bytes:
            raise ModelError(
                f"{path}: expected {record.plan_bytes} bytes, found {n_bytes}: the engine was changed since it was built: "
                f"{self._mend} [engine.digest]"
            )

    def read(self, record: EngineRecord, *, mend: str | None = None) -> bytes:
        """The plan of an engine, byte for byte what was built.

        Args:
            mend: what to do where it is damaged; by default what removes it.

        Raises:
            ModelError: it was changed or removed since, or others could have changed it.
        """
        path, mend = self.path / record.plan_name, mend or self._mend
        with self._open_directory() as directory:
            plan = _read(directory, path, mend)
        found = hashlib.sha256(plan).hexdigest()
        if found != record.plan_sha256:
            raise ModelError(_changed(path, record.plan_sha256, found, "the engine", mend))
        return plan

    def load_plan(self, wanted: EngineKey, commands: Commands) -> tuple[EngineRecord, bytes]:
        """The engine of a key and its plan, `find` and `read`; one that is replaced in between is no error.

        Raises:
            EngineMissingError, ModelError: as they do.
        """
        mend = f"run {commands.build}"
        record = self.find(wanted, commands)
        try:
            return record, self.read(record, mend=mend)
        except ModelError:
            newer = self.find(wanted, commands)
            if newer.plan_name == record.plan_name:
                raise
            return newer, self.read(newer, mend=mend)

    def write(
        self,
        key: EngineKey,
        plan: bytes,
        *,
        directory: Path,
        seconds: float,
        types: Mapping[str, int],
        fell_back: tuple[str, ...],
        edged_version: str,
    ) -> EngineRecord:
        """Put an engine in the place of whatever its key had; fields as in `EngineRecord`. Hold the lock.

        Raises:
            StateError: it could not be written; the one before is untouched.
        """
        digest = hashlib.sha256(plan).hexdigest()
        record = EngineRecord(
            key=key,
            directory=str(directory.absolute()),
            plan_name=f"{key.stem}.{digest[:12]}{_PLAN}",
            plan_sha256=digest,
            plan_bytes=len(plan),
            seconds=round(seconds, 3),
            types=dict(types),
            fell_back=fell_back,
            edged_version=edged_version,
        )
        assert self._is_locked
        with self._open_directory() as place:
            self._put(place, record.plan_name, plan)
            self._put(place, key.stem + _RECORD, _encode(record))
            for name in os.listdir(place):
                if name.startswith(key.stem + ".") and name not in (record.plan_name, key.stem + _RECORD):
                    with suppress(OSError):  # `prune` tells of it
                        os.unlink(name, dir_fd=place)
        return record

    def record_parity(self, record: EngineRecord, parity: ParityRecord) -> EngineRecord:
        """Note how an engine compared; returns its record as it is now. Hold the lock.

        Raises:
            EngineMissingError: it was built anew or removed meanwhile.
            StateError: it could not be written.
        """
        assert self._is_locked
        stem = record.key.stem
        if stem not in self.stems() or self.load(stem).plan_sha256 != record.plan_sha256:
            raise EngineMissingError(f"{record.key.label}: was built anew or removed while it was compared: compare it again")
        noted = replace(record, parity=parity)
        with self._open_directory() as place:
            self._put(place, stem + _RECORD, _encode(noted))
        return noted

    def timing_cache(self, library: str, version: str, target: Target) -> bytes | None:
        """What a former build measured with a library on a device; None if nothing is known.

        Raises:
            ModelError: others could have changed it.
        """
        path = self.path / _timing_name(library, version, target)
        if not path.exists():
            return None
        with self._open_directory() as directory:
            return _read(directory, path, "build again")

    def write_timing_cache(self, library: str, version: str, target: Target, content: bytes) -> None:
        """Keep what a build measured. Hold the lock.

        Raises:
            StateError: it could not be written.
        """
        assert self._is_locked
        with self._open_directory() as place:
            self._put(place, _timing_name(library, version, target), content)

    def prune(self, is_stale: Callable[[EngineRecord], str | None]) -> list[Removal]:
        """Remove damaged engines, parts of unfinished ones and those that are stale, or say what keeps them. Hold the lock.

        Args:
            is_stale: why an engine goes, or None if it stays.
        """
        assert self._is_locked
        reasons: dict[str, str] = {}  # by name of a file
        kept = []
        for stem in self.stems():
            name = stem + _RECORD
            try:
                record = self.load(stem)
                self.read(record)
            except ModelError:
                reasons[name] = "it or its plan is damaged"
                continue
            reason = is_stale(record)
            if reason is None:
                kept.append(record.plan_name)
            else:
                reasons[name] = reasons[record.plan_name] = reason
        with self._open_directory() as place:
            for name in os.listdir(place):
                if name.endswith((_PLAN, _PART)) and name not in kept:
                    reasons.setdefault(name, "no whole record names it")
            return [self._remove(place, name, reasons[name]) for name in sorted(reasons)]

    def clear(self) -> list[Removal]:
        """Remove every engine and all that was measured for building, or say what keeps it. Hold the lock."""
        assert self._is_locked
        with self._open_directory() as place:
            names = [name for name in os.listdir(place) if name.endswith((_RECORD, _PLAN, _PART)) or name.startswith(_TIMING)]
            return [self._remove(place, name, "all") for name in sorted(names)]

    @property
    def _mend(self) -> str:
        """Of a file that does not say how it was built."""
        state_dir = shlex.quote(str(self.path.parent.absolute()))
        return f"run edged engines prune --state-dir {state_dir}, which removes it, then build the engine anew"

    def _readable(self, stems: list[str]) -> Iterator[EngineRecord]:
        """The records that are whole: a damaged one is no reason to look no further for what it is not."""
        for stem in stems:
            with suppress(ModelError):
                yield self.load(stem)

    @contextmanager
    def _open_directory(self) -> Iterator[int]:
        try:
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ModelError(
                f"{self.path}: cannot be opened: {error.strerror}: expected a directory of user {os.geteuid()}, no link to one: "
                f"run as the user who builds engines there, move away what is no directory, or {_ELSEWHERE} [engine.unreadable]"
            ) from error
        try:
            _refuse_foreign(self.path, os.fstat(directory), _DIRECTORY_MODE)
            yield directory
        finally:
            os.close(directory)

    def _put(self, directory: int, name: str, content: bytes) -> None:
        """Replace a file in one step, on disk before this returns."""
        part = name + _PART
        try:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=directory)
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE, dir_fd=directory)
            with open(file, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)
        except OSError as error:
            with suppress(OSError):
                os.unlink(part, dir_fd=directory)
            raise StateError(f"{self.path / name}: could not be written: {error.strerror}: {_MAKE_WRITABLE}") from error

    def _remove(self, directory: int, name: str, reason: str) -> Removal:
        try:
            n_bytes = os.stat(name, dir_fd=directory, follow_symlinks=False).st_size
            os.unlink(name, dir_fd=directory)
        except OSError as error:
            failure = f"{self.path / name}: cannot be removed: {error.strerror}: it is nothing that edged made: move it away"
            return Removal(name, reason, 0, failure)
        return Removal(name, reason, n_bytes)


def describe_difference(built: EngineKey, wanted: EngineKey) -> str:
    """In what an engine is not the wanted one, both sides of it; the precision is the same. Empty where it is that one."""
    parts = []
    if built.name != wanted.name:
        parts.append(f"built under the name {built.name}, which now is {wanted.name}")
    if built.onnx_sha256 != wanted.onnx_sha256:
        parts.append(f"built from the network of sha256 {built.onnx_sha256[:12]}…, which now is {wanted.onnx_sha256[:12]}…")
    if _surroundings(built) != _surroundings(wanted):
        parts.append(f"built with {_surroundings(built)}, here is {_surroundings(wanted)}")
    if built.options != wanted.options:
        parts.append(f"built for {_describe_options(built.options)}, wanted is {_describe_options(wanted.options)}")
    return "; ".join(parts)


def describe_stale(built: EngineKey, wanted: EngineKey, commands: Commands) -> str:
    """The message about an engine that is not the wanted one. The command comes first: what is too long is cut behind it."""
    return f"{wanted.label}: stale: run {commands.build} ({describe_difference(built, wanted)}) [engine.stale]"


def check_verified(record: EngineRecord, target: Target, commands: Commands) -> None:
    """Refuse an engine that was not compared with ONNX Runtime on this device, or that failed.

    Args:
        commands: about it.

    Raises:
        EngineMissingError: naming what was found and the command to run.
    """
    label, parity = record.key.label, record.parity
    if parity is None or parity.target != target:
        where = "" if parity is None else f" on {target}, only on {parity.target}"
        raise EngineMissingError(f"{label}: not compared with ONNX Runtime{where}: run {commands.verify} [engine.unverified]")
    if not parity.is_passed:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in parity.figures.items())
        found = f"{figures} on {parity.pictures} pictures" if figures else "it failed"
        raise EngineMissingError(
            f"{label}: its answers are not those of the network: {found}: use another precision, or build it anew: run "
            f"{commands.build} --force, then {commands.verify} [engine.parity]"
        )


def _surroundings(key: EngineKey) -> str:
    return f"{key.library} {key.library_version} for {key.target}"


def _describe_options(options: BuildOptions) -> str:
    memory = "all memory" if options.workspace_bytes is None else f"{options.workspace_bytes / (1 << 20):g} MiB"
    processor = "the GPU" if options.dla_core is None else f"DLA {options.dla_core}"
    batch = "/".join(map(str, options.batch))
    return f"batch {batch} on {processor} with {memory} at level {options.optimisation_level}"


def _is_taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(directory: int, path: Path, mend: str) -> bytes:
    """A file of the directory, if nobody else can have written it."""
    with _open(directory, path, mend) as stream:
        return stream.read()


def _open(directory: int, path: Path, mend: str) -> BinaryIO:
    """The same, to be read.

    Args:
        mend: what to do where it cannot.
    """
    try:
        # NONBLOCK: to open a pipe that somebody put there would wait for ever.
        file = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}: {mend} [engine.unreadable]") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path}: is no file: move it away, then {mend} [engine.unreadable]")
        _refuse_foreign(path, status, _FILE_MODE)
    except ModelError:
        os.close(file)
        raise
    return open(file, "rb")


def _refuse_foreign(path: Path, status: os.stat_result, expected: int) -> None:
    mode, us = stat.S_IMODE(status.st_mode), os.geteuid()
    if status.st_uid != us:
        raise ModelError(
            f"{path}: owned by user {status.st_uid}, expected {us}: an engine runs as whoever loads it; build it as that "
            f"user, or name another state directory [engine.owner]"
        )
    if mode & _WRITABLE_BY_OTHERS:
        raise ModelError(
            f"{path}: mode {mode:04o}, expected {expected:04o}: others may have changed what would run as us; chmod "
            f"{expected:04o} it if you know that nobody has, else remove it and build anew [engine.mode]"
        )


def _changed(path: Path, expected: str, found: str, what: str, mend: str) -> str:
    return f"{path}: expected sha256 {expected}, found {found}: {what} was changed since it was built: {mend} [engine.digest]"


def _timing_name(library: str, version: str, target: Target) -> str:
    device = hashlib.sha256(str(target).encode()).hexdigest()[:12]
    return f"{_TIMING}{library}-{version}-{device}.cache"


def _seal(content: bytes) -> str:
    """The digest of a record as if its own digest were 64 zeros, so that it covers every other byte."""
    return hashlib.sha256(content[: _SEAL.start] + b"0" * 64 + content[_SEAL.stop :]).hexdigest()


def _encode(record: EngineRecord) -> bytes:
    document = {"sha256": "0" * 64, "form": _FORM, **asdict(record)}
    content = json.dumps(document, indent=2, allow_nan=False).encode() + b"\n"
    assert content.startswith(_HEAD)
    return content[: _SEAL.start] + _seal(content).encode() + content[_SEAL.stop :]


def _decode(content: bytes, path: Path, mend: str) -> EngineRecord:
    fields: dict[str, Any] = json.loads(content)
    if fields.pop("form") != _FORM:
        edged_version = fields.get("edged_version")
        raise EngineMissingError(f"{path}: written by another edged ({edged_version}): {mend} [engine.stale]")
    del fields["sha256"]
    key, options, parity = fields["key"], fields["key"]["options"], fields["parity"]
    options["batch"] = tuple(options["batch"])
    key |= {"target": Target(**key["target"]), "options": BuildOptions(**options)}
    if parity is not None:
        parity["target"] = Target(**parity["target"])
        fields["parity"] = ParityRecord(**parity)
    return EngineRecord(**fields | {"key": EngineKey(**key), "fell_back": tuple(fields["fell_back"])})
