"""One decision for one picture and for a track, for one person and for all."""

import numpy as np
import pytest

from edged.identity.decision import DecisionSettings, Evidence, Yardstick, decide_pair, decide_single
from edged.identity.matching import Matcher
from edged.types import Face, FaceDecisionKind

SETTINGS = DecisionSettings(threshold=0.5, false_match_rate=1e-3, margin=0.1, live_threshold=0.5, least_quality=0.3)
ANNA, BERT = np.eye(8, dtype=np.float32)[:2]
BETWEEN = (ANNA + BERT) / np.float32(np.sqrt(2))
MODEL = "a" * 64


def make_matcher(**templates: np.ndarray) -> Matcher:
    rows = np.stack([*templates.values()]) if templates else np.zeros((0, 8), np.float32)
    return Matcher(rows, list(templates), version=7, model_digest=MODEL)


def towards(direction: np.ndarray, cosine: float, *, away: int = 7) -> np.ndarray:
    """A unit vector of that cosine with a direction; the rest points along an axis that nobody has."""
    rest = np.eye(8, dtype=np.float32)[away]
    return (cosine * direction + np.sqrt(1 - cosine**2) * rest).astype(np.float32)


def make_face(embedding: np.ndarray | None, *, quality: float = 0.8, live: float | None = 0.9) -> Face:
    box, points = np.array([0, 0, 60, 60], np.float32), np.zeros((5, 2), np.float32)
    return Face(box, points, 0.9, quality, embedding, live)


@pytest.mark.parametrize(
    ("face", "kind", "subject"),
    [
        pytest.param(make_face(towards(ANNA, 0.9)), FaceDecisionKind.MATCH, "anna", id="near to one"),
        pytest.param(make_face(towards(ANNA, 0.5)), FaceDecisionKind.MATCH, "anna", id="at the threshold"),
        pytest.param(make_face(towards(ANNA, 0.49)), FaceDecisionKind.UNKNOWN, None, id="just below it"),
        pytest.param(make_face(BETWEEN), FaceDecisionKind.AMBIGUOUS, "anna", id="as near to two"),
        pytest.param(make_face(ANNA, live=0.49), FaceDecisionKind.SPOOF, "anna", id="a picture of one"),
        pytest.param(make_face(towards(ANNA, 0.1), live=0.1), FaceDecisionKind.SPOOF, None, id="a picture of nobody known"),
        pytest.param(make_face(ANNA, live=0.5), FaceDecisionKind.MATCH, "anna", id="just alive"),
        pytest.param(make_face(ANNA, live=None), FaceDecisionKind.MATCH, "anna", id="liveness not judged"),
        pytest.param(make_face(ANNA, quality=0.29), FaceDecisionKind.LOW_QUALITY, None, id="too bad a picture"),
    ],
)
def test_decide_single_face_gives_kind_and_subject(face: Face, kind: FaceDecisionKind, subject: str | None) -> None:
    """Quality first, then liveness, the threshold, the distance from the runner-up; bounds belong to the better side."""
    decision = decide_single(face, make_matcher(anna=ANNA, bert=BERT), SETTINGS)

    assert (decision.kind, decision.subject) == (kind, subject)


def test_decide_single_carries_its_evidence() -> None:
    """A decision says what it rests on."""
    decision = decide_single(make_face(towards(ANNA, 0.9), live=0.75), make_matcher(anna=ANNA, bert=BERT), SETTINGS)

    assert decision.score == pytest.approx(0.9, abs=1e-6)
    assert decision.margin == pytest.approx(0.9, abs=1e-6)
    assert (decision.threshold, decision.false_match_rate, decision.live) == (0.5, 1e-3, 0.75)
    assert (decision.votes, decision.gallery_version, decision.model) == (1, 7, MODEL)


def test_decide_single_without_anybody_enrolled_is_unknown() -> None:
    """Nobody to compare with: no score, no margin, and no error."""
    decision = decide_single(make_face(ANNA), make_matcher(), SETTINGS)

    assert (decision.kind, decision.score, decision.margin) == (FaceDecisionKind.UNKNOWN, None, None)


def test_decide_single_against_one_person_compares_with_nobody_else() -> None:
    """Verification asks about one person: who else is as near does not count."""
    face = make_face(BETWEEN)

    decision = decide_single(face, make_matcher(anna=ANNA, bert=BERT), SETTINGS, person_id="bert")

    assert (decision.kind, decision.subject, decision.margin) == (FaceDecisionKind.MATCH, "bert", None)


def test_decide_single_against_a_stranger_raises() -> None:
    """Verification of somebody who is not enrolled cannot be answered."""
    with pytest.raises(KeyError, match="carla"):
        decide_single(make_face(ANNA), make_matcher(anna=ANNA), SETTINGS, person_id="carla")


