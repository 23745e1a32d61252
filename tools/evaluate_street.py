"""Judges events against the truth of the drawn street: `python -m tools.evaluate_street [--engine NAME] [--seeds 3 5]`.

A recording of each street goes through the pipeline with the demo's configuration, every frame analysed. Seeds under 1000
belong to tests and to this tool; the shipped network never saw them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edged.config import load_config
from edged.errors import EXIT_CONFIG, EdgedError
from edged.replay import CollectingSink, Replay
from edged.sources.street import StreetSource
from edged.street.scene import Street
from edged.street.truth import StreetEvent, truth_events

JUDGED = ("zone.enter", "zone.leave", "zone.dwell", "line.crossed")
CLEAR_FRAMES = 3
"""How far from the truth a report of a clear event may be."""
UNCLEAR_FRAMES = 30
"""The same for an event of which the truth itself says that an observer could be unsure."""
DEMO = Path(__file__).resolve().parents[1] / "configs" / "demo.yaml"


@dataclass(frozen=True, slots=True)
class Seen:
    """One event, reduced to what truth and rules both say; frames from 0."""

    frame: int
    kind: str
    place: str
    class_name: str
    direction: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run.

    Attributes:
        n_clear: events that every observer must see.
        missing: those of them that nobody reported in time.
        n_reported: reported events.
        invented: those of them that fit no true event, clear or not.
    """

    n_clear: int
    missing: tuple[StreetEvent, ...]
    n_reported: int
    invented: tuple[Seen, ...]

    @property
    def recall(self) -> float:
        """Share of the clear events that were reported in time."""
        return 1.0 - len(self.missing) / max(1, self.n_clear)

    @property
    def invented_ratio(self) -> float:
        """Share of the reports that stand for nothing."""
        return len(self.invented) / max(1, self.n_reported)


def main(argv: Sequence[str] | None = None) -> int:
    """Print recall and inventions for each street."""
    parser = argparse.ArgumentParser(prog="python -m tools.evaluate_street", description=main.__doc__)
    parser.add_argument("--engine", help="name or directory of the network (default: the demo's)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5], help="which streets (default: 3 5)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to watch each (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object a street")
    arguments = parser.parse_args(argv)
    try:
        for seed in arguments.seeds:
            verdict = evaluate(seed, seconds=arguments.seconds, engine=arguments.engine)
            print(json.dumps({"seed": seed, **asdict(verdict)}) if arguments.json else _describe(seed, verdict), flush=True)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    return 0


def evaluate(seed: int, *, seconds: float, engine: str | None = None) -> Verdict:
    """Watch a street with a network, the demo's if none is named, and judge what was said.

    Raises:
        ConfigError: the engine cannot be used.
    """
    collected, street = CollectingSink(), Street(seed)
    config = load_config(DEMO, overrides={"detector.engine": json.dumps(engine)} if engine else {})
    replay = Replay(config, "street", every_frame=True, start_at=0.0, sinks=[collected])
    replay.run(StreetSource(seed=seed, seconds=seconds, is_live=False))
    truth = truth_events(street, 0, int(seconds * street.fps) - 1)
    return judge(read_events(collected.bodies), truth, clear_frames=CLEAR_FRAMES, unclear_frames=UNCLEAR_FRAMES)


def read_events(bodies: Iterable[bytes]) -> list[Seen]:
    """The judged events among the messages of a replay of every frame.

    What no frame decided is left out: objects end with the recording, while the street goes on.
    """
    seen = []
    for body in bodies:
        event = json.loads(body)
        if event["type"] in JUDGED and event["frame"]["seq"]:
            place = event.get("zone") or event["line"]
            direction = event.get("direction")
            seen.append(Seen(event["frame"]["seq"] - 1, event["type"], place, event["object"]["class"], direction))
    return seen


def judge(seen: Sequence[Seen], truth: Sequence[StreetEvent], *, clear_frames: int, unclear_frames: int) -> Verdict:
    """Give every true event the nearest report that fits, the clear ones first."""
    left, missing = list(seen), []
    for true in sorted(truth, key=lambda true: (not true.is_clear, true.frame)):
        reach = clear_frames if true.is_clear else unclear_frames
        fitting = [report for report in left if _fits(report, true, reach)]
        if fitting:
            left.remove(min(fitting, key=lambda report: abs(report.frame - true.frame)))
        elif true.is_clear:
            missing.append(true)
    return Verdict(sum(true.is_clear for true in truth), tuple(missing), len(seen), tuple(left))


def _fits(report: Seen, true: StreetEvent, reach: int) -> bool:
    what = (report.kind, report.place, report.class_name, report.direction)
    return what == (true.kind, true.place, true.class_name, true.direction) and abs(report.frame - true.frame) <= reach


def _describe(seed: int, verdict: Verdict) -> str:
    head = f"street {seed}: {verdict.recall:.1%} of {verdict.n_clear} clear events within {CLEAR_FRAMES} frames"
    lines = [f"{head}, {verdict.invented_ratio:.1%} of {verdict.n_reported} reports invented"]
    lines += [f"  missing:  {event.kind} {event.place} {event.class_name} at frame {event.frame}" for event in verdict.missing]
    lines += [f"  invented: {seen.kind} {seen.place} {seen.class_name} at frame {seen.frame}" for seen in verdict.invented]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
