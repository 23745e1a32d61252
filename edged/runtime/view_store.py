"""The views that the cameras have learnt, in the state directory: a camera that is pushed while edged is off is noticed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from edged.errors import StateError
from edged.rules.scene import SceneMemory
from edged.runtime.pacing import Interval
from edged.state import StateDirectory

logger = logging.getLogger(__name__)

VIEWS = "views.json"

SAVE_PERIOD_S = 1800.0
"""Views follow the light for ever: they are written this often, and at once when one was learnt or is shown no more."""


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
        self._memories: dict[str, SceneMemory] = {}
        self._written: dict[str, SceneMemory] = {}
        self._tried: dict[str, SceneMemory] = {}
        self._due = Interval(SAVE_PERIOD_S)

    def load(self) -> Mapping[str, SceneMemory]:
        """The memory of each camera; none where another network learnt them. A file that is wrong is kept aside.

        Raises:
            StateError: it is wrong and cannot be kept aside: to go on would overwrite it.
        """
        try:
            self._memories = self._read(self._state.read_json(VIEWS))
        except StateError as error:
            logger.error("views are learnt anew: %s: %s kept_as=%s", VIEWS, error, self._state.set_aside(VIEWS).name)
        self._written = self._tried = dict(self._memories)
        return dict(self._memories)

    def note(self, camera: str, memory: SceneMemory) -> None:
        """Take over what a camera knows now; nothing yet is not worth a file."""
        if memory.views:
            self._memories[camera] = memory

    def save(self, *, now_s: float, is_last: bool = False) -> None:
        """Write what changed, if that is due. A failure is logged, and the next time tries again.

        Args:
            is_last: there is no next time.
        """
        memories = dict(self._memories)
        is_news = any(_summary(memory) != _summary(self._tried.get(name)) for name, memory in memories.items())
        if not (self._due.is_due(now_s) or is_news or is_last) or memories == self._written:
            return
        self._tried = memories
        try:
            self._state.write_json(VIEWS, {**self._of, "cameras": {name: each.to_json() for name, each in memories.items()}})
            self._written = memories
        except StateError as error:
            logger.error("views are not kept: %s", error)

    def _read(self, document: object) -> dict[str, SceneMemory]:
        if document is None:
            return {}
        if not isinstance(document, Mapping) or not isinstance(document.get("cameras"), Mapping):
            raise StateError(f"expected a mapping with cameras, got {type(document).__name__}")
        if {key: document.get(key) for key in self._of} != self._of:
            logger.info("views are learnt anew: those in %s are of another network or other classes", VIEWS)
            return {}
        n_classes = len(self._of["classes"])
        return {name: SceneMemory.from_json(each, n_classes=n_classes) for name, each in document["cameras"].items()}


def _summary(memory: SceneMemory | None) -> tuple[object, ...]:
    """What of it is worth writing at once."""
    return () if memory is None else (memory.is_changed, *(view.number for view in memory.views))
