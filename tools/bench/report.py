"""What was measured, against what was wanted, for people and for programs."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tools.bench.cost import Cost
from tools.bench.maps import MAP_EVERY_S, MapsCost
from tools.bench.peer import PeerCost
from tools.bench.service import ManyCameras, OneCamera

OVERHEAD_MS = 1.0
PEAK_RSS_MB = 300.0
FIRST_EVENT_S = 3.0
OWN_DELAY_MS = 20.0
P99_RATIO = 1.2


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that must not exceed its limit."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def is_met(self) -> bool:
        """Whether the figure is within its limit; at the limit it is."""
        return self.value <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything measured in one run; None where it was left out.

    Attributes:
        machine: facts about where it was measured.
        cost: with ten objects planted into the network's answer.
        cost_as_seen: with the network's own answer.
        peer_square, peer_minimal: on the same input size, and on the input that it would choose.
    """

    machine: Mapping[str, object]
    cost: Cost | None = None
    cost_as_seen: Cost | None = None
    peer_square: PeerCost | None = None
    peer_minimal: PeerCost | None = None
    one_camera: OneCamera | None = None
    many_cameras: ManyCameras | None = None
    maps: MapsCost | None = None

    def goals(self) -> list[Goal]:
        """The goals that this run can judge."""
        goals = []
        if self.cost:
            goals.append(Goal("pipeline beyond decoding and network", self.cost.overhead_ms, OVERHEAD_MS, "CPU-ms a frame"))
        if self.one_camera:
            one = self.one_camera
            goals += [
                Goal("peak memory, one camera", one.peak_rss_mb, PEAK_RSS_MB, "MB"),
                Goal("first event after start", one.first_event_s, FIRST_EVENT_S, "s"),
                Goal("delay beyond the network, p99", one.own_ms_p99, OWN_DELAY_MS, "ms"),
            ]
        if self.many_cameras:
            goals.append(Goal(f"frames dropped, {self.many_cameras.n_cameras} cameras", self.many_cameras.dropped, 0, "frames"))
        if self.maps:
            goals.append(Goal("detection p99 with maps on / off", self.maps.p99_ratio, P99_RATIO, "times"))
        return goals

    def to_json(self) -> dict[str, object]:
        """Every figure, and every goal with its verdict."""
        figures = asdict(self)
        return {**figures, "goals": [{**asdict(goal), "ok": goal.is_met} for goal in self.goals()]}

    def to_text(self) -> str:
        """A table for people."""
        lines = ["machine: " + ", ".join(f"{name} {value}" for name, value in self.machine.items())]
        if self.cost and self.cost_as_seen:
            lines += ["", *_cost_lines(self.cost, self.cost_as_seen)]
        if self.peer_square and self.peer_minimal:
            lines += ["", *_peer_lines(self.peer_square, self.peer_minimal, self.cost)]
        if self.one_camera:
            lines += ["", *_one_camera_lines(self.one_camera)]
        if self.many_cameras:
            lines += ["", *_many_cameras_lines(self.many_cameras)]
        if self.maps:
            lines += ["", *_maps_lines(self.maps)]
        lines.append("")
        for goal in self.goals():
            verdict = "ok" if goal.is_met else "GOAL MISSED"
            lines.append(f"{verdict:>11}  {goal.name}: {goal.value:.2f}, goal <= {goal.limit:g} {goal.unit}")
        return "\n".join(lines)


