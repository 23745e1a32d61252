"""What truly happens on the drawn street comes out of tracker and rules: exactly the known events."""

import numpy as np
import pytest

from edged.events.event import Event
from edged.rules.engine import Rules
from edged.rules.settings import ClassLimits, LineSettings, RuleSettings, ZoneSettings
from edged.street.scene import Street, StreetTruth
from edged.street.truth import STREET_LINES, STREET_ZONES, truth_events
from edged.tracking.tracker import Tracker, TrackerSettings
from edged.types import Detections
from tools.evaluate_street import JUDGED, Seen, judge

CLASS_NAMES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")
SECONDS = 60
FPS = 15.0

MISS_SHARE = 0.1
NOISE_SHARE = 0.01  # standard deviation of each edge, as a share of the box's side
LEAST_VISIBLE = 0.3
LEAST_HEIGHT_PX = 12.0

CLEAR_FRAMES = 5
"""How late a clear event may be: three missed detections in a row hide an object for that long."""

UNCLEAR_FRAMES = 30
"""How far from the truth an event may be of which the truth itself says that an observer could be unsure."""


def make_rules() -> Rules:
    zones = tuple(
        ZoneSettings(zone.name, zone.polygon_norm, dict.fromkeys(zone.classes, ClassLimits()), dwell_s=zone.dwell_s)
        for zone in STREET_ZONES
    )
    lines = tuple(
        LineSettings(line.name, line.start_norm, line.end_norm, dict.fromkeys(line.classes, ClassLimits()))
        for line in STREET_LINES
    )
    return Rules(RuleSettings(zones, lines), class_names=CLASS_NAMES)


def spoil(truth: StreetTruth, rng: np.random.Generator) -> Detections:
    """What a good detector might have seen of the truth."""
    is_seen = (truth.visible >= LEAST_VISIBLE) & (truth.boxes[:, 3] - truth.boxes[:, 1] >= LEAST_HEIGHT_PX)
    keep = is_seen & (rng.random(len(truth)) >= MISS_SHARE)
    sides = np.tile(truth.boxes[:, 2:] - truth.boxes[:, :2], 2)
    boxes = (truth.boxes + rng.normal(0, NOISE_SHARE, truth.boxes.shape) * sides).astype(np.float32)
    class_ids = np.array([CLASS_NAMES.index(name) for name in truth.class_names], np.int64)
    scores = rng.uniform(0.65, 0.95, len(truth)).astype(np.float32)
    return Detections(boxes[keep], scores[keep], class_ids[keep])


def watch(street: Street, n_frames: int, *, seed: int) -> list[Seen]:
    rng = np.random.default_rng(seed)
    tracker, rules = Tracker(TrackerSettings(), class_names=CLASS_NAMES), make_rules()
    events: list[Event] = []
    for index in range(n_frames):
        now_s = index / street.fps
        tracks = tracker.update(spoil(street.truth(index), rng), now_s=now_s)
        events += rules.update(tracks, now_s=now_s, frame_seq=index, width=street.width, height=street.height)
    return [reduce_event(event) for event in events if event.type.value in JUDGED]


def reduce_event(event: Event) -> Seen:
    direction = None if event.direction is None else event.direction.value
    return Seen(event.frame_seq, event.type.value, event.zone or event.line, event.object.class_name, direction)


@pytest.mark.parametrize("seed", [4, 6])
def test_street_truth_with_misses_and_noise_gives_exactly_the_known_events(seed):
    """Of a minute with a tenth of the detections missing, every clear event is found once and nothing is invented."""
    street = Street(seed, fps=FPS)
    n_frames = int(SECONDS * FPS)

    seen = watch(street, n_frames, seed=seed)

    truth = truth_events(street, 0, n_frames - 1)
    verdict = judge(seen, truth, clear_frames=CLEAR_FRAMES, unclear_frames=UNCLEAR_FRAMES)
    assert verdict.n_clear >= 50
    assert verdict.missing == ()
    assert verdict.invented == ()
