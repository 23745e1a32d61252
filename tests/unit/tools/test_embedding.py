"""The encoder's network: unit vectors out, what is exported is what was measured, a last layer that begins well."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from tools.nets.convolution import convolutions  # noqa: E402
from tools.nets.discriminants import find_discriminants  # noqa: E402
from tools.nets.embedding import (  # noqa: E402
    Centre,
    Embedding,
    EmbeddingClassifier,
    EmbeddingSettings,
    ExportedEmbedding,
    encoder_weights,
)

pytestmark = pytest.mark.torch

SMALL = {"input_px": 32, "width": 0.25}


def pictures(n: int, *, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        pytest.param({"rows": 3}, 4, id="three rows: stride 8"),
        pytest.param({"rows": 5}, 2, id="five rows: stride 16"),
        pytest.param({"rows": 7}, 1, id="seven rows: stride 32"),
        pytest.param({"rows": 5, "pooling": "filter"}, 1, id="filter"),
        pytest.param({"rows": 5, "pooling": "average"}, 1, id="average"),
        pytest.param({"rows": 5, "dimension": 512}, 2, id="512 numbers"),
        pytest.param({"rows": 5, "input_px": 64}, 4, id="larger"),
    ],
)
def test_embedding_of_pictures_is_of_unit_length(changes: dict[str, object], side: int) -> None:
    """Whatever is set: (N, dimension), length 1, from features as large as the stride leaves them."""
    settings = EmbeddingSettings(**{**SMALL, **changes})
    network = Embedding(settings).eval()
    images = pictures(3, side=settings.input_px)

    found = network(images)

    assert found.shape == (3, settings.dimension)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert network.features(images).shape[2:] == (side, side)


def test_filter_begins_as_the_average() -> None:
    """Before it has learnt anything a filter over all places is their mean."""
    filtered, averaged = (Embedding(EmbeddingSettings(**SMALL, pooling=pooling)) for pooling in ("filter", "average"))
    filtered.backbone.load_state_dict(averaged.backbone.state_dict())

    torch.testing.assert_close(filtered.features(pictures(2)), averaged.features(pictures(2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"input_px": 40}, "input_px: expected a multiple of 16", id="no multiple"),
        pytest.param({"input_px": 16}, "32 at least", id="too small"),
        pytest.param({"rows": 4}, "rows: expected one of 3, 5, 7, got 4", id="rows"),
        pytest.param({"dimension": 100}, "dimension: expected one of 128, 256, 512, got 100", id="dimension"),
        pytest.param({"pooling": "max"}, "pooling: expected one of none, filter, average", id="pooling"),
        pytest.param({"width": 0}, "width: expected more than 0", id="width"),
        pytest.param({"dropout": 1.0}, "dropout: expected 0 or more, below 1", id="dropout"),
    ],
)
def test_settings_that_no_network_can_have_are_refused(changes: dict[str, object], message: str) -> None:
    """With the name, what was expected and what was given."""
    with pytest.raises(ValueError, match=message):
        EmbeddingSettings(**changes)


def test_exported_network_answers_what_was_measured() -> None:
    """`centre` is folded into the last layer, the directions are left behind."""
    settings = EmbeddingSettings(**SMALL)
    trained = EmbeddingClassifier(settings, labels=5)
    trained.train()
    trained(pictures(8))
    trained.encoder.centre.mean.normal_(generator=torch.Generator().manual_seed(2))
    exported = ExportedEmbedding(settings)

    exported.load_state_dict(encoder_weights(trained.state_dict()))

    torch.testing.assert_close(exported.eval()(pictures(4, seed=1)), trained.eval()(pictures(4, seed=1)).embeddings)


def test_exported_network_that_is_mirrored_answers_alike_for_a_picture_and_its_mirror_image() -> None:
    """The answer is the mean of both, of unit length."""
    plain, mirrored = (ExportedEmbedding(EmbeddingSettings(**SMALL, mirrored=mirrored)).eval() for mirrored in (False, True))
    mirrored.load_state_dict(plain.state_dict())
    images = pictures(3)

    found = mirrored(images)

    expected = torch.nn.functional.normalize(plain(images) + plain(images.flip(3)), dim=1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found, mirrored(images.flip(3)))


def test_centre_takes_the_batch_s_mean_away_and_follows_it() -> None:
    """In training the batch's mean, afterwards the moving one."""
    centre = Centre(3)
    batch = torch.tensor([[1.0, 2, 3], [3, 2, 1]])

    shown = centre.train()(batch)

    torch.testing.assert_close(shown, torch.tensor([[-1.0, 0, 1], [1, 0, -1]]))
    torch.testing.assert_close(centre.mean, torch.full((3,), 0.1))
    torch.testing.assert_close(centre.eval()(batch), batch - 0.1)


