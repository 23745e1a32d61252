"""`python -m tools.bench [--json] [--quick] [--only PART] [--peer-python PATH]`: what edged costs on this machine.

Ratios within one run count, milliseconds are this machine's. A goal that is missed is said, and no error: these are
measurements, not tests.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from edged.errors import EdgedError
from edged.models.manifest import find_engine, load_manifest
from tools.bench.clip import FPS, draw_clip
from tools.bench.cost import measure_cost, n_frames_for
from tools.bench.maps import measure_maps
from tools.bench.peer import measure_peer
from tools.bench.report import Report, describe_machine
from tools.bench.service import CAMERAS_S, measure_many_cameras, measure_one_camera

PARTS = ("cost", "peer", "service", "cameras", "maps")
N_OBJECTS = 10
N_TURNS, N_TURNS_QUICK = 36, 6
SERVICE_S, SERVICE_QUICK_S = 30.0, 10.0
PEER_FRAMES, PEER_FRAMES_QUICK = 200, 40
START_S = 10.0
"""What a daemon may take to open its cameras while the clip already plays."""


def main(argv: list[str] | None = None) -> int:
    """Measure and print. Returns 0 unless something could not be measured."""
    arguments = _parse(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="edged-bench-") as directory:
            report = measure(arguments, Path(directory))
    except EdgedError as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report.to_json(), indent=1) if arguments.json else report.to_text())
    return 0


def measure(arguments: argparse.Namespace, directory: Path) -> Report:
    """Everything that was asked for, one after the other."""
    parts = arguments.only or PARTS
    machine = describe_machine()
    engine = find_engine(arguments.engine, config_dir=None, state_dir=None).absolute()
    input_size = load_manifest(engine).input
    n_turns = N_TURNS_QUICK if arguments.quick else N_TURNS
    n_frames = n_frames_for(n_turns)
    if "cameras" in parts:
        n_frames = max(n_frames, round(FPS * (CAMERAS_S + START_S)))
    if "maps" in parts and arguments.segmenter:
        n_frames = max(n_frames, round(FPS * (SERVICE_S + START_S)))
    _say("drawing the clip")
    clip = draw_clip(directory / "street.mp4", n_frames=n_frames)
    measured = {}
    if "cost" in parts:
        _say("cost of a frame")
        measured["cost"] = measure_cost(clip, engine=str(engine), n_objects=N_OBJECTS, n_turns=n_turns)
        measured["cost_as_seen"] = measure_cost(clip, engine=str(engine), n_objects=None, n_turns=n_turns)
    if "peer" in parts and arguments.peer_python:
        for name, is_minimal in (("peer_square", False), ("peer_minimal", True)):
            _say("the peer")
            measured[name] = measure_peer(
                clip,
                python=arguments.peer_python,
                directory=directory,
                size=max(input_size.width, input_size.height),
                n_frames=PEER_FRAMES_QUICK if arguments.quick else PEER_FRAMES,
                is_minimal=is_minimal,
            )
    if "service" in parts:
        _say("a daemon with one camera")
        seconds = SERVICE_QUICK_S if arguments.quick else SERVICE_S
        measured["one_camera"] = measure_one_camera(clip, engine=str(engine), directory=directory / "one", seconds=seconds)
    if "cameras" in parts:
        _say("a daemon with many cameras")
        measured["many_cameras"] = measure_many_cameras(clip, engine=str(engine), directory=directory / "many")
    if "maps" in parts and arguments.segmenter:
        _say("maps beside detections")
        measured["maps"] = measure_maps(
            clip,
            engine=str(engine),
            segmenter=find_engine(arguments.segmenter, config_dir=None, state_dir=None).absolute(),
            directory=directory / "maps",
            seconds=SERVICE_QUICK_S if arguments.quick else SERVICE_S,
            is_quick=arguments.quick,
        )
    return Report(machine=machine, **measured)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="fewer frames and seconds: a first impression")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone (repeatable)")
    parser.add_argument("--engine", default="detector", help="name or directory of the network (default: %(default)s)")
    parser.add_argument(
        "--segmenter", metavar="NAME", help="name or directory of the network that makes maps; without it maps are left out"
    )
    parser.add_argument(
        "--peer-python",
        type=Path,
        metavar="PATH",
        help="Python of the environment with requirements/bench.txt; without it the peer is left out",
    )
    return parser.parse_args(argv)


def _say(what: str) -> None:
    """Progress goes to standard error: standard output is the report."""
    print(f"measuring: {what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
