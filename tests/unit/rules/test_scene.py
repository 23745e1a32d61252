"""Whether a camera still shows the view that was learnt: drawn maps of a street, shifted, passed by buses, getting dark."""

import json

import numpy as np
import pytest

from edged.errors import StateError
from edged.rules.scene import (
    COLUMNS,
    FOLLOW_S,
    LEAST_MAPS,
    ROWS,
    SceneMemory,
    SceneSettings,
    SceneState,
    SceneWatch,
    View,
    class_grid,
)

SKY, HOUSE, TREE, ROAD, BUS = range(5)
N_CLASSES = 5
IS_STATIC = np.array([True, True, True, True, False])
HEIGHT, WIDTH = 90, 160
EVERY_S = 10.0
SETTINGS = SceneSettings(for_s=60.0, learn_s=100.0)


def draw_street(*, shift_px=0):
    """Sky, houses with gaps and a tree, a road: (90, 160)."""
    wide = np.full((HEIGHT, 2 * WIDTH), SKY, np.uint8)
    for number, left in enumerate(range(-20, 2 * WIDTH, 45)):
        top = 15 + (number * 13) % 25
        wide[top:60, max(0, left) : left + 33] = HOUSE
    wide[25:65, 70:85] = TREE
    wide[60:] = ROAD
    return wide[:, shift_px : shift_px + WIDTH].copy()


class Player:
    """Maps of one camera, one every 10 s: what is said, and the state after each."""

    def __init__(self, settings=SETTINGS, memory=None):
        self.watch = SceneWatch(settings, IS_STATIC, memory)
        self.now_s = 0.0
        self.moved = []
        self.states = []

    def show(self, labels, *, n=1, noise=0.0, seed=0):
        rng = np.random.default_rng(seed)
        for _ in range(n):
            noisy = np.where(rng.random(labels.shape) < noise, rng.integers(0, 4, labels.shape), labels).astype(np.uint8)
            moved = self.watch.update(class_grid(noisy, N_CLASSES), self.now_s)
            self.moved += [] if moved is None else [(self.now_s, moved)]
            self.states.append(self.watch.state)
            self.now_s += EVERY_S
        return self


def with_bus(labels, left, *, width=60):
    """A bus of more than half the picture's height."""
    labels = labels.copy()
    labels[30:80, max(0, left) : max(0, left + width)] = BUS
    return labels


def test_grid_holds_the_share_of_each_class_in_each_cell():
    """Exactly, where the cells are whole pixels; a finer or coarser map gives the same."""
    labels = np.full((18, 32), ROAD, np.uint8)
    labels[0, 0] = SKY

    grid = class_grid(labels, N_CLASSES)

    assert grid.shape == (ROWS, COLUMNS, N_CLASSES)
    assert grid[0, 0].tolist() == [0.25, 0, 0, 0.75, 0]
    assert (grid[1:, :, ROAD] == 1).all()
    np.testing.assert_array_equal(class_grid(labels.repeat(3, axis=0).repeat(2, axis=1), N_CLASSES), grid)


def test_grid_of_a_map_smaller_than_itself_has_empty_cells():
    """They say nothing, and nothing fails."""
    grid = class_grid(np.zeros((1, 1), np.uint8), N_CLASSES)

    assert grid.sum() == 1


def test_view_is_learnt_for_its_time():
    """Until then it is neither the same nor another."""
    player = Player().show(draw_street(), n=11)

    assert player.states == [SceneState.LEARNING] * 10 + [SceneState.SAME]
    assert player.moved == []


def test_view_is_learnt_from_enough_maps():
    """Time alone teaches nothing."""
    player = Player(SceneSettings(for_s=0, learn_s=0)).show(draw_street(), n=LEAST_MAPS)

    assert player.states == [SceneState.LEARNING] * (LEAST_MAPS - 1) + [SceneState.SAME]


@pytest.mark.parametrize("shift_px", [16, 40, 80])
def test_camera_that_is_pushed_is_said_once_after_its_time_and_learnt_anew(shift_px):
    """A tenth of the picture is enough: said when it has lasted, said once, and after it was stable it is the view."""
    player = Player().show(draw_street(), n=20, noise=0.03)
    player.show(draw_street(shift_px=shift_px), n=20, noise=0.03, seed=1)

    ((said_s, moved),) = player.moved
    assert said_s == 200 + 60
    assert moved.difference > 0.12 > moved.usual
    assert player.states[20:26] == [SceneState.SAME] * 6
    assert player.states[26:30] == [SceneState.CHANGED] * 4
    assert player.states[-1] is SceneState.SAME


