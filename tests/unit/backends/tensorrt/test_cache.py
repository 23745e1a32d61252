"""Built engines on disk: found by what they were built from, and refused when they are not what was built."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edged.backends.tensorrt import cache as cache_module
from edged.backends.tensorrt.builder import BuildOptions
from edged.backends.tensorrt.cache import (
    PORTABLE,
    Commands,
    EngineCache,
    EngineKey,
    EngineRecord,
    ParityRecord,
    Target,
    check_verified,
    describe_difference,
    name_in,
)
from edged.errors import BuildCancelledError, EngineMissingError, ModelError, StateError

ORIN = Target("Orin", "8.7", "12.6")
KEY = EngineKey("detector", "1" * 64, "tensorrt", "10.3.0", ORIN, BuildOptions("fp16", workspace_bytes=1 << 30))
PLAN = bytes(range(256)) * 8
COMMANDS = Commands("edged engines build detector --state-dir /s", "edged engines verify detector --state-dir /s")
TWO_DIGESTS = r"expected sha256 \S{1,64}, found [0-9a-f]{64}"


def never() -> None:
    raise AssertionError("nobody else writes here")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "state" / "tensorrt")


def write(cache: EngineCache, key: EngineKey = KEY, plan: bytes = PLAN) -> EngineRecord:
    """Put an engine there as a build does."""
    with cache.lock(never):
        return cache.write(
            key, plan, directory=Path("/engines/detector"), seconds=1.5, types={"float16": 3}, fell_back=("a",), edged_version="9"
        )


def names(cache: EngineCache) -> set[str]:
    return {path.name for path in cache.path.iterdir()} - {"lock"}


def record_path(cache: EngineCache, record: EngineRecord) -> Path:
    return cache.path / f"{record.key.stem}.json"


def test_engine_written_is_found_and_read_by_its_key(cache: EngineCache) -> None:
    """Another process finds what one wrote, whole."""
    written = write(cache)

    record, plan = EngineCache(cache.path).load_plan(KEY, COMMANDS)

    assert (record, plan) == (written, PLAN)
    assert (record.plan_bytes, record.types, record.fell_back, record.parity) == (2048, {"float16": 3}, ("a",), None)
    assert oct(cache.path.stat().st_mode)[-3:] == "700"
    assert {oct(path.stat().st_mode)[-3:] for path in cache.path.iterdir()} == {"600"}


def test_engine_never_built_is_missing_with_the_command(cache: EngineCache) -> None:
    """The first start on a device says what to do; nothing is made by looking."""
    with pytest.raises(EngineMissingError, match=r"detector fp16: no engine in .*run edged engines build detector .*missing"):
        cache.find(KEY, COMMANDS)
    assert cache.stems() == []
    assert not cache.path.exists()


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        pytest.param(
            replace(KEY, library_version="10.16.2", target=replace(ORIN, driver="13.2")),
            "built with tensorrt 10.3.0 for Orin (8.7), driver 12.6, here is tensorrt 10.16.2 for Orin (8.7), driver 13.2",
            id="after an upgrade",
        ),
        pytest.param(
            replace(KEY, onnx_sha256="2" * 64),
            "built from the network of sha256 111111111111…, which now is 222222222222…",
            id="another network",
        ),
        pytest.param(
            replace(KEY, options=replace(KEY.options, batch=(1, 8, 16))),
            "built for batch 1/4/8 on the GPU with 1024 MiB at level 3, wanted is batch 1/8/16 on the GPU",
            id="another batch",
        ),
        pytest.param(replace(KEY, library="tensorrt_rtx", target=PORTABLE), "for any GPU", id="another library"),
    ],
)
def test_engine_of_another_key_is_stale_and_both_are_named(cache: EngineCache, wanted: EngineKey, difference: str) -> None:
    """Who upgraded something sees what, and what builds the engine that is wanted now."""
    write(cache)

    with pytest.raises(EngineMissingError, match=re.escape(difference)) as caught:
        cache.find(wanted, COMMANDS)

    assert str(caught.value).startswith(f"{wanted.label}: stale: run {COMMANDS.build} (built ")
    assert str(caught.value).endswith(") [engine.stale]")


def test_engine_in_another_precision_is_not_stale_but_missing(cache: EngineCache) -> None:
    """A precision that was never built was never right."""
    write(cache)

    with pytest.raises(EngineMissingError, match=r"engine\.missing"):
        cache.find(replace(KEY, options=replace(KEY.options, precision="int8")), COMMANDS)


def test_same_key_has_no_difference() -> None:
    """What is the same is not described."""
    assert describe_difference(KEY, KEY) == ""


def test_another_name_is_a_difference() -> None:
    """Where nothing else differs, something is said all the same."""
    assert describe_difference(KEY, replace(KEY, name="mine")) == "built under the name detector, which now is mine"


def test_name_in_a_stem_is_that_of_its_key() -> None:
    """Names may have dashes."""
    assert name_in(replace(KEY, name="face-detector-2").stem) == "face-detector-2"


def test_any_changed_byte_of_a_record_is_refused_with_both_digests(cache: EngineCache) -> None:
    """Its own digest covers it whole, the digest included, whether or not it still is JSON."""
    record = write(cache)
    path = record_path(cache, record)
    content = path.read_bytes()

    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(ModelError, match=rf"{path.name}: {TWO_DIGESTS}.*engine\.digest"):
            cache.find(KEY, COMMANDS)


@pytest.mark.parametrize("position", [0, 1, 1000, len(PLAN) - 1])
def test_any_changed_byte_of_a_plan_is_refused_with_both_digests(cache: EngineCache, position: int) -> None:
    """It never gets to TensorRT."""
    record = write(cache)
    path = cache.path / record.plan_name
    path.write_bytes(PLAN[:position] + bytes([PLAN[position] ^ 128]) + PLAN[position + 1 :])

    with pytest.raises(ModelError, match=rf"{record.plan_name}: expected sha256 {record.plan_sha256}, found [0-9a-f]{{64}}"):
        cache.load_plan(KEY, COMMANDS)


@pytest.mark.parametrize("content", [pytest.param(PLAN[:-1], id="cut"), pytest.param(b"", id="empty")])
def test_plan_that_is_not_whole_is_refused(cache: EngineCache, content: bytes) -> None:
    """A disk that was full, or a copy that was cut."""
    record = write(cache)
    (cache.path / record.plan_name).write_bytes(content)

    with pytest.raises(ModelError, match=TWO_DIGESTS):
        cache.read(record)


def test_plan_that_is_gone_is_refused(cache: EngineCache) -> None:
    """The record alone is no engine."""
    record = write(cache)
    (cache.path / record.plan_name).unlink()

    with pytest.raises(ModelError, match=r"cannot be read: No such file.*engine\.unreadable"):
        cache.load_plan(KEY, COMMANDS)


def test_record_under_another_name_is_refused(cache: EngineCache) -> None:
    """A whole record of something else is not taken for what its name says."""
    record = write(cache)
    other = replace(KEY, onnx_sha256="2" * 64)
    record_path(cache, record).rename(cache.path / f"{other.stem}.json")

    with pytest.raises(ModelError, match=rf"it is the record of {KEY.stem}"):
        cache.find(other, COMMANDS)


def test_record_of_another_edged_is_stale(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update that writes records in another form, engines are built anew."""
    write(cache)
    monkeypatch.setattr(cache_module, "_FORM", 3)

    with pytest.raises(EngineMissingError, match=r"written by another edged \(9\).*engine\.stale"):
        cache.find(KEY, COMMANDS)


