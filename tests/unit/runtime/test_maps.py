"""The slow loop of maps: when a picture is worth one, and what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from edged.pipeline import FrameResult, Mapped
from edged.runtime.loop import Loop
from edged.runtime.maps import MapPace, MapWatch
from edged.types import Detections, Frame, Pixels, SegmentationMap, Tracks

CLASSES = ("road", "car")
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
RIGHT_HALF = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))


class RednessSegmenter:
    """Whatever is red is a car: one label for each 4 x 4 pixels. Notes the shade of every picture."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def segment(self, pixels_rgb: Pixels) -> SegmentationMap:
        self.seen.append(int(pixels_rgb[0, 0, 2]))
        labels = (pixels_rgb[::4, ::4, 0] > 127).astype(np.uint8)
        height, width = pixels_rgb.shape[:2]
        return SegmentationMap(labels, CLASSES, width, height)


def make_result(
    at_s: float, *, camera: str = "door", still: bool = False, red_columns: int = 0, shade: int = 0, width: int = 64
) -> FrameResult:
    pixels = np.zeros((36, width, 3), np.uint8)
    pixels[:, :red_columns, 0] = 255
    pixels[..., 2] = shade
    frame = Frame(camera, round(at_s * 5) + 1, at_s, at_s, width, 36, lambda: pixels)
    return FrameResult(frame, None if still else Detections.empty(), Tracks((), ()), (), {})


def make_watch(*cameras: str, zones: dict | None = None, **pace: object) -> MapWatch:
    names = cameras or ("door",)
    return MapWatch(zones={name: zones or {} for name in names}, pace=MapPace(**pace), now_s=lambda: 0.0)


def play(watch: MapWatch, results: Sequence[FrameResult], *, undecided: Sequence[float] = ()) -> list[float]:
    """As a replay does: each frame is worked on before the next one. When the pictures were captured that became maps."""
    segmenter, maps = RednessSegmenter(), []
    for result in results:
        watch.put(result, is_undecided=result.frame.captured_s in undecided)
        watch.work(segmenter)
        maps += watch.take()
    return [mapped.captured_s for mapped in maps]


def seconds(n: int, **facts: object) -> list[FrameResult]:
    """One frame a second."""
    return [make_result(float(second), **facts) for second in range(n)]


def test_watch_maps_every_so_often() -> None:
    """The first picture, and one each period."""
    assert play(make_watch(every_s=10), seconds(31)) == [0, 10, 20, 30]


def test_watch_maps_every_picture_where_that_is_asked() -> None:
    """For whoever must not miss a moment."""
    assert play(make_watch(every_s=0), seconds(4)) == [0, 1, 2, 3]


def test_watch_maps_still_pictures_too() -> None:
    """What covers a zone need not move."""
    assert play(make_watch(every_s=10), seconds(21, still=True)) == [0, 10, 20]


def test_watch_maps_once_motion_begins_and_once_it_is_over() -> None:
    """On its second frame: a still picture that is looked at anyway is one; and on the first still one after it.

    The camera's first pictures count as moving: all is new.
    """
    moving = {0.0, 1.0, 5.0, 12.0, 13.0, 14.0, 15.0}
    results = [make_result(float(second), still=second not in moving) for second in range(30)]

    assert play(make_watch(every_s=100), results) == [0, 2, 13, 16]


def test_watch_that_is_not_asked_to_follow_motion_does_not() -> None:
    """Then time alone counts."""
    results = [make_result(float(second), still=second < 12) for second in range(30)]

    assert play(make_watch(every_s=100, on_motion=False), results) == [0]


def test_watch_maps_sooner_while_a_rule_waits() -> None:
    """As often as the least time allows, and no longer than it waits."""
    assert play(make_watch(every_s=100, min_s=3), seconds(20), undecided=range(5, 13)) == [0, 5, 8, 11]


def test_watch_never_maps_more_often_than_the_least_time() -> None:
    """However often motion begins; a period below the least time goes before it."""
    flicker = [make_result(step / 5, still=step % 3 == 0) for step in range(100)]

    assert np.diff(play(make_watch(every_s=100, min_s=2), flicker)).min() >= 2 * 0.9
    assert play(make_watch(every_s=1, min_s=5), seconds(4)) == [0, 1, 2, 3]


def test_watch_tells_shares_of_picture_and_zones() -> None:
    """Exactly, at the resolution of the map; with the moment of the picture."""
    watch = make_watch(zones={"left": LEFT_HALF, "right": RIGHT_HALF})
    watch.put(make_result(7.0, red_columns=16))
    watch.work(RednessSegmenter())

    (mapped,) = watch.take()

    assert (mapped.camera, mapped.captured_s, mapped.frame_seq) == ("door", 7.0, 36)
    assert mapped.shares.picture.tolist() == [0.75, 0.25]
    assert {name: row.tolist() for name, row in mapped.shares.zones.items()} == {"left": [0.5, 0.5], "right": [1.0, 0.0]}
    assert mapped.grid[:, :4, 1].min() == 1
    assert set(mapped.stages_ms) == {"segment", "areas"}
    assert watch.newest("door") is mapped


def test_watch_follows_a_camera_that_changes_its_size() -> None:
    """Its zones are made anew for maps of another size."""
    watch = make_watch(zones={"left": LEFT_HALF}, every_s=1)
    maps: list[Mapped] = []
    for at_s, width in ((0.0, 64), (1.0, 128), (2.0, 64)):
        watch.put(make_result(at_s, red_columns=32, width=width))
        watch.work(RednessSegmenter())
        maps += watch.take()

    assert [float(mapped.shares.zones["left"][1]) for mapped in maps] == [1.0, 0.5, 1.0]