def test_camera_that_is_pushed_for_less_than_its_time_is_not_said():
    """Somebody cleaned it."""
    player = Player().show(draw_street(), n=20).show(draw_street(shift_px=60), n=6).show(draw_street(), n=20)

    assert player.moved == []
    assert player.states[-1] is SceneState.SAME


def test_camera_that_is_covered_is_said():
    """Nothing but one class."""
    player = Player().show(draw_street(), n=20).show(np.full((HEIGHT, WIDTH), HOUSE, np.uint8), n=8)

    assert len(player.moved) == 1


@pytest.mark.parametrize("width", [60, 120, 160])
def test_bus_that_passes_or_stops_is_no_other_view(width):
    """What moves is no part of the view, not even if it stands for ten minutes."""
    player = Player().show(draw_street(), n=20, noise=0.03)
    for left in range(-width, WIDTH, 20):
        player.show(with_bus(draw_street(), left, width=width), noise=0.03, seed=left + 1000)
    player.show(with_bus(draw_street(), 20, width=width), n=60, noise=0.03, seed=5)

    assert player.moved == []


def test_bus_right_before_the_camera_says_nothing():
    """There is nothing left to compare; what was pending waits."""
    player = Player().show(draw_street(), n=20)
    player.show(np.full((HEIGHT, WIDTH), BUS, np.uint8), n=30)

    assert player.moved == []
    assert player.states[-1] is SceneState.SAME


def test_bus_right_before_the_camera_while_it_learns_is_not_learnt():
    """A view of nothing could never be compared with anything: the street is learnt once the bus is gone."""
    player = Player().show(np.full((HEIGHT, WIDTH), BUS, np.uint8), n=30)
    player.show(draw_street(), n=20).show(draw_street(shift_px=60), n=8)

    assert player.states[30:40] == [SceneState.LEARNING] * 10
    assert [said_s for said_s, _ in player.moved] == [500 + 60]


def test_night_that_falls_in_half_an_hour_is_no_other_view():
    """The network takes more and more of the sky and the trees for houses: the view follows."""
    street, rng = draw_street(), np.random.default_rng(3)
    player = Player().show(street, n=30, noise=0.03)
    turns_dark_at = np.where((street == SKY) | (street == TREE), rng.random(street.shape), np.inf)

    for step in range(180):
        player.show(np.where(turns_dark_at < step / 180, HOUSE, street).astype(np.uint8), noise=0.03, seed=step)

    assert player.moved == []


def test_night_that_falls_at_once_is_said_the_first_time_only():
    """A camera that switches to infrared shows two views in turn; both are known from then on."""
    day = draw_street()
    night = np.where((day == SKY) | (day == TREE), HOUSE, day).astype(np.uint8)
    player = Player()
    for _ in range(3):
        player.show(day, n=30).show(night, n=30)

    assert [said_s for said_s, _ in player.moved] == [300 + 60]


def test_unsteady_view_must_differ_by_more():
    """Where maps of the same view differ much among each other, that is its measure."""
    rng = np.random.default_rng(1)
    player = Player(SceneSettings(for_s=60, learn_s=100, min_difference_ratio=0.01))
    for step in range(40):
        player.show(draw_street(), noise=0.3, seed=int(rng.integers(1 << 30)) + step)

    assert player.moved == []


def test_camera_that_was_gone_begins_its_waiting_anew():
    """A minute after it came back is not a minute of another view."""
    player = Player().show(draw_street(), n=20).show(draw_street(shift_px=60), n=3)
    player.watch.pause()
    player.now_s += 3600
    player.show(draw_street(shift_px=60), n=6)

    assert player.moved == []
    assert player.watch.is_undecided


def test_camera_that_was_gone_for_long_is_not_followed_by_the_first_map():
    """One map of a shifted view, after a night without any, is not the view that the next ones are held against."""
    player = Player().show(draw_street(), n=20)
    player.watch.pause()
    player.now_s += 8 * 3600
    player.show(draw_street(shift_px=4)).show(draw_street(shift_px=8), n=8)

    assert len(player.moved) == 1


def test_view_needs_two_classes_that_stay():
    """A network that tells people from the rest sees no view."""
    with pytest.raises(ValueError, match="at least 2 classes"):
        SceneWatch(SETTINGS, np.array([True, False]))


