"""The keys that say what computes a network and how: the same for whatever section has networks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import PlainValidator, ValidationInfo, WithJsonSchema, field_validator

from edged.backends.tensorrt.driver import Binding
from edged.backends.tensorrt.library import LibraryName
from edged.config.context import mistake
from edged.config.values import Flag, Section, Whole, setting
from edged.models.manifest import Precision

MAX_BATCH = 64
"""Pictures at once: one of each camera that there can be."""


def _parse_batch(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= MAX_BATCH):
        return value
    raise mistake("config.choice", f"expected auto or a whole number from 1 to {MAX_BATCH}")


Batch = Annotated[
    Literal["auto"] | int,
    PlainValidator(_parse_batch),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": MAX_BATCH}]}),
]


class TensorrtConfig(Section):
    """How TensorRT computes, with `backend: tensorrt`."""

    library: LibraryName = setting("auto", "Which TensorRT; auto is tensorrt, or tensorrt_rtx where that is missing.")
    cuda: Binding = setting("auto", "Which Python binding of CUDA; auto is pycuda, or cuda-bindings where that is missing.")
    device: Whole = setting(0, "Number of the CUDA device.", unit="count", ge=0, le=63)
    max_batch: Whole = setting(8, "Most pictures that an engine is built to compute at once.", unit="count", ge=1, le=MAX_BATCH)
    graphs: Flag = setting(True, "Whether each size of batch is captured at the start and replayed as one CUDA graph.")
    preprocess: Literal["cpu", "gpu", "auto"] = setting(
        "cpu",
        "What fits pictures into the network: the processor; the GPU, with a CUDA compiler (docs/jetson.md); auto is the faster "
        "of both with a picture of 1280x720, measured at every start.",
    )
    workspace_mib: Whole = setting(1024, "Most scratch memory of a layer while an engine is built.", unit="MiB", ge=16, le=65536)
    dla_core: Whole | None = setting(
        None, "Number of a Jetson's DLA core to build for; left out: the GPU.", unit="count", ge=0, le=1
    )


class ComputingConfig(Section):
    """What computes the networks of a section."""

    backend: Literal["cpu", "tensorrt"] = setting(
        "cpu",
        "What computes: ONNX Runtime on the processor, or TensorRT on an NVIDIA GPU, with an engine of `edged engines build`.",
    )
    fallback: Literal["none", "cpu"] = setting(
        "none", "What computes where TensorRT has no device or no engine: nothing, edged does not start; or the processor."
    )
    precision: Literal["auto"] | Precision = setting(
        "fp32",
        "What is computed in: fp32, or what else the engine has, fp16 on a GPU only; auto is what `edged engines bench` found "
        "fastest on this processor, with its number of threads.",
    )
    threads: Whole = setting(1, "Threads to compute with on the processor, for all cameras together.", unit="count", ge=1, le=64)
    batch: Batch = setting("auto", "Most pictures computed at once; auto is 1 on a CPU, max_batch on a GPU.", unit="count")
    tensorrt: TensorrtConfig = setting(TensorrtConfig, "How TensorRT computes.")

    @field_validator("tensorrt")
    @classmethod
    def _dla_computes(cls, tensorrt: TensorrtConfig, info: ValidationInfo) -> TensorrtConfig:
        is_used = tensorrt.dla_core is not None and info.data.get("backend") == "tensorrt"
        if is_used and info.data.get("precision") in ("auto", "fp32"):
            raise mistake("config.choice", "a DLA computes fp16 and int8 only: choose one of them by precision, or no dla_core")
        return tensorrt

    @property
    def named_precision(self) -> Precision:
        """The precision; fp32, which every engine has, where it is for a measurement to say."""
        return "fp32" if self.precision == "auto" else self.precision
