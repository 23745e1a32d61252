"""Whose face is hidden in a picture that leaves."""

from __future__ import annotations

import numpy as np
import pytest

from edged.events.event import ObjectFacts
from edged.pipeline import FrameResult
from edged.privacy import PrivacySettings, hidden_areas
from edged.types import Detections, FaceDecision, FaceDecisionKind, Frame, Track, Tracks, TrackState

PERSON, CAR = 0, 1
LEFT, RIGHT = (100.0, 50.0, 140.0, 170.0), (300.0, 50.0, 340.0, 170.0)


def make_track(number: int, box: tuple[float, ...], *, class_id: int = PERSON) -> Track:
    state = TrackState.CONFIRMED if number else TrackState.TENTATIVE
    return Track(number, class_id, np.array(box, np.float32), 0.9, state, False, True, 0.0, 0.0)


def make_frame(*, width: int = 640, height: int = 360, captured_s: float = 0.0) -> Frame:
    return Frame("door", 1, captured_s, captured_s, width, height, lambda: np.zeros((height, width, 3), np.uint8))


def make_facts(number: int, *, zones: tuple[str, ...] = (), kind: FaceDecisionKind | None = None) -> ObjectFacts:
    subject = "anna" if kind in (FaceDecisionKind.MATCH, FaceDecisionKind.AMBIGUOUS) else None
    decision = kind and FaceDecision(kind, subject, 0.7, None, 0.5, None, 2, None, 1, "a" * 64)
    return ObjectFacts(number, "person", 0.9, 0.9, np.zeros(4, np.float32), False, 0.0, zones, None, decision)


def hidden(
    tracks: list[Track],
    settings: PrivacySettings,
    *,
    facts: list[ObjectFacts] | None = None,
    detections: Detections | None = None,
    picture: Frame | None = None,
) -> np.ndarray:
    frame = make_frame()
    objects = {each.number: each for each in facts or []}
    result = FrameResult(frame, detections, Tracks(tuple(tracks), ()), (), {}, objects)
    return hidden_areas(result, picture or frame, settings, person_class_id=PERSON)


def test_hidden_by_default_are_the_heads_of_all_persons() -> None:
    """Confirmed or tentative, a person's head is hidden over the width of the box; a car has none."""
    tracks = [make_track(1, LEFT), make_track(0, RIGHT), make_track(2, (0, 0, 50, 50), class_id=CAR)]

    areas = hidden(tracks, PrivacySettings())

    np.testing.assert_allclose(areas, [(100, 50, 140, 80), (300, 50, 340, 80)])


@pytest.mark.parametrize(
    ("kind", "n_hidden"),
    [
        pytest.param(None, 1, id="not asked"),
        pytest.param(FaceDecisionKind.MATCH, 0, id="known"),
        pytest.param(FaceDecisionKind.UNKNOWN, 1, id="unknown"),
        pytest.param(FaceDecisionKind.AMBIGUOUS, 1, id="one of two"),
        pytest.param(FaceDecisionKind.SPOOF, 1, id="spoof"),
        pytest.param(FaceDecisionKind.LOW_QUALITY, 1, id="not to be seen"),
    ],
)
def test_hidden_with_unknown_are_all_but_who_was_recognised(kind: FaceDecisionKind | None, n_hidden: int) -> None:
    """Nobody is shown on a guess."""
    areas = hidden([make_track(1, LEFT)], PrivacySettings(pixelate="unknown"), facts=[make_facts(1, kind=kind)])

    assert len(areas) == n_hidden


@pytest.mark.parametrize(
    ("camera", "zones", "stands_in", "n_hidden"),
    [
        pytest.param("everybody", {"porch": "nobody"}, ("porch",), 0, id="shown in a zone"),
        pytest.param("everybody", {"porch": "nobody"}, (), 1, id="hidden beside it"),
        pytest.param("nobody", {"garden": "everybody"}, ("garden",), 1, id="hidden in a zone"),
        pytest.param("nobody", {"garden": "everybody"}, ("porch",), 0, id="shown in another"),
        pytest.param("nobody", {"a": "nobody", "b": "everybody"}, ("a", "b"), 1, id="strictest of two"),
    ],
)
def test_hidden_by_zone(camera: str, zones: dict[str, str], stands_in: tuple[str, ...], n_hidden: int) -> None:
    """A zone's own rule counts for who is in it."""
    settings = PrivacySettings(pixelate=camera, zones=zones)

    assert len(hidden([make_track(1, LEFT)], settings, facts=[make_facts(1, zones=stands_in)])) == n_hidden


def test_hidden_is_a_newcomer_where_any_zone_hides() -> None:
    """A track that is not yet believed is in no zone yet: the strictest rule of the camera counts."""
    settings = PrivacySettings(pixelate="nobody", zones={"garden": "everybody"})

    assert len(hidden([make_track(0, LEFT)], settings)) == 1


def test_hidden_are_detections_that_no_track_explains() -> None:
    """A person who is seen but not followed is hidden; the box of one who is shown stays shown."""
    boxes = np.array([LEFT, RIGHT, (500, 50, 540, 90)], np.float32)
    found = Detections(boxes, np.full(3, 0.1, np.float32), np.array([PERSON, PERSON, CAR]))

    areas = hidden(
        [make_track(1, LEFT)],
        PrivacySettings(pixelate="unknown"),
        facts=[make_facts(1, kind=FaceDecisionKind.MATCH)],
        detections=found,
    )

    np.testing.assert_allclose(areas, [(300, 50, 340, 80)])


def test_hidden_areas_follow_a_larger_picture_of_another_moment() -> None:
    """In a main stream's picture they scale, and grow by as far as somebody walks meanwhile."""
    picture = make_frame(width=1280, height=720, captured_s=0.1)

    (area,) = hidden([make_track(1, LEFT)], PrivacySettings(), picture=picture)

    np.testing.assert_allclose(area, np.array([100 - 12, 50 - 9, 140 + 12, 80 + 9]) * 2, rtol=1e-5)


def test_nothing_is_hidden_where_nobody_is_or_nobody_shall_be() -> None:
    """An empty street, a camera that shows everybody, a detector without persons."""
    assert hidden([], PrivacySettings()).shape == (0, 4)
    assert hidden([make_track(1, LEFT)], PrivacySettings(pixelate="nobody")).shape == (0, 4)
    frame = make_frame()
    result = FrameResult(frame, None, Tracks((make_track(1, LEFT),), ()), (), {})
    assert hidden_areas(result, frame, PrivacySettings(), person_class_id=None).shape == (0, 4)
