"""A stand-in for CUDA's compiler: the letterbox kernel for this processor. A plugin of pytest."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "edged" / "backends" / "tensorrt" / "letterbox.cu"
KERNELS = {"letterbox_bytes": "Letterbox", "letterbox_floats": "Letterbox"}
"""Each with the type of its parameter."""


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The kernels as a module of the stand-in drivers, compiled once."""
    if shutil.which("cc") is None:
        pytest.skip("no cc to compile the kernel for this processor with")
    return _compile(tmp_path_factory.mktemp("kernels"))


def _compile(directory: Path) -> bytes:
    """The path of a shared library, which is put into a directory."""
    program, library = directory / "kernels.c", directory / "kernels.so"
    stand_ins = "".join(f"STAND_IN({kernel}, {argument})\n" for kernel, argument in KERNELS.items())
    program.write_text(f'#include "{Path(__file__).with_name("host_kernel.h")}"\n#include "{SOURCE}"\n{stand_ins}')
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(program), "-lm"], check=True, timeout=120)
    return bytes(library)
