"""Tests on a real CUDA device, over each binding that finds one; skipped, with the reasons, where none does.

They never meet the stand-in driver: what uses that runs in a process of its own.
"""

import pytest

from edged.backends.tensorrt.cuda import open_cuda
from edged.errors import DeviceMissingError


def _find_bindings() -> list:
    usable, reasons = [], []
    for name in ("pycuda", "cuda-bindings"):
        try:
            open_cuda(name).close()
        except DeviceMissingError as error:
            reasons.append(str(error))
        else:
            usable.append(name)
    return usable or [pytest.param(None, marks=pytest.mark.skip(reason="; ".join(reasons)))]


@pytest.fixture(params=_find_bindings())
def binding(request):
    """Each binding that finds a device here."""
    return request.param


@pytest.fixture
def cuda(binding):
    """The first device, open."""
    with open_cuda(binding) as cuda:
        yield cuda


@pytest.fixture
def _own_memory(binding):
    """Skips where the device has no memory of its own: what is free is then the whole board's."""
    with open_cuda(binding) as cuda:
        if cuda.device.is_integrated:
            pytest.skip("the device shares the memory of its board, which others take and give back meanwhile")
