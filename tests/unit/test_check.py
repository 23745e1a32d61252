"""`edged check`: ok with a summary, or every mistake and 78."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from models_onnx import make_encoder_manifest, make_liveness_manifest, make_manifest

from edged import check
from edged.errors import ConfigError, DeviceMissingError, EngineMissingError, ModelError
from edged.models.manifest import DetectorManifest, Manifest, OnnxFile, QuantisedFile, digest_file, dump_manifest, load_manifest

MANIFEST = {
    "name": "tiny",
    "task": "detector",
    "revision": "1",
    "licence": "Apache-2.0",
    "input": {"name": "images", "width": 64, "height": 64, "colour": "rgb", "layout": "nchw", "dtype": "uint8"},
    "outputs": {"boxes": "boxes", "scores": "scores"},
    "classes": ["person", "car"],
    "strides": [32],
    "anchors": [[[10, 10]]],
    "thresholds": {"score": 0.4, "nms_iou": 0.5},
    "data": [],
    "measured": "not measured",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an engine, a clip and a home of its own."""
    engine = tmp_path / "engines" / "tiny"
    engine.mkdir(parents=True)
    (engine / "model.onnx").write_bytes(b"a network")
    onnx = OnnxFile(file="model.onnx", sha256=digest_file(engine / "model.onnx"), opset=17)
    (engine / "model.yaml").write_text(dump_manifest(DetectorManifest.model_validate({**MANIFEST, "onnx": onnx.model_dump()})))
    (tmp_path / "clip.mp4").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def run(site: Path, text: str, *flags: str) -> int:
    """The exit status of `edged check` on a text."""
    (site / "site.yaml").write_text(text)
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args([str(site / "site.yaml"), *flags]))


GOOD = """
device: gate
detector: {engine: engines/tiny}
mqtt: {host: broker}
cameras:
  door:
    source: clip.mp4
    zones: {porch: {polygon: [[0, 0], [1, 0], [1, 1]], classes: [person]}}
"""


