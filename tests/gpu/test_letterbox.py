"""The letterbox kernel on a real device, compiled by what comes with each binding, beside the processor's way."""

import numpy as np
import pytest

from edged.errors import KernelError
from edged.models.manifest import InputSpec
from tools.gpu.fitting import draw_on_device, draw_on_host

pytestmark = pytest.mark.gpu

NORMALISED = {"scale": 1 / 255, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
SIZES = [(1, 1), (3, 999), (320, 320), (640, 360), (640, 480), (1280, 720), (1920, 1080), (1080, 1920), (2560, 1440)]


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize(("dtype", "scaling"), [("uint8", {}), ("float32", {}), ("float32", NORMALISED)])
def test_kernel_draws_what_the_host_prepares(cuda, colour, dtype, scaling):
    """Within one level, which some processors' OpenCV rounds otherwise: pictures, grey, order of colours and scaling."""
    wanted = InputSpec(name="images", width=320, height=320, colour=colour, layout="nchw", dtype=dtype, **scaling)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in SIZES]

    try:
        found = draw_on_device(cuda, wanted, pictures)
    except KernelError as error:
        pytest.skip(str(error))

    assert np.abs(found - draw_on_host(wanted, pictures)).max() <= 1.0001 * max(map(abs, wanted.factors))
