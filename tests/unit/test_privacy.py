"""Whose face is hidden in a picture that leaves."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edged.events.event import ObjectFacts
from edged.pipeline import FrameResult, Mapped
from edged.privacy import PrivacySettings, ScenePrivacy, hidden_areas, hidden_scene, make_public
from edged.rules.scene import class_grid
from edged.rules.surfaces import AreaShares
from edged.street.scene import Street
from edged.street.surfaces import CLASSES as STREET_CLASSES
from edged.types import Detections, FaceDecision, FaceDecisionKind, Frame, Pixels, SegmentationMap, Track, Tracks, TrackState
from edged.vision.label_maps import class_shares, mask_of, resized
from edged.vision.masks import spread
from edged.vision.redact import FILL_COLOUR

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


CLASSES = ("road", "person", "car")
WIDTH, HEIGHT = 64, 36


def make_picture(*, captured_s: float = 0.0, seed: int = 0) -> Frame:
    pixels = np.random.default_rng(seed).integers(100, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return Frame("door", 1, captured_s, captured_s, WIDTH, HEIGHT, lambda: pixels)


def make_mapped(segmentation: SegmentationMap, *, captured_s: float) -> Mapped:
    n_classes = len(segmentation.classes)
    return Mapped(
        camera="door",
        map=segmentation,
        captured_s=captured_s,
        frame_seq=1,
        shares=AreaShares(class_shares(segmentation.labels, n_classes), {}),
        grid=class_grid(segmentation.labels, n_classes),
    )


def make_result(frame: Frame, labels: np.ndarray | None = None, *, mapped_s: float = 0.0) -> FrameResult:
    mapped = None
    if labels is not None:
        mapped = make_mapped(SegmentationMap(labels, CLASSES, frame.width, frame.height), captured_s=mapped_s)
    return FrameResult(frame, None, Tracks((), ()), (), {}, scene=mapped)


def make_labels(*, person: tuple[int, int] | None = None) -> np.ndarray:
    """A map of road as fine as the picture, with one pixel of a person at row and column."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    if person is not None:
        labels[person] = 1
    return labels


def public_pixels(result: FrameResult, settings: PrivacySettings) -> Pixels:
    return make_public(result, result.frame, settings, person_class_id=PERSON).pixels_rgb


def is_filled(pixels: Pixels) -> np.ndarray:
    return np.all(pixels == FILL_COLOUR, axis=2)


def test_public_picture_hides_its_polygons_whatever_is_seen() -> None:
    """A polygon is burnt in with no detection, no track and no map; beside it the picture is as it was."""
    frame = make_picture()
    polygon = ((0.25, 0.25), (0.5, 0.25), (0.5, 0.5), (0.25, 0.5))

    pixels = public_pixels(make_result(frame), PrivacySettings(polygons=(polygon,), style="fill"))

    assert is_filled(pixels)[9:18, 16:32].all()
    away = np.ones((HEIGHT, WIDTH), bool)
    away[7:20, 14:34] = False
    np.testing.assert_array_equal(pixels[away], frame.pixels_rgb[away])


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(ScenePrivacy(frozenset({"person"}), margin_ratio=0.0), id="hide one"),
        pytest.param(ScenePrivacy(show=frozenset({"road", "car"}), margin_ratio=0.0), id="show all but one"),
        pytest.param(ScenePrivacy(frozenset({"person"}), frozenset(CLASSES), margin_ratio=0.0), id="hide one of those shown"),
    ],
)
def test_hidden_scene_of_a_map_of_the_very_picture_is_the_class_and_its_edge(scene: ScenePrivacy) -> None:
    """Nothing has moved: the pixel and the next one around it."""
    frame = make_picture()

    mask = hidden_scene(make_result(frame, make_labels(person=(10, 20))), frame, scene)

    assert np.argwhere(mask).tolist() == [[y, x] for y in (9, 10, 11) for x in (19, 20, 21)]


