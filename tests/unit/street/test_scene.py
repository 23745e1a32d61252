"""Frames of the drawn street and the truth about them."""

import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from edged.street import surfaces
from edged.street.backdrop import Light
from edged.street.plan import CYCLE_S, Kind
from edged.street.scene import Street

FPS = 15.0

RIDDEN = ("bicycle", "motorcycle")

HASH_PROGRAM = """
import hashlib
from edged.street.scene import Street
street = Street(11)
digest = hashlib.sha256()
for index in (0, 333, 20000):
    digest.update(street.frame(index).tobytes())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def street() -> Street:
    return Street(11, fps=FPS)


def test_frame_any_index_is_an_rgb_picture(street: Street) -> None:
    """A frame has the size asked for and belongs to the caller."""
    pixels = street.frame(100)
    pixels[:] = 0

    again = street.frame(100)

    assert again.shape == (360, 640, 3)
    assert again.dtype == np.uint8
    assert again.any()


def test_frame_order_of_calls_changes_nothing(street: Street) -> None:
    """A frame depends on its index alone, whatever was drawn before it."""
    forwards = [street.frame(index) for index in range(0, 3000, 150)]

    fresh = Street(11, fps=FPS)
    backwards = [fresh.frame(index) for index in range(2850, -1, -150)]

    assert all(np.array_equal(one, other) for one, other in zip(forwards, backwards[::-1], strict=True))


def test_frame_in_another_process_has_the_same_bits(street: Street) -> None:
    """Two processes draw the same street."""
    digest = hashlib.sha256(b"".join(street.frame(index).tobytes() for index in (0, 333, 20000))).hexdigest()

    printed = subprocess.run([sys.executable, "-c", HASH_PROGRAM], capture_output=True, text=True, check=True, timeout=60).stdout

    assert printed.strip() == digest


def test_frame_another_seed_shows_another_street(street: Street) -> None:
    """Seeds differ in houses, weather and people."""
    other = Street(12, fps=FPS)

    difference = np.abs(street.frame(50).astype(int) - other.frame(50)).mean()

    assert difference > 10
    assert not np.array_equal(street.truth(50).boxes, other.truth(50).boxes)


def test_frame_two_indices_differ_in_noise(street: Street) -> None:
    """No two frames are bit for bit the same, even where nothing moves."""
    empty, next_empty = street.frame(10, only=()), street.frame(11, only=())

    difference = np.abs(empty.astype(int) - next_empty)

    assert 0.5 < difference.mean() < 6


@pytest.mark.parametrize(("width", "height"), [(640, 360), (480, 270), (1280, 720)])
def test_truth_boxes_fit_what_is_drawn(width: int, height: int) -> None:
    """A truth box encloses the pixels that its object changes in an empty street, to within their soft edge."""
    street = Street(3, width=width, height=height, light=Light(sky=1, tint=(1, 1, 1), shadow_lean=0.5, shadow_opacity=0.0))
    gaps = []

    for index in range(0, 1200, 100):
        truth = street.truth(index)
        empty = street.frame(index, only=()).astype(int)
        for box, track_id, visible in zip(truth.boxes, truth.track_ids, truth.visible, strict=True):
            if visible > 0.97:
                changed = np.abs(street.frame(index, only=(int(track_id),)) - empty).max(axis=2) > 5
                rows, columns = np.nonzero(changed)
                drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                gaps.append(np.abs(drawn - box).max())

    assert len(gaps) > 20
    assert max(gaps) < 1.6


def test_truth_hidden_objects_are_marked(street: Street) -> None:
    """What stands behind a nearer object or leaves the picture has a lower visible share, what stands free has all of it."""
    truths = [street.truth(index) for index in range(0, 1800, 20)]

    visible = np.concatenate([truth.visible for truth in truths])
    boxes = np.concatenate([truth.boxes for truth in truths])
    at_edge = (boxes[:, 0] == 0) | (boxes[:, 2] == street.width)

    assert visible.min() >= 0
    assert visible.max() <= 1
    assert np.mean(visible > 0.95) > 0.4
    assert np.any(visible[~at_edge] < 0.3)
    assert visible[at_edge].mean() < 0.75


def test_truth_over_time_every_object_moves_like_one(street: Street) -> None:
    """An id keeps its class, is never taken up again, and moves without jumps."""
    last_seen: dict[int, tuple[int, str, np.ndarray]] = {}

    for index in range(int(2 * CYCLE_S * FPS)):
        truth = street.truth(index)
        assert len(set(truth.track_ids.tolist())) == len(truth)
        for box, name, track_id in zip(truth.boxes, truth.class_names, truth.track_ids.tolist(), strict=True):
            if track_id in last_seen:
                before, old_name, old_box = last_seen[track_id]
                assert name == old_name
                # at the edge of the picture a swinging leg may come, go and come again
                assert before == index - 1 or (index - before < FPS and (box[0] < 12 or box[2] > street.width - 12))
                assert abs(box[3] - old_box[3]) <= 6
                if min(box[0], old_box[0]) > 0 and max(box[2], old_box[2]) < street.width:
                    assert abs((box[0] + box[2] - old_box[0] - old_box[2]) / 2) * FPS <= 360
            last_seen[track_id] = (index, name, box)

    assert {name for _, name, _ in last_seen.values()} >= {"person", "bicycle", "car"}


def test_truth_farther_people_are_smaller(street: Street) -> None:
    """Height grows with the ground point's distance from the horizon."""
    feet, heights = [], []

    for index in range(0, 3000, 40):
        truth = street.truth(index)
        for box, name, visible in zip(truth.boxes, truth.class_names, truth.visible, strict=True):
            if name == "person" and visible > 0.95:
                feet.append(box[3])
                heights.append(box[3] - box[1])

    far = np.mean([height for foot, height in zip(feet, heights, strict=True) if foot < 200])
    near = np.mean([height for foot, height in zip(feet, heights, strict=True) if foot > 315])
    assert 1.6 < near / far < 2.4
    assert far > 40


