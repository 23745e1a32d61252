"""Rules of the simulated detector and of what is tuned with it."""

import numpy as np
import pytest

from edged.street.scene import StreetTruth
from edged.tracking.settings import TrackerSettings
from tools import tune_tracking
from tools.simulated_detections import DetectorFaults, SimulatedDetector

CLASS_NAMES = ["person", "bicycle", "car", "motorcycle", "bus", "truck"]
NO_FAULTS = DetectorFaults(
    mean_score=0.9, score_spread=0.0, miss_ratio=0.0, jitter_ratio=0.0, double_ratio=0.0, confused_ratio=0.0, phantoms_per_s=0.0
)


def _truth(*, visible: float = 1.0) -> StreetTruth:
    boxes = np.array([[100, 100, 140, 200], [300, 150, 400, 200]], np.float32)
    return StreetTruth(boxes, ("person", "car"), np.array([3, 8]), np.array([visible, 1.0], np.float32))


def _watch(faults: DetectorFaults, *, frames: int, seed: int = 1, fps: float = 10.0) -> list:
    detector = SimulatedDetector(faults, class_names=CLASS_NAMES, width=640, height=360, seed=seed)
    return [detector.detect(_truth(), now_s=index / fps, step_s=1 / fps) for index in range(frames)]


def test_simulated_detector_without_faults_reports_the_truth():
    """All ratios at zero: the boxes and classes of the truth, at the mean score."""
    (detections,) = _watch(NO_FAULTS, frames=1)

    np.testing.assert_array_equal(detections.boxes, _truth().boxes)
    np.testing.assert_allclose(detections.scores, 0.9)
    assert detections.class_ids.tolist() == [0, 2]


def test_simulated_detector_same_seed_sees_the_same():
    """Everything follows from the seed, and another seed is another detector."""
    first, second, other = (_watch(DetectorFaults(), frames=20, seed=seed) for seed in (1, 1, 2))

    assert [seen.boxes.tolist() for seen in first] == [seen.boxes.tolist() for seen in second]
    assert [seen.boxes.tolist() for seen in first] != [seen.boxes.tolist() for seen in other]


def test_simulated_detector_hidden_object_is_not_seen():
    """Nothing visible: its score falls under what is reported."""
    detector = SimulatedDetector(NO_FAULTS, class_names=CLASS_NAMES, width=640, height=360, seed=1)

    detections = detector.detect(_truth(visible=0.0), now_s=0.0, step_s=0.1)

    assert detections.class_ids.tolist() == [2]


@pytest.mark.parametrize("fps", [5.0, 30.0], ids=["5 fps", "30 fps"])
def test_simulated_detector_misses_and_invents_as_often_as_set(fps):
    """Shares are met within sampling noise at any frame rate; phantoms are there for half a second on average."""
    faults = DetectorFaults(
        mean_score=0.9, score_spread=0.0, miss_ratio=0.25, double_ratio=0.0, confused_ratio=0.0, phantoms_per_s=2.0
    )

    seen = _watch(faults, frames=int(80 * fps), fps=fps)

    true_share = np.mean([np.count_nonzero(frame.scores > 0.85) for frame in seen]) / 2
    phantoms = np.mean([np.count_nonzero(frame.scores < 0.85) for frame in seen])
    assert true_share == pytest.approx(0.75, abs=0.06)
    assert 0.5 < phantoms < 1.5


def test_street_crowd_lower_objects_hide_those_behind_them():
    """Streets laid over one another: the nearer box hides what it covers, ids stay apart."""
    behind = StreetTruth(np.array([[100, 100, 140, 180]], np.float32), ("person",), np.array([3]), np.ones(1, np.float32))
    before = StreetTruth(np.array([[100, 140, 140, 220]], np.float32), ("person",), np.array([3]), np.ones(1, np.float32))

    crowd = tune_tracking.laid_over([before, behind])

    np.testing.assert_array_equal(crowd.boxes[:, 3], [180, 220])
    np.testing.assert_allclose(crowd.visible, [0.5, 1.0])
    assert len(set(crowd.track_ids.tolist())) == 2


@pytest.mark.parametrize(
    ("name", "read"),
    [
        pytest.param("high_iou", lambda settings: settings.high_iou, id="of the tracker"),
        pytest.param("sway_ratio", lambda settings: settings.noise.sway_ratio, id="of the filter"),
    ],
)
def test_with_setting_changes_one_number(name, read):
    """The others stay as shipped."""

    changed = tune_tracking.with_setting(TrackerSettings(), name, 0.33)

    assert read(changed) == 0.33
    assert tune_tracking.with_setting(changed, name, read(TrackerSettings())) == TrackerSettings()


def test_with_setting_unknown_name_is_refused():
    """A misspelt setting must not look as if it made no difference."""

    with pytest.raises(ValueError, match="high_iuo"):
        tune_tracking.with_setting(TrackerSettings(), "high_iuo", 0.3)