def test_hidden_scene_has_a_margin() -> None:
    """A share of the width, in all directions; the rim of the picture has none."""
    frame = make_picture()
    scene = ScenePrivacy(frozenset({"person"}), margin_ratio=3 / WIDTH)

    mask = hidden_scene(make_result(frame, make_labels(person=(10, 20))), frame, scene)

    assert np.flatnonzero(mask[10]).tolist() == [*range(17, 24)]
    assert np.flatnonzero(mask[:, 20]).tolist() == [*range(7, 14)]


def test_hidden_scene_of_a_class_that_is_not_there_is_nothing() -> None:
    """A picture without persons is shown."""
    frame = make_picture()

    assert not hidden_scene(make_result(frame, make_labels()), frame, ScenePrivacy(frozenset({"person"}))).any()


@pytest.mark.parametrize("moment_s", [0.5, 1.5])
def test_hidden_scene_of_a_map_of_another_moment_grows_by_what_may_have_moved(moment_s: float) -> None:
    """A quarter of the width in a second: 8 pixels in half of one, in all directions and from the rim, before or after."""
    frame = make_picture(captured_s=moment_s)
    result = make_result(frame, make_labels(person=(18, 32)), mapped_s=1.0)

    mask = hidden_scene(result, frame, ScenePrivacy(frozenset({"person"}), margin_ratio=0.0))

    assert np.flatnonzero(mask[18]).tolist() == [*range(8), *range(32 - 9, 32 + 10), *range(WIDTH - 8, WIDTH)]
    assert np.flatnonzero(mask[:, 32]).tolist() == [*range(8), *range(18 - 9, 18 + 10), *range(HEIGHT - 8, HEIGHT)]
    assert np.flatnonzero(mask[:, 15]).tolist() == [*range(8), *range(HEIGHT - 8, HEIGHT)]


@pytest.mark.parametrize(
    ("age_s", "everything"), [pytest.param(1.0, False, id="as old as allowed"), pytest.param(1.01, True, id="older")]
)
def test_hidden_scene_of_an_old_map_is_everything(age_s: float, everything: bool) -> None:
    """A map says nothing of a moment too far from its own."""
    frame = make_picture(captured_s=age_s)

    mask = hidden_scene(make_result(frame, make_labels()), frame, ScenePrivacy(frozenset({"person"}), speed_ratio=0.0))

    assert mask.all() == everything


def test_hidden_scene_of_a_map_of_pictures_of_another_size_is_everything() -> None:
    """A camera that changes its size may show another part of the view; a larger picture of the same moment shows the same."""
    frame, larger = make_picture(), make_frame(width=2 * WIDTH, height=2 * HEIGHT)
    scene = ScenePrivacy(frozenset({"person"}))

    of_another = FrameResult(larger, None, Tracks((), ()), (), {}, scene=make_result(frame, make_labels()).scene)

    assert hidden_scene(of_another, larger, scene).all()
    assert not hidden_scene(make_result(frame, make_labels()), larger, scene).any()


@pytest.mark.parametrize(
    ("labels", "scene"),
    [
        pytest.param(None, ScenePrivacy(frozenset({"person"})), id="no map"),
        pytest.param(None, ScenePrivacy(show=frozenset({"road"})), id="no map, all but some"),
        pytest.param(make_labels(), ScenePrivacy(frozenset({"person", "dog"})), id="a class the map does not know"),
        pytest.param(make_labels(), ScenePrivacy(show=frozenset({"lawn"})), id="shown is what it does not know"),
    ],
)
def test_public_picture_without_what_says_what_is_where_hides_everything(labels: np.ndarray | None, scene: ScenePrivacy) -> None:
    """When in doubt nothing is shown."""
    pixels = public_pixels(make_result(make_picture(), labels), PrivacySettings(scene=scene, style="fill"))

    assert is_filled(pixels).all()