def test_check_right_file_prints_ok_and_a_summary(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What will run is said in a few lines."""
    status = run(site, GOOD)

    said = capsys.readouterr()
    assert (status, said.err) == (0, "")
    assert said.out.startswith(f"{site}/site.yaml: ok\n")
    assert "engine tiny (64x64, fp32): person, car" in said.out
    assert "its licence, from its training data: Apache-2.0" in said.out
    assert "camera door: file" in said.out
    assert "1 zone, 0 lines, 5 fps" in said.out
    assert "broker broker:1883, not encrypted, topics edged/gate/" in said.out


@pytest.mark.parametrize("missing", [DeviceMissingError("no device"), EngineMissingError("no engine")])
def test_check_of_what_tensorrt_could_not_compute_says_so_and_gives_78(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: ModelError
) -> None:
    """It would not start; with a fallback it would, and a warning says on what."""

    def find(*_: object, **__: object) -> None:
        raise missing

    monkeypatch.setattr(check, "find_usable_engine", find)
    on_device = ("--set", "detector.backend=tensorrt")

    status = run(site, GOOD, *on_device)
    said = capsys.readouterr()
    assert (status, said.out) == (78, "")
    assert f"detector.backend: {missing} [config.backend]" in said.err

    status = run(site, GOOD, *on_device, "--set", "detector.fallback=cpu")
    said = capsys.readouterr()
    assert status == 0
    assert said.err == f"warning: detector.backend: the processor would compute: {missing}\n"
    assert "(64x64, fp32 on TensorRT)" in said.out


def test_check_of_fp16_on_a_processor_is_refused(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would compute in float all the same."""
    status = run(site, GOOD, "--set", "detector.precision=fp16")

    assert status == 78
    assert (
        "detector.precision: a processor gains nothing by fp16: choose fp32, or int8, or backend: tensorrt"
        in capsys.readouterr().err
    )


def test_check_without_broker_says_where_events_go(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is the place without a broker."""
    status = run(site, GOOD, "--set", "mqtt=null")

    assert status == 0
    assert "events go to standard output" in capsys.readouterr().out


def test_check_wrong_file_prints_all_and_gives_78(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mistakes go to standard error, and nothing else is said."""
    status = run(site, GOOD + "    fpz: 3\n  yard: {source: 'ftp://a'}\n")

    said = capsys.readouterr()
    assert (status, said.out) == (78, "")
    assert "2 mistakes" in said.err
    assert "line 9: cameras.door.fpz: unknown key; did you mean fps? [config.unknown_key]" in said.err
    assert "line 10: cameras.yard.source: " in said.err


def test_check_surroundings_are_checked_together(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording that is not there and a class that is none are told at once."""
    status = run(site, GOOD.replace("clip.mp4", "clop.mp4").replace("[person]", "[persn]"))

    said = capsys.readouterr().err
    assert status == 78
    assert "line 7: cameras.door.source: " in said
    assert "line 8: cameras.door.zones.porch.classes.persn: the engine has no class 'persn'; did you mean person?" in said


@pytest.mark.parametrize(
    ("settings", "mistake", "more"),
    [
        pytest.param("none}", "detector.engine: ", "model.not_found", id="no engine"),
        pytest.param(
            "engines/tiny, precision: int8}",
            "detector.precision: the engine tiny has no INT8 network",
            "python -m tools.quantise",
            id="no such precision",
        ),
    ],
)
def test_check_of_what_the_engine_lacks_gives_78(
    site: Path, capsys: pytest.CaptureFixture[str], settings: str, mistake: str, more: str
) -> None:
    """It is wrong configuration, told at its own key, with what to do."""
    status = run(site, GOOD.replace("engines/tiny}", settings))

    said = capsys.readouterr().err
    assert status == 78
    assert said.startswith(f"{site}/site.yaml: 1 mistake\n  line 3: {mistake}")
    assert more in said


def test_check_precision_that_the_engine_has_is_in_the_summary(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What will compute is said beside the input's size."""
    engine = site / "engines" / "tiny"
    (engine / "model.int8.onnx").write_bytes(b"a smaller network")
    int8 = QuantisedFile(
        file="model.int8.onnx", sha256=digest_file(engine / "model.int8.onnx"), opset=17, calibration="1 picture"
    )
    (engine / "model.yaml").write_text(dump_manifest(load_manifest(engine).model_copy(update={"int8": int8})))

    status = run(site, GOOD.replace("engines/tiny}", "engines/tiny, precision: int8}"))

    assert status == 0
    assert "engine tiny (64x64, int8): person, car" in capsys.readouterr().out


def test_check_looks_at_the_network_that_will_compute(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An INT8 network that was not copied matters only to who asks for it."""
    engine = site / "engines" / "tiny"
    int8 = QuantisedFile(file="model.int8.onnx", sha256="0" * 64, opset=17, calibration="1 picture")
    (engine / "model.yaml").write_text(dump_manifest(load_manifest(engine).model_copy(update={"int8": int8})))

    assert run(site, GOOD) == 0
    assert run(site, GOOD.replace("engines/tiny}", "engines/tiny, precision: int8}")) == 78

    said = capsys.readouterr().err
    assert said.startswith(f"{site}/site.yaml: 1 mistake\n  line 3: detector.engine: ")
    assert "model.int8.onnx: cannot read the network" in said


def test_check_missing_engine_of_an_override_names_the_command_line(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody looks for a mistake at a line of the file that does not hold it."""
    status = run(site, GOOD, "--set", "detector.engine=none")

    said = capsys.readouterr().err
    assert status == 78
    assert said.startswith(f"{site}/site.yaml: 1 mistake\n  command line: detector.engine: ")
    assert "model.not_found" in said


def test_check_password_in_url_is_warned_of_and_hidden(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The warning names the line, and the summary shows the URL without its password."""
    status = run(site, GOOD.replace("clip.mp4", "rtsp://user:hunter2@cam/1"))

    said = capsys.readouterr()
    assert status == 0
    assert "warning: line 7: cameras.door.source: the URL holds a password" in said.err
    assert "rtsp://cam/1" in said.out
    assert "hunter2" not in said.out + said.err


def test_check_skips_secrets_when_told_to(site: Path) -> None:
    """A configuration of another machine can be checked without its passwords."""
    text = GOOD.replace("{host: broker}", "{host: 127.0.0.1, username: u, password: {credential: mqtt}}")

    assert run(site, text) == 78
    assert run(site, text, "--skip-secrets") == 0


def test_check_missing_folder_is_named_as_one(site: Path) -> None:
    """A file where a directory should be is a mistake, too."""
    with pytest.raises(ConfigError, match="no such directory"):
        check.check_surroundings(check.load_config(_written(site, GOOD.replace("clip.mp4", "clip.mp4/"))))


def _written(site: Path, text: str) -> Path:
    (site / "site.yaml").write_text(text)
    return site / "site.yaml"


FACES = GOOD + "faces: {enabled: true, detector: engines/find, encoder: engines/who, liveness: engines/alive}\n"


def save_manifest(directory: Path, manifest: Manifest) -> None:
    """An engine directory whose network nobody opens."""
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(b"a network")
    onnx = OnnxFile(file="model.onnx", sha256=digest_file(directory / "model.onnx"), opset=17)
    (directory / "model.yaml").write_text(dump_manifest(manifest.model_copy(update={"onnx": onnx})))


def test_check_with_faces_says_networks_threshold_and_gallery(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What would be used is printed, also that nobody is enrolled yet."""
    save_manifest(site / "engines" / "find", make_manifest(name="find", classes=["face"]))
    save_manifest(site / "engines" / "who", make_encoder_manifest())
    save_manifest(site / "engines" / "alive", make_liveness_manifest())

    status = run(site, FACES + f"state_dir: {site / 'state'}\n")

    printed = capsys.readouterr().out
    assert status == 0
    assert "faces by find (Apache-2.0), who (Apache-2.0), alive (Apache-2.0): fp32\n" in printed
    assert "a match from 0.5 on unless the gallery was calibrated, false-match rate 0.001" in printed
    assert f"gallery {site / 'state' / 'gallery.db'}, key {site / 'state' / 'gallery.key'}, which is not there yet" in printed


def test_check_with_faces_on_a_device_says_what_is_missing_for_them(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every reason once, at their own key; with a fallback it is a warning."""

    def find(directory: Path, *_: object, **__: object) -> None:
        raise EngineMissingError(f"no engine of {'find' if directory.name == 'find' else 'the others'}")

    for name, manifest in (
        ("find", make_manifest(name="find", classes=["face"])),
        ("who", make_encoder_manifest()),
        ("alive", make_liveness_manifest()),
    ):
        save_manifest(site / "engines" / name, manifest)
    monkeypatch.setattr(check, "find_usable_engine", find)

    status = run(site, FACES, "--set", "faces.backend=tensorrt")
    said = capsys.readouterr().err
    assert status == 78
    assert said.count("faces.backend: no engine of find [config.backend]") == 1
    assert said.count("faces.backend: no engine of the others [config.backend]") == 1

    status = run(site, FACES, "--set", "faces.backend=tensorrt", "--set", "faces.fallback=cpu")
    said = capsys.readouterr()
    assert status == 0
    assert said.err == "warning: faces.backend: the processor would compute: no engine of find; no engine of the others\n"
    assert "alive (Apache-2.0): fp32 on TensorRT" in said.out


def test_check_with_faces_names_every_network_that_is_wrong(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing, or for another task: all at once."""
    save_manifest(site / "engines" / "find", make_encoder_manifest())
    save_manifest(site / "engines" / "who", make_encoder_manifest())

    status = run(site, FACES)

    printed = capsys.readouterr().err
    assert status == 78
    assert "faces.detector" in printed
    assert "faces.liveness" in printed
    assert "faces.encoder" not in printed


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param(
            FACES.replace("engines/alive", "null"), "a photograph that is held up is taken for the person", id="no liveness"
        ),
        pytest.param(FACES.replace("source: clip.mp4", "source: clip.mp4\n    faces: false"), "has faces: true", id="no camera"),
    ],
)
def test_check_with_faces_warns_of_what_is_unwise(
    site: Path, capsys: pytest.CaptureFixture[str], text: str, warning: str
) -> None:
    """Allowed, but said."""
    save_manifest(site / "engines" / "find", make_manifest(name="find", classes=["face"]))
    save_manifest(site / "engines" / "who", make_encoder_manifest())
    save_manifest(site / "engines" / "alive", make_liveness_manifest())

    status = run(site, text)

    assert status == 0
    assert warning in capsys.readouterr().err
