"""What we use of TensorRT's Python API, held against NVIDIA's own bindings of several versions.

The bindings are compiled: all classes and members are there as soon as they can be imported. The libraries under them are large
and want a GPU; here they are stand-ins whose every function answers NULL. So nothing can be built or run, and the bindings do
what they do where the libraries find no device.

    pytest tests/integration/test_tensorrt_contract.py --tensorrt 10.7.0

8.6.1 stands for JetPack 6.0, which has 8.6.2, 10.3.0 is that of 6.2, and 10.16.1 stands for the 10.16.2 of 7.2.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edged.backends.tensorrt.library import OPTIONAL, OTHERWISE, USED, Differences

CHECKOUT = Path(__file__).parents[2]
VERSIONS = ("8.6.1", "10.3.0", "10.16.1.11", "11.4.0.106")

PROGRAM = """
import dataclasses, json
from edged.backends.tensorrt.builder import BuildOptions, build
from edged.backends.tensorrt.library import OPTIONAL, USED, import_library
from edged.errors import DeviceMissingError

library = import_library("tensorrt")
try:
    build(b"", BuildOptions("fp32"), name="detector", library=library, cuda=object())
except DeviceMissingError as error:
    refusal = str(error)
names = {*USED, *(name for classes in OPTIONAL.values() for name in classes)}
members = {name: dir(getattr(library.module, name)) for name in names if hasattr(library.module, name)}
print(json.dumps([library.version, dataclasses.asdict(library.differences), members, refusal]))
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "version" in metafunc.fixturenames:
        metafunc.parametrize("version", metafunc.config.getoption("--tensorrt") or VERSIONS, scope="module")


@dataclasses.dataclass(frozen=True)
class Bindings:
    """What a TensorRT said of itself.

    Attributes:
        members: of each class that we use and that it has.
        refusal: our error where its libraries find no device.
    """

    version: str
    differences: Differences
    members: dict[str, set[str]]
    refusal: str


def give_up(reason: str, *, is_wanted: bool) -> None:
    """In CI nothing may be left out unseen, and nothing that somebody asked for by name."""
    if is_wanted or os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def fetch_bindings(version: str, folder: Path, *, is_wanted: bool) -> None:
    """Unpack a wheel, with the module `tensorrt` over it that NVIDIA's source package would add."""
    wanted = f"{'tensorrt-bindings' if version.startswith('8.') else 'tensorrt-cu12-bindings'}=={version}"
    command = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), wanted]
    fetched = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True, check=False, timeout=300)
    if fetched.returncode:
        give_up(f"{wanted} cannot be fetched for this Python: {fetched.stderr.strip()[-300:]}", is_wanted=is_wanted)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    (folder / "tensorrt.py").write_text("from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n")


def make_stand_ins(bindings: Path, folder: Path) -> None:
    """Libraries of the names that the bindings want; the first has all the functions that neither C nor Python has."""
    read = ["readelf", "--dynamic", "--wide", str(bindings)]
    names = re.findall(r"\[(libnv\S+)\]", subprocess.run(read, capture_output=True, text=True, check=True).stdout)
    read = ["nm", "--dynamic", "--undefined-only", str(bindings)]
    symbols = subprocess.run(read, capture_output=True, text=True, check=True).stdout
    wanted = re.findall(r" U (\w+)$", symbols, re.MULTILINE)
    python = ctypes.CDLL(None)
    functions = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in wanted if not hasattr(python, name))
    for index, name in enumerate(names):
        build = ["gcc", "-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run(build, input="" if index else functions, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def bindings(version: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bindings:
    """Imported in a process of its own, for there is one TensorRT a process."""
    is_wanted = bool(request.config.getoption("--tensorrt"))
    if missing := [tool for tool in ("gcc", "nm", "readelf") if shutil.which(tool) is None]:
        give_up(f"stand-in libraries need {', '.join(missing)}", is_wanted=is_wanted)
    folder = tmp_path_factory.mktemp(f"tensorrt-{version}")
    fetch_bindings(version, folder, is_wanted=is_wanted)
    make_stand_ins(folder / "tensorrt_bindings" / "tensorrt.so", folder)
    environ = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{folder}"}
    command = [sys.executable, "-c", PROGRAM]
    child = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert child.returncode == 0, child.stderr
    found, differences, members, refusal = json.loads(child.stdout.splitlines()[-1])
    return Bindings(found, Differences(**differences), {name: set(each) for name, each in members.items()}, refusal)


def test_bindings_have_all_that_is_used(bindings: Bindings, version: str) -> None:
    """Whatever we call of every version, and of this one in the place of what others have."""
    instead = [OTHERWISE[each] for each in OTHERWISE if not getattr(bindings.differences, each)]
    wanted = [(name, members) for classes in (USED, *instead) for name, members in classes.items()]
    missing = {f"{name}.{member}" for name, members in wanted for member in members - bindings.members.get(name, set())}

    assert bindings.version == version
    assert missing == set()


def test_bindings_have_the_differences_that_the_versions_are_known_for(bindings: Bindings, version: str) -> None:
    """Asked of the library; here compared with its number."""
    major = int(version.split(".", maxsplit=1)[0])

    assert bindings.differences == Differences(
        strongly_typed=major >= 10,
        explicit_batch=major < 11,
        precision_flags=major < 11,
        progress=major >= 10,
        validity=False,
        portable=False,
        shares_if_told=major < 11,
        lends_memory=major >= 10,
    )


def test_bindings_without_a_device_are_refused_with_what_they_say(bindings: Bindings, version: str) -> None:
    """The bindings answer the library's NULL by a TypeError."""
    assert f"TensorRT {version} finds no device" in bindings.refusal
    assert "factory function returned nullptr" in bindings.refusal


@pytest.mark.tensorrt
def test_rtx_has_all_that_is_used() -> None:
    """The TensorRT that is really here, with every difference that it claims."""
    module = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: pip install tensorrt-rtx")
    own = ("strongly_typed", "progress", "validity", "portable", "lends_memory")
    wanted = [(name, members) for classes in (USED, *(OPTIONAL[each] for each in own)) for name, members in classes.items()]

    missing = {f"{name}.{member}" for name, members in wanted for member in members - set(dir(getattr(module, name, None)))}

    assert missing == set()
