"""The parity gate on a real device, as a site runs it: built and compared by commands, then opened by a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.assembly import open_network
from edged.backends.tensorrt.library import import_library
from edged.cli import main
from edged.config.computing import TensorrtConfig
from edged.config.models import DetectorConfig
from edged.engine_opening import open_configured_network
from edged.errors import DeviceMissingError, EngineMissingError, ModelError
from edged.models.manifest import PRECISIONS, load_manifest
from edged.parity import check_parity, draw_pictures, limits_of
from tools.gpu.building import find_reason

pytestmark = pytest.mark.gpu

ENGINES = sorted(path.parent for path in Path(__file__).parents[2].glob("engines/*/model.yaml"))
MAX_BATCH = 8


@pytest.fixture(autouse=True)
def _fixture_library():
    """A TensorRT, or no test."""
    try:
        import_library()
    except DeviceMissingError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("engine", ENGINES, ids=[path.name for path in ENGINES])
@pytest.mark.parametrize("precision", PRECISIONS)  # every engine in one before any in a second: time may be short
def test_engine_is_used_once_it_was_compared(
    engine: Path, precision: str, binding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Built it is refused, compared it is opened, and sees what ONNX Runtime sees in batches of every size."""
    manifest = load_manifest(engine)
    try:
        manifest.network(precision, symmetric=True)
    except ModelError as error:
        pytest.skip(str(error))
    state = ["--state-dir", str(tmp_path), "--cuda", binding]
    tensorrt = TensorrtConfig(max_batch=MAX_BATCH, cuda=binding)
    settings = DetectorConfig(backend="tensorrt", precision=precision, tensorrt=tensorrt)

    status = main(["engines", "build", str(engine), "--precision", precision, *state])
    said = capsys.readouterr().err
    if reason := find_reason(precision, said, label=f"{manifest.name} {precision}"):
        pytest.skip(reason)
    assert status == 0, said
    with pytest.raises(EngineMissingError, match=r"\[engine\.unverified\]"):
        open_configured_network(engine, settings, state_dir=tmp_path)
    assert main(["engines", "verify", str(engine), *state]) == 0

    pictures = list(draw_pictures())
    opened = open_configured_network(engine, settings, state_dir=tmp_path)
    with opened.network as candidate, open_network(engine) as reference:
        assert (opened.batch, opened.fallback) == (MAX_BATCH, None)
        parity = check_parity(reference, candidate, pictures, batches=(1, 3, MAX_BATCH))
        assert parity.reaches(limits_of(manifest, precision)), parity
