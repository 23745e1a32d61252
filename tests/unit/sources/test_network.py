"""Network and file sources as data, and recordings read from a temporary folder; cameras are in the integration tests."""

import pickle
import struct
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edged.errors import InputError, SourceCause, SourceError
from edged.sources.base import SourceFrame
from edged.sources.network import FileSource, NetworkSource, SnapshotSource

RED = (200, 30, 30)


def write_film(path: Path, *, n: int = 10, pixels: np.ndarray | None = None) -> None:
    """The same picture n times, red if not given, ten a second; H.264 in the container that the suffix names."""
    pixels = np.full((48, 64, 3), RED, np.uint8) if pixels is None else pixels
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(n):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def read_all(source: FileSource) -> tuple[list[SourceFrame], SourceError]:
    frames = []
    with source.open() as stream:
        while True:
            try:
                frames.append(stream.read())
            except SourceError as end:
                return frames, end


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_file_frames_all_come_with_their_times(tmp_path: Path, suffix: str) -> None:
    """Every picture of any container, a tenth of a second apart, in RGB, then the end."""
    path = tmp_path / f"film{suffix}"
    write_film(path)

    frames, end = read_all(FileSource(path))

    assert [frame.stream_s for frame in frames] == pytest.approx([index / 10 for index in range(10)], abs=0.002)
    assert {(frame.width, frame.height) for frame in frames} == {(64, 48)}
    assert np.abs(frames[3].make_pixels_rgb()[24, 32].astype(int) - RED).max() <= 8
    assert end.cause is SourceCause.EOF


