"""A built engine is profiled through the real runner, over stand-ins for TensorRT and for the device."""

from __future__ import annotations

import pytest
from stand_ins.device import open_stand_in_device
from stand_ins.tensorrt import StandInTensorrt, make_add_network

from edged import engine_profiling
from edged.backends.tensorrt.builder import BuildOptions
from edged.backends.tensorrt.cache import EngineKey, EngineRecord
from edged.backends.tensorrt.runner import LayerTime
from edged.config.computing import TensorrtConfig
from edged.engine_building import target_of
from edged.engine_profiling import RUNS, profile_layers


def test_layers_of_an_engine_come_longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the batch that was asked for; the device is given back."""
    device, cuda = open_stand_in_device()
    monkeypatch.setattr(engine_profiling, "open_cuda", lambda binding, *, device: cuda)
    network = make_add_network(layers_ms={"short": 0.25, "long": 1.0, "middle": 0.5})
    trt = StandInTensorrt(network, device)
    key = EngineKey("add", "0" * 64, "tensorrt", "10.3.0", target_of(cuda.device), BuildOptions("fp32", batch=(1, 2, 8)))
    record = EngineRecord(key, "nowhere", "a.plan", "0" * 64, 1, 1.0, {}, (), "9")

    layers = profile_layers(record, network.plan, library=trt.as_library(), settings=TensorrtConfig(), batch=2)

    assert layers == [LayerTime("long", 2.0), LayerTime("middle", 1.0), LayerTime("short", 0.5)]
    assert trt.calls.count(("execute", 2)) > RUNS
    assert +device.live == {}
