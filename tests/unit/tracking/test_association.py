"""Rules of overlap and assignment."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.tracking.association import Edge, assign, match, meeting_pairs, overlap, share_inside, similar_pairs


def _total(gains, pairs) -> float:
    return sum(gains[row][column] for row, column in pairs)


def _best_by_trying_all(gains) -> float:
    """The greatest total of all complete assignments of the shorter side."""
    array = np.asarray(gains)
    if array.shape[0] > array.shape[1]:
        array = array.T
    rows = range(array.shape[0])
    return max(array[list(rows), list(chosen)].sum() for chosen in itertools.permutations(range(array.shape[1]), len(rows)))


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        pytest.param([], [], id="no rows"),
        pytest.param([[]], [], id="no columns"),
        pytest.param([[0.3]], [(0, 0)], id="one"),
        pytest.param([[0.9, 0.8], [0.8, 0.1]], [(0, 1), (1, 0)], id="greedy would lose"),
        pytest.param([[0.5, 0.5], [0.5, 0.5]], [(0, 0), (1, 1)], id="ties go to lower indices"),
        pytest.param([[1.0, 2.0, 3.0]], [(0, 2)], id="more columns"),
        pytest.param([[1.0], [3.0], [2.0]], [(1, 0)], id="more rows"),
        pytest.param([[-5.0, -1.0], [-2.0, -9.0]], [(0, 1), (1, 0)], id="negative gains"),
    ],
)
def test_assign_small_table_gives_known_pairs(gains, expected):
    """Pairs of the greatest total, in order of rows."""
    pairs = assign(gains)

    assert pairs == expected


@given(
    st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(st.integers(-3, 3), min_size=n, max_size=n), min_size=1, max_size=6))
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_assign_any_small_matrix_is_optimal(gains):
    """No other assignment gains more; integers make many ties."""
    pairs = assign(gains)

    assert len(pairs) == min(len(gains), len(gains[0]))
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert _total(gains, pairs) == _best_by_trying_all(gains)


@pytest.mark.parametrize("shape", [(1, 100), (30, 30), (40, 25), (100, 100)], ids=str)
def test_assign_random_matrix_gains_what_scipy_gains(shape):
    """Equal to a library's exact solver on matrices up to the size that a crowd gives."""
    optimize = pytest.importorskip("scipy.optimize", reason="the best assignment to compare with comes from scipy")
    gains = np.random.default_rng(7).random(shape)

    pairs = assign(gains.tolist())

    rows, columns = optimize.linear_sum_assignment(gains, maximize=True)
    assert _total(gains, pairs) == pytest.approx(gains[rows, columns].sum())


def test_match_disputed_detection_goes_where_the_total_is_best():
    """Two tracks want one detection; the one with a second choice takes that."""
    edges = [Edge(0, 0, 0.9), Edge(0, 1, 0.8), Edge(1, 0, 0.7)]

    matched = match(edges)

    assert sorted((edge.row, edge.column) for edge in matched) == [(0, 1), (1, 0)]


def test_match_pair_without_edge_is_never_made():
    """Leaving a track unmatched is better than a pair that was not allowed."""
    edges = [Edge(0, 0, 0.9), Edge(1, 0, 0.2)]

    matched = match(edges)

    assert [(edge.row, edge.column) for edge in matched] == [(0, 0)]


def test_match_without_edges_is_empty():
    """Nothing fits: nothing is matched."""
    matched = match([])

    assert matched == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9)), max_size=14, unique_by=lambda e: e[:2]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_match_sparse_edges_gain_what_the_whole_matrix_gains(triples):
    """Splitting into groups loses nothing, and the order of the edges does not change the total."""
    edges = [Edge(row, column, float(gain)) for row, column, gain in triples]
    gains = np.zeros((6, 6))
    for edge in edges:
        gains[edge.row, edge.column] = edge.gain

    matched, matched_backwards = match(edges), match(edges[::-1])

    assert set(matched) <= set(edges)
    assert len({edge.row for edge in matched}) == len({edge.column for edge in matched}) == len(matched)
    assert sum(edge.gain for edge in matched) == _total(gains, assign(gains.tolist()))
    assert sum(edge.gain for edge in matched_backwards) == sum(edge.gain for edge in matched)


@pytest.mark.parametrize(
    ("a", "b", "margin", "expected"),
    [
        pytest.param([0, 0, 10, 10], [0, 0, 10, 10], 0.0, 1.0, id="same"),
        pytest.param([0, 0, 10, 10], [5, 0, 15, 10], 0.0, 1 / 3, id="half"),
        pytest.param([0, 0, 10, 10], [10, 0, 20, 10], 0.0, 0.0, id="touching boxes share nothing"),
        pytest.param([0, 0, 10, 10], [10, 0, 20, 10], 5.0, 1 / 3, id="a margin lets them meet"),
        pytest.param([0, 0, 10, 10], [40, 0, 50, 10], 5.0, 0.0, id="too far even so"),
        pytest.param([3, 3, 3, 3], [3, 3, 3, 3], 0.0, 0.0, id="empty"),
    ],
)
def test_meeting_pairs_known_pair_gives_known_overlap(a, b, margin, expected):
    """IoU of the boxes after both grew by the margin; what shares nothing is no pair."""
    pairs = meeting_pairs([a], [(margin, margin)], [b], 0.1)

    assert pairs == ([(0, 0, pytest.approx(expected))] if expected else [])