@settings(max_examples=60, deadline=None)
@given(
    labels=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40), elements=st.integers(0, 2)),
    hidden=st.sets(st.sampled_from(CLASSES), min_size=1),
    shows=st.booleans(),
)
def test_public_picture_whatever_the_map_is_holds_no_pixel_of_a_hidden_class(
    labels: np.ndarray, hidden: set[str], shows: bool
) -> None:
    """The map may be finer or coarser than the picture: a pixel that holds any part of a hidden class is filled."""
    frame = make_picture()
    scene = ScenePrivacy(show=frozenset(CLASSES) - hidden) if shows else ScenePrivacy(hide=frozenset(hidden))

    filled = is_filled(public_pixels(make_result(frame, labels), PrivacySettings(scene=scene, style="fill")))

    meant = mask_of(labels, [CLASSES.index(name) for name in hidden])
    assert filled[spread(meant, width=WIDTH, height=HEIGHT)].all()


@settings(max_examples=60, deadline=None)
@given(
    labels=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40), elements=st.integers(0, 2)),
    moment_s=st.floats(0, 3),
)
def test_public_picture_of_all_classes_hidden_leaves_no_pixel(labels: np.ndarray, moment_s: float) -> None:
    """Whatever the map is, and however old."""
    result = make_result(make_picture(captured_s=moment_s), labels)

    pixels = public_pixels(result, PrivacySettings(scene=ScenePrivacy(frozenset(CLASSES)), style="fill"))

    assert is_filled(pixels).all()


@cache
def street() -> Street:
    return Street(7, width=320, height=180, fps=5.0)


def street_result(index: int, *, mapped_index: int, map_width: int = 320, map_height: int = 180) -> FrameResult:
    """A frame of the street with the true map of a frame of it."""
    frame = Frame("door", index, index / 5, index / 5, 320, 180, lambda: street().frame(index))
    labels = resized(street().labels(mapped_index), width=map_width, height=map_height)
    mapped = make_mapped(SegmentationMap(labels, STREET_CLASSES, 320, 180), captured_s=mapped_index / 5)
    return FrameResult(frame, None, Tracks((), ()), (), {}, scene=mapped)


MOVING = frozenset({"pedestrian", "bicyclist", "car"})


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(ScenePrivacy(MOVING, margin_ratio=0.0), id="hide"),
        pytest.param(ScenePrivacy(show=frozenset(STREET_CLASSES) - MOVING, margin_ratio=0.0), id="show"),
    ],
)
@pytest.mark.parametrize("index", [10, 60, 110])
def test_public_picture_of_the_street_shows_nothing_that_moves(index: int, scene: ScenePrivacy) -> None:
    """With the true map no pixel of a car or person is left, and the rest of the street is as it was drawn."""
    result = street_result(index, mapped_index=index)
    truth = mask_of(street().labels(index), [STREET_CLASSES.index(name) for name in MOVING])

    pixels = public_pixels(result, PrivacySettings(scene=scene, style="fill"))

    assert truth.any()
    assert is_filled(pixels)[truth].all()
    shown = ~is_filled(pixels)
    np.testing.assert_array_equal(pixels[shown], result.frame.pixels_rgb[shown])
    assert np.count_nonzero(~shown) < 1.6 * np.count_nonzero(truth)


@pytest.mark.parametrize("after", [-2, 1, 4])
def test_public_picture_of_the_street_with_a_map_of_another_moment_shows_nothing_that_moves(after: int) -> None:
    """Up to 0.8 s later or earlier, on a coarser map: what has moved, and what has come into the picture, is hidden too."""
    for index in (10, 60, 110):
        truth = mask_of(street().labels(index + after), [STREET_CLASSES.index(name) for name in MOVING])
        result = street_result(index + after, mapped_index=index, map_width=160, map_height=120)

        pixels = public_pixels(result, PrivacySettings(scene=ScenePrivacy(MOVING, speed_ratio=0.6), style="fill"))

        assert is_filled(pixels)[truth].all()
