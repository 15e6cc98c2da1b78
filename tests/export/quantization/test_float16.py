"""Weights that a half cannot hold are moved by powers of two: the float32 function stays, float16 comes close to it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, Model, Standardization
from export.quantization.fidelity import sqnr_db
from export.quantization.float16 import is_harmed, lost_weights, scale_for_float16
from export.quantization.quantizer import quantize
from export.quantization.recipe import QuantizationWarning
from export.quantization.test_rows import with_test_vectors
from tests.networks import random_model, random_rows

SIZES = [8, 7, 6, 3]


def spread(model, *factors):
    """The model with each layer's weights multiplied by a factor."""
    layers = [
        replace(layer, weight=layer.weight * np.float32(factor), bias=layer.bias * np.float32(0))
        for layer, factor in zip(model.layers, factors, strict=True)
    ]
    return replace(model, layers=tuple(layers))


def plain_float16(model: Model) -> Model:
    """Rounded to halves as they are."""
    with np.errstate(over="ignore"):
        layers = [
            replace(layer, weight=np.clip(layer.weight, -65504, 65504).astype(np.float16)) for layer in model.layers
        ]
    return replace(model, layers=tuple(layers))


CASES = {
    "inputs of 1e8": (["relu", "relu", "linear"], (1e-8, 1, 1), 1e8),
    "inputs of 1e-8": (["relu", "leaky_relu", "softmax"], (1e8, 1, 1), 1e-8),
    "tiny in the middle": (["relu", "relu", "linear"], (1e4, 1e-9, 1e4), 1),
    "large in the middle": (["linear", "relu", "linear"], (1, 1e6, 1e-3), 1),
    "the last layer": (["relu", "relu", "sigmoid"], (1, 1, 1e-10), 1),
    "all": (["relu", "relu", "linear"], (1e-8, 1e-8, 1e-8), 1e8),
    "up to a tanh": (["relu", "tanh", "linear"], (1e-9, 1, 1), 1e9),
    "behind a tanh": (["tanh", "relu", "linear"], (1, 1e-8, 1), 1),
    "behind a tanh, too large": (["tanh", "relu", "linear"], (1, 1e6, 1e-3), 1),
    "behind a tanh, passed over two": (["tanh", "leaky_relu", "linear"], (1, 100, 1e-9), 1),
}


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_float16_comes_near_the_float32_network_where_it_failed(case, standardize, seed):
    """Below 20 dB as it is, above 50 dB moved; and the moved network in float32 has the same bits."""
    activations, factors, unit = CASES[case]
    model = spread(random_model(SIZES, activations, seed), *factors)
    if standardize:
        standardization = Standardization(np.full(8, 0.5 * unit, np.float32), np.full(8, 2, np.float32))
        model = replace(model, preprocessing=standardization)
    rows = random_rows(300, 8, seed + 10) * np.float32(unit)
    expected = Engine(model).logits(rows)
    assert sqnr_db(expected, Engine(plain_float16(model)).logits(rows)) < 20
    moved = scale_for_float16(model)
    np.testing.assert_array_equal(Engine(moved).run(rows), Engine(model).run(rows))
    half = quantize(model, precision="float16")  # without a warning
    assert half.precision == "float16"
    assert sqnr_db(expected, Engine(half).logits(rows)) > 50


@pytest.mark.parametrize("seed", range(20))
def test_the_float32_function_keeps_its_bits(seed):
    """Any sizes, activations, magnitudes and biases: the moved network gives the very same outputs."""
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(1, 6))
    sizes = [int(n) for n in rng.integers(1, 12, depth + 1)]
    activations = [str(name) for name in rng.choice(["relu", "leaky_relu", "linear", "tanh", "gelu"], depth)]
    model = random_model(sizes, activations, seed, standardize=bool(rng.integers(2)))
    layers = [replace(layer, weight=layer.weight * np.float32(10 ** rng.uniform(-9, 6))) for layer in model.layers]
    model, rows = replace(model, layers=tuple(layers)), random_rows(50, sizes[0], seed)
    np.testing.assert_array_equal(Engine(scale_for_float16(model)).run(rows), Engine(model).run(rows))


