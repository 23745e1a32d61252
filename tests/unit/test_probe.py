"""`edged probe`, on sources that need no camera; with one it runs in the integration tests."""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged import probe
from edged.cli import main
from edged.errors import InputError
from edged.sources.street import StreetSource


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with three red pictures of 64 x 48."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), (20, 10, 200), np.uint8))
    return folder


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    probe.add_arguments(parser)
    return probe.run(parser.parse_args(arguments))


def test_probe_source_is_told_to_people(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Size, frames and what was written, one line each."""
    picture = pictures.parent / "one.png"

    status = run(str(pictures), "--picture", str(picture))

    shown = capsys.readouterr().out
    assert status == 0
    assert "64 x 48" in shown
    assert str(picture) in shown
    assert cv2.imread(str(picture))[0, 0].tolist() == [20, 10, 200]


def test_probe_source_is_told_to_programs(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object with every fact."""
    status = run(str(pictures), "--json")

    facts = json.loads(capsys.readouterr().out)
    assert status == 0
    assert (facts["width"], facts["height"], facts["frames"], facts["codec"]) == (64, 48, 3, "raw")
    assert facts["first_frame_s"] >= 0
    assert facts["picture"] is None


@pytest.mark.parametrize("as_json", [pytest.param(True, id="JSON"), pytest.param(False, id="text")])
def test_probe_source_that_fails_says_its_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    """Exit 1 with the cause; nothing of it is taken for a result."""
    status = run(str(tmp_path / "missing.mp4"), *(["--json"] if as_json else []))

    said = capsys.readouterr()
    assert status == 1
    assert "not_found" in (said.out if as_json else said.err)
    if as_json:
        assert json.loads(said.out)["cause"] == "not_found"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("ftp://u:hunter2@cam/1",), "'ftp' is not allowed", id="scheme"),
        pytest.param(("street:", "--transport", "udp"), "transport: a source of type street has no such key", id="wrong key"),
        pytest.param(("gstreamer: videotestsrc", "--width", "64"), "height must be given", id="pipeline without height"),
        pytest.param(("rtsp://u:hunter2@cam/1", "--snapshot", "5"), "http or https", id="snapshot over RTSP"),
        pytest.param(("rtsps://cam/1", "--ca", "/no/such/file"), "tls.ca: /no/such/file: No such file", id="no certificates"),
        pytest.param(("rtsp://cam/1", "--no-verify"), "only rtsps:// and https://", id="certificate of a plain camera"),
        pytest.param(("street:", "--picture", "one.gif"), "ends in .jpg", id="kind of picture"),
        pytest.param(("street:", "--picture", "/no/such/folder/one.jpg"), "does not exist", id="no folder for the picture"),
    ],
)
def test_probe_wrong_argument_is_refused(arguments: tuple[str, ...], words: str) -> None:
    """Before any camera is tried."""
    with pytest.raises(InputError) as refused:
        run(*arguments)

    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_probe_time_is_bounded() -> None:
    """A source without end is read for a moment only."""
    street = StreetSource(width=160, height=90, fps=20.0)

    report = probe.probe(street, measured_s=0.3)

    assert 2 <= report.frames <= 10
    assert report.pixels_rgb.shape == (90, 160, 3)


def test_probe_of_a_source_in_the_environment_takes_it_from_there(monkeypatch, capsys):
    """A password in it stands in no process list."""
    monkeypatch.setenv("CAMERA", "ftp://me:s3cret@camera/x")

    status = main(["probe", "env:CAMERA"])
    missing = main(["probe", "env:NO_SUCH_CAMERA"])

    said = capsys.readouterr().err
    assert (status, missing) == (78, 78)
    assert "ftp" in said
    assert "s3cret" not in said
    assert "the environment has no NO_SUCH_CAMERA" in said
