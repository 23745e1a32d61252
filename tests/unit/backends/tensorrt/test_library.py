"""Which TensorRT is found, and what it says. Against NVIDIA's own bindings: tests/integration/test_tensorrt_contract.py."""

from __future__ import annotations

import dataclasses
import sys
from types import ModuleType

import pytest
from stand_ins.tensorrt_builder import StandInTensorrt

from edged.backends.tensorrt.library import Differences, MessageLog, find_differences, import_library
from edged.errors import DeviceMissingError


def make_module(version: str) -> ModuleType:
    """One that has nothing but what every import needs."""
    module = ModuleType("tensorrt")
    module.__version__ = version
    module.ILogger = type("ILogger", (), {})
    return module


def test_import_library_auto_takes_tensorrt_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Jetson both may be there; the one that JetPack brings is meant."""
    monkeypatch.setitem(sys.modules, "tensorrt", make_module("10.3.0"))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", make_module("1.7.1"))

    library = import_library()

    assert (library.name, library.version, library.label) == ("tensorrt", "10.3.0", "TensorRT 10.3.0")


def test_import_library_auto_falls_to_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name set to None is what Python makes of a module that is not installed."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", make_module("1.7.1"))

    assert import_library().name == "tensorrt_rtx"


def test_import_library_without_any_names_both_and_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads it knows what to install."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)

    with pytest.raises(DeviceMissingError, match=r"cannot import tensorrt \(.*\) or tensorrt_rtx \(.*pip install tensorrt-rtx"):
        import_library()


def test_import_library_by_name_takes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wanted is written, never guessed."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", make_module("1.7.1"))

    with pytest.raises(DeviceMissingError, match=r"cannot import tensorrt \([^)]*\): "):
        import_library("tensorrt")


@pytest.mark.tensorrt
def test_import_library_of_rtx_knows_what_it_can() -> None:
    """The differences of the one TensorRT that is really here."""
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: pip install tensorrt-rtx")

    library = import_library("tensorrt_rtx")

    assert library.differences == Differences(
        strongly_typed=True,
        explicit_batch=False,
        precision_flags=False,
        progress=True,
        validity=True,
        portable=True,
        shares_if_told=False,
        lends_memory=True,
    )
    assert library.label.startswith("TensorRT-RTX 1.")


def test_find_differences_of_a_module_with_nothing_are_all_false() -> None:
    """Asked of the library, member by member."""
    assert set(dataclasses.asdict(find_differences(make_module("0"))).values()) == {False}


def test_logger_keeps_warnings_and_errors_apart(caplog: pytest.LogCaptureFixture) -> None:
    """Errors become part of ours; nothing of a library's chatter reaches the log above DEBUG."""
    said = [("WARNING", "odd"), ("INFO", "fine"), ("INTERNAL_ERROR", "first"), ("VERBOSE", "x"), ("ERROR", "second")]
    library = StandInTensorrt("10", messages=said).library()

    with caplog.at_level("DEBUG"):
        library.module.Builder(library.logger).build_serialized_network(None, None)

    assert library.log.errors() == ["first", "second"]
    assert library.log.warnings() == ["odd"]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "tensorrt: WARNING: odd"),
        ("DEBUG", "tensorrt: INFO: fine"),
        ("DEBUG", "tensorrt: INTERNAL_ERROR: first"),
        ("DEBUG", "tensorrt: ERROR: second"),
    ]


def test_message_log_keeps_the_newest_200() -> None:
    """A library that repeats itself for months costs no memory."""
    log = MessageLog()

    for number in range(201):
        log.add("ERROR", str(number))

    assert log.errors() == [str(number) for number in range(1, 201)]


def test_message_log_keeps_layers_and_their_places_until_cleared() -> None:
    """They come at any severity."""
    log = MessageLog()
    log.add("VERBOSE", "Layers:\nName: x")
    log.add("INFO", "[DlaLayer] {ForeignNode[a...b]}")
    log.add("INFO", "[GpuLayer] SOFTMAX: prob ")
    assert (log.layers, log.layers_on_gpu()) == ("Layers:\nName: x", ("prob",))

    log.clear()

    assert (log.layers, log.layers_on_gpu()) == (None, ())
