from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, Model, TestVectors, selftest
from edge_runtime.bounds import agree, output_bound
from edge_runtime.engine import Engine
from export.quantizer import quantize
from tests.networks import random_model, random_rows

ACTIVATIONS = [["relu", "softmax"], ["tanh", "sigmoid"], ["leaky_relu", "linear"]]


@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("seed", range(5))
def test_float64_arithmetic_stays_within_the_bound_of_float32(activations, seed):
    """The same network in float64 stands for any correct float32 implementation."""
    model = random_model([40, 30, 6], activations, seed=seed, standardize=True)
    rows = random_rows(50, 40, seed)
    value = model.preprocessing(rows).astype(np.float64)
    for layer in model.layers:
        value = layer.activation(value @ layer.weight.astype(np.float64) + layer.bias)
    assert (np.abs(Engine(model).run(rows) - value) <= output_bound(model, rows, activated=True)).all()


def test_the_bound_is_small_enough_to_find_an_error():
    """A hundred-thousandth in one bias breaks it."""
    model = random_model([40, 30, 6], ["relu", "linear"])
    rows = random_rows(50, 40)
    bias = model.layers[1].bias.copy()
    bias[0] += 3e-5
    other = replace(model, layers=(model.layers[0], replace(model.layers[1], bias=bias)))
    error = np.abs(Engine(other).run(rows) - Engine(model).run(rows))
    assert (error > output_bound(model, rows, activated=True)).any()


def test_int8_logits_have_no_room_for_differences():
    """For int8 the bound is zero: the bits are the same or the implementation is wrong."""
    model = quantize(random_model([40, 30, 6], ["tanh", "softmax"]), random_rows(50, 40))
    assert output_bound(model, random_rows(50, 40), activated=False).max() == 0


AGREE = [
    # ours, theirs, bound, whether they agree
    (np.inf, np.inf, np.inf, True),
    (np.nan, np.nan, 0, True),
    (np.nan, np.inf, np.inf, True),
    (-np.inf, np.nan, np.inf, True),
    (np.nan, np.inf, 1, False),
    (np.inf, -np.inf, np.inf, False),
    (1, np.inf, np.inf, False),
    (np.nan, 1, np.inf, False),
    (1, 2, np.inf, True),
    (-3e38, 3e38, np.inf, True),
    (1, 2, np.nan, False),
    (2, 2, np.nan, True),
    (np.inf, np.inf, np.nan, True),
    (np.nan, np.inf, np.nan, False),
    (5, 6, 1, True),
    (5, 5.5, 1, True),
    (5, 5.5, 0.25, False),
    (5, 5.5, np.nan, False),
]


@pytest.mark.parametrize(("ours", "theirs", "bound", "expected"), AGREE)
def test_what_cannot_be_bounded_agrees_only_where_it_is_of_the_same_kind(ours, theirs, bound, expected):
    """Infinite bounds allow any two numbers and NaN beside inf, but no number beside either, and no two signs."""
    pair = np.array([ours], np.float32), np.array([theirs], np.float32)
    assert agree(*pair, np.array([bound])).tolist() == agree(*pair[::-1], np.array([bound])).tolist() == [expected]


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_an_overflow_is_not_taken_for_agreement():
    """Sums beyond float32 beside stored outputs that are numbers: a self-test fails."""
    layer = Dense("a", np.full((4, 3), 1e38, np.float32), np.zeros(3, np.float32), Activation.of("linear"))
    vectors = TestVectors(np.full((2, 4), 2, np.float32), np.zeros((2, 3), np.float32))
    assert selftest(Model((layer,), test_vectors=vectors)).differing == 6
