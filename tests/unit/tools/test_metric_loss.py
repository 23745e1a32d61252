"""Losses of distances: by hand where there is a number, by trying everything where there is a choice."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from tools.metric_loss import (  # noqa: E402
    AngularSettings,
    TripletSettings,
    angular_loss,
    batch_hard,
    semi_hard,
    squared_distances,
    triplet_loss,
)

pytestmark = pytest.mark.torch


def at_degrees(*degrees: float) -> torch.Tensor:
    """Unit vectors of the plane."""
    radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_angular_loss_with_a_margin_on_the_cosine_is_the_cross_entropy_by_hand() -> None:
    """s = 10, m = 0.2: logits 10 * (0.9 - 0.2) and 10 * 0.5; -log(e^7 / (e^7 + e^5)) = log(1 + e^-2)."""
    settings = AngularSettings(kind="cosine", margin=0.2, scale=10, smoothing=0)

    part = angular_loss(torch.tensor([[0.9, 0.5]]), torch.tensor([0]), settings)

    assert part.sum.item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert part.over.item() == 1


def test_angular_loss_with_a_margin_on_the_angle_is_the_cross_entropy_by_hand() -> None:
    """60 degrees and a margin of 30: the cosine counts as that of 90 degrees, 0."""
    settings = AngularSettings(kind="angle", margin=math.pi / 6, scale=4, smoothing=0)

    part = angular_loss(torch.tensor([[0.5, 0.25]]), torch.tensor([0]), settings)

    assert part.sum.item() == pytest.approx(math.log(1 + math.exp(4 * 0.25)), rel=1e-5)


@pytest.mark.parametrize("kind", ["angle", "cosine"])
def test_angular_loss_falls_all_the_way_as_a_picture_turns_to_its_own(kind: str) -> None:
    """From the opposite direction to its own there is no place where turning nearer costs more."""
    settings = AngularSettings(kind=kind, margin=0.5, scale=8, smoothing=0)
    own = torch.linspace(-1, 1, 401)
    losses = [angular_loss(torch.tensor([[c, 0.0]]), torch.tensor([0]), settings).sum.item() for c in own]

    assert (np.diff(losses) < 0).all()


def test_angular_loss_without_its_margin_yet_is_plain_cross_entropy() -> None:
    """While the margin rises it begins at nothing."""
    cosines, labels = torch.rand(5, 7) * 2 - 1, torch.arange(5)
    settings = AngularSettings(margin=0.4, scale=16, smoothing=0.1)

    part = angular_loss(cosines, labels, settings, margin_share=0.0)

    plain = torch.nn.functional.cross_entropy(16 * cosines, labels, label_smoothing=0.1, reduction="sum")
    torch.testing.assert_close(part.sum, plain)


def test_angular_loss_at_the_ends_has_a_gradient() -> None:
    """At exactly its own direction and exactly opposite the slope is a number."""
    cosines = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)

    angular_loss(cosines, torch.tensor([0, 0]), AngularSettings(kind="angle", margin=0.3)).sum.backward()

    assert torch.isfinite(cosines.grad).all()


def test_squared_distances_of_unit_vectors_are_those_of_the_plane() -> None:
    """A quarter turn is 2, half a turn 4."""
    distances = squared_distances(at_degrees(0, 90, 180))

    torch.testing.assert_close(distances, torch.tensor([[0.0, 2, 4], [2, 0, 2], [4, 2, 0]], dtype=torch.float64))


def test_triplet_loss_by_hand() -> None:
    """Anchor and positive 60 degrees apart (squared 1), the other 90 from one (2) and 150 from the other (2 + sqrt 3)."""
    embeddings = at_degrees(0, 60, -90)
    labels = torch.tensor([0, 0, 1])
    settings = TripletSettings(margin=1.5, mining="batch_hard")

    part = triplet_loss(embeddings, labels, settings)

    assert part.sum.item() == pytest.approx(1 - 2 + 1.5)  # the other pair: 1 - 3.73 + 1.5 < 0
    assert part.over.item() == 2


def random_case(seed: int, *, labels: int = 4, n: int = 14) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=torch.float64), dim=1)
    return embeddings, torch.randint(labels, (n,), generator=generator)


@pytest.mark.parametrize("seed", range(6))
def test_batch_hard_mining_is_what_trying_everything_finds(seed: int) -> None:
    """For each picture the largest distance within and the smallest without."""
    embeddings, labels = random_case(seed)
    distances = squared_distances(embeddings)
    expected = {}
    for a in range(len(labels)):
        within = [p for p in range(len(labels)) if p != a and labels[p] == labels[a]]
        without = [n for n in range(len(labels)) if labels[n] != labels[a]]
        if within and without:
            expected[a] = max(distances[a, p].item() for p in within), min(distances[a, n].item() for n in without)

    anchors, positives, negatives = batch_hard(distances, labels[:, None] == labels)

    found = {
        int(a): (distances[a, p].item(), distances[a, n].item()) for a, p, n in zip(anchors, positives, negatives, strict=True)
    }
    assert found == expected


@pytest.mark.parametrize("seed", range(6))
def test_semi_hard_mining_is_what_trying_everything_finds(seed: int) -> None:
    """For each ordered pair the nearest negative that is farther than the positive; the farthest of all where none is."""
    embeddings, labels = random_case(seed)
    distances = squared_distances(embeddings)
    expected = {}
    for a in range(len(labels)):
        without = [distances[a, n].item() for n in range(len(labels)) if labels[n] != labels[a]]
        for p in range(len(labels)):
            if p != a and labels[p] == labels[a] and without:
                beyond = [d for d in without if d > distances[a, p].item()]
                expected[a, p] = min(beyond) if beyond else max(without)

    anchors, positives, negatives = semi_hard(distances, labels[:, None] == labels)

    found = {(int(a), int(p)): distances[a, n].item() for a, p, n in zip(anchors, positives, negatives, strict=True)}
    assert found == expected


def test_semi_hard_mining_takes_the_farthest_where_all_are_too_near() -> None:
    """The pair is half a turn apart: no negative is farther, the farther of the two is taken."""
    distances = squared_distances(at_degrees(0, 180, 20, 50))
    labels = torch.tensor([0, 0, 1, 2])

    anchors, positives, negatives = semi_hard(distances, labels[:, None] == labels)

    assert list(zip(anchors.tolist(), positives.tolist(), negatives.tolist(), strict=True)) == [(0, 1, 3), (1, 0, 2)]


@pytest.mark.parametrize("mining", ["semi_hard", "batch_hard"])
@pytest.mark.parametrize(
    "labels",
    [pytest.param([0, 0, 0], id="one label"), pytest.param([0, 1, 2], id="no pair"), pytest.param([5], id="one picture")],
)
def test_triplet_loss_without_a_triplet_is_zero(mining: str, labels: list[int]) -> None:
    """A batch that has nothing to compare changes nothing, and its slope is a number."""
    embeddings = at_degrees(*range(len(labels))).requires_grad_()

    part = triplet_loss(embeddings, torch.tensor(labels), TripletSettings(mining=mining))
    part.sum.backward()

    assert part.sum.item() == part.over.item() == 0
    assert (embeddings.grad == 0).all()


@pytest.mark.parametrize("mining", ["semi_hard", "batch_hard"])
def test_triplet_loss_teaches_to_part(mining: str) -> None:
    """A few steps down its slope bring one label together and two apart."""
    embeddings, labels = random_case(1, labels=2, n=8)
    embeddings.requires_grad_()
    settings = TripletSettings(mining=mining)
    before = triplet_loss(embeddings, labels, settings)
    for _ in range(200):
        unit = torch.nn.functional.normalize(embeddings, dim=1)
        (slope,) = torch.autograd.grad(triplet_loss(unit, labels, settings).sum, embeddings)
        embeddings.data -= 0.02 * slope

    after = triplet_loss(torch.nn.functional.normalize(embeddings, dim=1), labels, settings)

    assert after.sum < 0.2 * before.sum


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: AngularSettings(scale=0), id="no scale"),
        pytest.param(lambda: AngularSettings(margin=1.0), id="margin"),
        pytest.param(lambda: AngularSettings(smoothing=float("nan")), id="no number"),
        pytest.param(lambda: TripletSettings(margin=-0.1), id="negative margin"),
        pytest.param(lambda: TripletSettings(start_epoch=0), id="epoch 0"),
    ],
)
def test_settings_out_of_bounds_are_refused(make: object) -> None:
    """A mistyped number is told at once."""
    with pytest.raises(ValueError, match="expected weight"):
        make()