def describe_machine() -> dict[str, object]:
    """Where and on what this is measured, and how busy it was before."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in ("onnxruntime", "numpy", "av", "opencv-python-headless")},
        "revision": revision(),
    }


def cpu_model() -> str:
    """What the kernel calls the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def revision() -> str:
    """What git calls the checkout, `unknown` where there is none."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        return "unknown"
    return done.stdout.strip()


def _cost_lines(planted: Cost, seen: Cost) -> list[str]:
    lines = [
        f"CPU-ms of one analysed frame, medians of {planted.n_frames} frames each, one thread, motion gate off",
        f"{'':<28}{'10 objects planted':>20}{'as the network sees':>21}",
    ]
    rows = [(part, ms, seen.parts_ms[part]) for part, ms in planted.parts_ms.items()]
    rows += [
        ("whole pipeline", planted.pipeline_ms, seen.pipeline_ms),
        ("decoding alone", planted.decode_alone_ms, seen.decode_alone_ms),
        ("network alone", planted.engine_alone_ms, seen.engine_alone_ms),
        ("both, frame by frame", planted.in_turns_ms, seen.in_turns_ms),
        ("whole - alone - alone", planted.overhead_ms, seen.overhead_ms),
        ("whole - both", planted.own_ms, seen.own_ms),
        ("tracked objects a frame", planted.objects, seen.objects),
        ("detections a frame", planted.detections, seen.detections),
        ("events a frame", planted.events, seen.events),
    ]
    return lines + [f"{name:<28}{a:>20.3f}{b:>21.3f}" for name, a, b in rows]


def _peer_lines(square: PeerCost, minimal: PeerCost, ours: Cost | None) -> list[str]:
    own = f"; ours {ours.pipeline_ms:.1f}" if ours else ""
    nms = "" if square.has_torchvision else ", its own suppression for want of a torchvision that fits"
    return [
        f"YOLO11n with ByteTrack on the same clip, one thread: {square.version}",
        f"random weights, {square.boxes_per_frame:.1f} boxes a frame{nms}",
        f"{'input of the same size':<28}{square.cpu_ms_per_frame:>8.1f} CPU-ms a frame, {square.frames_per_s:.1f} frames/s{own}",
        f"{'input as it chooses':<28}{minimal.cpu_ms_per_frame:>8.1f} CPU-ms a frame, {minimal.frames_per_s:.1f} frames/s",
    ]


def _one_camera_lines(one: OneCamera) -> list[str]:
    return [
        f"a daemon with one camera of 640x360: peak {one.peak_rss_mb:.0f} MB, first event after {one.first_event_s:.2f} s",
        f"from capture to the subscriber, {one.n_events} events: p50 {one.delay_ms_p50:.1f} ms, p99 {one.delay_ms_p99:.1f} ms",
        f"of that the network p50 {one.infer_ms_p50:.1f} ms; the rest p50 {one.own_ms_p50:.1f} ms, p99 {one.own_ms_p99:.1f} ms",
    ]


def _many_cameras_lines(many: ManyCameras) -> list[str]:
    return [
        f"a daemon with {many.n_cameras} cameras of 640x360 at 15 frames/s, 5 analysed, for {many.seconds:.0f} s",
        f"{many.captured} frames captured, {many.analysed} analysed, {many.dropped} dropped; peak {many.peak_rss_mb:.0f} MB",
        f"{many.cpu_cores:.2f} cores busy, {many.cpu_ms_per_frame:.1f} CPU-ms an analysed frame, three decoded for it",
    ]


def _maps_lines(maps: MapsCost) -> list[str]:
    off = f"p50 {maps.detect_ms_p50_off:.1f} ms, p99 {maps.detect_ms_p99_off:.1f} ms, {maps.n_detections_off} frames"
    on = f"p50 {maps.detect_ms_p50_on:.1f} ms, p99 {maps.detect_ms_p99_on:.1f} ms, {maps.n_detections_on} frames"
    return [
        f"maps by {maps.segmenter}: {maps.cpu_ms_per_map:.1f} CPU-ms a map, median of {maps.n_alone}",
        f"a daemon with one camera of 640x360: peak {maps.peak_rss_mb_off:.0f} MB, with maps {maps.peak_rss_mb_on:.0f} MB",
        f"a detection without maps: {off}",
        f"beside {maps.n_maps} maps, one every {MAP_EVERY_S:g} s: {on}",
    ]
