"""Networks from a table of layers run, have the shapes of the formulas, and refuse rows that do not fit."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from edged.errors import InputError
from tools.layer_table import TEXTBOOK, Activation, Convolution, Dense, Pooling, Row, build_network


def _build(*table: Row, channels: int = 4, side: int = 6):
    return build_network(table, channels=channels, width=side, height=side, rng=np.random.default_rng(1))


def test_build_network_of_the_textbook_answers_ten_probabilities() -> None:
    """The table is a network that runs."""
    model = build_network(TEXTBOOK, channels=3, width=32, height=32, rng=np.random.default_rng(1))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    (answer,) = session.run(None, {"images": np.ones((1, 3, 32, 32), np.float32)})

    assert answer.shape == (1, 10)
    assert answer.sum() == pytest.approx(1.0, abs=1e-5)


def test_build_network_numbers_each_kind_for_itself() -> None:
    """Layers are called as in a lecture."""
    model = _build(Convolution(4, kernel=3), Activation("Relu"), Convolution(4, kernel=3), Dense(2), Dense(1))

    names = [node.name for node in model.graph.node]
    assert names == ["conv1", "relu1", "conv2", "dense1.flatten", "dense1", "dense2"]


def test_build_network_of_one_seed_gives_the_same_bytes() -> None:
    """Random weights come from the generator that is passed in, and from nothing else."""
    assert _build(Dense(3)).SerializeToString() == _build(Dense(3)).SerializeToString()


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        pytest.param(Convolution(8, kernel=3), [1, 8, 4, 4], id="no padding"),
        pytest.param(Convolution(8, kernel=3, padding=1), [1, 8, 6, 6], id="same size"),
        pytest.param(Convolution(8, kernel=3, stride=2, padding=1), [1, 8, 3, 3], id="stride, rounded down"),
        pytest.param(Convolution(4, kernel=6, groups=4), [1, 4, 1, 1], id="kernel as large as the picture, depthwise"),
        pytest.param(Pooling(2, stride=2), [1, 4, 3, 3], id="pooling"),
        pytest.param(Dense(1), [1, 1], id="one unit"),
    ],
)
def test_build_network_of_a_row_has_the_shape_of_the_formula(row: Row, shape: list[int]) -> None:
    """Sides are floor((n + 2 p - f) / s) + 1."""
    answer = _build(row).graph.output[0]

    assert [dim.dim_value for dim in answer.type.tensor_type.shape.dim] == shape


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param((Convolution(8, kernel=7),), "conv1: a kernel of 7 does not fit 6x6 padded by 0", id="too large"),
        pytest.param((Convolution(8, kernel=3, groups=3),), "3 groups must divide both 4 channels and 8 filters", id="groups"),
        pytest.param(
            (Dense(5), Pooling(2, stride=2)), "pool1: needs a picture, but a dense layer above left 5", id="after dense"
        ),
    ],
)
def test_build_network_of_a_row_that_does_not_fit_names_it(table: tuple[Row, ...], message: str) -> None:
    """The message says which row, and what it met."""
    with pytest.raises(InputError, match=message):
        _build(*table)