def test_meeting_pairs_takes_each_row_with_its_own_margin():
    """The margin is the row's, in x and in y apart; pairs come row by row."""
    tracks = [[0, 0, 10, 10], [100, 0, 110, 10], [200, 0, 210, 10]]
    detections = [[112, 0, 122, 10], [0, 0, 10, 10], [12, 0, 22, 10], [212, 0, 222, 10]]
    margins = [(0.0, 0.0), (5.0, 0.0), (0.0, 5.0)]

    pairs = meeting_pairs(tracks, margins, detections, 0.1)

    assert [(row, other) for row, other, _ in pairs] == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("boxes", "others"), [pytest.param([], [[0, 0, 1, 1]], id="no rows"), pytest.param([[0, 0, 1, 1]], [], id="no columns")]
)
def test_meeting_pairs_of_nothing_are_none(boxes, others):
    """No track or no detection: nobody meets."""
    assert meeting_pairs(boxes, [(1.0, 1.0)] * len(boxes), others, 0.1) == []


def _overlaps(a: np.ndarray, b: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """(N, M) the definition: IoU of boxes (N, 4) and (M, 4), both widened by margins (N, 2) on every side."""
    a, b, widened = a[:, None], b[None], 2 * margins[:, None]
    inner = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + widened, 0)
    sides_a, sides_b = a[..., 2:] - a[..., :2] + widened, b[..., 2:] - b[..., :2] + widened
    shared = inner.prod(axis=-1)
    return shared / np.maximum(sides_a.prod(axis=-1) + sides_b.prod(axis=-1) - shared, 1e-9)


def _make_crowd(seed: int, n: int) -> np.ndarray:
    """Boxes on a coarse grid: many equal, touching, inside one another or empty."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 6, (n, 2))
    return np.hstack([corners, corners + rng.integers(0, 7, (n, 2))]).astype(float)


@pytest.mark.parametrize("least_iou", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_meeting_pairs_of_a_crowd_are_those_of_the_definition(seed, least_iou):
    """To the last digit, and equality at the threshold counts."""
    boxes, others = _make_crowd(seed, 30), _make_crowd(seed + 100, 20)
    margins = np.random.default_rng(seed).integers(0, 3, (30, 2)).astype(float)

    pairs = meeting_pairs(boxes.tolist(), margins.tolist(), others.tolist(), least_iou)

    overlaps = _overlaps(boxes, others, margins)
    assert pairs == [(row, other, overlaps[row, other]) for row, other in np.argwhere(overlaps >= least_iou).tolist()]


@pytest.mark.parametrize("seed", range(20))
def test_overlap_of_two_boxes_equals_the_definition(seed):
    """To the last digit."""
    boxes = _make_crowd(seed, 12)

    overlaps = [[overlap(a, b) for b in boxes.tolist()] for a in boxes.tolist()]

    np.testing.assert_array_equal(overlaps, _overlaps(boxes, boxes, np.zeros((12, 2))))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param([0.0, 0.0, 4.0, 2.0], 1.0, id="itself"),
        pytest.param([1.0, 0.0, 9.0, 1.0], 0.375, id="a corner"),
        pytest.param([4.0, 0.0, 8.0, 2.0], 0.0, id="beside it"),
        pytest.param([-9.0, -9.0, 9.0, 9.0], 1.0, id="all around"),
    ],
)
def test_share_inside_is_of_the_first_box(box, expected):
    """How much of the one the other covers, however large that is."""
    assert share_inside([0.0, 0.0, 4.0, 2.0], box) == expected


def test_share_inside_of_an_empty_box_is_nothing():
    """Nothing cannot be covered."""
    assert share_inside([1.0, 1.0, 1.0, 3.0], [0.0, 0.0, 4.0, 4.0]) == 0.0


@pytest.mark.parametrize("least_iou", [0.1, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_similar_pairs_of_a_crowd_are_those_that_comparing_all_finds(seed, least_iou):
    """The sweep leaves out nothing; boxes that overlap exactly enough count."""
    boxes = _make_crowd(seed, 30)

    pairs = similar_pairs(boxes.tolist(), least_iou)

    same = _overlaps(boxes, boxes, np.zeros((30, 2))) >= least_iou
    expected = [(row, other) for row, other in zip(*np.nonzero(same), strict=True) if row < other]
    assert sorted(pair for *pair, _ in pairs) == sorted(map(list, expected))
    assert all(shared == overlap(boxes[row], boxes[other]) for row, other, shared in pairs)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([[0.0, 0.0, 4.0, 4.0]], [], id="one"),
        pytest.param([[0.1, 0.0, 1.1, 1.0], [0.3, 0.0, 1.1, 1.0]], [(0, 1)], id="equal to the threshold, right edges meet"),
    ],
)
def test_similar_pairs_at_the_limits(boxes, expected):
    """No box and one box make no pair; a left edge as far to the right as may be is still looked at."""
    assert [(row, other) for row, other, _ in similar_pairs(boxes, 0.8 - 1e-12)] == expected


def test_match_of_edges_that_nobody_disputes_gives_them_all():
    """Each row and each column once: there is nothing to choose."""
    edges = [Edge(0, 2, 0.5), Edge(1, 0, 0.4)]

    assert match(edges) == edges
    assert match([]) == []
