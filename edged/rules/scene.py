"""Whether a camera still shows the view that was learnt: maps in, a verdict out. Pure, as all rules are.

A view is what does not move: of each cell of a coarse grid, how much of it is road, wall, tree. What comes and goes (cars,
people) is left out, so a bus that passes changes little, and no longer than it passes. Light goes slowly; a view follows slowly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edged.errors import StateError
from edged.rules.objects import TIME_TOLERANCE_S
from edged.rules.settings import PATIENT_S

ROWS, COLUMNS = 9, 16
"""Of the grid."""

Grid = NDArray[np.float64]
"""(ROWS, COLUMNS, C): the share of each class in each cell."""

LEAST_STATIC_RATIO = 0.5
"""A cell counts while so much of it shows what does not move."""

LEAST_CELLS_RATIO = 0.25
"""With fewer cells that count nothing is said: something stands right in front of the camera."""

LEAST_MAPS = 5
"""A view is learnt from so many maps at least."""

USUAL_FACTOR = 3.0
"""A view is another one when it differs by so many times what it usually does."""

FOLLOW_S = 600.0
"""Time constant with which a view follows what it shows: dusk takes longer, a camera that is pushed does not."""

MOST_VIEWS = 4
"""So many are remembered, so that a camera that sees otherwise by night, or is turned to and fro, is a stranger once."""


class SceneState(str, Enum):
    """What is known of the view."""

    LEARNING = "learning"  # the first one; after a restart, whether it is one of those that were learnt
    SAME = "same"
    CHANGED = "changed"  # none that was learnt


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """When a view counts as changed.

    Attributes:
        for_s: it must be another one for so long.
        learn_s: a view is learnt for so long, the first one and every other.
        min_difference_ratio: two views differ when so much of their cells, in the mean, shows something else; the grid of a view
            that is unsteady must differ by more.
    """

    for_s: float = 60.0
    learn_s: float = 300.0
    min_difference_ratio: float = 0.12

    def __post_init__(self) -> None:
        if not (self.for_s >= 0 and self.learn_s >= 0 and 0 < self.min_difference_ratio < 1):
            raise ValueError(
                f"expected for_s and learn_s of 0 or more and min_difference_ratio between 0 and 1, got {self.for_s}, "
                f"{self.learn_s}, {self.min_difference_ratio}"
            )


@dataclass(frozen=True, slots=True)
class Moved:
    """The camera shows another view.

    Attributes:
        difference: how much of its cells shows something else than the nearest view that was learnt, in the mean.
        usual: how much that usually is.
    """

    difference: float
    usual: float


def class_grid(labels: NDArray[np.uint8], n_classes: int) -> Grid:
    """The share of each class in each cell of the grid over a label map (h, w).

    Of a map with fewer rows or columns than the grid some cells are empty: all their shares are 0.
    """
    height, width = labels.shape
    row, column = np.arange(height) * ROWS // height, np.arange(width) * COLUMNS // width
    cell = row[:, None] * COLUMNS + column[None, :]
    counts = np.bincount((cell * 256 + labels).ravel(), minlength=ROWS * COLUMNS * 256)
    by_cell = counts.reshape(ROWS, COLUMNS, 256)
    return by_cell[..., :n_classes] / np.maximum(1, by_cell.sum(axis=-1, keepdims=True))


@dataclass(slots=True, eq=False)
class View:
    """One view: what its cells show in the mean, and how far a map of it usually is from that.

    Attributes:
        shares: (ROWS, COLUMNS, C), of the classes that do not move.
        weights: (ROWS, COLUMNS, 1), of how many maps; a cell of none is unknown.
        usual: difference of a map of it, in the mean.
        n_maps: so many have taught it.
        number: of the views that its camera has learnt, from 1.
    """

    shares: Grid
    weights: NDArray[np.float64]
    usual: float = 0.0
    n_maps: int = 0
    number: int = 0

    @classmethod
    def unknown(cls, n_classes: int) -> View:
        """One that no map has taught yet."""
        return cls(np.zeros((ROWS, COLUMNS, n_classes)), np.zeros((ROWS, COLUMNS, 1)))

    def copy(self) -> View:
        """One that stays as it is now."""
        return View(self.shares.copy(), self.weights.copy(), self.usual, self.n_maps, self.number)

    def to_json(self) -> dict[str, object]:
        """A document of plain JSON values that `from_json` reads."""
        return {
            "shares": np.round(self.shares, 4).tolist(),
            "weights": self.weights[..., 0].tolist(),
            "usual": round(self.usual, 6),
            "maps": self.n_maps,
            "number": self.number,
        }

    @classmethod
    def from_json(cls, document: object, *, n_classes: int) -> View:
        """The view that `to_json` wrote.

        Raises:
            StateError: the document is not one of ours.
        """
        try:
            shares, weights = (np.array(document[key], np.float64) for key in ("shares", "weights"))  # type: ignore[index]
            usual, n_maps, number = (document[key] for key in ("usual", "maps", "number"))  # type: ignore[index]
            view = cls(shares, weights[..., None], float(usual), int(n_maps), int(number))
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            raise StateError(f"expected shares, weights, usual, maps and number, got {type(document).__name__}") from error
        if shares.shape != (ROWS, COLUMNS, n_classes) or weights.shape != (ROWS, COLUMNS):
            raise StateError(f"expected {ROWS} x {COLUMNS} x {n_classes}, got {shares.shape} and {weights.shape}")
        if not (np.all((shares >= 0) & (shares <= 1)) and 0 <= view.usual <= 1):
            raise StateError("shares and usual must be 0 to 1")
        if not (np.all((weights >= 0) & np.isfinite(weights)) and view.n_maps > 0 and view.number > 0):
            raise StateError("weights must be 0 or more, maps and number 1 or more")
        if np.count_nonzero(weights) < LEAST_CELLS_RATIO * weights.size:
            raise StateError("too few cells are known")
        return view

    def difference(self, shares: Grid, counts: NDArray[np.bool_]) -> float | None:
        """How much of the cells that count shows something else, 0..1, in the mean; None where too few can be compared."""
        both = counts & (self.weights[..., 0] > 0)
        if np.count_nonzero(both) < LEAST_CELLS_RATIO * both.size:
            return None
        return float(0.5 * np.abs(shares - self.shares)[both].sum(axis=-1).mean())

    def learn(self, shares: Grid, counts: NDArray[np.bool_], difference: float | None) -> None:
        """One more map of it, as important as each before."""
        self.n_maps += 1
        self.weights += counts[..., None]
        self.shares += np.where(counts[..., None], (shares - self.shares) / np.maximum(1, self.weights), 0.0)
        if difference is not None:
            self.usual += (difference - self.usual) / max(1, self.n_maps - 1)

    def follow(self, shares: Grid, counts: NDArray[np.bool_], difference: float, *, passed_s: float) -> None:
        """One more map of it, long after it was learnt."""
        weight = 1.0 - math.exp(-max(0.0, passed_s) / FOLLOW_S)
        is_new = counts & (self.weights[..., 0] == 0)
        step = np.where(is_new, 1.0, np.where(counts, weight, 0.0))[..., None]
        self.shares += step * (shares - self.shares)
        self.weights += is_new[..., None]
        self.usual += weight * (difference - self.usual)


@dataclass(frozen=True, slots=True, eq=False)
class SceneMemory:
    """What one camera knows of its views, as it is at a moment.

    Attributes:
        views: those that it has learnt.
        is_changed: it was said that it shows none of them.
    """

    views: tuple[View, ...] = ()
    is_changed: bool = False

    def to_json(self) -> dict[str, object]:
        """A document of plain JSON values that `from_json` reads."""
        return {"views": [view.to_json() for view in self.views], "changed": self.is_changed}

    @classmethod
    def from_json(cls, document: object, *, n_classes: int) -> SceneMemory:
        """The memory that `to_json` wrote.

        Raises:
            StateError: the document is not one of ours.
        """
        if not isinstance(document, Mapping) or not isinstance(views := document.get("views"), list) or len(views) > MOST_VIEWS:
            raise StateError(f"expected at most {MOST_VIEWS} views and whether they are changed, got {type(document).__name__}")
        return cls(tuple(View.from_json(view, n_classes=n_classes) for view in views), document.get("changed") is True)


class SceneWatch:
    """Learns what one camera shows, and notices when it is something else. Used by one thread.

    Args:
        is_static: (C,) whether a class of the network stays where it is; of at least `LEAST_CLASSES`, or nothing could change.
        memory: what it knew before a restart, of the classes that stay.

    Raises:
        ValueError: too few do.
    """

    LEAST_CLASSES = 2

    def __init__(self, settings: SceneSettings, is_static: NDArray[np.bool_], memory: SceneMemory | None = None) -> None:
        if np.count_nonzero(is_static) < self.LEAST_CLASSES:
            raise ValueError(f"a view needs at least {self.LEAST_CLASSES} classes that do not move")
        self._settings = settings
        self._is_static = is_static
        memory = memory or SceneMemory()
        self._views = [view.copy() for view in memory.views]
        self.state = SceneState.CHANGED if memory.is_changed else SceneState.LEARNING
        self._differs_since_s: float | None = None
        self._newest_s: float | None = None
        self._start_learning()

    @property
    def memory(self) -> SceneMemory:
        """What it knows now."""
        return SceneMemory(tuple(view.copy() for view in self._views), self.state is SceneState.CHANGED)

    @property
    def is_undecided(self) -> bool:
        """Whether the next map may decide something, and that cannot wait for it."""
        is_waiting = self._differs_since_s is not None and self.state is not SceneState.CHANGED
        return is_waiting and self._settings.for_s <= PATIENT_S

    def update(self, grid: Grid, now_s: float) -> Moved | None:
        """Take over what a map shows: `class_grid` of it.

        Args:
            now_s: when its picture was captured; never runs backwards.
        """
        passed_s, self._newest_s = 0.0 if self._newest_s is None else now_s - self._newest_s, now_s
        static = grid[..., self._is_static]
        amounts = static.sum(axis=-1, keepdims=True)
        counts = amounts[..., 0] >= LEAST_STATIC_RATIO
        if np.count_nonzero(counts) < LEAST_CELLS_RATIO * counts.size:
            return None  # and nothing is learnt: a view of too few cells could never be compared
        shares = static / np.maximum(amounts, LEAST_STATIC_RATIO)
        view, difference = self._nearest(shares, counts)
        if view is None:
            if not self._views:
                self._learn(shares, counts, now_s)
            return None
        if difference < self._bound(view):
            view.follow(shares, counts, difference, passed_s=passed_s)
            self.state, self._differs_since_s = SceneState.SAME, None
            self._start_learning()
            return None
        self._learn(shares, counts, now_s)
        if self._differs_since_s is None:
            self._differs_since_s = now_s
        if self.state is not SceneState.CHANGED and now_s - self._differs_since_s >= self._settings.for_s - TIME_TOLERANCE_S:
            self.state = SceneState.CHANGED
            return Moved(difference, view.usual)
        return None

    def pause(self) -> None:
        """The camera is gone for a while: what differed says nothing about what comes, and no view follows what was missed."""
        self._differs_since_s = self._newest_s = None
        self._start_learning()

    def _nearest(self, shares: Grid, counts: NDArray[np.bool_]) -> tuple[View | None, float]:
        """The view that was learnt and is nearest to its bound, and how far it is; None where nothing can be compared."""
        found = [(view, view.difference(shares, counts)) for view in self._views]
        comparable = [(view, difference) for view, difference in found if difference is not None]
        return min(comparable, key=lambda each: each[1] / self._bound(each[0]), default=(None, 0.0))

    def _bound(self, view: View) -> float:
        return max(self._settings.min_difference_ratio, USUAL_FACTOR * view.usual)

    def _start_learning(self) -> None:
        self._candidate = View.unknown(np.count_nonzero(self._is_static))
        self._learns_since_s: float | None = None

    def _learn(self, shares: Grid, counts: NDArray[np.bool_], now_s: float) -> None:
        """Go on with the view that is not yet known; a map that does not fit begins another one."""
        difference = self._candidate.difference(shares, counts) if self._candidate.n_maps else None
        if difference is not None and difference >= self._bound(self._candidate):
            self._start_learning()
            difference = None
        if self._learns_since_s is None:
            self._learns_since_s = now_s
        self._candidate.learn(shares, counts, difference)
        has_lasted = now_s - self._learns_since_s >= self._settings.learn_s - TIME_TOLERANCE_S
        is_awaited = self.state is SceneState.CHANGED or not self._views
        if has_lasted and self._candidate.n_maps >= LEAST_MAPS and is_awaited:
            self._candidate.number = 1 + max((view.number for view in self._views), default=0)
            self._views = [*self._views, self._candidate][-MOST_VIEWS:]
            self.state = SceneState.SAME
            self._differs_since_s = None
            self._start_learning()
