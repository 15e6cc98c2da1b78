"""Rows from callers: what cannot be used is refused by everyone who takes rows, in the same words."""

import numpy as np
import pytest

from edge_runtime import Engine, InputError
from export.quantization.quantizer import quantize
from export.verification.comparison import rows_to_compare
from tests.edge_runtime.numerics.test_checks import MASKS, TENSORS
from tests.networks import random_model
from trainer import NeuralNetwork


def users(model):
    """All that takes rows from a caller, by name."""
    engine = Engine(model)
    net = NeuralNetwork([2, 2], ["softmax"])
    net.fit(np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) % 2, epochs=1)
    return {
        "run": engine.run,
        "run checked": lambda x: engine.run(x, check_finite=True),
        "logits": engine.logits,
        "predict": engine.predict,
        "trace": engine.trace,
        "profile": engine.profile,
        "fit": lambda x: NeuralNetwork([2, 2], ["softmax"]).fit(x, [0, 1], epochs=1),
        "network predict": net.predict,
        "network evaluate": lambda x: net.evaluate(x, [0, 1]),
        "quantize": lambda x: quantize(model, x, "int8"),
        "verify": lambda x: rows_to_compare(model, x),
    }


USERS = users(random_model([2, 2], ["linear"]))


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("kind", ["subclass", "list of rows", "tuple of rows", "data frame"])
def test_no_one_who_takes_rows_loses_a_mask(user, kind):
    """The engine's calls, training, quantizing and comparing all refuse it."""
    with pytest.raises(InputError, match="is masked at"):
        USERS[user](MASKS[kind][0])


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("kind", ["needs grad", "bfloat16", "sparse", "list of tensors"])
def test_no_one_who_takes_rows_raises_anything_but_an_input_error_for_tensors(user, kind):
    """What another library's conversion raises is said in ours."""
    with pytest.raises(InputError, match=TENSORS[kind][1]):
        USERS[user](TENSORS[kind][0])


def test_masked_labels_in_a_list_are_refused():
    """Under the mask stands a label that was not meant."""
    labels = [np.ma.array([1], mask=[True]), np.ma.array([0])]
    with pytest.raises(InputError, match="y is masked at"):
        NeuralNetwork([2, 2], ["softmax"]).fit(np.eye(2), labels, epochs=1)


@pytest.mark.parametrize(
    "make", [list, tuple, lambda rows: rows, lambda rows: iter([rows[:9], rows[9:]]), np.asfortranarray]
)
def test_calibration_rows_are_taken_in_any_wrapping(make):
    """Rows in a list, a tuple, an array or batches give the same int8 model."""
    model, rows = random_model([3, 2], ["linear"]), np.random.default_rng(0).normal(size=(20, 3))
    expected = quantize(model, rows, "int8", "minmax")
    found = quantize(model, make(rows), "int8", "minmax")
    assert found.layers[0].input == expected.layers[0].input
    np.testing.assert_array_equal(found.layers[0].multiplier, expected.layers[0].multiplier)