def test_one_input_of_another_size_is_saved():
    """Its weights of 1e-8 stand beside weights of 1: the layer as a whole looks fine."""
    model, rows = random_model([4, 5, 2], ["relu", "linear"]), random_rows(200, 4)
    weight = model.layers[0].weight * np.float32([[1e-8], [1], [1], [1]])
    model = replace(model, layers=(replace(model.layers[0], weight=weight), model.layers[1]))
    rows *= np.float32([1e8, 1, 1, 1])
    expected = Engine(model).run(rows)
    assert sqnr_db(expected, Engine(plain_float16(model)).run(rows)) < 20
    assert sqnr_db(expected, Engine(quantize(model, precision="float16")).run(rows)) > 50


@pytest.mark.parametrize("weight_scale", [1.0, 100.0, 0.01])
def test_what_float16_holds_stays_as_it_is(weight_scale):
    """The same object, without a preprocessing that costs time; single small weights do not matter."""
    model = random_model([30, 20, 5], ["relu", "linear"], weight_scale=weight_scale)
    weight = model.layers[0].weight.copy()
    weight[3, 4] = 1e-9
    model = replace(model, layers=(replace(model.layers[0], weight=weight), model.layers[1]))
    assert scale_for_float16(model) is model


def test_faded_weights_are_no_reason_to_move():
    """Weights of a dead input, 1e-20 beside others of 1, are no harm: no 16 bits hold both."""
    model = random_model([4, 5, 2], ["relu", "linear"])
    weight = model.layers[0].weight * np.float32([[1e-20], [1], [1], [1]])
    model = replace(model, layers=(replace(model.layers[0], weight=weight), model.layers[1]))
    assert scale_for_float16(model) is model
    assert lost_weights(model.layers[0]) == 0


@pytest.mark.parametrize(
    ("values", "harmed"),
    [
        ([[1.0, 0.5]], False),
        ([[65504.0, 1.0]], False),
        ([[65519.0, 1.0]], False),
        ([[65520.0, 1.0]], True),
        ([[6.2e-5, 6.2e-5]], False),
        ([[2.0**-14 + 2.0**-25] * 2], False),
        ([[2.0**-15 + 2.0**-25] * 2], True),
        ([[830.5 * 2.0**-24]], True),  # by a third of a bit
        ([[1.1e-6, 1.1e-6]], True),
        ([[1e-8, 1.0]], True),
        ([[0.0, 0.0]], False),
        ([[1.0], [1e-8]], True),
        ([[1.0], [1e-14]], False),
    ],
)
def test_harm_is_judged_by_unit_and_by_input(values, harmed):
    """inf from 65520 on; below 6.1e-5 a half has fewer bits; beside weights 2^40 times as large they do not matter."""
    assert is_harmed(np.float32(values)) == harmed


def test_a_lone_layer_between_two_tanh_cannot_be_moved():
    """It is returned as it is, and quantize says what is lost."""
    model = spread(random_model(SIZES, ["tanh", "tanh", "linear"]), 1, 1e-9, 1)
    assert scale_for_float16(model) is model
    assert lost_weights(model.layers[1]) == 42
    with pytest.warns(QuantizationWarning, match="'dense1': 42 of 42 weights become 0"):
        quantize(model, precision="float16")


def test_neighbours_never_take_more_than_they_hold():
    """Behind a tanh the sum of the moves is 0: what one layer gains, the others give, within float16's range."""
    model = spread(random_model([4, 5, 5, 5, 2], ["tanh", "relu", "relu", "linear"]), 1, 1e-14, 3e4, 3e4)
    moved = scale_for_float16(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)
        half = quantize(model, precision="float16")
    assert all(np.isfinite(layer.weight).all() for layer in half.layers)
    rows = random_rows(50, 4)
    np.testing.assert_array_equal(Engine(moved).run(rows), Engine(model).run(rows))


