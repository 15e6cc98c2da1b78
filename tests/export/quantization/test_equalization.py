from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, QuantizationError
from export.quantization.equalization import equalize, equalize_weights
from export.quantization.fidelity import sqnr_db
from export.quantization.quantizer import quantize, quantize_beside
from export.quantization.recipe import Switches
from export.quantization.test_rows import with_test_vectors
from tests.networks import random_model, random_rows


def uneven(activations, seed=0):
    """A network whose hidden units have ranges that differ by a factor of a hundred."""
    model = random_model([20, 30, 25, 4], activations, seed)
    rng = np.random.default_rng(seed)
    layers = list(model.layers)
    for index in (0, 1):
        factor = np.exp(rng.uniform(np.log(0.01), 0, layers[index].n_out)).astype(np.float32)
        layers[index] = replace(layers[index], weight=layers[index].weight * factor, bias=layers[index].bias * factor)
        layers[index + 1] = replace(layers[index + 1], weight=layers[index + 1].weight / factor[:, None])
    return replace(model, layers=tuple(layers))


@pytest.mark.parametrize("activations", [["relu", "leaky_relu", "linear"], ["linear", "relu", "softmax"]])
def test_the_function_stays_up_to_rounding(activations):
    """A factor and its inverse leave the outputs where they were, to float32's rounding of products and sums."""
    model, rows = uneven(activations), random_rows(200, 20)
    assert_same(Engine(equalize(model, rows)).run(rows), Engine(model).run(rows))


def assert_same(found, expected):
    """To some units of float32's last place, of the largest output."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("seed", range(5))
def test_int8_outputs_come_closer(seed):
    """Where units differ widely, at least 3 dB are gained with the same min-max ranges."""
    model, rows = uneven(["relu", "relu", "linear"], seed), random_rows(500, 20)
    reference = Engine(model).run(rows)
    plain = sqnr_db(reference, Engine(quantize(model, rows, method="minmax")).run(rows))
    better = sqnr_db(reference, Engine(quantize(equalize(model, rows), rows, method="minmax")).run(rows))
    assert better > plain + 3


def test_smooth_activations_and_dead_units_are_left_alone():
    """A factor does not pass through tanh; a unit that is always 0 has no range."""
    model, rows = random_model([5, 4, 3, 2], ["tanh", "relu", "linear"]), random_rows(50, 5)
    weight = model.layers[1].weight * np.float32([0, 1, 1])
    dead = replace(model.layers[1], weight=weight, bias=np.float32([-1, 0, 0]))
    model = replace(model, layers=(model.layers[0], dead, model.layers[2]))
    equalized = equalize(model, rows)
    np.testing.assert_array_equal(equalized.layers[0].weight, model.layers[0].weight)
    np.testing.assert_array_equal(equalized.layers[1].weight[:, 0], 0)
    assert_same(Engine(equalized).run(rows), Engine(model).run(rows))


def test_bad_rows_are_refused():
    """The same errors as calibration."""
    with pytest.raises(QuantizationError, match="row 0, feature 0 is nan"):
        equalize(random_model([2, 2, 2], ["relu", "linear"]), np.full((1, 2), np.nan))


def expected_factors(model, rows):
    """(range / largest range) to the power of two thirds, to the nearest quarter of an octave, by hidden layer."""
    tensors = Engine(model).trace(rows)
    for layer in model.layers[:-1]:
        ranges = np.abs(tensors[f"{layer.name}.output"]).max(axis=0).astype(np.float64)
        yield np.exp2(np.rint(4 * np.log2((ranges / ranges.max()) ** (2 / 3))) / 4)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_every_hidden_layer_takes_the_stated_factors(scale):
    """The first, the middle and the last hidden one, whether their ranges are above 1 or below."""
    model, rows = uneven(["linear", "leaky_relu", "linear"]), random_rows(200, 20) * np.float32(scale)
    model = replace(model, layers=tuple(replace(layer, bias=layer.bias * np.float32(scale)) for layer in model.layers))
    equalized = equalize(model, rows)
    before = np.ones(20)
    for layer, found, factor in zip(model.layers, equalized.layers, expected_factors(model, rows), strict=False):
        assert (factor < 1).any()
        np.testing.assert_allclose(found.weight, layer.weight * before[:, None] / factor, rtol=1e-6)
        np.testing.assert_allclose(found.bias, layer.bias / factor, rtol=1e-6)
        before = factor


def test_layers_behind_a_smooth_activation_are_equalized():
    """A tanh stops its own layer's factors, not those of the layers behind it."""
    model, rows = uneven(["tanh", "relu", "linear"]), random_rows(200, 20)
    equalized = equalize(model, rows)
    np.testing.assert_array_equal(equalized.layers[0].weight, model.layers[0].weight)
    assert (equalized.layers[1].weight != model.layers[1].weight).any()
    assert (equalized.layers[2].weight != model.layers[2].weight).any()
    assert_same(Engine(equalized).run(rows), Engine(model).run(rows))


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu", "elu", "selu", "softplus", "hard_swish"])
def test_no_factor_passes_another_activation(activation):
    """Only ReLU, leaky ReLU and linear layers let a positive factor through."""
    model, rows = uneven([activation, activation, "linear"]), random_rows(50, 20)
    for before, after in zip(model.layers, equalize(model, rows).layers, strict=True):
        np.testing.assert_array_equal(after.weight, before.weight)


