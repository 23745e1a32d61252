"""CPU milliseconds of one analysed frame, part by part, beside decoding alone and the network alone.

The parts time themselves: it is `edged.pipeline.process` with a CPU clock in place of the wall clock. The three that are
compared take turns of a quarter of a second each, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import cv2
import numpy as np

from edged import assembly
from edged.backends.base import Backend
from edged.backends.onnx import open_onnx_backend
from edged.clock import SystemClock, read_clock_quality
from edged.config import Config, load_config
from edged.models.detector import Detector
from edged.pipeline import FrameResult, process
from edged.runtime.backoff import Backoff
from edged.runtime.interpreter import settle_interpreter
from edged.runtime.journal import Journal
from edged.sources.base import FrameStream
from edged.sources.network import FileSource
from edged.types import Frame
from edged.vision.letterbox import GREY
from tools.bench.clip import HEIGHT, WIDTH
from tools.bench.scene import PlantedBackend

PARTS = ("decode", "convert", "motion", "letterbox", "infer", "nms", "track", "rules", "publish", "rest")
TURN_FRAMES = 10
"""Few, and so many turns: a median of three times as many differences errs by little more than half as much."""

WARM_UP_TURNS = 3
"""Not counted: tracks are not yet confirmed, caches are cold."""

_SITE = Path(__file__).resolve().parents[2] / "configs" / "demo.yaml"
_CAMERA = "street"


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU milliseconds a frame; each figure is the median over turns of a turn's mean.

    Attributes:
        parts_ms: by part, in the order of the pipeline; `rest` is what no part accounts for.
        pipeline_ms: everything, from the file to the sink.
        decode_alone_ms, engine_alone_ms: nothing but that, on the same frames in the same run.
        in_turns_ms: decoding and the network, frame by frame in turns and nothing else: each drives the other from the caches.
        overhead_ms: pipeline - decode alone - engine alone, turn by turn.
        own_ms: pipeline - in turns, turn by turn: what is ours alone.
        objects, detections, events: a frame, in the mean.
        n_frames: measured.
    """

    parts_ms: Mapping[str, float]
    pipeline_ms: float
    decode_alone_ms: float
    engine_alone_ms: float
    in_turns_ms: float
    overhead_ms: float
    own_ms: float
    objects: float
    detections: float
    events: float
    n_frames: int


@dataclass(frozen=True, slots=True)
class Turn:
    """CPU milliseconds a frame of one turn of each, and what the pipeline saw in it."""

    parts_ms: Mapping[str, float]
    pipeline_ms: float
    decode_alone_ms: float
    engine_alone_ms: float
    in_turns_ms: float
    objects: float
    detections: float
    events: float


def measure_cost(clip: Path, *, engine: str, n_objects: int | None, n_turns: int) -> Cost:
    """Measure on a clip of at least `n_frames_for(n_turns)` frames.

    Args:
        engine: name or path.
        n_objects: how many objects the network is made to see; None: what it does see.
    """
    cv2.setNumThreads(1)
    config = load_config(
        _SITE,
        overrides={
            "detector.engine": engine,
            f"cameras.{_CAMERA}.source": str(clip),
            f"cameras.{_CAMERA}.motion": "{enabled: false}",
        },
    )
    with ExitStack() as stack:
        bench = stack.enter_context(_Bench(clip, config, n_objects=n_objects))
        settle_interpreter()  # as the daemon does
        turns = [bench.take_turn() for _ in range(WARM_UP_TURNS + n_turns)]
    return summarise(turns[WARM_UP_TURNS:])


def n_frames_for(n_turns: int) -> int:
    """How many frames of a clip so many turns use up."""
    return 2 * TURN_FRAMES * (WARM_UP_TURNS + n_turns)


def summarise(turns: list[Turn]) -> Cost:
    """The medians of turns; the overhead is taken turn by turn, where all three had the same machine."""
    return Cost(
        parts_ms={part: median(turn.parts_ms.get(part, 0.0) for turn in turns) for part in PARTS},
        pipeline_ms=median(turn.pipeline_ms for turn in turns),
        decode_alone_ms=median(turn.decode_alone_ms for turn in turns),
        engine_alone_ms=median(turn.engine_alone_ms for turn in turns),
        in_turns_ms=median(turn.in_turns_ms for turn in turns),
        own_ms=median(turn.pipeline_ms - turn.in_turns_ms for turn in turns),
        overhead_ms=median(turn.pipeline_ms - turn.decode_alone_ms - turn.engine_alone_ms for turn in turns),
        objects=fmean(turn.objects for turn in turns),
        detections=fmean(turn.detections for turn in turns),
        events=fmean(turn.events for turn in turns),
        n_frames=len(turns) * TURN_FRAMES,
    )


