"""What a text means as a source, in a configuration and on a command line."""

import json
from pathlib import Path

import pytest

from edged.config import parse_config
from edged.config.source import (
    AnySource,
    FileSourceConfig,
    FolderSourceConfig,
    GstreamerSourceConfig,
    NetworkSourceConfig,
    SnapshotSourceConfig,
    StreetSourceConfig,
    V4l2SourceConfig,
    parse_source,
)
from edged.errors import InputError


def network(url: str, **keys: str) -> NetworkSourceConfig:
    return NetworkSourceConfig(type="network", url=url, **keys)


def snapshot(url: str, **keys: float) -> SnapshotSourceConfig:
    return SnapshotSourceConfig(type="snapshot", url=url, **keys)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("rtsp://cam:554/a?b=1", network("rtsp://cam:554/a?b=1"), id="RTSP"),
        pytest.param("RTSPS://cam/1", network("RTSPS://cam/1"), id="RTSPS, upper case"),
        pytest.param("rtsp://cam/1.jpg", network("rtsp://cam/1.jpg"), id="RTSP with the name of a picture"),
        pytest.param("http://cam/video.mjpg", network("http://cam/video.mjpg"), id="HTTP"),
        pytest.param("http://cam/video?like=a.jpg", network("http://cam/video?like=a.jpg"), id="picture in the query"),
        pytest.param("https://cam/now.JPG?c=1", snapshot("https://cam/now.JPG?c=1"), id="picture over HTTP"),
        pytest.param("http://cam/now.jpeg", snapshot("http://cam/now.jpeg"), id="picture with the long suffix"),
        pytest.param("/dev/video2", V4l2SourceConfig(type="v4l2", device="/dev/video2"), id="device"),
        pytest.param("street:", StreetSourceConfig(type="street"), id="street"),
        pytest.param("street:7", StreetSourceConfig(type="street", scene_seed=7), id="street by seed"),
        pytest.param("/a/clip.mp4", FileSourceConfig(type="file", path=Path("/a/clip.mp4")), id="file by its whole path"),
        pytest.param("clip.mp4", FileSourceConfig(type="file", path=Path("/site/clip.mp4")), id="file, not there yet"),
        pytest.param("12:30.mp4", FileSourceConfig(type="file", path=Path("/site/12:30.mp4")), id="file with a colon"),
        pytest.param("pictures/", FolderSourceConfig(type="folder", path=Path("/site/pictures")), id="folder"),
    ],
)
def test_parse_source_text_gives_settings(text: str, expected: AnySource) -> None:
    """Each form means one type of source, the same in a file and on a command line."""
    written = json.dumps({"cameras": {"door": {"source": text}}})

    config = parse_config(written, source="test", directory=Path("/site"), environ={"HOME": "/"})

    assert parse_source(text, directory=Path("/site")) == config.cameras["door"].source == expected


def test_parse_source_looks_at_the_file_system(tmp_path: Path) -> None:
    """A folder is one without a slash at its end, too."""
    (tmp_path / "pictures").mkdir()

    assert parse_source("pictures", directory=tmp_path) == FolderSourceConfig(type="folder", path=tmp_path / "pictures")


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        pytest.param("rtsp://cam/1", {"transport": "udp"}, network("rtsp://cam/1", transport="udp"), id="transport"),
        pytest.param("http://cam/now", {"interval_s": 5.0}, snapshot("http://cam/now", interval_s=5.0), id="snapshot"),
        pytest.param(
            "street:",
            {"width": 160, "height": 90},
            StreetSourceConfig(type="street", width=160, height=90),
            id="size of a street",
        ),
        pytest.param(
            "gstreamer: videotestsrc ! identity",
            {"width": 64, "height": 36},
            GstreamerSourceConfig(type="gstreamer", pipeline="videotestsrc ! identity", width=64, height=36),
            id="pipeline",
        ),
    ],
)
def test_parse_source_given_keys_reach_the_settings(text: str, given: dict[str, object], expected: AnySource) -> None:
    """What a text cannot say is given beside it."""
    assert parse_source(text, **given) == expected


def test_parse_source_takes_credentials_out_of_the_address() -> None:
    """They are a secret from here on."""
    source = parse_source("rtsp://me:hunter2@cam/1")

    assert (source.url, source.username, source.password.reveal()) == ("rtsp://cam/1", "me", "hunter2")
    assert "hunter2" not in repr(source)


@pytest.mark.parametrize(
    ("text", "given", "words"),
    [
        pytest.param("", {}, "source: is empty", id="empty"),
        pytest.param("ftp://u:hunter2@cam/1", {}, "'ftp' is not allowed.*rtsp://", id="unknown scheme"),
        pytest.param("file:///etc/passwd", {}, "without file://", id="file URL"),
        pytest.param("concat:a.mp4|b.mp4", {}, "'concat' is not allowed", id="FFmpeg protocol"),
        pytest.param("street:x", {}, "whole number", id="street without number"),
        pytest.param("street:99999999999", {}, "whole number", id="street with too long a number"),
        pytest.param("street:9999999999", {}, "scene_seed: .*less than", id="street out of bounds"),
        pytest.param("rtsp://u:hunter2@cam:port/1", {}, "url: no host name", id="port"),
        pytest.param("rtsp://u:hunter2@cam/1", {"transport": "sctp"}, "transport: .*'tcp' or 'udp'", id="choice"),
        pytest.param("rtsp://u:hunter2@cam/1", {"interval_s": 1.0}, "http or https", id="snapshot over RTSP"),
        pytest.param("rtsp://u:hunter2@cam/1", {"width": 1}, "width: a source of type network has no such key", id="key"),
        pytest.param("clip.mp4", {"interval_s": 1.0}, "interval_s: a source of type file", id="interval of a file"),
        pytest.param("gstreamer: videotestsrc", {}, "width must be given; height must be given", id="pipeline without size"),
        pytest.param("gstreamer:", {"width": 64, "height": 64}, "pipeline: must not be empty", id="no pipeline"),
    ],
)
def test_parse_source_wrong_text_is_refused(text: str, given: dict[str, object], words: str) -> None:
    """The message names the key and what is expected, and shows no password."""
    with pytest.raises(InputError, match=words) as refused:
        parse_source(text, **given)

    assert "hunter2" not in str(refused.value)
    assert refused.value.__context__ is None or "hunter2" not in str(refused.value.__context__)