@pytest.mark.parametrize("changed", [{"for_s": -1}, {"learn_s": -1}, {"min_difference_ratio": 0}, {"min_difference_ratio": 1}])
def test_settings_that_cannot_be_are_refused(changed):
    """Where they are made."""
    with pytest.raises(ValueError, match="expected"):
        SceneSettings(**changed)


def test_view_follows_more_slowly_than_a_push_is_noticed():
    """Or the push would be followed before it is said."""
    assert SETTINGS.for_s < FOLLOW_S / 5


def kept(player):
    """The memory of a watch, written and read again."""
    return SceneMemory.from_json(json.loads(json.dumps(player.watch.memory.to_json())), n_classes=4)


def test_views_are_known_again_after_a_restart():
    """The first map says so; nothing is learnt anew."""
    before = Player().show(draw_street(), n=15, noise=0.05)

    after = Player(memory=kept(before))
    assert after.watch.state is SceneState.LEARNING
    after.show(draw_street(), n=10, noise=0.05, seed=1)

    assert after.states == [SceneState.SAME] * 10
    assert len(after.watch.memory.views) == 1
    assert after.watch.memory.views[0].usual == pytest.approx(before.watch.memory.views[0].usual, rel=0.2)


def test_camera_that_was_pushed_while_nobody_looked_is_said():
    """After its time from the first map on; then the other view is learnt, and the old one is still known."""
    before = Player().show(draw_street(), n=15)

    after = Player(memory=kept(before)).show(draw_street(shift_px=40), n=20)

    assert [now_s for now_s, _ in after.moved] == [60.0]
    assert after.states[0] is SceneState.LEARNING
    assert after.states[-1] is SceneState.SAME
    assert len(after.watch.memory.views) == 2


def test_camera_that_was_said_to_be_pushed_is_not_said_again_after_a_restart():
    """It goes on learning the other view; the old one is still known."""
    before = Player().show(draw_street(), n=15).show(draw_street(shift_px=40), n=8)
    assert before.watch.state is SceneState.CHANGED

    after = Player(memory=kept(before)).show(draw_street(shift_px=40), n=20)

    assert after.moved == []
    assert (after.states[0], after.states[-1]) == (SceneState.CHANGED, SceneState.SAME)
    assert [view.number for view in after.watch.memory.views] == [1, 2]


def test_camera_that_learns_sooner_than_it_says_so_says_it_still():
    """A view that is already known is replaced by no other in silence."""
    settings = SceneSettings(for_s=120.0, learn_s=60.0)
    before = Player(settings).show(draw_street(), n=15)

    after = Player(settings, memory=kept(before)).show(draw_street(shift_px=40), n=20)

    assert [now_s for now_s, _ in after.moved] == [120.0]


def test_views_that_are_told_stay_as_they_were():
    """They are written by another thread while the watch goes on."""
    player = Player().show(draw_street(), n=15)
    (view,) = player.watch.memory.views
    told = view.shares.copy()

    player.show(draw_street(), n=5, noise=0.05)

    np.testing.assert_array_equal(view.shares, told)
    assert np.any(player.watch.memory.views[0].shares != told)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"shares": [[0.5]]}, "expected 9 x 16 x 4", id="shape"),
        pytest.param({"weights": "many"}, "expected shares, weights", id="text"),
        pytest.param({"weights": np.full((9, 16), np.nan).tolist()}, "weights must be", id="weight that is no number"),
        pytest.param({"weights": np.zeros((9, 16)).tolist()}, "too few cells", id="nothing known"),
        pytest.param({"usual": float("nan")}, "must be 0 to 1", id="not a number"),
        pytest.param({"maps": 0}, "1 or more", id="of no map"),
        pytest.param({"maps": float("inf")}, "expected shares, weights", id="infinite"),
    ],
)
def test_view_that_cannot_be_is_refused(changed, message):
    """Whatever the file holds."""
    document = View(np.zeros((9, 16, 4)), np.ones((9, 16, 1)), n_maps=1, number=1).to_json()

    with pytest.raises(StateError, match=message):
        SceneMemory.from_json({"views": [{**document, **changed}]}, n_classes=4)
    for wrong in ([document], {"views": document}, {"views": [document] * 5}, {"views": [[document]]}):
        with pytest.raises(StateError, match="got"):
            SceneMemory.from_json(wrong, n_classes=4)
    assert len(SceneMemory.from_json({"views": [document]}, n_classes=4).views) == 1
