"""The views that the cameras have learnt, in the state directory: a camera that is pushed while edged is off is noticed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from edged.errors import StateError
from edged.rules.scene import MOST_VIEWS, View
from edged.runtime.pacing import Interval
from edged.state import StateDirectory

logger = logging.getLogger(__name__)

VIEWS = "views.json"

SAVE_PERIOD_S = 1800.0
"""Views follow the light for ever: they are written this often, and at once when one was learnt."""

Views = tuple[View, ...]


class ViewStore:
    """The views of every camera that learnt some. `note` may be called from another thread.

    Args:
        state: the state directory, held by this process.
        model: SHA-256 of the network; what another one saw cannot be compared.
        class_names: those that views consist of.
    """

    def __init__(self, state: StateDirectory, *, model: str, class_names: Sequence[str]) -> None:
        self._state = state
        self._of = {"model": model, "classes": list(class_names)}
        self._views: dict[str, Views] = {}
        self._written: dict[str, Views] = {}
        self._tried: dict[str, Views] = {}
        self._due = Interval(SAVE_PERIOD_S)

    def load(self) -> Mapping[str, Views]:
        """The views by camera; none where another network learnt them. A file that is wrong is kept aside.

        Raises:
            StateError: it is wrong and cannot be kept aside: to go on would overwrite it.
        """
        try:
            self._views = self._read(self._state.read_json(VIEWS))
        except StateError as error:
            logger.error("views are learnt anew: %s kept_as=%s", error, self._state.set_aside(VIEWS).name)
        self._written = self._tried = dict(self._views)
        return dict(self._views)

    def note(self, camera: str, views: Views) -> None:
        """Take over what a camera knows now; nothing yet is not worth a file."""
        if views:
            self._views[camera] = views

    def save(self, *, now_s: float, is_last: bool = False) -> None:
        """Write what changed, if that is due. A failure is logged, and the next time tries again.

        Args:
            is_last: there is no next time.
        """
        views = dict(self._views)
        has_learnt = any(_numbers(each) != _numbers(self._tried.get(name, ())) for name, each in views.items())
        if not (self._due.is_due(now_s) or has_learnt or is_last) or views == self._written:
            return
        self._tried = views
        cameras = {name: [view.to_json() for view in each] for name, each in views.items()}
        try:
            self._state.write_json(VIEWS, {**self._of, "cameras": cameras})
            self._written = views
        except StateError as error:
            logger.error("views are not kept: %s", error)

    def _read(self, document: object) -> dict[str, Views]:
        if document is None:
            return {}
        if not isinstance(document, Mapping) or not isinstance(document.get("cameras"), Mapping):
            raise StateError(f"{VIEWS} must be a mapping with cameras, got {type(document).__name__}")
        if {key: document.get(key) for key in self._of} != self._of:
            logger.info("views are learnt anew: those in %s are of another network", VIEWS)
            return {}
        n_classes = len(self._of["classes"])
        return {name: _read_views(views, n_classes) for name, views in document["cameras"].items()}


def _read_views(document: object, n_classes: int) -> Views:
    if not isinstance(document, list) or len(document) > MOST_VIEWS:
        raise StateError(f"views: expected a list of at most {MOST_VIEWS}, got {type(document).__name__}")
    return tuple(View.from_json(each, n_classes=n_classes) for each in document)


def _numbers(views: Views) -> tuple[int, ...]:
    """By how many maps each was learnt, which never changes afterwards."""
    return tuple(view.n_maps for view in views)
