"""The drawn street as a camera."""

import pickle

import numpy as np
import pytest

from edged.errors import SourceCause, SourceError
from edged.sources.street import StreetSource
from edged.street.scene import Street


class FakeClock:
    """Time that passes only by sleeping or by hand."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.slept_s: list[float] = []

    def now_s(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.time_s += seconds


def live_source(clock: FakeClock, *, seconds: float | None = None) -> StreetSource:
    return StreetSource(seed=3, fps=10.0, seconds=seconds, now_s=clock.now_s, sleep=clock.sleep)


def test_street_source_recorded_gives_every_frame_then_ends() -> None:
    """Read as a recording, all frames come in order without waiting, then the stream ends."""
    stream = StreetSource(seed=3, fps=10.0, seconds=0.45, is_live=False).open()

    times = [stream.read().stream_s for _ in range(5)]

    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    with pytest.raises(SourceError, match="ended") as caught:
        stream.read()
    assert caught.value.cause is SourceCause.EOF


def test_street_source_frame_shows_the_street_of_its_seed() -> None:
    """Pixels asked for later, and out of order, are those of the frame."""
    with StreetSource(seed=3, width=320, height=180, is_live=False).open() as stream:
        frames = [stream.read() for _ in range(3)]

    late, early = frames[2].make_pixels_rgb(), frames[0].make_pixels_rgb()

    street = Street(3, width=320, height=180)
    assert (frames[0].width, frames[0].height) == (320, 180)
    assert np.array_equal(early, street.frame(0))
    assert np.array_equal(late, street.frame(2))


def test_street_source_live_waits_until_a_frame_is_due() -> None:
    """A reader that is fast enough gets every frame at the street's own pace."""
    clock = FakeClock()
    stream = live_source(clock).open()

    times = [stream.read().stream_s for _ in range(4)]

    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert clock.time_s == pytest.approx(1000.3)


def test_street_source_live_late_reader_gets_the_frame_that_is_due() -> None:
    """A reader that was away misses frames instead of lagging behind."""
    clock = FakeClock()
    stream = live_source(clock).open()
    stream.read()

    clock.time_s += 1.25
    late, following = stream.read(), stream.read()

    assert late.stream_s == pytest.approx(1.2)
    assert following.stream_s == pytest.approx(1.3)
    assert clock.slept_s == pytest.approx([0.05])


def test_street_source_live_ends_after_its_seconds() -> None:
    """A live street can be told to end, also when its reader was away at that moment."""
    clock = FakeClock()
    stream = live_source(clock, seconds=2.0).open()
    stream.read()

    clock.time_s += 60

    with pytest.raises(SourceError) as caught:
        stream.read()
    assert caught.value.cause is SourceCause.EOF


def test_street_source_closed_stream_cannot_be_read() -> None:
    """Reading after closing is an error; closing twice is none."""
    stream = StreetSource(is_live=False).open()
    stream.close()
    stream.close()

    with pytest.raises(SourceError, match="closed"):
        stream.read()


def test_street_source_opened_anew_starts_again() -> None:
    """Each opening plays the street from its beginning."""
    source = StreetSource(is_live=False)
    first = source.open()
    first.read()
    first.read()

    assert source.open().read().stream_s == 0.0


def test_street_source_can_be_sent_to_another_process() -> None:
    """A source is plain data: picklable, equal to its copy, and silent about its clock."""
    source = StreetSource(seed=9, seconds=3.0)

    copy = pickle.loads(pickle.dumps(source))

    assert copy == source
    assert copy.label == "street:9"
    assert copy.is_live
    assert copy.deadline_s > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"seed": -1}, "seed", id="negative seed"),
        pytest.param({"width": 10}, "pixels", id="too small"),
        pytest.param({"fps": 0.0}, "fps", id="no rate"),
        pytest.param({"seconds": 0.0}, "seconds", id="no time"),
    ],
)
def test_street_source_impossible_settings_are_refused(settings: dict, message: str) -> None:
    """Bad settings are refused when the source is made, not when it is opened."""
    with pytest.raises(ValueError, match=message):
        StreetSource(**settings)
