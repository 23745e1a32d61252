"""The threshold of a gallery follows from how alike its people are, and says how much that shows."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins.faces import StandInFaceReader, embedding_of

from edged.errors import FaceError, GalleryError
from edged.identity import calibration
from edged.identity.calibration import calibrate, load_calibration, measure_impostors, settings_of
from edged.identity.decision import DecisionSettings
from edged.proportions import exact_interval

SETTINGS = DecisionSettings(threshold=0.5, false_match_rate=0.001, margin=0.05)


def people(n: int, *, each: int = 1) -> tuple[np.ndarray, list[str]]:
    """So many templates of as many drawn people, slightly different from each other."""
    rng = np.random.default_rng(8)
    templates = np.stack([embedding_of(number) for number in range(n) for _ in range(each)])
    templates = templates + 0.02 * rng.standard_normal(templates.shape).astype(np.float32)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    return templates.astype(np.float32), [f"p{number}" for number in range(n) for _ in range(each)]


@pytest.mark.parametrize(("n", "each", "block_rows"), [(2, 1, 512), (30, 1, 7), (20, 3, 16)])
def test_impostor_scores_are_those_of_every_pair_of_two_people(monkeypatch, n, each, block_rows):
    """Each pair once, no template with another of the same person, however it is cut."""
    monkeypatch.setattr(calibration, "_BLOCK_ROWS", block_rows)
    templates, person_ids = people(n, each=each)
    expected = [
        float(templates[a] @ templates[b])
        for a in range(len(templates))
        for b in range(a + 1, len(templates))
        if person_ids[a] != person_ids[b]
    ]

    scores = measure_impostors(templates, person_ids)

    assert scores.n_pairs == len(expected)
    assert scores.n_people == n
    means = np.average(np.arange(len(scores.counts)) * 1e-4 - 1, weights=scores.counts)
    assert means == pytest.approx(np.mean(expected), abs=1e-4)
    assert scores.nearest[0].score == pytest.approx(max(expected), abs=1e-6)


def test_look_alikes_are_told_nearest_first():
    """Twins stand at the head of the list, once for all their pictures."""
    reader = StandInFaceReader(look_alikes={7: (3, 0.9), 5: (2, 0.7)})
    templates = np.stack([reader.embedding_of(number) for number in range(20) for _ in range(2)])
    person_ids = [f"p{number}" for number in range(20) for _ in range(2)]

    first, second, *_ = measure_impostors(templates, person_ids).nearest

    assert ({first.person_id, first.other_id}, {second.person_id, second.other_id}) == ({"p3", "p7"}, {"p2", "p5"})
    assert (first.score, second.score) == (pytest.approx(0.9, abs=1e-5), pytest.approx(0.7, abs=1e-5))


@pytest.mark.parametrize("wanted", [0.1, 0.01, 0.003])
def test_threshold_is_the_lowest_whose_bound_is_what_is_wanted(wanted):
    """One bin lower, and the bound would be above."""
    templates, person_ids = people(80)
    scores = measure_impostors(templates, person_ids)

    found = calibrate(scores, wanted=wanted, default_threshold=0.99)

    errors = round(found.measured * found.n_pairs)
    lower = int(scores.counts[round((found.threshold + 1) / 1e-4) - 1 :].sum())
    assert found.is_shown
    assert found.n_pairs == 80 * 79 // 2
    assert (found.low, found.high) == exact_interval(errors, found.n_pairs)
    assert found.high <= wanted < exact_interval(lower, found.n_pairs)[1]


def test_strangers_at_the_threshold_are_as_rare_as_the_bound_says():
    """People who are not enrolled, compared with those who are: what calibration is for."""
    templates, person_ids = people(150)
    found = calibrate(measure_impostors(templates, person_ids), wanted=0.01, default_threshold=0.5)

    strangers = np.stack([embedding_of(number) for number in range(200, 500)])

    assert (strangers @ templates.T >= found.threshold).mean() <= found.high


def test_threshold_that_too_few_people_can_show_is_the_encoders_own():
    """Three people are three pairs: they show nothing about one in a thousand, and it is said."""
    templates, person_ids = people(3)

    found = calibrate(measure_impostors(templates, person_ids), wanted=0.001, default_threshold=0.5)

    assert not found.is_shown
    assert found.threshold == 0.5
    assert (found.measured, found.n_pairs) == (0, 3)
    assert found.high == exact_interval(0, 3)[1] > 0.7


def test_threshold_of_few_people_who_look_alike_is_above_them():
    """Whatever the encoder's own is."""
    reader = StandInFaceReader(look_alikes={1: (0, 0.8)})
    templates = np.stack([reader.embedding_of(number) for number in range(3)])

    found = calibrate(measure_impostors(templates, list("abc")), wanted=0.001, default_threshold=0.5)

    assert found.threshold == pytest.approx(0.8, abs=2e-4)
    assert found.threshold > float(templates[0] @ templates[1])
    assert found.measured == 0


def test_threshold_of_people_who_are_the_same_stays_one():
    """Identical templates of two people leave no threshold above them."""
    templates = np.repeat(embedding_of(1)[None], 2, axis=0)

    found = calibrate(measure_impostors(templates, ["a", "b"]), wanted=0.1, default_threshold=0.5)

    assert found.threshold == 1.0
    assert not found.is_shown


@pytest.mark.parametrize("n", [0, 1])
def test_gallery_of_fewer_than_two_people_cannot_be_calibrated(n):
    """There is nobody to compare with."""
    templates, person_ids = people(2)

    with pytest.raises(FaceError, match=f"two people at least, there are {n}") as caught:
        measure_impostors(templates[:n], person_ids[:n])

    assert caught.value.code == "calibrate.too_few"


@pytest.mark.parametrize("wanted", [0.0, 1.0, -1.0, float("nan")])
def test_rate_that_is_none_is_refused(wanted):
    """Nobody is promised that it never happens."""
    with pytest.raises(FaceError, match="between 0 and 1"):
        calibrate(measure_impostors(*people(3)), wanted=wanted, default_threshold=0.5)


def test_large_gallery_is_compared_in_part(monkeypatch):
    """The number of pairs is bounded, and said."""
    monkeypatch.setattr(calibration, "MOST_TEMPLATES", 10)

    scores = measure_impostors(*people(40))

    assert scores.n_pairs == 45
    assert scores.n_people == 10


def test_calibration_kept_is_what_decides():
    """Its rate is the bound, not the share that happened to be measured."""
    found = calibrate(measure_impostors(*people(80)), wanted=0.01, default_threshold=0.5)

    kept = load_calibration(found.model_dump_json())

    assert kept == found
    assert (settings_of(SETTINGS, kept).threshold, settings_of(SETTINGS, kept).false_match_rate) == (found.threshold, found.high)
    assert settings_of(SETTINGS, None) is SETTINGS
    assert load_calibration(None) is None
    with pytest.raises(GalleryError):
        load_calibration("{}")