def test_classifier_pointed_at_its_pictures_has_directions_of_their_means() -> None:
    """Each identity's direction is the mean of its embeddings, of unit length."""
    classifier = EmbeddingClassifier(EmbeddingSettings(**SMALL), labels=2)
    embeddings = torch.zeros(3, 128)
    embeddings[0, 0] = embeddings[1, 1] = embeddings[2, 2] = 1

    classifier.point(embeddings, torch.tensor([0, 1, 0]))

    expected = torch.zeros(2, 128)
    expected[0, 0] = expected[0, 2] = 0.5**0.5
    expected[1, 1] = 1
    torch.testing.assert_close(classifier.directions.data, expected)


def labelled_features(*, labels: int, each: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels apart along three directions, pictures of one label apart much farther along all others."""
    generator = torch.Generator().manual_seed(0)
    of_label = torch.randn(labels, 3, generator=generator)
    rows = torch.arange(labels).repeat_interleave(each)
    features = 5 * torch.randn(len(rows), width, generator=generator)
    features[:, :3] = of_label[rows] + 0.2 * torch.randn(len(rows), 3, generator=generator)
    return features, rows


def test_discriminants_are_the_directions_in_which_labels_differ() -> None:
    """The first three numbers hold all that tells labels apart, though it is least of what varies."""
    features, labels = labelled_features(labels=30, each=6, width=12)

    found = find_discriminants(features, labels, dimension=5)
    numbers = features @ found.weights.T + found.biases

    means = torch.stack([numbers[labels == label].mean(dim=0) for label in range(30)])
    within = torch.stack([numbers[labels == label].std(dim=0) for label in range(30)]).mean(dim=0)
    ratio = means.std(dim=0) / within
    assert (ratio[:3] > 2).all()
    assert (ratio[3:] < 1).all()
    torch.testing.assert_close(numbers.mean(dim=0), torch.zeros(5), atol=1e-3, rtol=0)


def test_discriminants_do_not_depend_on_how_features_are_measured() -> None:
    """A feature in other units gives the same numbers, but for their signs."""
    features, labels = labelled_features(labels=20, each=5, width=10)
    scaled = features * torch.logspace(-2, 2, 10) + 7

    first, second = (
        one @ found.weights.T + found.biases
        for one in (features, scaled)
        for found in [find_discriminants(one, labels, dimension=3)]
    )

    np.testing.assert_allclose(np.abs(first.numpy()), np.abs(second.numpy()), rtol=1e-2, atol=1e-2)


def test_discriminants_of_too_few_pictures_are_refused() -> None:
    """More numbers than pictures tell nothing."""
    with pytest.raises(ValueError, match="expected more than 8 pictures"):
        find_discriminants(torch.zeros(8, 20), torch.arange(8), dimension=8)


def test_embedding_that_begins_with_discriminants_tells_labels_apart() -> None:
    """With fresh weights below it, the last layer already brings changed pictures of one label together."""
    torch.manual_seed(0)
    network = Embedding(EmbeddingSettings(input_px=32, width=0.5)).eval()
    patterns = pictures(40).repeat_interleave(6, dim=0).float()
    noise = 40 * torch.randn(patterns.shape, generator=torch.Generator().manual_seed(1))
    images = (patterns + noise).clamp(0, 255)
    labels = torch.arange(40).repeat_interleave(6)
    with torch.no_grad():
        features = network.features(images).flatten(1)
        network.discriminate(find_discriminants(features, labels, dimension=128))
        cosines = network(images) @ network(images).T

    same = (labels[:, None] == labels) & ~torch.eye(240, dtype=torch.bool)
    assert cosines[same].mean() > 0.5
    assert cosines[labels[:, None] != labels].mean().abs() < 0.1


def test_every_layer_of_the_network_is_a_convolution_with_a_name() -> None:
    """Export, quantisation and first weights find all weights in them."""
    network = Embedding(EmbeddingSettings(**SMALL, pooling="filter"))

    named = {f"{name}.{part}" for name in convolutions(network) for part in ("weight", "bias")}

    assert named == {name for name, _ in network.named_parameters()}