def test_truth_larger_picture_scales_boxes() -> None:
    """The same street in a larger picture has the same boxes, larger."""
    small, large = Street(4), Street(4, width=1280, height=720)

    one, other = small.truth(321), large.truth(321)

    assert one.track_ids.tolist() == other.track_ids.tolist()
    assert np.abs(one.boxes * 2 - other.boxes).max() < 2.5


def test_street_far_in_the_future_costs_no_more_memory() -> None:
    """A camera that runs for weeks keeps as few plans and sprites as one that has just started."""
    street = Street(5)

    for index in range(0, 15 * 3600 * 24 * 30, 15 * 3600 * 24):
        street.frame(index)

    assert len(street._plans) <= 10
    assert len(street._sprites) <= 256
    assert len(street.truth(15 * 3600 * 24 * 30)) > 0


@pytest.mark.parametrize(
    ("seed", "size", "fps"),
    [
        pytest.param(-1, (640, 360), 15.0, id="negative seed"),
        pytest.param(1, (63, 360), 15.0, id="too narrow"),
        pytest.param(1, (640, 35), 15.0, id="too low"),
        pytest.param(1, (640, 360), 0.0, id="no rate"),
        pytest.param(1, (640, 360), float("nan"), id="rate is no number"),
    ],
)
def test_street_impossible_settings_are_refused(seed: int, size: tuple[int, int], fps: float) -> None:
    """Bad settings are named when the street is made."""
    with pytest.raises(ValueError, match="street: expected seed"):
        Street(seed, width=size[0], height=size[1], fps=fps)


def test_street_smallest_picture_can_be_drawn() -> None:
    """The smallest size allowed works."""
    pixels = Street(1, width=64, height=36).frame(0)

    assert pixels.shape == (36, 64, 3)


def silhouette(street: Street, index: int, track_id: int) -> np.ndarray:
    """The pixels (H, W) that somebody covers in a street where nobody else is."""
    return street.labels(index, only=(track_id,)) != street.labels(index, only=())


