"""What people install: the wheel, in an environment of its own, far from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def run(*command, cwd):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(name="wheel", scope="module")
def fixture_wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(CHECKOUT), cwd=folder)
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("the build tool hatchling cannot be fetched here")
    assert built.returncode == 0, built.stderr
    return next(folder.glob("edged-*.whl"))


@pytest.fixture(name="python", scope="module")
def fixture_python(tmp_path_factory, wheel):
    """Python of a fresh environment with the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("environment")
    assert run(sys.executable, "-m", "venv", str(folder / "venv"), cwd=folder).returncode == 0
    python = folder / "venv" / "bin" / "python"
    needs = str(CHECKOUT / "requirements" / "runtime.txt")
    fetched = run(str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", needs, cwd=folder)
    if fetched.returncode:
        pytest.skip("what the wheel needs cannot be fetched here")
    installed = run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel), cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return python


def test_wheel_holds_package_network_and_configurations_and_nothing_else(wheel):
    """Tools and tests stay in the checkout; networks and examples travel inside the package."""
    names = zipfile.ZipFile(wheel).namelist()

    heads = {name.split("/")[0] for name in names}
    assert len(heads) == 2
    assert all(head == "edged" or head.endswith(".dist-info") for head in heads)
    assert "edged/engines/detector/model.onnx" in names
    assert {"edged/configs/edged.yaml", "edged/configs/demo.yaml"} <= set(names)
    assert "edged/backends/tensorrt/letterbox.cu" in names


def test_wheel_in_a_clean_environment_replays_a_street(python, tmp_path):
    """The shipped network is found in the package, and objects are seen, without torch."""
    street = "{type: street, scene_seed: 3, seconds: 6}"
    (tmp_path / "site.yaml").write_text(f"cameras: {{door: {{source: {street}, fps: 10}}}}")

    replayed = run(str(python.parent / "edged"), "replay", "street:3", "--config", "site.yaml", cwd=tmp_path)
    imported = run(str(python), "-c", "import torch", cwd=tmp_path)

    assert replayed.returncode == 0, replayed.stderr
    assert '"type":"object.new"' in replayed.stdout
    assert "No module named 'torch'" in imported.stderr
