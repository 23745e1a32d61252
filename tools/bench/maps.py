"""What maps cost: CPU of one of them, memory, and how much slower a detection is beside them than without, in the same run."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import yaml

from edged import assembly
from edged.brokers import open_broker
from edged.errors import InputError
from edged.events.schema import EventMessage
from edged.events.wire import decode_event
from edged.pipeline import FrameResult
from edged.runtime.maps import MapPace, MapWatch
from edged.sources.network import FileSource
from edged.types import Frame, Tracks
from tools.bench.service import SITE, DaemonChild, Subscriber, make_config, percentile

MAP_EVERY_S = 2.0
"""Five times as often as by default: what is measured are detections beside maps, so there must be some."""

DETECTION = ("convert", "motion", "letterbox", "infer", "nms")
"""The stages from a captured frame to its detections."""

N_MAPS, N_MAPS_QUICK = 30, 5
_WARM_UP_MAPS = 2
_START_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class MapsCost:
    """Maps of one camera beside its detections.

    Attributes:
        segmenter: which network, and its input.
        cpu_ms_per_map: of one thread, network and shares by zone, median of `n_alone` maps.
        n_alone: so many were made with nothing beside them.
        n_maps: made beside the detections.
        n_detections_off, n_detections_on: frames whose detection was timed.
        detect_ms_p50_off, detect_ms_p99_off: milliseconds of a detection, by the clock on the wall, without maps.
        detect_ms_p50_on, detect_ms_p99_on: likewise with a map every `MAP_EVERY_S`.
        peak_rss_mb_off, peak_rss_mb_on: most memory of the daemon.
    """

    segmenter: str
    cpu_ms_per_map: float
    n_alone: int
    n_maps: int
    n_detections_off: int
    n_detections_on: int
    detect_ms_p50_off: float
    detect_ms_p99_off: float
    detect_ms_p50_on: float
    detect_ms_p99_on: float
    peak_rss_mb_off: float
    peak_rss_mb_on: float

    @property
    def p99_ratio(self) -> float:
        """How many times as long a slow detection takes beside maps."""
        return self.detect_ms_p99_on / self.detect_ms_p99_off


@dataclass(frozen=True, slots=True)
class _Service:
    """One run of a daemon: milliseconds of each timed detection, maps made, most memory."""

    detect_ms: tuple[float, ...]
    n_maps: int
    peak_rss_mb: float


def measure_maps(clip: Path, *, engine: str, segmenter: Path, directory: Path, seconds: float, is_quick: bool) -> MapsCost:
    """Measure maps alone in this process, then daemons without and with them in turns, each for so many seconds, twice."""
    directory.mkdir()
    n_alone = N_MAPS_QUICK if is_quick else N_MAPS
    label, cpu_ms = measure_alone(clip, segmenter=segmenter, n_maps=n_alone)
    runs: dict[bool, list[_Service]] = {False: [], True: []}
    for turn in range(2 if is_quick else 4):
        has_maps = turn % 2 == 1
        runs[has_maps].append(
            _serve(clip, engine, segmenter if has_maps else None, directory=directory / str(turn), seconds=seconds)
        )
    off = [ms for run in runs[False] for ms in run.detect_ms]
    on = [ms for run in runs[True] for ms in run.detect_ms]
    return MapsCost(
        segmenter=label,
        cpu_ms_per_map=median(cpu_ms),
        n_alone=n_alone,
        n_maps=sum(run.n_maps for run in runs[True]),
        n_detections_off=len(off),
        n_detections_on=len(on),
        detect_ms_p50_off=median(off),
        detect_ms_p99_off=percentile(off, 99),
        detect_ms_p50_on=median(on),
        detect_ms_p99_on=percentile(on, 99),
        peak_rss_mb_off=max(run.peak_rss_mb for run in runs[False]),
        peak_rss_mb_on=max(run.peak_rss_mb for run in runs[True]),
    )


def measure_alone(clip: Path, *, segmenter: Path, n_maps: int) -> tuple[str, list[float]]:
    """The segmenter's label, and CPU milliseconds of each of so many maps of the clip, with the zones of the demo's site."""
    cv2.setNumThreads(1)
    (camera,) = yaml.safe_load(SITE.read_text(encoding="utf-8"))["cameras"].values()
    zones = {name: [tuple(corner) for corner in zone["polygon"]] for name, zone in camera["zones"].items()}
    watch = MapWatch(zones={"bench": zones}, pace=MapPace(every_s=0), now_s=time.process_time)
    cpu_ms = []
    with assembly.open_segmenter(segmenter) as network, FileSource(clip).open() as stream:
        for index in range(_WARM_UP_MAPS + n_maps):
            read = stream.read()
            frame = Frame("bench", index + 1, float(index), float(index), read.width, read.height, read.make_pixels_rgb)
            watch.put(FrameResult(frame, None, Tracks((), ()), (), {}))
            watch.work(network)
            (mapped,) = watch.take()
            cpu_ms.append(sum(mapped.stages_ms.values()))
        size = f"{network.manifest.input.width}x{network.manifest.input.height}"
        label = f"{network.label}, {size}"
    return label, cpu_ms[_WARM_UP_MAPS:]


def detection_ms(events: Sequence[EventMessage]) -> list[float]:
    """Milliseconds of the detection of each frame that these events tell of, once a frame."""
    by_frame = {event.frame.seq: event.stages_ms for event in events if event.stages_ms and "infer" in event.stages_ms}
    return [sum(stages.get(stage, 0.0) for stage in DETECTION) for stages in by_frame.values()]


def _serve(clip: Path, engine: str, segmenter: Path | None, *, directory: Path, seconds: float) -> _Service:
    """A daemon on one camera whose objects are reported with every frame."""
    camera = {"objects": {"update_every_s": 0.2, "update_min_s": 0}, "motion": {"enabled": False}}
    with ExitStack() as stack:
        broker = stack.enter_context(open_broker())
        subscriber = stack.enter_context(Subscriber(broker))
        config = make_config(clip, engine=engine, broker=broker, **camera)
        if segmenter is not None:
            config["segmentation"] = {"enabled": True, "engine": str(segmenter), "every_s": MAP_EVERY_S}
        daemon = stack.enter_context(DaemonChild(directory, config))
        subscriber.wait_for("/event/", limit_s=_START_LIMIT_S, daemon=daemon)
        subscriber.listen(seconds)
        peak_rss_mb = daemon.peak_rss_mb()
        daemon.stop()
    detect_ms = detection_ms([decode_event(each.body) for each in subscriber.arrivals if "/event/" in each.topic])
    if not detect_ms:
        raise InputError("the daemon sent no event that an analysed frame decided")
    made = re.search(r"maps: made=(\d+)", daemon.log_tail())
    return _Service(tuple(detect_ms), int(made[1]) if made else 0, peak_rss_mb)
