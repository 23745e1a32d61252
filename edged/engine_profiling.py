"""Where the time of a built engine goes, layer by layer, as TensorRT's own profiler says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edged.backends.tensorrt.cache import EngineRecord
from edged.backends.tensorrt.cuda import open_cuda
from edged.backends.tensorrt.library import Library
from edged.backends.tensorrt.runner import LayerTime, open_tensorrt_backend
from edged.config.computing import TensorrtConfig

RUNS = 20


def profile_layers(
    record: EngineRecord, plan: bytes, *, library: Library, settings: TensorrtConfig, batch: int
) -> Sequence[LayerTime]:
    """What each layer of an engine takes on the device for a batch of black pictures, the longest first.

    Raises:
        DeviceMissingError: there is no device.
        ModelError: the engine cannot be loaded, or was not built for such a batch.
        InferenceError, DeviceError: it fails.
    """
    with open_tensorrt_backend(
        plan,
        name=record.key.label,
        library=library,
        cuda=open_cuda(settings.cuda, device=settings.device),
        max_batch=batch,
        use_graphs=False,
    ) as backend:
        feeds = {name: np.zeros((batch, *spec.shape[1:]), spec.dtype) for name, spec in backend.inputs.items()}
        return sorted(backend.profile(feeds, runs=RUNS), key=lambda layer: -layer.ms)