@pytest.mark.parametrize(("part", "stays"), [("bias", True), ("inv_std", True), ("weight", True), ("nothing", False)])
def test_a_move_that_would_not_be_exact_is_left_undone(part, stays):
    """A bias, an inv_std or another weight that would leave float32's normal numbers: the network stays as it is."""
    model = spread(random_model([4, 5, 2], ["relu", "linear"], standardize=True), 1, 1e-20)  # scaled by 2^-66 before it
    first = model.layers[0]
    if part == "bias":
        first = replace(first, bias=np.full(5, 1e-30, np.float32))
    if part == "weight":
        model = spread(model, 1e6, 1)
        first = replace(model.layers[0], weight=np.where(np.eye(4, 5) > 0, model.layers[0].weight, np.float32(2e-38)))
    model = replace(model, layers=(first, model.layers[1]))
    if part == "inv_std":
        model = replace(model, preprocessing=Standardization(np.zeros(1, np.float32), np.float32([1e-30])))
    assert (scale_for_float16(model) is model) == stays


@pytest.mark.parametrize(("power", "moved"), [(-91, True), (-92, False)])
def test_activations_are_scaled_by_90_powers_at_most(power, moved):
    """Further away from 1 they would come near the ends of float32."""
    model = random_model([3, 2], ["linear"])
    model = replace(model, layers=(replace(model.layers[0], weight=np.full((3, 2), 2.0**power, np.float32)),))
    assert (scale_for_float16(model) is not model) == moved


def test_what_cannot_be_saved_is_not_moved():
    """Behind a tanh, layers of 1e6 and 1e8 would both stay too large; four of 1e-9 need 2^116."""
    stuck = spread(random_model([4, 5, 5, 2], ["tanh", "relu", "linear"]), 1, 1e6, 1e8)
    assert scale_for_float16(stuck) is stuck
    far = spread(random_model([4, 5, 5, 5, 2], ["relu"] * 4), 1e-9, 1e-9, 1e-9, 1e-9)
    assert scale_for_float16(far) is far


def test_layers_that_float16_holds_keep_their_weights():
    """Only the harmed one is moved, and by as little as serves it: a large one to just below 2^15."""
    model = spread(random_model(SIZES, ["relu", "relu", "linear"]), 1, 1e6, 1)
    moved = scale_for_float16(model)
    np.testing.assert_array_equal(moved.layers[0].weight, model.layers[0].weight)
    np.testing.assert_array_equal(moved.layers[2].weight, model.layers[2].weight)
    assert 2**14 <= np.abs(moved.layers[1].weight).max() < 2**15
    model = spread(random_model(SIZES, ["relu", "relu", "linear"]), 1, 1e-8, 1)
    assert 0.5 <= np.abs(scale_for_float16(model).layers[1].weight).max() < 1


def test_zeros_are_not_lost():
    """A weight that is 0 already is none of those that become 0."""
    layer = random_model([4, 3], ["tanh"]).layers[0]
    weight = np.full((4, 3), 1e-9, np.float32)
    weight[1, 1] = 0
    assert lost_weights(replace(layer, weight=weight)) == 11


def test_test_vectors_are_dropped_and_the_rest_is_kept():
    """A moved network carries none: the caller stores its own."""
    model = spread(random_model([4, 5, 2], ["relu", "linear"]), 1e-8, 1)
    model = replace(with_test_vectors(model, random_rows(20, 4)), class_names=("a", "b"))
    moved = scale_for_float16(model)
    assert moved is not model
    assert (moved.test_vectors, moved.class_names) == (None, ("a", "b"))


def test_a_bias_that_would_overflow_keeps_the_network():
    """Before weights of 1e6 it would have to grow; NumPy's own warning of the overflow is not shown."""
    model = spread(random_model([4, 5, 2], ["relu", "linear"]), 1, 1e8)
    first = replace(model.layers[0], bias=np.full(5, 3e38, np.float32))
    model = replace(model, layers=(first, model.layers[1]))
    assert scale_for_float16(model) is model
