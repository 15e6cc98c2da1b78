from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, LayerNorm, Model, QuantizedDense, QuantParams, TestVectors, selftest
from edge_runtime.engine.engine import Engine
from edge_runtime.numerics.quantization import dequantize, saturate
from edge_runtime.reference.bounds import (
    activation_bound,
    agree,
    count_lone_nans,
    implementation_error,
    output_bound,
    product_bound,
    steepness,
    tensor_bounds,
)
from edge_runtime.reference.dynamic_bound import dynamic_bound
from edge_runtime.reference.trace import trace
from export.quantization.quantizer import quantize
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


@pytest.mark.parametrize(
    ("name", "error", "slope"),
    [("sigmoid", 1e-6, 0.25), ("tanh", 1e-6, 1.0), ("softmax", 2e-6, 0.5), ("relu", 0.0, 1.0)],
)
def test_an_activation_carries_its_slope_and_its_own_error(name, error, slope):
    """The steepest slope times the difference before, and the stated error of exp, tanh and their like: no more."""
    x = random_rows(5, 4)
    before = np.full(x.shape, 0.5)
    assert implementation_error(Activation.of(name), x).max() == error
    np.testing.assert_allclose(activation_bound(Activation.of(name), x, before), 0.5 * slope + error, rtol=1e-12)


def test_softmax_takes_the_largest_difference_of_its_row():
    """Every output depends on every input; and log_softmax can widen it twofold."""
    before = np.array([[0.0, 0.0, 3.0]])
    x = np.zeros((1, 3), np.float32)
    np.testing.assert_allclose(activation_bound(Activation.of("softmax"), x, before), 1.5 + 2e-6)
    np.testing.assert_allclose(activation_bound(Activation.of("log_softmax"), x, before), 6.0 + 2e-6)


