"""A stand-in for the CUDA driver, compiled from libcuda.c: what it has been asked for, and how to make it fail.

Only a process that was started for it may load it (`stand_ins.own_process`): whatever else a test loads shall find the real
driver, or none.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path

LIBRARY = "libcuda.so.1"

MEMORY_BYTES = 1 << 30
"""How much memory the device has, until a test says otherwise."""


def missing_tool() -> str | None:
    """Why the stand-in cannot be compiled here; None where it can."""
    lacking = [tool for tool in ("gcc", "nm") if shutil.which(tool) is None]
    return f"no {' and no '.join(lacking)} to compile the stand-in for the CUDA driver with" if lacking else None


def compile_driver(directory: Path) -> None:
    """Put the library into a directory, which LD_LIBRARY_PATH of a process must name first."""
    sources = [str(Path(__file__).with_name("libcuda.c"))]
    absent = _names_that_pycuda_links()
    if absent:
        # PyCUDA asks for all of the driver when it is imported: what the stand-in lacks answers CUDA_ERROR_NOT_SUPPORTED.
        unsupported = directory / "unsupported.c"
        unsupported.write_text("".join(f"__attribute__((weak)) int {name}(void) {{ return 801; }}\n" for name in absent))
        sources.append(str(unsupported))
    command = ["gcc", "-O1", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", str(directory / LIBRARY), *sources, "-ldl"]
    subprocess.run(command, check=True, timeout=120)


def _names_that_pycuda_links() -> list[str]:
    found = importlib.util.find_spec("pycuda")
    if found is None or not found.submodule_search_locations:
        return []
    names = set()
    for extension in Path(found.submodule_search_locations[0]).glob("_driver*.so"):
        command = ["nm", "-D", "--undefined-only", str(extension)]
        listing = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        names |= {word for word in listing.split() if word.startswith("cu")}
    return sorted(names)


class StandInDriver:
    """The controls of the stand-in that this process has as its driver."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)

    def reset(self) -> None:
        """As a new process: forget all that was given out, and every error."""
        self._library.stand_in_reset()

    def set_device(self, *, count: int = 1, is_integrated: bool = False, memory_bytes: int = MEMORY_BYTES) -> None:
        """What the next process to start the driver finds."""
        self._library.stand_in_set_device(count, is_integrated, ctypes.c_size_t(memory_bytes))

    def fail(self, call: str, code: int, *, nth: int = 1) -> None:
        """Let the nth call from now give an error; `work` is a piece of queued work, whose error a later wait gives."""
        self._library.stand_in_fail(call.encode(), code, nth)

    def queue_function(self, stream: int, function: int) -> None:
        """Queue a C function that takes a pointer, by its address: what a kernel would be."""
        assert self._library.cuLaunchHostFunc(ctypes.c_void_p(stream), ctypes.c_void_p(function), None) == 0

    @property
    def pending(self) -> int:
        """Pieces of work that are queued and not done."""
        return self._library.stand_in_pending()

    @property
    def live_allocations(self) -> int:
        """Pieces of memory, of the device and pinned, that were not freed."""
        return self._library.stand_in_live_allocations()

    @property
    def live_handles(self) -> int:
        """Streams, events, graphs and modules that were not destroyed."""
        return self._library.stand_in_live_handles()

    @property
    def live_contexts(self) -> int:
        """How often the primary context was retained and not released."""
        return self._library.stand_in_live_contexts()

    @property
    def context_depth(self) -> int:
        """Contexts on this thread's stack."""
        return self._library.stand_in_context_depth()

    @property
    def overruns(self) -> int:
        """Bytes around freed memory that somebody wrote to."""
        return self._library.stand_in_overruns()

    def assert_clean(self) -> None:
        """All that was given out has come back, and nobody wrote beside it."""
        left = (self.live_allocations, self.live_handles, self.live_contexts, self.context_depth, self.overruns)
        assert left == (0, 0, 0, 0, 0), "allocations, handles, contexts, context depth, overruns"
