"""USB cameras, with a stand-in for OpenCV's reader."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.errors import InputError, SourceCause, SourceError
from edged.sources.v4l2 import V4l2Source


class FakeReader:
    """A camera with so many blue pictures."""

    def __init__(self, *, pictures: int = 1, opens: bool = True) -> None:
        self.left = pictures
        self.opens = opens
        self.wishes: list[tuple[int, float]] = []
        self.is_released = False

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def set(self, property_id: int, value: float) -> bool:
        self.wishes.append((property_id, value))
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        if self.left < 0:
            return False, None
        return True, np.full((48, 64, 3), (250, 10, 20), np.uint8)

    def release(self) -> None:
        self.is_released = True


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "video0"
    path.touch()
    return path


def test_v4l2_frame_is_rgb_of_its_own_size(device: Path) -> None:
    """The size is the picture's, whatever was asked for; OpenCV's BGR is turned round."""
    source = V4l2Source(str(device), width=1280, open_reader=lambda _: FakeReader())

    with source.open() as stream:
        frame = stream.read()

    assert (frame.width, frame.height, frame.stream_s) == (64, 48, None)
    assert frame.make_pixels_rgb()[0, 0].tolist() == [20, 10, 250]


def test_v4l2_wishes_are_asked_for_format_first(device: Path) -> None:
    """The pixel format limits sizes and rates, so it is set before them; what is not asked for is not set."""
    reader = FakeReader()

    V4l2Source(str(device), width=640, fps=10.0, open_reader=lambda _: reader).open().close()

    assert reader.wishes == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 640),
        (cv2.CAP_PROP_FPS, 10.0),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]
    assert reader.is_released


def test_v4l2_missing_device_is_not_found(tmp_path: Path) -> None:
    """With OpenCV's real reader: the device is looked for first."""
    with pytest.raises(SourceError) as failed:
        V4l2Source(str(tmp_path / "video9")).open()

    assert failed.value.cause is SourceCause.NOT_FOUND


def test_v4l2_device_without_permission_is_auth(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the group that helps."""
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(SourceError, match="group video") as failed:
        V4l2Source(str(device)).open()

    assert failed.value.cause is SourceCause.AUTH


def test_v4l2_busy_device_is_protocol_and_released(device: Path) -> None:
    """OpenCV says only "not opened"; the message says what that usually means."""
    reader = FakeReader(opens=False)

    with pytest.raises(SourceError, match="another program uses it") as failed:
        V4l2Source(str(device), open_reader=lambda _: reader).open()

    assert failed.value.cause is SourceCause.PROTOCOL
    assert reader.is_released


@pytest.mark.parametrize(
    ("is_unplugged", "expected"),
    [pytest.param(False, SourceCause.STALLED, id="still there"), pytest.param(True, SourceCause.NOT_FOUND, id="unplugged")],
)
def test_v4l2_camera_without_picture_says_why(device: Path, is_unplugged: bool, expected: SourceCause) -> None:
    """A camera that gives nothing more is stalled, unless it is gone."""
    stream = V4l2Source(str(device), open_reader=lambda _: FakeReader(pictures=0)).open()
    if is_unplugged:
        device.unlink()

    with pytest.raises(SourceError) as failed:
        stream.read()

    assert failed.value.cause is expected


def test_v4l2_wrong_fourcc_is_refused() -> None:
    """Four letters."""
    with pytest.raises(InputError, match="MJPG"):
        V4l2Source(fourcc="MJPEG")


def test_v4l2_source_is_plain_data() -> None:
    """It can go to a child process."""
    source = V4l2Source("/dev/video1", width=640)

    assert pickle.loads(pickle.dumps(source)) == source
    assert source.is_live
    assert source.label == "/dev/video1"
    assert source.deadline_s > source.timeout_s