@pytest.mark.parametrize(
    ("cosine", "quality", "kind"),
    [
        pytest.param(0.7, 0.8, FaceDecisionKind.MATCH, id="same"),
        pytest.param(0.3, 0.8, FaceDecisionKind.UNKNOWN, id="another"),
        pytest.param(0.7, 0.1, FaceDecisionKind.LOW_QUALITY, id="bad reference"),
    ],
)
def test_decide_pair_compares_two_pictures(cosine: float, quality: float, kind: FaceDecisionKind) -> None:
    """Two pictures without a gallery give the same kind of decision, of no gallery's version."""
    decision = decide_pair(
        make_face(towards(ANNA, cosine)), make_face(ANNA, quality=quality), SETTINGS, subject="passport", model=MODEL
    )

    assert (decision.kind, decision.gallery_version) == (kind, None)
    assert decision.subject == ("passport" if kind is FaceDecisionKind.MATCH else None)


def test_evidence_below_the_least_votes_is_low_quality() -> None:
    """One picture is no answer where two are asked for."""
    evidence = Evidence()
    evidence.add(make_face(ANNA))

    decision = evidence.decide(Yardstick(make_matcher(anna=ANNA), SETTINGS))

    assert (decision.kind, decision.votes, decision.score) == (FaceDecisionKind.LOW_QUALITY, 1, None)


def test_evidence_score_is_the_quality_weighted_mean_of_the_scores() -> None:
    """Each picture votes with its quality as weight, for the winner and for the runner-up alike."""
    faces = [make_face(towards(ANNA, 0.9), quality=0.9), make_face(towards(BERT, 0.6, away=6), quality=0.3)]
    evidence = Evidence()
    for face in faces:
        evidence.add(face)

    decision = evidence.decide(Yardstick(make_matcher(anna=ANNA, bert=BERT), SETTINGS))

    assert decision.score == pytest.approx((0.9 * 0.9) / 1.2, abs=1e-5)
    assert decision.margin == pytest.approx((0.9 * 0.9 - 0.3 * 0.6) / 1.2, abs=1e-5)
    assert decision.votes == 2


def test_evidence_ignores_bad_pictures() -> None:
    """A picture below the least quality has no vote, whomever it shows."""
    evidence = Evidence()
    evidence.add(make_face(BERT, quality=0.2))
    for _ in range(2):
        evidence.add(make_face(ANNA))

    decision = evidence.decide(Yardstick(make_matcher(anna=ANNA, bert=BERT), SETTINGS))

    assert (decision.kind, decision.subject, decision.votes) == (FaceDecisionKind.MATCH, "anna", 2)


def test_evidence_liveness_is_voted_on() -> None:
    """One doubtful picture does not make a spoof, most of them do."""
    evidence = Evidence()
    for live in (0.9, 0.8, 0.1):
        evidence.add(make_face(ANNA, live=live))
    before = evidence.decide(Yardstick(make_matcher(anna=ANNA), SETTINGS))
    for live in (0.1, 0.1):
        evidence.add(make_face(ANNA, live=live))
    after = evidence.decide(Yardstick(make_matcher(anna=ANNA), SETTINGS))

    assert (before.kind, after.kind) == (FaceDecisionKind.MATCH, FaceDecisionKind.SPOOF)
    assert after.live == pytest.approx(0.4)


def test_evidence_decides_anew_with_another_gallery() -> None:
    """Who is enrolled later is recognised without another picture; who is forgotten, no more."""
    evidence = Evidence()
    for _ in range(2):
        evidence.add(make_face(ANNA))

    kinds = [
        evidence.decide(Yardstick(matcher, SETTINGS)).kind
        for matcher in (make_matcher(bert=BERT), make_matcher(anna=ANNA), make_matcher())
    ]

    assert kinds == [FaceDecisionKind.UNKNOWN, FaceDecisionKind.MATCH, FaceDecisionKind.UNKNOWN]


def test_evidence_that_contradicts_itself_is_unknown() -> None:
    """Opposite embeddings leave nothing that could be near to anybody."""
    evidence = Evidence()
    evidence.add(make_face(ANNA))
    evidence.add(make_face(-ANNA))

    assert evidence.decide(Yardstick(make_matcher(anna=ANNA), SETTINGS)).kind is FaceDecisionKind.UNKNOWN


def test_faces_without_embedding_are_refused() -> None:
    """What was found but not read has no say."""
    with pytest.raises(ValueError, match="without an embedding"):
        Evidence().add(make_face(None))
    with pytest.raises(ValueError, match="without an embedding"):
        decide_single(make_face(None), make_matcher(anna=ANNA), SETTINGS)


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.1}, {"margin": -0.1}, {"least_votes": 0}], ids=["threshold", "margin", "votes"]
)
def test_settings_out_of_bounds_are_refused(wrong: dict[str, float]) -> None:
    """No threshold that nobody can reach, no negative margin, no answer from nothing."""
    with pytest.raises(ValueError, match=r"expected|needs"):
        DecisionSettings(**{"threshold": 0.5, "false_match_rate": None, "margin": 0.1, **wrong})