@pytest.mark.parametrize(("width", "height"), [(640, 360), (480, 270)])
def test_labels_of_an_object_are_where_it_is_drawn(width: int, height: int) -> None:
    """What an object changes in the picture it changes in the map, but for its soft edge of one pixel."""
    street = Street(3, width=width, height=height, light=Light(sky=1, tint=(1, 1, 1), shadow_lean=0.5, shadow_opacity=0.0))
    missed, beyond = [], []

    for index in range(0, 1200, 150):
        truth = street.truth(index)
        empty = street.frame(index, only=()).astype(int)
        for track_id in truth.track_ids[truth.visible > 0.3].tolist():
            change = np.abs(street.frame(index, only=(track_id,)) - empty).max(axis=2)
            labelled = silhouette(street, index, track_id)
            edged = cv2.dilate(labelled.astype(np.uint8), np.ones((3, 3))) > 0
            missed.append(np.count_nonzero(labelled & (change == 0)) / np.count_nonzero(labelled))
            beyond.append(np.count_nonzero(~edged & (change > 25)) / np.count_nonzero(labelled))

    assert len(missed) > 20
    assert max(missed) < 0.01
    assert max(beyond) < 0.01


def test_labels_of_a_frame_show_what_is_nearest(street: Street) -> None:
    """Where two cover the same pixel, the map names the nearer one, as the picture shows it."""
    names = {
        "person": "pedestrian",
        "car": "car",
        "bus": "car",
        "truck": "car",
        "bicycle": "bicyclist",
        "motorcycle": "bicyclist",
    }

    for index in range(0, 1800, 200):
        truth = street.truth(index)
        expected = street.labels(index, only=())
        riders = {track_id + 1 for track_id, name in zip(truth.track_ids, truth.class_names, strict=True) if name in RIDDEN}
        trees = np.isin(expected, [surfaces.TREE, surfaces.POLE])
        for track_id, name in zip(truth.track_ids.tolist(), truth.class_names, strict=True):  # far things first
            label = surfaces.BICYCLIST if track_id in riders else surfaces.CLASSES.index(names.get(name, "car"))
            expected[silhouette(street, index, track_id)] = label

        labels = street.labels(index)

        assert np.array_equal(labels[~trees], expected[~trees])


def test_labels_of_the_empty_street_lie_in_its_order(street: Street) -> None:
    """From the top down: sky or houses, far pavement, road, near pavement; all of it is something."""
    labels = street.labels(0, only=())
    column = labels[:, 20]

    kinds = [int(label) for index, label in enumerate(column) if index == 0 or label != column[index - 1]]

    expected = [surfaces.BUILDING, surfaces.PAVEMENT, surfaces.ROAD, surfaces.PAVEMENT]
    assert kinds[-4:] == expected
    assert kinds[:-4] in ([], [surfaces.SKY])
    assert np.flatnonzero(column == surfaces.ROAD)[[0, -1]] == pytest.approx([203, 303], abs=1)
    assert {surfaces.TREE, surfaces.POLE, surfaces.SKY} <= set(np.unique(labels).tolist())


def test_labels_of_what_stands_in_front_hide_what_passes_behind(street: Street) -> None:
    """Where a car passes behind the near tree, the map shows the trunk, and the car on both sides of it."""
    y, left, trunk, right = 235, 425, 452, 480
    passing = [
        index
        for index in range(0, 900, 30)
        for box, name in zip(street.truth(index).boxes.tolist(), street.truth(index).class_names, strict=True)
        if name == "car" and box[0] < left - 30 and box[2] > right + 30 and box[1] < y - 15 and y + 15 < box[3] < 300
    ]

    rows = [street.labels(index)[y, [left, trunk, right]].tolist() for index in passing]

    assert [surfaces.CAR, surfaces.TREE, surfaces.CAR] in rows
    assert {row[1] for row in rows} == {surfaces.TREE}


def test_labels_are_the_callers_own(street: Street) -> None:
    """Writing into a map changes no later one."""
    street.labels(5)[:] = 99

    assert street.labels(5).max() < len(surfaces.CLASSES)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.PERSON, "pedestrian"),
        (Kind.CAR, "car"),
        (Kind.BUS, "car"),
        (Kind.TRUCK, "car"),
        (Kind.BICYCLE, "bicyclist"),
        (Kind.MOTORCYCLE, "bicyclist"),
    ],
)
def test_label_of_a_kind_is_camvids(kind: Kind, expected: str) -> None:
    """Eleven names for everything."""
    assert surfaces.CLASSES[surfaces.label_of(kind)] == expected