@pytest.mark.parametrize(
    ("which", "mode", "said"),
    [
        pytest.param("directory", 0o777, "mode 0777, expected 0700", id="directory of all"),
        pytest.param("directory", 0o770, "mode 0770, expected 0700", id="directory of a group"),
        pytest.param("plan", 0o666, "mode 0666, expected 0600", id="plan"),
        pytest.param("record", 0o620, "mode 0620, expected 0600", id="record"),
    ],
)
def test_engine_that_others_could_write_is_refused(cache: EngineCache, which: str, mode: int, said: str) -> None:
    """Whoever can change it could run code as us; both modes are named."""
    record = write(cache)
    paths = {"directory": cache.path, "plan": cache.path / record.plan_name, "record": record_path(cache, record)}
    paths[which].chmod(mode)

    with pytest.raises(ModelError, match=rf"{paths[which]}: {said}.*engine\.mode"):
        cache.load_plan(KEY, COMMANDS)


def test_engine_that_others_can_read_is_used(cache: EngineCache) -> None:
    """Reading it harms nobody."""
    write(cache)
    cache.path.chmod(0o755)

    assert cache.load_plan(KEY, COMMANDS)[1] == PLAN


def test_engine_of_another_user_is_refused(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was built by somebody who is not us."""
    write(cache)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)

    with pytest.raises(ModelError, match=rf"owned by user {us}, expected {us + 1}.*engine\.owner"):
        cache.find(KEY, COMMANDS)


@pytest.mark.parametrize("which", ["directory", "plan", "record"])
def test_link_in_the_place_of_an_engine_is_refused(cache: EngineCache, tmp_path: Path, which: str) -> None:
    """What lies behind it, and who may change it there, is not ours to know."""
    record = write(cache)
    paths = {"directory": cache.path, "plan": cache.path / record.plan_name, "record": record_path(cache, record)}
    paths[which].rename(tmp_path / "elsewhere")
    paths[which].symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ModelError, match=rf"{paths[which]}: cannot be .*engine\.unreadable"):
        cache.load_plan(KEY, COMMANDS)


def test_cache_that_is_a_link_is_refused_with_its_mend(cache: EngineCache, tmp_path: Path) -> None:
    """Or that is a file, or another user's."""
    write(cache)
    cache.path.rename(tmp_path / "elsewhere")
    cache.path.symlink_to(tmp_path / "elsewhere")

    said = rf"{cache.path}: cannot be opened: Not a directory: expected a directory of user {os.geteuid()}, .* move away"
    with pytest.raises(ModelError, match=said):
        cache.stems()


@pytest.mark.parametrize("is_named", [True, False])
def test_damaged_engine_is_mended_by_the_command_in_the_message(cache: EngineCache, is_named: bool) -> None:
    """Whoever asks for one says what builds it; of others nobody knows how they were built."""
    record = write(cache)
    record_path(cache, record).write_bytes(b"{}")
    prune = f"run edged engines prune --state-dir {cache.path.parent}, which removes it, then build the engine anew"
    mend = f"run {COMMANDS.build}" if is_named else prune

    with pytest.raises(ModelError) as caught:
        cache.find(KEY, COMMANDS) if is_named else cache.load(KEY.stem)

    assert str(caught.value).endswith(f": {mend} [engine.digest]")


def test_check_of_a_plan_looks_at_all_but_its_bytes(cache: EngineCache) -> None:
    """It is there, ours alone and as long as it was; `read` says whether it is the same."""
    record = write(cache)
    path = cache.path / record.plan_name
    path.write_bytes(bytes(len(PLAN)))
    cache.check(record)

    path.write_bytes(PLAN[1:])
    with pytest.raises(ModelError, match=r"expected 2048 bytes, found 2047.*engine\.digest"):
        cache.check(record)
    path.chmod(0o666)
    with pytest.raises(ModelError, match=r"engine\.mode"):
        cache.check(record)
    path.unlink()
    with pytest.raises(ModelError, match=r"cannot be read: No such file"):
        cache.check(record)


def test_directory_in_the_place_of_a_record_is_no_reason_to_look_no_further(cache: EngineCache) -> None:
    """It is refused as a damaged record is."""
    write(cache)
    (cache.path / "foreign.json").mkdir()

    with pytest.raises(ModelError, match=r"foreign\.json: is no file: move it away"):
        cache.load("foreign")
    with pytest.raises(EngineMissingError, match=r"engine\.stale"):
        cache.find(replace(KEY, onnx_sha256="2" * 64), COMMANDS)


def test_engine_is_written_beside_what_cannot_be_removed(cache: EngineCache) -> None:
    """A directory with the name of an older plan."""
    write(cache)
    (cache.path / f"{KEY.stem}.0123.plan").mkdir()

    newer = write(cache, plan=b"newer")

    assert cache.load_plan(KEY, COMMANDS) == (newer, b"newer")


def test_pipe_in_the_place_of_a_plan_is_refused_at_once(cache: EngineCache) -> None:
    """Nobody waits for whoever writes into it."""
    record = write(cache)
    path = cache.path / record.plan_name
    path.unlink()
    os.mkfifo(path, 0o600)

    with pytest.raises(ModelError, match="is no file"):
        cache.load_plan(KEY, COMMANDS)


def test_engine_built_anew_takes_the_place_of_the_old_one(cache: EngineCache) -> None:
    """One record and one plan stay."""
    write(cache)

    newer = write(cache, plan=b"newer")

    assert cache.load_plan(KEY, COMMANDS) == (newer, b"newer")
    assert names(cache) == {f"{KEY.stem}.json", newer.plan_name}


def test_engine_built_anew_while_it_is_loaded_is_loaded_new(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that starts during a build starts."""
    old = write(cache)
    newer = write(cache, plan=b"newer")
    answers = iter([old, newer])
    monkeypatch.setattr(cache, "find", lambda *arguments: next(answers))

    assert cache.load_plan(KEY, COMMANDS) == (newer, b"newer")


@pytest.mark.parametrize("n_done", [0, 1], ids=["before the plan has its name", "before the record has its name"])
def test_writer_killed_between_its_renames_leaves_the_old_engine(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch, n_done: int
) -> None:
    """A power cut at any moment costs the new engine only, and what is left of it goes with the next prune."""
    old = write(cache)
    real, done = os.replace, []

    class KilledError(BaseException):
        """What no handler of ours catches."""

    def replace_or_die(*arguments: object, **more: object) -> None:
        if len(done) == n_done:
            raise KilledError
        done.append(arguments)
        real(*arguments, **more)

    monkeypatch.setattr(os, "replace", replace_or_die)
    with pytest.raises(KilledError):
        write(cache, plan=b"newer")
    monkeypatch.undo()

    assert cache.load_plan(KEY, COMMANDS) == (old, PLAN)
    with cache.lock(never):
        removed = cache.prune(lambda record: None)
    assert {each.reason for each in removed} == {"no whole record names it"}
    assert names(cache) == {f"{KEY.stem}.json", old.plan_name}


def test_full_disk_leaves_the_old_engine_and_no_part(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what failed on which file."""
    old = write(cache)
    before = names(cache)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StateError, match=r"plan: could not be written: No space left on device: make room, .* name another state directory"
    ):
        write(cache, plan=b"newer")

    assert names(cache) == before
    assert cache.load_plan(KEY, COMMANDS) == (old, PLAN)


def test_second_writer_waits_for_the_first(cache: EngineCache) -> None:
    """Builders of one cache take turns, and each finds what the other did."""
    other = EngineCache(cache.path)
    waits = []
    with cache.lock(never):

        def wait() -> None:
            waits.append(1)
            if len(waits) == 3:
                raise BuildCancelledError("no longer")

        with pytest.raises(BuildCancelledError), other.lock(wait):
            pass

    with other.lock(never):
        pass
    assert len(waits) == 3


def test_waiter_that_gives_up_leaves_the_holder_its_lock(cache: EngineCache) -> None:
    """Also where both are threads of one process with one cache."""

    def give_up() -> None:
        raise BuildCancelledError("no longer")

    with cache.lock(never):
        with pytest.raises(BuildCancelledError), cache.lock(give_up):
            pass

        cache.write_timing_cache("tensorrt", "10.3.0", ORIN, b"timings")

    assert cache.timing_cache("tensorrt", "10.3.0", ORIN) == b"timings"


def test_writers_at_once_do_not_spoil_each_other(cache: EngineCache) -> None:
    """Whoever was last, the engine is whole, and nothing of the others is left."""
    plans = [bytes([number]) * 5000 for number in range(6)]

    def work(plan: bytes) -> None:
        own = EngineCache(cache.path)
        with own.lock(lambda: time.sleep(0.001)):
            own.write(KEY, plan, directory=Path("/e"), seconds=1, types={}, fell_back=(), edged_version="9")

    threads = [threading.Thread(target=work, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    record, plan = cache.load_plan(KEY, COMMANDS)
    assert plan in plans
    assert names(cache) == {f"{KEY.stem}.json", record.plan_name}


@pytest.mark.parametrize("path", ["state/tensorrt", "state/deeper/tensorrt"])
def test_cache_that_cannot_be_made_says_what_is_in_its_way(tmp_path: Path, path: str) -> None:
    """A file, where the state directory should be or above it."""
    (tmp_path / "state").write_text("")

    said = rf"{path}: cannot be made: .*: {tmp_path}/state is no directory: move it away, or name another state directory"
    with pytest.raises(StateError, match=said), EngineCache(tmp_path / path).lock(never):
        pass


def test_cache_that_may_not_be_made_says_where(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the directory that is there already."""

    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    there = cache.path.parents[1]

    with pytest.raises(StateError, match=rf"cannot be made: Permission denied: make {there} writable, or"), cache.lock(never):
        pass


def test_lock_of_a_directory_that_others_could_write_is_refused(cache: EngineCache) -> None:
    """Nothing is built into it either."""
    cache.path.mkdir(parents=True)
    cache.path.chmod(0o777)

    with pytest.raises(ModelError, match=r"mode 0777, expected 0700"), cache.lock(never):
        pass


PASSED = ParityRecord(ORIN, {"ap50": 0.9991, "mean_iou": 0.98}, pictures=24, is_passed=True)


@pytest.mark.parametrize(
    ("parity", "said"),
    [
        pytest.param(None, r"not compared with ONNX Runtime: run edged engines verify detector .*unverified", id="never"),
        pytest.param(
            replace(PASSED, target=replace(ORIN, driver="13.2")),
            r"on Orin \(8\.7\), driver 12\.6, only on Orin \(8\.7\), driver 13\.2.*unverified",
            id="on another device",
        ),
        pytest.param(
            replace(PASSED, is_passed=False),
            r"ap50 0\.9991, mean_iou 0\.9800 on 24 pictures.* build detector --state-dir /s --force, then .*parity",
            id="failed",
        ),
        pytest.param(
            replace(PASSED, is_passed=False, figures={}, pictures=0), r"of the network: it failed: .*parity", id="no answers"
        ),
    ],
)
def test_engine_without_passed_parity_on_this_device_is_refused(
    cache: EngineCache, parity: ParityRecord | None, said: str
) -> None:
    """What was not seen to compute the same is not used."""
    record = replace(write(cache), parity=parity)

    with pytest.raises(EngineMissingError, match=said):
        check_verified(record, ORIN, COMMANDS)


def test_parity_noted_is_found_with_the_engine(cache: EngineCache) -> None:
    """The record stays whole when it grows, and the engine may be used."""
    record = write(cache)
    with cache.lock(never):
        noted = cache.record_parity(record, PASSED)

    found, plan = cache.load_plan(KEY, COMMANDS)

    assert (found, plan) == (noted, PLAN)
    assert found.parity == PASSED
    check_verified(found, ORIN, COMMANDS)


def test_parity_of_an_engine_that_was_built_anew_is_not_noted(cache: EngineCache) -> None:
    """It says nothing of the new one."""
    old = write(cache)
    write(cache, plan=b"newer")

    with cache.lock(never), pytest.raises(EngineMissingError, match="compare it again"):
        cache.record_parity(old, PASSED)

    assert cache.find(KEY, COMMANDS).parity is None


def test_prune_removes_what_is_stale_damaged_or_of_nothing(cache: EngineCache) -> None:
    """Engines that are right stay, and so does what is not ours to judge."""
    right = write(cache)
    stale = write(cache, replace(KEY, onnx_sha256="2" * 64), b"stale")
    damaged = write(cache, replace(KEY, onnx_sha256="3" * 64), b"damaged")
    (cache.path / damaged.plan_name).write_bytes(b"changed")
    (cache.path / "old.0123456789ab.plan").write_bytes(b"orphan")
    (cache.path / "notes.txt").write_text("mine")

    with cache.lock(never):
        removed = cache.prune(lambda record: "another network" if record.key.onnx_sha256[0] == "2" else None)

    reasons = {each.name: each.reason for each in removed}
    assert reasons == {
        f"{stale.key.stem}.json": "another network",
        stale.plan_name: "another network",
        f"{damaged.key.stem}.json": "it or its plan is damaged",
        damaged.plan_name: "no whole record names it",
        "old.0123456789ab.plan": "no whole record names it",
    }
    assert names(cache) == {f"{KEY.stem}.json", right.plan_name, "notes.txt"}


def test_prune_goes_on_after_what_it_cannot_remove(cache: EngineCache) -> None:
    """It says what keeps it and what to do; all else goes."""
    (damaged := record_path(cache, write(cache))).write_bytes(b"{}")
    (cache.path / "a.json").mkdir()
    (cache.path / "b.plan").mkdir()

    with cache.lock(never):
        removals = cache.prune(lambda record: None)

    failures = {each.name: each.failure for each in removals if each.failure}
    assert failures.keys() == {"a.json", "b.plan"} == names(cache)
    assert failures["b.plan"].startswith(f"{cache.path}/b.plan: cannot be removed: Is a directory: ")
    assert damaged.name in {each.name for each in removals}


def test_command_in_a_stale_message_is_not_cut(cache: EngineCache) -> None:
    """A camera's state holds 300 characters of it."""
    write(cache)
    build = (
        "edged engines build /var/lib/edged/engines/our-own-detector --precision fp16 --batch 1/32/64 --workspace-mib 1024 "
        "--library tensorrt_rtx --cuda cuda-bindings --state-dir /var/lib/edged"
    )
    upgraded = replace(ORIN, gpu="NVIDIA GeForce RTX 4090", driver="13.2")
    wanted = replace(KEY, onnx_sha256="2" * 64, library_version="10.16.2", target=upgraded)

    with pytest.raises(EngineMissingError) as caught:
        cache.find(wanted, replace(COMMANDS, build=build))

    assert len(str(caught.value)) > 300
    assert build in str(caught.value)[:300]


def test_clear_removes_every_engine_and_timing(cache: EngineCache) -> None:
    """What others put there stays."""
    write(cache)
    (cache.path / "notes.txt").write_text("mine")
    with cache.lock(never):
        cache.write_timing_cache("tensorrt", "10.3.0", ORIN, b"timings")

        removed = cache.clear()

    assert len(removed) == 3
    assert names(cache) == {"notes.txt"}


def test_timings_are_kept_by_library_and_device(cache: EngineCache) -> None:
    """Another version, or another device, must measure for itself."""
    with cache.lock(never):
        assert cache.timing_cache("tensorrt", "10.3.0", ORIN) is None
        cache.write_timing_cache("tensorrt", "10.3.0", ORIN, b"timings")

    assert cache.timing_cache("tensorrt", "10.3.0", ORIN) == b"timings"
    assert cache.timing_cache("tensorrt", "10.16.2", ORIN) is None
    assert cache.timing_cache("tensorrt", "10.3.0", replace(ORIN, driver="13.2")) is None


def test_stems_come_oldest_first(cache: EngineCache) -> None:
    """The newest is the likeliest to be meant."""
    keys = [replace(KEY, onnx_sha256=digit * 64) for digit in "123"]
    for age, key in enumerate(reversed(keys)):
        path = record_path(cache, write(cache, key))
        os.utime(path, (1000 + age, 1000 + age))

    assert cache.stems() == [key.stem for key in reversed(keys)]