class _Bench:
    """One camera's pipeline, a second decoder and the bare network; a context manager."""

    def __init__(self, clip: Path, config: Config, *, n_objects: int | None) -> None:
        self._config = config
        self._source = FileSource(clip)
        self._n_objects = n_objects
        self._stack = ExitStack()
        self._seq = 0

    def __enter__(self) -> _Bench:
        config = self._config
        directory, manifest = assembly.find_manifest(config)
        self._backend: Backend = self._stack.enter_context(open_onnx_backend(directory / manifest.onnx.file, threads=1))
        answering = self._backend
        if self._n_objects is not None:
            answering = PlantedBackend(self._backend, manifest, n_objects=self._n_objects)
        self._detector = Detector(manifest, answering)
        self._detector.warm_up()
        grey = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
        self._feeds = {manifest.input.name: self._detector.prepare([grey]).tensor.copy()}
        self._cameras = {_CAMERA: assembly.make_pipeline(config.cameras[_CAMERA], config, manifest)}
        self._stream: FrameStream = self._stack.enter_context(self._source.open())
        self._decoded_alone: FrameStream = self._stack.enter_context(self._source.open())
        self._clock = SystemClock()
        sink = assembly.make_sink(config, backoff=Backoff(first_s=1, most_s=60, rng=random.Random(0)))
        self._stack.callback(sink.close)
        self._journal = Journal(device=config.device, epoch="bench", clock=self._clock, quality=read_clock_quality, sinks=[sink])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take_turn(self) -> Turn:
        """Decoding alone, the network alone, the pipeline as it ships, the pipeline with a CPU clock around every part."""
        decode_ms = _mean_cpu_ms(self._decoded_alone.read, TURN_FRAMES)
        engine_ms = _mean_cpu_ms(self._infer, TURN_FRAMES)
        in_turns_ms = _mean_cpu_ms(lambda: (self._decoded_alone.read(), self._infer()), TURN_FRAMES)
        seen: list[_Seen] = []
        pipeline_ms = _mean_cpu_ms(lambda: seen.append(_count(self._analyse(time.monotonic, {}))), TURN_FRAMES)
        parts_ms: Counter[str] = Counter()
        timed_ms = _mean_cpu_ms(lambda: seen.append(_count(self._analyse(time.process_time, parts_ms))), TURN_FRAMES)
        parts_ms = Counter({part: ms / TURN_FRAMES for part, ms in parts_ms.items()})
        parts_ms["rest"] = timed_ms - parts_ms.total()
        return Turn(
            parts_ms=parts_ms,
            pipeline_ms=pipeline_ms,
            decode_alone_ms=decode_ms,
            engine_alone_ms=engine_ms,
            in_turns_ms=in_turns_ms,
            objects=fmean(each.objects for each in seen),
            detections=fmean(each.detections for each in seen),
            events=fmean(each.events for each in seen),
        )

    def _infer(self) -> None:
        """The bare network on a picture that was prepared before."""
        self._backend.infer(self._feeds)

    def _analyse(self, now_s: Callable[[], float], parts_ms: dict[str, float]) -> FrameResult:
        """One frame from the file to the sink; what its parts took on this clock is added up."""
        began_s = now_s()
        source_frame = self._stream.read()
        decoded_s = now_s()
        self._seq += 1
        captured_s = source_frame.stream_s or 0.0
        frame = Frame(
            camera=_CAMERA,
            seq=self._seq,
            captured_s=captured_s,
            captured_at=self._clock.at(captured_s),
            width=source_frame.width,
            height=source_frame.height,
            make_pixels_rgb=source_frame.make_pixels_rgb,
        )
        (result,) = process([frame], self._cameras, self._detector, now_s=now_s)
        processed_s = now_s()
        self._journal.publish_events(_CAMERA, result.events, stages_ms=result.stages_ms)
        own_ms = {"decode": 1000 * (decoded_s - began_s), "publish": 1000 * (now_s() - processed_s)}
        for part, ms in {**result.stages_ms, **own_ms}.items():
            parts_ms[part] = parts_ms.get(part, 0.0) + ms
        return result


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the pipeline saw in one frame."""

    objects: int
    detections: int
    events: int


def _count(result: FrameResult) -> _Seen:
    """The numbers of a result, whose picture is not kept: a daemon keeps none, and fresh memory for each costs 0.4 ms."""
    return _Seen(len(result.tracks.confirmed), len(result.detections or ()), len(result.events))


def _mean_cpu_ms(work: Callable[[], object], n: int) -> float:
    began_ns = time.process_time_ns()
    for _ in range(n):
        work()
    return (time.process_time_ns() - began_ns) / 1e6 / n