@pytest.mark.filterwarnings("error")
def test_a_layer_that_is_always_0_stays_as_it_is():
    """It has no largest range to divide by."""
    model, rows = random_model([5, 4, 2], ["relu", "linear"]), random_rows(50, 5)
    dead = replace(model.layers[0], weight=model.layers[0].weight * 0, bias=np.full(4, -1, np.float32))
    model = replace(model, layers=(dead, model.layers[1]))
    np.testing.assert_array_equal(equalize(model, rows).layers[1].weight, model.layers[1].weight)


def test_test_vectors_are_dropped():
    """They belong to the model before."""
    model, rows = random_model([5, 4, 2], ["relu", "linear"]), random_rows(50, 5)
    assert equalize(with_test_vectors(model, rows), rows).test_vectors is None


@pytest.mark.parametrize("activations", [["relu", "leaky_relu", "linear"], ["linear", "relu", "softmax"]])
def test_weights_are_equalized_without_rows(activations):
    """The function stays, and what the next layer has for each unit comes half of the way together."""
    model, rows = uneven(activations), random_rows(200, 20)
    equalized = equalize_weights(model)
    assert_same(Engine(equalized).run(rows), Engine(model).run(rows))
    for before, after in zip(model.layers[1:], equalized.layers[1:], strict=True):
        spreads = [np.ptp(np.log2(np.abs(layer.weight).max(axis=1))) for layer in (before, after)]
        assert spreads[1] < 0.75 * spreads[0]


def test_units_that_the_next_layer_does_not_use_change_nothing_for_the_others():
    """Weights of 0, and one so small that its factor would leave float32: the least that counts is 1/256."""
    model = random_model([5, 6, 2], ["relu", "linear"])
    weight = model.layers[1].weight.copy()
    weight[:2] = np.float32([[0, 0], [1e-38, 0]])
    model = replace(model, layers=(model.layers[0], replace(model.layers[1], weight=weight)))
    ratios = (model.layers[0].weight / equalize_weights(model).layers[0].weight)[0]
    np.testing.assert_allclose(ratios[:2], 1.0)
    assert ratios.min() >= 1 / 17


@pytest.mark.parametrize("precision", ["int4", "int8-a16"])
def test_where_weights_cost_most_they_are_what_is_equalized(precision):
    """Whatever the ranges of activations are, the float network beside the small one has the units of its weights."""
    model, rows = uneven(["relu", "relu", "linear"]), random_rows(300, 20)
    found = quantize_beside(model, rows, precision, Switches("minmax", equalization=True))
    np.testing.assert_array_equal(found.source.layers[1].weight, equalize_weights(model).layers[1].weight)