def test_file_frame_converts_later_and_in_another_thread(tmp_path: Path) -> None:
    """A frame outlives its stream: the decoder's picture is kept, and converted by whoever looks at it."""
    write_film(tmp_path / "film.mp4")
    frames, _ = read_all(FileSource(tmp_path / "film.mp4"))
    made: list[np.ndarray] = []

    threads = [threading.Thread(target=lambda frame=frame: made.append(frame.make_pixels_rgb())) for frame in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 10
    assert all(pixels.shape == (48, 64, 3) and pixels.dtype == np.uint8 for pixels in made)


@pytest.mark.parametrize(
    ("a_b_c_d", "size", "red_at"),
    [
        pytest.param((0, 1, -1, 0), (48, 64), (60, 24), id="quarter to the right"),
        pytest.param((0, -1, 1, 0), (48, 64), (4, 24), id="quarter to the left"),
        pytest.param((-1, 0, 0, -1), (64, 48), (24, 4), id="half"),
    ],
)
def test_file_turned_film_is_shown_upright(
    tmp_path: Path, a_b_c_d: tuple[int, ...], size: tuple[int, int], red_at: tuple[int, int]
) -> None:
    """A telephone's film lies on its side and says so in the matrix of its track header (ISO 14496-12, 8.3.2)."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, 48:] = RED
    write_film(tmp_path / "film.mp4", pixels=pixels)
    data = bytearray((tmp_path / "film.mp4").read_bytes())
    a, b, c, d = (number * 0x10000 for number in a_b_c_d)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 0x40000000)
    (tmp_path / "film.mp4").write_bytes(data)

    frames, _ = read_all(FileSource(tmp_path / "film.mp4"))

    assert (frames[0].width, frames[0].height) == size
    shown = frames[0].make_pixels_rgb()
    assert shown.shape == (size[1], size[0], 3)
    assert shown[red_at][0] > 150


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        pytest.param(b"", SourceCause.PROTOCOL, id="empty"),
        pytest.param(bytes(range(256)) * 40, SourceCause.PROTOCOL, id="noise"),
        pytest.param(b"<html>camera login</html>", SourceCause.PROTOCOL, id="web page"),
        pytest.param(
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", SourceCause.PROTOCOL, id="playlist"
        ),
        pytest.param(b"ffconcat version 1.0\nfile /etc/passwd\n", SourceCause.PROTOCOL, id="list of other files"),
        pytest.param(None, SourceCause.NOT_FOUND, id="missing"),
    ],
)
def test_file_without_video_fails_with_cause(tmp_path: Path, content: bytes | None, cause: SourceCause) -> None:
    """What is no film is refused with a cause, and nothing else is opened in its name."""
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SourceError) as failed:
        FileSource(path).open()

    assert failed.value.cause is cause
    assert str(path) in str(failed.value)


def test_file_of_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    """FFmpeg opens what it cannot decode; we say so instead of failing later."""
    write_film(tmp_path / "film.mp4", n=5)
    data = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "film.mp4").write_bytes(data.replace(b"avc1", b"xyz1").replace(b"mp4v", b"xyz1").replace(b"avcC", b"xyzC"))

    with pytest.raises(SourceError, match="no decoder for its video") as failed:
        FileSource(tmp_path / "film.mp4").open()

    assert failed.value.cause is SourceCause.PROTOCOL


def test_file_cut_off_gives_what_is_there(tmp_path: Path) -> None:
    """A recording that broke off is read as far as it goes."""
    write_film(tmp_path / "film.ts", n=50)
    data = (tmp_path / "film.ts").read_bytes()
    (tmp_path / "film.ts").write_bytes(data[: len(data) // 2])

    frames, end = read_all(FileSource(tmp_path / "film.ts"))

    assert 5 < len(frames) < 50
    assert end.cause is SourceCause.EOF


@pytest.mark.parametrize("damage_seed", [1, 2, 3])
def test_file_damaged_ends_with_a_cause(tmp_path: Path, damage_seed: int) -> None:
    """Flipped bytes cost pictures, never more than a `SourceError`."""
    write_film(tmp_path / "film.ts", n=50)
    data = np.frombuffer((tmp_path / "film.ts").read_bytes(), np.uint8).copy()
    rng = np.random.default_rng(damage_seed)
    data[rng.integers(0, len(data), len(data) // 100)] = rng.integers(0, 256, len(data) // 100)
    (tmp_path / "film.ts").write_bytes(data.tobytes())

    try:
        frames, end = read_all(FileSource(tmp_path / "film.ts"))
    except SourceError as error:
        frames, end = [], error

    assert len(frames) <= 50
    assert end.cause in (SourceCause.EOF, SourceCause.PROTOCOL)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_file_too_large_is_refused(tmp_path: Path, suffix: str) -> None:
    """More than 4096 pixels a side are a mistake or an attack."""
    path = tmp_path / f"large{suffix}"
    cv2.imwrite(str(path), np.zeros((16, 4112, 3), np.uint8))

    with pytest.raises(SourceError, match="4112 x 16 are too large") as failed:
        read_all(FileSource(path))

    assert failed.value.cause is SourceCause.PROTOCOL


def test_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    """Folders are another kind of source."""
    with pytest.raises(SourceError, match="regular file"):
        FileSource(tmp_path).open()


def test_file_close_twice_is_fine(tmp_path: Path) -> None:
    """Closing is idempotent."""
    write_film(tmp_path / "film.mp4")
    stream = FileSource(tmp_path / "film.mp4").open()

    stream.close()
    stream.close()


def test_network_source_shows_no_secret() -> None:
    """Neither its label nor its repr."""
    source = NetworkSource("rtsp://admin:hunter2@cam:554/1?token=t0ps3cret")
    apart = NetworkSource("rtsp://cam/1", username="admin", password="hunter2")

    shown = f"{source.label} {source} {apart.label} {apart} {source.address}"

    assert source.label == "rtsp://cam:554/1?token=***"
    assert not any(secret in shown for secret in ("admin", "hunter2", "t0ps3cret"))


def test_network_source_keys_go_before_the_url() -> None:
    """User name and password given apart replace those in the URL."""
    address = NetworkSource("rtsp://old:older@cam/1", username="new", password="p@ss").address

    assert (address.username, address.password, address.url) == ("new", "p@ss", "rtsp://cam/1")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: NetworkSource("ftp://cam/1"), "allowed are", id="scheme"),
        pytest.param(lambda: NetworkSource("rtsp://cam/1", "sctp"), "tcp or udp", id="transport"),
        pytest.param(lambda: NetworkSource("rtsp://cam/1", timeout_s=0.0), "timeout_s", id="no wait"),
        pytest.param(lambda: SnapshotSource("rtsp://cam/1"), "http or https", id="snapshot over RTSP"),
        pytest.param(lambda: SnapshotSource("http://cam/1", interval_s=0.0), "interval_s", id="no interval"),
        pytest.param(lambda: SnapshotSource("http:///1"), "expected a URL", id="snapshot without host"),
    ],
)
def test_network_source_wrong_setting_is_refused(make: object, words: str) -> None:
    """Wrong settings are found when the source is made, before anything is opened."""
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    ("source", "is_live"),
    [
        pytest.param(NetworkSource("rtsp://u:p@cam/1"), True, id="network"),
        pytest.param(SnapshotSource("http://cam/1"), True, id="snapshot"),
        pytest.param(FileSource(Path("clip.mp4")), False, id="file"),
    ],
)
def test_source_is_plain_data(source: NetworkSource | SnapshotSource | FileSource, is_live: bool) -> None:
    """Each can go to a child process, and says whether frames wait."""
    assert pickle.loads(pickle.dumps(source)) == source
    assert source.is_live is is_live


def test_deadline_lets_ffmpeg_give_up_first() -> None:
    """A reader gives a call up only after FFmpeg should have done so by itself."""
    assert NetworkSource("rtsp://cam/1", timeout_s=4.0).deadline_s > 4.0
    assert SnapshotSource("http://cam/1", interval_s=30.0, timeout_s=4.0).deadline_s > 34.0
