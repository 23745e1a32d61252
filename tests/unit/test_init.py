"""`edged init`: a first configuration that is right."""

from __future__ import annotations

import argparse
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from edged import init
from edged.config import load_config
from edged.errors import InputError


def run(*flags: str) -> int:
    """The exit status of `edged init`, asked nothing."""
    parser = argparse.ArgumentParser()
    init.add_arguments(parser)
    return init.run(parser.parse_args([*flags, "--yes"]))


def answers(*texts: str) -> Callable[[str], str]:
    """Somebody who gives these answers, one after another."""
    left = iter(texts)
    return lambda _question: next(left)


def test_init_without_answers_watches_the_drawn_street(tmp_path: Path) -> None:
    """Even the shortest way gives a file that runs."""
    status = run(str(tmp_path / "a.yaml"), "--device", "gate")

    config = load_config(tmp_path / "a.yaml")
    assert status == 0
    assert (config.device, config.mqtt) == ("gate", None)
    assert config.cameras["street"].source.type == "street"


def test_init_flags_become_the_file(tmp_path: Path) -> None:
    """Each flag is found again in what `edged check` reads."""
    run(str(tmp_path / "a.yaml"), "--camera", "usb=/dev/video1", "--camera", "true=rtsp://cam/1", "--mqtt", "[::1]:1884")

    config = load_config(tmp_path / "a.yaml")
    assert config.cameras["usb"].source.device == "/dev/video1"
    assert config.cameras["true"].source.url == "rtsp://cam/1"
    assert (config.mqtt.host, config.mqtt.port) == ("::1", 1884)


def test_init_password_goes_into_a_file_of_its_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration and the output never hold the password."""
    run(str(tmp_path / "a.yaml"), "--camera", "door=rtsp://admin:hun%2Fter2@cam/1")

    secret = tmp_path / "camera-door.password"
    config = load_config(tmp_path / "a.yaml")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert config.cameras["door"].source.password.reveal() == "hun/ter2"
    assert config.cameras["door"].source.username == "admin"
    assert config.warnings == ()
    assert "hun" not in (tmp_path / "a.yaml").read_text() + "".join(capsys.readouterr())


def test_init_picture_that_asks_for_a_password_is_a_snapshot(tmp_path: Path) -> None:
    """With its credentials apart an address means the same as with them inside."""
    run(str(tmp_path / "a.yaml"), "--camera", "door=http://admin:hunter2@cam/now.jpg")

    source = load_config(tmp_path / "a.yaml").cameras["door"].source
    assert (source.type, source.url, source.username) == ("snapshot", "http://cam/now.jpg", "admin")


@pytest.mark.parametrize("existing", [pytest.param("a.yaml", id="file"), pytest.param("camera-door.password", id="password")])
def test_init_existing_file_is_kept_unless_forced(existing: str, tmp_path: Path) -> None:
    """Nothing is overwritten by accident, and nothing else is written then."""
    (tmp_path / existing).write_text("mine")
    flags = (str(tmp_path / "a.yaml"), "--camera", "door=rtsp://u:p@cam/1")

    with pytest.raises(InputError, match="exists"):
        run(*flags)

    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"

    assert run(*flags, "--force") == 0
    assert (tmp_path / existing).read_text() != "mine"


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        pytest.param(("--camera", "door"), "NAME=SOURCE", id="no source"),
        pytest.param(("--camera", "Front Door=street:"), "did you mean front-door?", id="name"),
        pytest.param(("--camera", "event=street:"), "reserved", id="reserved name"),
        pytest.param(("--camera", "door=ftp://cam"), "not allowed", id="scheme"),
        pytest.param(("--camera", "door="), "empty", id="empty source"),
        pytest.param(("--camera", "a=street:", "--camera", "a=street:1"), "twice", id="name twice"),
        pytest.param(("--mqtt", "mqtt://broker"), "HOST:PORT", id="broker's url"),
        pytest.param(("--mqtt", "broker:0"), "HOST:PORT", id="broker's port"),
        pytest.param(("--device", "a/b"), "did you mean a-b?", id="device"),
    ],
)
def test_init_wrong_flag_writes_nothing(flags: tuple[str, ...], hint: str, tmp_path: Path) -> None:
    """A wrong answer is named, and no file is begun."""
    with pytest.raises(InputError, match=hint.replace("?", r"\?")):
        run(str(tmp_path / "a.yaml"), *flags)

    assert list(tmp_path.iterdir()) == []


def test_init_missing_directory_is_named(tmp_path: Path) -> None:
    """A place that cannot be written is the user's to mend."""
    with pytest.raises(InputError, match="No such file or directory"):
        run(str(tmp_path / "none" / "a.yaml"))


def test_init_questions_are_repeated_until_answered_well(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip costs one more question, and the reason is shown without the password."""
    ask = answers("Door", "door", "rtps://x", "rtsp://u:hunter2/x@cam", "rtsp://u:hunter2@cam", "")
    questions = init.Questions(ask=ask, ask_secret=answers())

    (camera,) = questions.cameras()

    assert (camera.name, camera.source, camera.username, camera.password) == ("door", "rtsp://cam", "u", "hunter2")
    said = capsys.readouterr().out
    assert "did you mean door?" in said
    assert "did you mean rtsps?" in said
    assert "hunter2" not in said


def test_init_questions_about_the_broker_end_with_its_password() -> None:
    """The password is asked for without being shown, and only where there is a user."""
    with_user = init.Questions(ask=answers("broker:1884", "me"), ask_secret=answers("hunter2")).broker()
    without_user = init.Questions(ask=answers("broker", ""), ask_secret=answers()).broker()
    none = init.Questions(ask=answers(""), ask_secret=answers()).broker()

    assert with_user == init.Broker("broker", 1884, "me", "hunter2")
    assert without_user == init.Broker("broker")
    assert none is None


def test_init_broker_password_goes_into_a_file_too(tmp_path: Path) -> None:
    """What is asked for the broker is read back from beside the configuration."""
    broker = init.Broker("127.0.0.1", None, "me", "a'b\"c: #d")
    starter = init.make_starter(device="gate", cameras=[init.Camera("a", "street:")], broker=broker)

    init.write_starter(starter, tmp_path / "a.yaml", replace=False)

    assert load_config(tmp_path / "a.yaml").mqtt.password.reveal() == "a'b\"c: #d"


def test_init_paths_stay_right_wherever_the_file_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording is named from where the user stands, not from where the file goes."""
    (tmp_path / "site").mkdir()
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)

    run("site/a.yaml", "--camera", "clip=clip.mp4", "--camera", "pictures=pictures")

    cameras = load_config("site/a.yaml").cameras
    assert cameras["clip"].source.path == tmp_path / "clip.mp4"
    assert (cameras["pictures"].source.type, cameras["pictures"].source.path) == ("folder", tmp_path / "pictures")