def test_a_threshold_adds_its_jump_where_it_may_be_crossed():
    """Of thresholded_relu at 1: a value within the bound of 1 may become 0 or stay."""
    x, before = np.float32([[1.05, 3.0]]), np.full((1, 2), 0.1)
    found = activation_bound(Activation.of("thresholded_relu", {"alpha": 1.0}), x, before)
    np.testing.assert_allclose(found, [[1.1, 0.1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "places"),
    [
        ("threshold", {"threshold": 0.5, "value": 20.0}, {0.5: 19.5}),
        ("threshold", {"threshold": -1.0, "value": 2.0}, {-1.0: 3.0}),
        ("shrink", {"bias": 0.0, "lambd": 0.5}, {0.5: 0.5, -0.5: 0.5}),
        ("shrink", {"bias": 0.5, "lambd": 0.5}, {0.5: 0.0, -0.5: 0.0}),
        ("shrink", {"bias": 1.0, "lambd": -0.25}, {0.25: 2.0, -0.25: 0.0}),
    ],
)
def test_every_jump_is_allowed_for_by_its_height_where_it_may_be_crossed(name, params, places):
    """On either side of each place, as far as the bound reaches, and no further."""
    activation = Activation.of(name, params)
    for place, height in places.items():
        x = np.array([[place - 0.05, place + 0.05, place + 0.2]], np.float32)
        found = activation_bound(activation, x, np.full((1, 3), 0.1))
        np.testing.assert_allclose(found, [[0.1 + height, 0.1 + height, 0.1]], rtol=1e-5)


@pytest.mark.parametrize("name", ["exp", "square"])
def test_a_function_without_a_largest_slope_is_as_steep_as_near_the_value(name):
    """No input within the bound gives an output further away; with the same input only the own error is left."""
    activation, distance = Activation.of(name), np.array([[0.0, 1e-3, 0.5, 2.0]])
    for place in (-30.0, -1.0, 0.0, 3.0, 40.0):
        x = np.full((1, 4), place, np.float32)
        found = activation_bound(activation, x, distance)
        sides = [np.abs(activation(x + sign * distance) - activation(x.astype(np.float64))) for sign in (-1, 1)]
        assert (np.maximum(*sides) <= found * (1 + 1e-12)).all()
        np.testing.assert_array_equal(found[:, 0], implementation_error(activation, x)[:, 0])
    assert (found <= 60 * np.maximum(*sides) + 1e12).all()
    assert np.isposinf(activation_bound(Activation.of("exp"), np.float32([[800]]), np.array([[1.0]]))).all()
    assert activation_bound(Activation.of("exp"), np.float32([[800]]), np.array([[0.0]])) == np.inf


def test_the_error_of_exp_is_in_parts_of_its_value():
    """1e-6 of it, and what is below the smallest normal number."""
    x = np.float32([[-200.0, 0.0, 10.0]])
    tiny = float(np.finfo(np.float32).tiny)
    expected = 1e-6 * np.exp(x.astype(np.float64)) + tiny
    np.testing.assert_allclose(implementation_error(Activation.of("exp"), x), expected, rtol=1e-12)
    assert implementation_error(Activation.of("square"), x).max() == 0.0


def test_slopes_follow_parameters():
    """leaky_relu and elu are as steep as alpha, where that is above 1."""
    for name in ("leaky_relu", "elu"):
        assert [steepness(Activation.of(name, {"alpha": alpha})) for alpha in (0.1, -3.0)] == [1.0, 3.0]


def test_a_dynamic_layer_after_a_float_one_may_move_by_its_grid():
    """Codes that a difference before it may move, times the weights; nothing for the very same input."""
    model = quantize(random_model([6, 5, 4], ["relu", "linear"]), precision="int8-dynamic")
    rows, last = random_rows(9, 6), model.layers[1]
    assert not output_bound(model, rows, activated=False).any()
    slack = {model.layers[0].name: np.full(5, 1e-3)}
    hidden = trace(model, rows)[f"{model.layers[0].name}.output"]
    found = output_bound(model, rows, activated=False, slack=slack)
    np.testing.assert_array_equal(found, dynamic_bound(last, hidden, np.full(hidden.shape, 1e-3)))
    assert found.any()
    assert (output_bound(model, rows, activated=False, foreign=True) > 0).all()


def test_a_table_carries_a_rounded_difference_by_its_largest_jump():
    """A difference before it moves the code by the steps that it reaches, and each step by the largest jump."""
    model = quantize(random_model([6, 5, 4], ["tanh", "linear"]), random_rows(50, 6))
    layer, rows = model.layers[0], random_rows(3, 6)
    found = tensor_bounds(model, rows, slack={layer.name: np.full(5, 2.25 * layer.output.scale)})
    jump = np.abs(np.diff(dequantize(layer.table, layer.table_output))).max()
    steps = steps_apart(trace(model, rows)[f"{layer.name}.scaled"].astype(float), 2.25, layer.output)
    assert set(np.unique(steps)) == {2, 3}
    np.testing.assert_allclose(found[f"{layer.name}.output"], steps * jump, rtol=1e-6)


SLOPES = {
    # activation, parameters: as steep as it can be; what is computed by the row is held above
    ("relu", ()): 1.0,
    ("linear", ()): 1.0,
    ("sigmoid", ()): 0.25,
    ("tanh", ()): 1.0,
    ("softplus", ()): 1.0,
    ("softsign", ()): 1.0,
    ("gelu", ()): 1.13,
    ("gelu_tanh", ()): 1.13,
    ("mish", ()): 1.09,
    ("hard_swish", ()): 1.5,
    ("leaky_relu", (("alpha", 0.1),)): 1.0,
    ("leaky_relu", (("alpha", 2.5),)): 2.5,
    ("elu", (("alpha", 0.5),)): 1.0,
    ("elu", (("alpha", 3.0),)): 3.0,
    ("selu", (("alpha", 1.6), ("gamma", 1.05))): 1.68,
    ("selu", (("alpha", 0.5), ("gamma", 2.0))): 2.0,
    ("hard_sigmoid", (("alpha", 0.2), ("beta", 0.5))): 0.2,
    ("hard_sigmoid", (("alpha", 1.5), ("beta", 0.5))): 1.5,
    ("erf", ()): 1.1284,
    ("sin", ()): 1.0,
    ("log_sigmoid", ()): 1.0,
    ("shrink", (("bias", 0.5), ("lambd", 0.5))): 1.0,
    ("swish", (("alpha", 1.0),)): 1.1,
    ("swish", (("alpha", 0.3),)): 1.1,
}


@pytest.mark.parametrize(("name", "params"), SLOPES)
def test_the_steepness_is_the_largest_slope(name, params):
    """No two inputs are taken further apart, and it is not much larger than need be."""
    activation = Activation.of(name, dict(params))
    x = np.linspace(-12, 12, 240_001)
    with np.errstate(all="ignore"):
        slope = np.abs(np.diff(np.asarray(activation(x), np.float64)) / np.diff(x)).max()
    assert slope <= steepness(activation) * (1 + 1e-3)
    assert steepness(activation) <= slope * 1.02
    assert steepness(activation) == pytest.approx(SLOPES[name, params], rel=0.02)


def test_the_bound_of_a_product_is_its_formula():
    """16 * 2^-24 of the sum of magnitudes, the bias's too; inf if that sum can leave float32."""
    layer = Dense("a", np.float32([[1, -2], [-3, 4]]), np.float32([5, -6]), Activation.of("linear"))
    x = np.float32([[1, -1], [0, 2], [3e38, 0]])
    reach = np.array([[1 + 3 + 5, 2 + 4 + 6], [6 + 5, 8 + 6], [3e38, np.inf]])
    found = product_bound(layer, x)
    np.testing.assert_allclose(found, 16 * 2.0**-24 * reach, rtol=1e-6)
    assert found.dtype == np.float64


def test_weights_that_engines_take_as_zero_widen_the_bound():
    """By the smallest normal number times the sum of the row's magnitudes, once for each row."""
    weight = np.full((2, 3), 1e-40, np.float32)
    layer = Dense("a", weight, np.zeros(3, np.float32), Activation.of("linear"))
    x = np.float32([[1e30, -3e30], [2e30, 0]])
    tiny = float(np.finfo(np.float32).tiny)
    expected = tiny * np.array([[4e30] * 3, [2e30] * 3]) + 16 * 2.0**-24 * np.abs(x.astype(float)) @ weight.astype(
        float
    )
    np.testing.assert_allclose(product_bound(layer, x), expected, rtol=1e-3)


def test_an_activation_s_own_error_grows_with_its_input_unless_its_values_are_bounded():
    """A part of max(1, |x|), times the largest parameter; of log_softmax, of the row's largest; exact ones none."""
    x = np.float32([[0.5, -4.0, np.nan], [10.0, 2.0, -1.0]])
    size = np.array([[1, 4, 1], [10, 2, 1]])
    for name, expected in {
        "relu": np.zeros((2, 3)),
        "tanh": np.full((2, 3), 1e-6),
        "softmax": np.full((2, 3), 2e-6),
        "gelu": 1e-6 * size,
        "log_softmax": 2e-6 * np.array([[4] * 3, [10] * 3]),
    }.items():
        np.testing.assert_allclose(implementation_error(Activation.of(name), x), expected, rtol=1e-12)
    steep = Activation.of("elu", {"alpha": -3.0})
    np.testing.assert_allclose(implementation_error(steep, x), 3e-6 * size, rtol=1e-12)
    assert np.isposinf(implementation_error(Activation.of("gelu"), np.float32([np.inf, -np.inf]))).all()


def test_lone_nans_are_counted():
    """Those of either side, and not those that stand beside one another."""
    ours, theirs = np.array([np.nan, 1.0, np.nan, np.inf]), np.array([np.nan, np.nan, 2.0, np.inf])
    assert count_lone_nans(ours, theirs) == 2
    assert count_lone_nans(ours, ours) == 0


EPS = 2.0**-24


def test_standardization_spelled_otherwise_has_four_roundings():
    """Of numbers as large as the input and the mean, in standardized units; none if it is spelled the same way."""
    model = random_model([6, 4], ["linear"], standardize=True)
    rows, layer, prep = random_rows(3, 6) * 50, model.layers[0], model.preprocessing
    moved = (
        4 * EPS * (np.abs(rows.astype(float)) + np.abs(prep.mean.astype(float))) * np.abs(prep.inv_std.astype(float))
    )
    own = product_bound(layer, prep(rows))
    spread = moved @ np.abs(layer.weight.astype(float)) * (1 + 16 * EPS)
    found = output_bound(model, rows, activated=False, foreign=True)
    np.testing.assert_allclose(found, spread + own, rtol=1e-9)
    for options in ({}, {"foreign": True, "same_standardization": True}):
        np.testing.assert_allclose(output_bound(model, rows, activated=False, **options), own, rtol=1e-12)
        np.testing.assert_allclose(tensor_bounds(model, rows, **options)["logits"], own, rtol=1e-12)


def test_a_float_layer_carries_what_entered_by_its_weights():
    """|W| times the bound before it, as much more as the sum rounds, and its own product's bound on top."""
    model = random_model([6, 5, 4], ["tanh", "sigmoid"], standardize=True)
    rows = random_rows(3, 6)
    first, last = model.layers
    tensors = trace(model, rows)
    bounds = tensor_bounds(model, rows)
    assert set(bounds) == {
        "logits",
        *(f"{n.name}.{part}" for n in model.layers for part in ("preactivation", "output")),
    }
    entered = product_bound(first, tensors["input.standardized"])
    np.testing.assert_allclose(bounds[f"{first.name}.preactivation"], entered, rtol=1e-12)
    np.testing.assert_allclose(bounds[f"{first.name}.output"], entered + 1e-6, rtol=1e-12)
    spread = (entered + 1e-6) @ np.abs(last.weight.astype(float)) * (1 + 16 * EPS)
    before = spread + product_bound(last, tensors[f"{first.name}.output"])
    np.testing.assert_allclose(bounds["logits"], before, rtol=1e-9)
    np.testing.assert_allclose(output_bound(model, rows, activated=False), before, rtol=1e-9)
    np.testing.assert_allclose(output_bound(model, rows, activated=True), before / 4 + 1e-6, rtol=1e-9)


def test_a_dynamic_layer_of_another_producer_has_four_roundings():
    """Of the scaled sums and of the bias."""
    model = quantize(random_model([6, 4], ["linear"]), precision="int8-dynamic")
    rows, layer = random_rows(3, 6), model.layers[0]
    bias = layer.bias.astype(float)
    sums = trace(model, rows)[f"{layer.name}.preactivation"].astype(float) - bias
    expected = 4 * EPS * (np.abs(sums) + np.abs(bias))
    found = output_bound(model, rows, activated=False, foreign=True)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found.shape == (3, 4)


def steps_apart(values, moved, grid):
    """Codes that values in steps of a grid may come to, moved by so much either way, from their own."""
    codes = saturate(values, grid.zero_point).astype(int)
    moved = moved * (1 + 2.0**-22) + np.abs(values) * 2.0**-22
    ends = [saturate(values + side, grid.zero_point).astype(int) for side in (-moved, moved)]
    return np.maximum(codes - ends[0], ends[1] - codes)


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_integers_carry_a_difference_in_steps(name):
    """To the codes that it reaches on the output's grid, then through |W|."""
    model = quantize(random_model([6, 5, 4], [name, "linear"]), random_rows(50, 6))
    model = replace(model, layers=tuple(replace(layer, table=None, table_output=None) for layer in model.layers))
    first, last = model.layers
    rows = random_rows(3, 6)
    scaled = trace(model, rows)[f"{first.name}.scaled"].astype(np.float64)
    bounds = tensor_bounds(model, rows, slack={first.name: np.full(5, 3.0 * first.output.scale)})
    steps = steps_apart(first.activation(scaled), 3.0, first.output)
    assert set(np.unique(steps)) <= {3, 4}
    np.testing.assert_allclose(bounds[f"{first.name}.output"], steps * first.output.scale, rtol=1e-9)
    expected = steps @ np.abs(last.weight.astype(float)) * last.multiplier
    size = np.abs(trace(model, rows)[f"{last.name}.scaled"].astype(float))
    np.testing.assert_allclose(bounds["logits"], expected + 4 * EPS * (size + expected), rtol=1e-9)


def test_integers_between_two_layers_carry_a_difference_in_units_of_their_output():
    """The middle layer's sums are steps of its output grid, and its bound is in real units."""
    model = quantize(random_model([6, 5, 4, 3], ["relu", "relu", "linear"]), random_rows(50, 6))
    first, middle, _last = model.layers
    rows = random_rows(3, 6)
    bounds = tensor_bounds(model, rows, slack={first.name: np.full(5, 3.0 * first.output.scale)})
    tensors = trace(model, rows)
    entering = steps_apart(first.activation(tensors[f"{first.name}.scaled"].astype(float)), 3.0, first.output)
    before = entering @ np.abs(middle.weight.astype(float)) * middle.multiplier
    steps = steps_apart(middle.activation(tensors[f"{middle.name}.scaled"].astype(float)), before, middle.output)
    np.testing.assert_allclose(bounds[f"{middle.name}.output"], steps * middle.output.scale, rtol=1e-6)


def test_a_value_far_from_a_tie_is_quantized_to_the_same_code():
    """Floats that may differ enter an int8 layer: only where one may lie on either side of a tie a step is allowed."""
    grid = QuantParams(0.5, 10)
    weight = np.eye(4, dtype=np.int8)
    one = np.ones(4, np.float32)
    entry = QuantizedDense("q", weight, np.zeros(4, np.int32), one / 2, grid, None, Activation.of("linear"))
    model = Model((Dense("d", np.eye(4, dtype=np.float32), np.zeros(4, np.float32), Activation.of("linear")), entry))
    rows = np.float32([[0.1, 0.25, 0.7499999, 0.75]])
    found = tensor_bounds(model, rows)["logits"]
    np.testing.assert_allclose(found, [[0.0, 0.5, 0.5, 0.5]], rtol=1e-6)  # and what rounds them
    assert found[0, 0] == 0.0
    far = np.float32([[-100.0, 1000.0, 0.0, 0.2]])
    assert tensor_bounds(model, far)["logits"].tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_the_largest_of_a_row_is_that_row_s():
    """A difference in one row widens softmax and log_softmax in that row alone."""
    before = np.array([[0.0, 0.0, 3.0], [0.0, 1.0, 0.0]])
    found = activation_bound(Activation.of("softmax"), np.zeros((2, 3), np.float32), before)
    np.testing.assert_allclose(found, [[1.5 + 2e-6] * 3, [0.5 + 2e-6] * 3])
    size = implementation_error(Activation.of("log_softmax"), np.float32([[9, 1, 0], [2, 3, 0], [0, 0, 0]]))
    np.testing.assert_allclose(size, 2e-6 * np.array([[9.0] * 3, [3.0] * 3, [1.0] * 3]))


def test_a_sum_as_large_as_float32_is_bounded_and_one_beyond_is_not():
    """The rounding of values that engines take as zero comes on top of the sum's own."""
    largest = float(np.finfo(np.float32).max)
    layer = Dense("a", np.float32([[1.0]]), np.zeros(1, np.float32), Activation.of("linear"))
    assert product_bound(layer, np.float32([[largest]]))[0, 0] == 16 * EPS * largest
    layer = Dense("a", np.float32([[1e-40], [1e-3]]), np.zeros(1, np.float32), Activation.of("linear"))
    tiny = float(np.finfo(np.float32).tiny)
    found = product_bound(layer, np.float32([[2.0, 1e-33]]))
    np.testing.assert_allclose(found, tiny * 2.0 + 16 * EPS * (2e-40 + 1e-36), rtol=1e-3)


def test_rows_that_overflow_are_bounded_without_a_warning():
    """Infinite sums and NaN behind them have an infinite bound."""
    model = random_model([6, 5], ["linear"])
    with np.errstate(all="raise", under="ignore"):
        found = tensor_bounds(model, np.full((2, 6), 3e38, np.float32))
    assert np.isposinf(found[f"{model.layers[0].name}.preactivation"]).any()


def test_a_value_on_the_threshold_s_bound_may_jump():
    """At the very edge of the bound too."""
    activation = Activation.of("thresholded_relu", {"alpha": 1.0})
    found = activation_bound(activation, np.float32([[1.5]]), np.array([[0.5]]))
    np.testing.assert_allclose(found, [[1.5]])


def test_a_foreign_log_sigmoid_may_be_the_logarithm_of_an_engine_s_sigmoid():
    """1e-6 of a sigmoid is as many parts of its value: 2e-6 and more, 0.05 at -10, anything from -14 on."""
    layer = Dense("a", np.ones((1, 1), np.float32), np.zeros(1, np.float32), Activation.of("log_sigmoid"))
    rows = np.float32([[5.0], [-10.0], [-14.0], [-1000.0]])
    strict = output_bound(Model((layer,)), rows, activated=True)[:, 0]
    loose = output_bound(Model((layer,)), rows, activated=True, foreign=True)[:, 0]
    parts = 1e-6 * (1 + np.exp([-5.0, 10.0]))
    np.testing.assert_allclose((loose - strict)[:2], 2 * parts, rtol=1e-6)
    assert np.isposinf(loose).tolist() == [False, False, True, True]
    assert (strict < 1e-2).all()


def test_weights_of_zero_leave_a_row_without_a_bound():
    """A row that is normalized and hardly varies may become anything: not NaN, by which the same numbers differ.

    The rows beside it keep their bounds, and a row that holds NaN keeps one that only NaN meets.
    """
    norm = LayerNorm("norm", np.ones(3, np.float32), np.zeros(3, np.float32), 0.0, Activation.of("linear"))
    weight = np.float32([[1, 0], [0.5, 0], [0, 0]])
    dense = random_model([3, 3], ["linear"]).layers[0]
    last = Dense("last", weight, np.ones(2, np.float32), Activation.of("gelu_tanh"))
    model = Model((dense, norm, last))
    level = np.linalg.solve(dense.weight.T.astype(np.float64), 1 - dense.bias)  # its sums are all 1, but for roundings
    rows = np.stack([level, [1.0, -2.0, 0.5], [np.nan, 1.0, 1.0]]).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = tensor_bounds(model, rows)
    for name in ("last.preactivation", "last.output"):
        assert np.isposinf(found[name][0]).all()
        assert (found[name][1] < 1e-4).all()
        assert np.isnan(found[name][2]).all()


def test_a_code_that_moves_at_a_tie_is_within_the_bound_of_what_comes_out():
    """Behind a layer in floats: the step is exact, and what it is added to is rounded once more."""
    rng = np.random.default_rng(0)
    first = Dense("a", np.ones((1, 1), np.float32), np.zeros(1, np.float32), Activation.of("tanh"))
    grid = QuantParams(2.0**-7, 128)
    scale = rng.uniform(1e-3, 1, 300).astype(np.float32)
    weight, bias = rng.integers(-127, 128, (1, 300)).astype(np.int8), rng.integers(-(10**6), 10**6, 300)
    last = QuantizedDense("b", weight, bias.astype(np.int32), scale, grid, None, Activation.of("linear"))
    model = Model((first, last))
    ties = np.float32(np.arctanh((np.arange(-100, 100) + 0.5) * grid.scale))[:, None]
    sides = [ties + np.float32(side * 4e-7) for side in (-1, 1)]
    one, other = (trace(model, side) for side in sides)
    moved = one["b.quantized_input"] != other["b.quantized_input"]
    assert moved.sum() > 50
    apart = np.abs(one["b.output"].astype(float) - other["b.output"])
    assert (apart <= tensor_bounds(model, sides[0])["b.output"])[moved[:, 0]].all()
