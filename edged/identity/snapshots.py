"""The snapshot that is current: taken anew when the gallery has changed or somebody's consent has ended."""

from __future__ import annotations

from edged.errors import GalleryError
from edged.identity.gallery import Gallery
from edged.identity.matching import Combination
from edged.identity.people import Snapshot


class CurrentSnapshot:
    """Whom faces are matched against now. Used by the thread of the gallery.

    Args:
        gallery: open; others may change it at any time.
        model_digest: SHA-256 of the encoder in use.
        combination: how several templates of one person count.
    """

    def __init__(self, gallery: Gallery, *, model_digest: str, combination: Combination = "best") -> None:
        self._gallery = gallery
        self._model_digest = model_digest
        self._combination: Combination = combination
        self._snapshot: Snapshot | None = None
        self._taken_at = 0.0

    def get(self, now_at: float, *, for_enrolment: bool = False) -> Snapshot:
        """The newest, at the price of one small question to SQLite where nothing has changed.

        Args:
            now_at: UTC seconds since 1970.
            for_enrolment: that nobody can match is no error.

        Raises:
            GalleryError: it cannot be read, or people are enrolled, but all with another encoder.
        """
        held, self._snapshot = self._snapshot, None
        if held is None or held.matcher.version != self._gallery.version() or not self._holds(held, now_at):
            held = self._gallery.take_snapshot(self._model_digest, now_at=now_at, combination=self._combination)
            self._taken_at = now_at
        self._snapshot = held
        if held.n_people and held.n_stale == held.n_people and not for_enrolment:
            raise GalleryError(
                "gallery.other_encoder",
                f"all {held.n_people} people were enrolled with another encoder than {self._model_digest[:12]}…",
                mend="enrol them again, or `edged faces reencode` where their crops were kept; or use the encoder of before",
            )
        return held

    def _holds(self, snapshot: Snapshot, now_at: float) -> bool:
        """Nobody has expired since, and the clock was not set back before somebody's end."""
        return self._taken_at <= now_at and (snapshot.renew_at is None or now_at < snapshot.renew_at)