def test_watch_maps_the_first_picture_of_another_size_and_forgets_those_before() -> None:
    """Whoever asks meanwhile gets no map of pictures that the camera no longer gives, nor one that was still waiting."""
    watch, segmenter = make_watch(every_s=10), RednessSegmenter()
    assert play(watch, [make_result(0.0, shade=1)]) == [0.0]
    watch.put(make_result(10.0, shade=2))
    watch.put(make_result(11.0, shade=3, width=32))

    assert watch.newest("door") is None
    watch.work(segmenter)
    watch.work(segmenter)

    assert segmenter.seen == [3]
    assert watch.newest("door").map.frame_width == 32


def test_watch_of_a_zone_smaller_than_a_pixel_takes_the_pixel() -> None:
    """There is always something to say."""
    tiny = ((0.01, 0.01), (0.012, 0.01), (0.012, 0.013))
    watch = make_watch(zones={"tiny": tiny})
    watch.put(make_result(0.0, red_columns=4))
    watch.work(RednessSegmenter())

    (mapped,) = watch.take()

    assert mapped.shares.zones["tiny"].tolist() == [0.0, 1.0]


def test_watch_that_is_slow_looks_at_the_newest_picture_only() -> None:
    """What nobody has taken is replaced, and counted."""
    watch, segmenter = make_watch("door", "yard", every_s=1), RednessSegmenter()
    for at_s in (0.0, 1.0, 2.0):
        watch.put(make_result(at_s, shade=int(at_s)))
    watch.put(make_result(2.0, camera="yard", shade=9))
    for _ in range(3):
        watch.work(segmenter)

    assert segmenter.seen == [2, 9]
    assert watch.n_replaced == 2
    assert [mapped.camera for mapped in watch.take()] == ["door", "yard"]
    assert watch.take() == []


def test_watch_passes_over_cameras_that_it_was_not_given() -> None:
    """`segmentation: false` of a camera."""
    watch = make_watch("door")
    watch.put(make_result(0.0, camera="yard"))
    watch.drop("yard")
    watch.work(RednessSegmenter())

    assert watch.take() == []
    assert watch.newest("yard") is None


def test_watch_of_changed_zones_maps_the_next_picture_for_them() -> None:
    """Also while a map of the zones before is being made: that one is let go."""
    watch, result = make_watch(zones={"left": LEFT_HALF}), make_result(0.0, red_columns=32)
    watch.put(result)

    class Changing(RednessSegmenter):
        def segment(self, pixels_rgb: Pixels) -> SegmentationMap:
            watch.change_zones("door", {"right": RIGHT_HALF})
            return super().segment(pixels_rgb)

    watch.work(Changing())
    assert watch.take() == []

    watch.put(make_result(0.2, red_columns=32))
    watch.work(RednessSegmenter())
    (mapped,) = watch.take()

    assert {name: each.tolist() for name, each in mapped.shares.zones.items()} == {"right": [1.0, 0.0]}
    watch.change_zones("garage", {})  # of a camera without maps
    assert watch.cameras == ("door",)


def test_watch_forgets_a_camera_that_is_gone() -> None:
    """Neither its waiting picture nor its maps come out any more, and its first new picture is worth a map."""
    watch, segmenter = make_watch(every_s=100), RednessSegmenter()
    watch.put(make_result(0.0))
    watch.work(segmenter)
    watch.drop("door")
    dropped = watch.take(), watch.newest("door")
    watch.put(make_result(1.0, shade=1))
    watch.drop("door")
    watch.work(segmenter)
    watch.put(make_result(2.0, shade=2))
    watch.work(segmenter)

    assert dropped == ([], None)
    assert segmenter.seen == [0, 2]


def test_watch_lets_go_a_map_whose_camera_went_while_it_was_made() -> None:
    """The slow loop is beside the fast one: it may be late."""
    watch = make_watch()

    class DroppingSegmenter(RednessSegmenter):
        def segment(self, pixels_rgb: Pixels) -> SegmentationMap:
            watch.drop("door")
            return super().segment(pixels_rgb)

    watch.put(make_result(0.0))
    watch.work(DroppingSegmenter())

    assert watch.take() == []
    assert watch.newest("door") is None
    assert watch.n_maps == 0


def test_watch_passes_over_a_picture_that_cannot_be_converted() -> None:
    """One broken frame ends nothing."""

    def fail() -> Pixels:
        raise RuntimeError("broken")

    watch = make_watch()
    frame = Frame("door", 1, 0.0, 0.0, 64, 36, fail)
    watch.put(FrameResult(frame, None, Tracks((), ()), (), {}))
    watch.work(RednessSegmenter())

    assert watch.take() == []


def test_watch_runs_beside_the_fast_loop_until_it_is_stopped() -> None:
    """It wakes for a picture, tells when there is a map, and ends when asked."""
    told = threading.Event()
    watch = MapWatch(zones={"door": {}}, pace=MapPace(), now_s=lambda: 0.0, on_map=told.set)
    loop = Loop("maps", lambda loop: watch.run(loop, RednessSegmenter()), limit_s=30, now_s=lambda: 0.0)
    thread = threading.Thread(target=loop.run)
    thread.start()

    watch.put(make_result(0.0))
    was_told = told.wait(10)
    loop.stop()
    thread.join(10)

    assert was_told
    assert not thread.is_alive()
    assert loop.failure is None
    assert [mapped.captured_s for mapped in watch.take()] == [0.0]


@pytest.mark.parametrize("changed", [{"every_s": -1}, {"min_s": -1}])
def test_pace_that_cannot_be_is_refused(changed: dict) -> None:
    """Where it is made."""
    with pytest.raises(ValueError, match="expected every_s"):
        MapPace(**changed)
