"""What the cameras counted, in the state directory: read at the start, written when it changes, never thrown away."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from edged.errors import StateError
from edged.rules.counters import CounterState
from edged.state import StateDirectory

logger = logging.getLogger(__name__)

COUNTERS = "counters.json"
_ALL = "(all)"


class CounterStore:
    """The totals of every camera that ever counted here. Used by one thread.

    Args:
        state: the state directory, held by this process.
    """

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._kept: Mapping[str, CounterState] = {}

    def load(self) -> Mapping[str, CounterState]:
        """The totals by camera. A camera whose entry is wrong begins at 0, and the file as it was is kept aside.

        Raises:
            StateError: something is wrong and cannot be kept aside: to go on would overwrite it.
        """
        try:
            self._kept, wrong = _split(self._state.read_json(COUNTERS))
        except StateError as error:
            wrong = {_ALL: error}
        if wrong:
            aside = self._state.set_aside(COUNTERS)
            for camera, error in wrong.items():
                logger.error("counters begin at 0: camera=%s error=%s kept_as=%s", camera, error, aside.name)
            self._write()  # at once: until then only the file that was set aside holds the right ones
        return self._kept

    def save(self, counters: Mapping[str, CounterState]) -> None:
        """Write what changed; cameras that are not named keep theirs. A failure is logged, and the next change tries again."""
        kept = {**self._kept, **counters}
        if kept != self._kept:
            self._kept = kept
            self._write()

    def _write(self) -> None:
        try:
            self._state.write_json(COUNTERS, {name: counters.to_json() for name, counters in self._kept.items()})
        except StateError as error:
            logger.error("counters are not kept: %s", error)


def _split(document: object) -> tuple[dict[str, CounterState], dict[str, StateError]]:
    """The totals by camera, and what is wrong with those that are wrong."""
    if document is None:
        return {}, {}
    if not isinstance(document, Mapping):
        return {}, {_ALL: StateError(f"{COUNTERS} must be a mapping of cameras, got {type(document).__name__}")}
    right, wrong = {}, {}
    for name, counters in document.items():
        try:
            right[name] = CounterState.from_json(counters)
        except StateError as error:
            wrong[name] = error
    return right, wrong
