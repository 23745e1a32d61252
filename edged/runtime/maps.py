"""The slow loop of maps: what the cameras' pictures are made of, beside the fast loop and never in its way.

Between the fast loop and this one: one job a camera, the newest; an older one that nobody has taken is replaced, counted, and its
picture let go. Back go the maps, which the fast loop takes before its next frame.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edged.pipeline import FrameResult, Mapped, StageTimer, has_pixels
from edged.rules.scene import class_grid
from edged.rules.surfaces import AreaShares
from edged.runtime.loop import Loop
from edged.types import Frame
from edged.vision.label_maps import Mask, class_shares, zone_mask
from edged.vision.masks import Polygon

if TYPE_CHECKING:
    from edged.models.segmenter import Segmenter

logger = logging.getLogger(__name__)

POLL_S = 0.5

EARLY_S = 0.05
"""A frame may come so early and still be taken: live frames jitter."""

MOTION_FRAMES = 2
"""So many frames in a row that are not still are motion: a still picture that is looked at anyway is one frame."""


@dataclass(frozen=True, slots=True)
class MapPace:
    """When a picture is worth a map.

    Attributes:
        every_s: so often in any case; 0 is every picture.
        min_s: so often at most, whatever happens.
        on_motion: also once motion begins, and once it is over.
    """

    every_s: float = 10.0
    min_s: float = 2.0
    on_motion: bool = True

    def __post_init__(self) -> None:
        if not (self.every_s >= 0 and self.min_s >= 0):
            raise ValueError(f"expected every_s and min_s of 0 or more, got {self.every_s} and {self.min_s}")


@dataclass(slots=True)
class _Camera:
    """What is known of one camera: the fast loop's alone.

    Attributes:
        mapped_s: captured when, the newest picture that became a job.
        n_moving: frames since the last still one; the first of a camera begin no motion.
        is_wanted: motion has begun or ended since then.
        size: width and height of its pictures; None before the first.
    """

    mapped_s: float = -math.inf
    n_moving: int = MOTION_FRAMES
    is_wanted: bool = False
    size: tuple[int, int] | None = None

    def follow(self, *, is_still: bool) -> None:
        """One more frame."""
        was_moving = self.n_moving >= MOTION_FRAMES
        self.n_moving = 0 if is_still else self.n_moving + 1
        self.is_wanted |= was_moving != (self.n_moving >= MOTION_FRAMES)

    def is_due(self, pace: MapPace, *, now_s: float, is_undecided: bool) -> bool:
        """Whether a map is worth it now."""
        is_hurried = is_undecided or (pace.on_motion and self.is_wanted)
        wait_s = min(pace.min_s, pace.every_s) if is_hurried else pace.every_s
        return now_s - self.mapped_s >= wait_s - EARLY_S

    def begin(self, now_s: float) -> None:
        """A picture of this moment becomes a map."""
        self.mapped_s, self.is_wanted = now_s, False


@dataclass(frozen=True, slots=True)
class _Job:
    frame: Frame
    life: int
    """Of the camera: how often it was dropped before."""


@dataclass(slots=True)
class _Zones:
    """The zones of one camera as pixels of its maps, made by the slow loop, once for each size of map."""

    polygons: Mapping[str, Polygon]
    shape: tuple[int, int] = (0, 0)
    masks: dict[str, Mask] = field(default_factory=dict)

    def of(self, shape: tuple[int, int]) -> Mapping[str, Mask]:
        """The mask of each zone, (h, w)."""
        if shape != self.shape:
            height, width = self.shape = shape
            self.masks = {name: zone_mask([each], width=width, height=height) for name, each in self.polygons.items()}
        return self.masks


class MapWatch:
    """Has maps made of the cameras' pictures: `put` and `take` are for the fast loop, `work` and `run` for the slow one.

    In a replay one thread calls `put`, `work` and `take` in turn, and every run gives the same maps.

    What both share is held for moments only: the network does not run meanwhile.

    Args:
        zones: the cameras of whose pictures maps are made, and their zones, in shares of the picture.
        pace: when a picture is worth a map.
        now_s: measures how long the stages take, monotonic seconds.
        on_map: called by the slow loop when `take` has something to give.
    """

    def __init__(
        self,
        *,
        zones: Mapping[str, Mapping[str, Polygon]],
        pace: MapPace,
        now_s: Callable[[], float],
        on_map: Callable[[], None] = lambda: None,
    ) -> None:
        self.cameras = tuple(zones)
        self._zones = {camera: _Zones(polygons) for camera, polygons in zones.items()}
        self._pace = pace
        self._now_s = now_s
        self._on_map = on_map
        self._followed = {camera: _Camera() for camera in zones}
        self._ready = threading.Condition()  # guards everything below
        self._jobs: dict[str, _Job] = {}  # in order of waiting
        self._lives = dict.fromkeys(zones, 0)
        self._maps: list[Mapped] = []
        self._newest: dict[str, Mapped] = {}
        self.n_maps = self.n_replaced = 0

    def put(self, result: FrameResult, *, is_undecided: bool = False) -> None:
        """Offer a result; never blocks for longer than it takes to note it.

        The first picture of another size is worth a map: those before say nothing of it, and are forgotten.

        Args:
            is_undecided: a rule waits for the next map.
        """
        frame = result.frame
        if frame.camera not in self._followed:
            return
        size = (frame.width, frame.height)
        if self._followed[frame.camera].size not in (None, size):
            self.drop(frame.camera)
        camera = self._followed[frame.camera]
        camera.size = size
        camera.follow(is_still=result.detections is None)
        if not camera.is_due(self._pace, now_s=frame.captured_s, is_undecided=is_undecided):
            return
        camera.begin(frame.captured_s)
        with self._ready:
            self.n_replaced += frame.camera in self._jobs
            self._jobs[frame.camera] = _Job(frame, self._lives[frame.camera])
            self._ready.notify()

    def take(self) -> list[Mapped]:
        """The maps since the last call, in their order."""
        with self._ready:
            maps, self._maps = self._maps, []
        return maps

    def newest(self, camera: str) -> Mapped | None:
        """The newest map of a camera; None where there is none, or the camera is gone. For any thread."""
        with self._ready:
            return self._newest.get(camera)

    def change_zones(self, camera: str, polygons: Mapping[str, Polygon]) -> None:
        """From the next map on these are the zones of a camera; the next picture is worth one, and what is under way is not."""
        if camera in self._followed:
            self._zones[camera] = _Zones(polygons)
            self.drop(camera)

    def drop(self, camera: str) -> None:
        """Forget a camera's maps: it is gone. The first picture that comes again is worth one."""
        if camera not in self._followed:
            return
        self._followed[camera] = _Camera()
        with self._ready:
            self._lives[camera] += 1
            self._jobs.pop(camera, None)
            self._newest.pop(camera, None)
            self._maps = [mapped for mapped in self._maps if mapped.camera != camera]

    def run(self, loop: Loop, segmenter: Segmenter) -> None:
        """Work until the loop is asked to stop.

        Args:
            segmenter: used by the thread that calls this alone.

        Raises:
            InferenceError: the network failed.
        """
        while not loop.stopping:
            loop.beat()
            with self._ready:
                self._ready.wait_for(lambda: self._jobs, POLL_S)
            self.work(segmenter)
        logger.info("maps: made=%d pictures_replaced=%d", self.n_maps, self.n_replaced)

    def work(self, segmenter: Segmenter) -> None:
        """One turn: a map of the camera that waits longest, if one waits.

        Raises:
            InferenceError: the network failed.
        """
        with self._ready:
            camera = next(iter(self._jobs), None)
            if camera is None:
                return
            job = self._jobs.pop(camera)
        if not has_pixels(job.frame):
            return
        mapped = self.map_of(job.frame, segmenter)
        with self._ready:
            if job.life != self._lives[camera]:
                return
            self.n_maps += 1
            self._maps.append(mapped)
            self._newest[camera] = mapped
        self._on_map()

    def map_of(self, frame: Frame, segmenter: Segmenter) -> Mapped:
        """The map of one picture, now, whatever the pace; nothing waits for it, and `newest` does not know it.

        Raises:
            InferenceError: the network failed.
        """
        timer = StageTimer(self._now_s)
        scene = segmenter.segment(frame.pixels_rgb)
        timer.end("segment")
        n_classes = len(scene.classes)
        shares = AreaShares(
            picture=class_shares(scene.labels, n_classes),
            zones={
                name: class_shares(scene.labels, n_classes, inside=mask)
                for name, mask in self._zones[frame.camera].of(scene.labels.shape).items()
            },
        )
        grid = class_grid(scene.labels, n_classes)
        timer.end("areas")
        return Mapped(
            camera=frame.camera,
            map=scene,
            captured_s=frame.captured_s,
            frame_seq=frame.seq,
            shares=shares,
            grid=grid,
            stages_ms=timer.stages_ms,
        )
