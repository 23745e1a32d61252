"""A built engine of the stand-in for TensorRT on the stand-in for a device, as the steps of `tools.gpu` find it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from models_onnx import make_manifest, save_engine
from stand_ins.device import StandInDevice
from stand_ins.tensorrt import StandInTensorrt, make_detector_network

from edged.backends.base import TensorSpec
from edged.backends.tensorrt.builder import BuildOptions
from edged.backends.tensorrt.cache import EngineCache, EngineKey, EngineRecord, Target
from edged.backends.tensorrt.cuda import Cuda
from tools.gpu.budget import Budget
from tools.gpu.findings import Finding
from tools.gpu.steps import Bench, Timing

CLASSES = ["person", "bicycle", "car", "motorcycle", "bus", "truck"]
BOXES = np.array([[1, 1, 9, 9], [0, 0, 1, 1]], np.float32)
SCORES = np.array([[0.9, 0, 0, 0, 0, 0], [0] * 6], np.float32)
TARGET = Target("Stand-in", "8.7", "13.0")
SHORT = Timing(rate_s=0.01, single_s=0.01, turn_s=0.01, turns=1, streams_s=0.4)
UNLIMITED = Budget(1e6)


def make_key(precision: str = "fp32", *, name: str = "tiny", onnx_sha256: str = "0" * 64) -> EngineKey:
    options = BuildOptions(precision, batch=(1, 8, 16))
    return EngineKey(name, onnx_sha256, library="tensorrt", library_version="10.3.0", target=TARGET, options=options)


def write_engine(cache: EngineCache, directory: Path, key: EngineKey, plan: bytes) -> EngineRecord:
    with cache.lock(lambda: None):
        return cache.write(key, plan, directory=directory, seconds=1.0, types={"float32": 3}, fell_back=(), edged_version="0")


class Site:
    """A built engine of the stand-in, and what the steps found of it."""

    def __init__(self, directory: Path) -> None:
        self.manifest = save_engine(directory / "tiny", make_manifest(classes=CLASSES), boxes=BOXES, scores=SCORES)
        self.device = StandInDevice(memory_bytes=1 << 33)
        network = make_detector_network(self.manifest, boxes=BOXES, scores=SCORES)
        self.plan = network.plan
        self.trt = StandInTensorrt(network, self.device)
        self.findings: list[Finding] = []
        cache = EngineCache(directory / "state" / "tensorrt")
        write_engine(cache, directory / "tiny", make_key(onnx_sha256=self.manifest.onnx.sha256), self.plan)
        self.bench = Bench(self.trt.as_library(), self.open_device, directory / "state", self.findings.append, UNLIMITED, SHORT)

    def open_device(self) -> Cuda:
        return Cuda(self.device, self.device, self.device.open(0))

    def read_outputs(self) -> Mapping[str, TensorSpec]:
        with self.bench.open_backend(self.bench.records()[0], self.plan) as backend:
            return backend.outputs

    def of(self, kind: type) -> list:
        return [finding for finding in self.findings if type(finding) is kind]
