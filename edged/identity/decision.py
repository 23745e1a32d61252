"""Whose face it is: one decision for one picture and for a track's many, against one person and against all who are enrolled.

The pictures of a track vote, each with its quality as weight: a person's score is the weighted mean of the cosines that the
pictures have with them. A mean of such scores can be held against the threshold of a single one; the cosine of a mean embedding,
which is always higher, could not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edged.identity.matching import Candidate, Matcher
from edged.types import Face, FaceDecision, FaceDecisionKind

_NAMELESS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """From where on a face is somebody's.

    Attributes:
        threshold: least score of a match, a cosine.
        false_match_rate: the share of pairs of two people that reach it; None where that was never measured.
        margin: least distance of the nearest person's score from the next one's; nearer than this is ambiguous.
        live_threshold: least probability of a living face; None: nobody is taken for a spoof.
        least_quality: a picture below this is not asked, [0, 1].
        least_votes: pictures that a track's answer needs.
    """

    threshold: float
    false_match_rate: float | None
    margin: float
    live_threshold: float | None = None
    least_quality: float = 0.3
    least_votes: int = 2

    def __post_init__(self) -> None:
        if not (-1 <= self.threshold <= 1 and self.margin >= 0):
            raise ValueError(f"expected a threshold from -1 to 1 and a margin from 0 on, got {self.threshold} and {self.margin}")
        if self.least_votes < 1:
            raise ValueError(f"an answer needs at least 1 vote, got {self.least_votes}")


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """What faces are held against: who is enrolled, and from where on a face is theirs. Both change with the gallery."""

    matcher: Matcher
    settings: DecisionSettings


class Evidence:
    """What the pictures of one track have said. Holds embeddings, and nothing else of anybody; used by one thread."""

    def __init__(self) -> None:
        self._faces: list[Face] = []

    def add(self, face: Face) -> None:
        """Take a face that was read.

        Raises:
            ValueError: it has no embedding.
        """
        _embedding_of(face)
        self._faces.append(face)

    def decide(self, yardstick: Yardstick) -> FaceDecision:
        """What they amount to now; `low_quality` while fewer than `least_votes` are good enough to be asked."""
        matcher, settings = yardstick.matcher, yardstick.settings
        asked = [face for face in self._faces if face.quality >= settings.least_quality]
        is_enough = len(asked) >= settings.least_votes
        return _judge(
            _vote(asked, matcher) if is_enough else (),
            settings,
            is_usable=is_enough,
            votes=len(asked),
            live=_weighted_live(asked),
            gallery_version=matcher.version,
            model=matcher.model_digest,
            names=matcher.names,
        )


def decide_single(face: Face, matcher: Matcher, settings: DecisionSettings, *, person_id: str | None = None) -> FaceDecision:
    """Whose face it is, from one picture: one of all who are enrolled, or the one who it is said to be.

    Args:
        face: encoded.
        person_id: only this person is compared (verification); None: everybody (recognition).

    Raises:
        KeyError: nobody of that id is enrolled.
        ValueError: the face has no embedding.
    """
    embedding = _embedding_of(face)
    if person_id is None:
        (candidates,) = matcher.search(embedding[None])
    else:
        candidates = (Candidate(person_id, float(matcher.score(embedding[None], person_id)[0])),)
    return _judge(
        candidates,
        settings,
        is_usable=face.quality >= settings.least_quality,
        votes=1,
        live=face.live,
        gallery_version=matcher.version,
        model=matcher.model_digest,
        names=matcher.names,
    )


def decide_pair(face: Face, reference: Face, settings: DecisionSettings, *, subject: str, model: str) -> FaceDecision:
    """Whether two pictures show the same person, nobody being enrolled.

    Args:
        face: encoded; may be a spoof.
        reference: encoded; who `subject` is.
        subject: what a match is called.
        model: SHA-256 of the encoder that both come from.

    Raises:
        ValueError: one has no embedding.
    """
    score = float(_embedding_of(face) @ _embedding_of(reference))
    return _judge(
        (Candidate(subject, score),),
        settings,
        is_usable=min(face.quality, reference.quality) >= settings.least_quality,
        votes=1,
        live=face.live,
        gallery_version=None,
        model=model,
    )


def _judge(
    candidates: Sequence[Candidate],
    settings: DecisionSettings,
    *,
    is_usable: bool,
    votes: int,
    live: float | None,
    gallery_version: int | None,
    model: str,
    names: Mapping[str, str] = _NAMELESS,
) -> FaceDecision:
    """The one rule. `candidates` are the nearest person and the next, as far as there are any."""
    score = candidates[0].score if candidates else None
    margin = candidates[0].score - candidates[1].score if len(candidates) > 1 else None
    kind = _kind(score, margin, settings, is_usable=is_usable, live=live)
    is_near = score is not None and score >= settings.threshold
    names_somebody = is_near and kind not in (FaceDecisionKind.UNKNOWN, FaceDecisionKind.LOW_QUALITY)
    subject = candidates[0].person_id if names_somebody else None
    return FaceDecision(
        kind=kind,
        subject=subject,
        score=score,
        margin=margin,
        threshold=settings.threshold,
        false_match_rate=settings.false_match_rate,
        votes=votes,
        live=live,
        gallery_version=gallery_version,
        model=model,
        name=None if subject is None else names.get(subject),
    )


def _kind(
    score: float | None, margin: float | None, settings: DecisionSettings, *, is_usable: bool, live: float | None
) -> FaceDecisionKind:
    if not is_usable:
        return FaceDecisionKind.LOW_QUALITY
    if settings.live_threshold is not None and live is not None and live < settings.live_threshold:
        return FaceDecisionKind.SPOOF
    if score is None or score < settings.threshold:
        return FaceDecisionKind.UNKNOWN
    if margin is not None and margin < settings.margin:
        return FaceDecisionKind.AMBIGUOUS
    return FaceDecisionKind.MATCH


def _vote(faces: Sequence[Face], matcher: Matcher) -> tuple[Candidate, ...]:
    """The two persons with the highest weighted mean of cosines, which are the nearest two to the weighted mean embedding."""
    weights = np.array([face.quality for face in faces], np.float32)
    embeddings = np.stack([_embedding_of(face) for face in faces])  # (V, D)
    mean = weights @ embeddings / max(float(weights.sum()), 1e-6)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:  # they contradict each other fully: near to nobody
        return ()
    (nearest,) = matcher.search((mean / length)[None].astype(np.float32))
    return tuple(Candidate(each.person_id, each.score * length) for each in nearest)


def _weighted_live(faces: Sequence[Face]) -> float | None:
    judged = [(face.quality, face.live) for face in faces if face.live is not None]
    total = sum(weight for weight, _ in judged)
    return sum(weight * live for weight, live in judged) / total if total > 0 else None


def _embedding_of(face: Face) -> NDArray[np.float32]:
    if face.embedding is None:
        raise ValueError("expected a face that was encoded, got one without an embedding")
    return face.embedding
