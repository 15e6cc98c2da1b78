from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import (
    Activation,
    Dense,
    DynamicQuantizedDense,
    Engine,
    Limits,
    Model,
    QuantizedDense,
    QuantParams,
    Standardization,
)
from edge_runtime.numerics.activations import DEFINITIONS
from edge_runtime.reference.trace import logits, trace
from tests.adversarial import adversarial_rows, fine_adversarial_model, staged_adversarial_model
from tests.networks import random_rows
from tests.plain_int8 import logits_and_hidden

NAN, INF = np.float32(np.nan), np.float32(np.inf)
ODD = np.float32([[NAN, 1, -1], [INF, -INF, 2], [-2, 0, NAN], [0.5, -0.5, 3], [-0.0, 7, 9]])


def one_to_one(activation):
    """A float layer that hands its inputs to its activation."""
    return Model((Dense("a", np.eye(3, dtype=np.float32), np.zeros(3, np.float32), activation),))


def each_alone(activation, column):
    """The same for one value a row: what is NaN in another place plays no part."""
    model = Model((Dense("a", np.ones((1, 1), np.float32), np.zeros(1, np.float32), activation),))
    return Engine(model).run(column.reshape(-1, 1))[:, 0]


@pytest.mark.parametrize("name", sorted(set(DEFINITIONS) - {"softmax", "log_softmax"}))
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
def test_nan_stays_nan_through_every_float_activation(name):
    """In an engine's calls, in the plain function and in place; but for those that compare, as ONNX says."""
    values = np.float32([NAN, -2, -0.5, 0, 0.5, 2, 8])
    plain = Activation.of(name)(values.copy())
    expected_nan = name not in ("thresholded_relu", "shrink")  # NaN is on no side of a threshold
    assert np.isnan(plain[0]) == expected_nan
    assert np.isfinite(plain[1:]).all()
    found = each_alone(name, values)
    np.testing.assert_array_equal(found, plain)
    np.testing.assert_array_equal(np.stack([each_alone(name, value) for value in values])[:, 0], plain)


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("relu", {}, [NAN, INF, 0, 0, 0.5]),
        ("clip", {}, [NAN, 6, 0, 0, 0.5]),
        ("clip", {"min": -1.0, "max": 0.25}, [NAN, 0.25, -1, 0, 0.25]),
        ("leaky_relu", {"alpha": 0.5}, [NAN, INF, -INF, 0, 0.5]),
        ("leaky_relu", {"alpha": 2.0}, [NAN, INF, -INF, 0, 0.5]),
        ("abs", {}, [NAN, INF, INF, 0, 0.5]),
        ("linear", {}, [NAN, INF, -INF, 0, 0.5]),
    ],
)
def test_infinities_and_nan_are_what_the_definition_says(name, params, expected):
    """Value by value: NaN, both infinities, zero and a half."""
    values = np.float32([NAN, INF, -INF, 0, 0.5])
    np.testing.assert_array_equal(each_alone(Activation.of(name, params), values), np.float32(expected))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("count", [1, 5])
def test_softmax_of_a_row_with_nan_is_nan_and_leaves_other_rows_alone(count):
    """One row and many give the same bits."""
    rows = np.float32([[NAN, 1, 2], [1, 2, 3], [80, 90, 100], [-1e30, 0, 1e30], [0, 0, 0]])[:count]
    found = Engine(one_to_one("softmax")).run(rows)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1:]).all()
    np.testing.assert_allclose(found[1:].sum(axis=1), 1, rtol=1e-6)
    engine = Engine(one_to_one("softmax"))
    np.testing.assert_array_equal(np.stack([engine.run(row) for row in rows]), found)


def int8(name, weight, grid_in, grid_out, activation, table=None, table_out=None, multiplier=0.05, seed=0):
    rng = np.random.default_rng(seed)
    n_out = np.array(weight).shape[1]
    return QuantizedDense(
        name=name,
        weight=np.array(weight, np.int8),
        bias=rng.integers(-50, 50, n_out).astype(np.int32),
        multiplier=(np.full(n_out, multiplier) * rng.uniform(0.5, 2, n_out)).astype(np.float32),
        input=grid_in,
        output=grid_out,
        activation=activation,
        table=table,
        table_output=table_out,
    )


GRIDS = [QuantParams(0.25, zero_point) for zero_point in (0, 1, 77, 128, 200, 255)]


def two_int8_layers(grid, hidden, activation, with_table=False):
    rng = np.random.default_rng(grid.zero_point + hidden.zero_point)
    first, second = rng.integers(-127, 128, (7, 9)), rng.integers(-127, 128, (9, 4))
    table, after = (rng.integers(0, 256, 256).astype(np.uint8), QuantParams(0.5, 33)) if with_table else (None, None)
    kind = "tanh" if with_table else activation
    return Model(
        (
            int8("a", first, grid, hidden, kind, table, after),
            int8("b", second, after or hidden, None, "linear"),
        )
    )


@pytest.mark.parametrize("kind", ["linear", "relu", "leaky_relu", "steep leaky_relu", "table"])
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: f"in {grid.zero_point}")
@pytest.mark.parametrize("hidden", GRIDS, ids=lambda grid: f"hidden {grid.zero_point}")
def test_int8_layers_are_those_of_the_definition_for_every_zero_point(kind, grid, hidden):
    """Engine, trace and int64 sums: the same bits, with NaN and infinities in the rows, alone and together."""
    activation = Activation.of("leaky_relu", {"alpha": 1.5}) if kind.startswith("steep") else kind
    model = two_int8_layers(grid, hidden, activation, kind == "table")
    rows = random_rows(40, 7, seed=3) * 20
    rows[0, 0], rows[1, 3], rows[2, 1], rows[3, :] = NAN, INF, -INF, NAN
    if kind.startswith("steep"):  # the plain implementation chooses by the sign
        rows = rows[4:]
    expected, _hidden = logits_and_hidden(model, rows)
    engine = Engine(model)
    np.testing.assert_array_equal(engine.logits(rows), expected)
    np.testing.assert_array_equal(np.stack([engine.logits(row) for row in rows]), expected)
    np.testing.assert_array_equal(logits(model, trace(model, rows)), expected)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_grids_of_9_to_16_bits_are_those_of_the_definition(seed):
    """Engine, trace and int64 sums: the same bits, whatever the zero points, tables and rows, alone and together."""
    model = fine_adversarial_model(seed)
    rows = adversarial_rows(model, seed)
    expected, _hidden = logits_and_hidden(model, rows)
    for engine in (Engine(model), Engine(model, Limits(lean=True, max_batch=4, over="split"))):
        np.testing.assert_array_equal(engine.logits(rows), expected)
        np.testing.assert_array_equal(np.stack([engine.logits(row) for row in rows[:9]]), expected[:9])
    np.testing.assert_array_equal(logits(model, trace(model, rows)), expected)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_stages_between_grids_of_9_to_16_bits_are_those_of_the_trace(seed):
    """Quantized again behind floats: the same bits."""
    model = staged_adversarial_model(seed, fine_adversarial_model)
    rows = adversarial_rows(model, seed)
    np.testing.assert_array_equal(Engine(model).logits(rows), logits(model, trace(model, rows)))


@pytest.mark.parametrize("place", range(7))
def test_nan_counts_as_the_lowest_point_wherever_it_stands(place):
    """In the first row and in the last, in the first column and in the last; the other rows are not touched."""
    model = two_int8_layers(GRIDS[2], GRIDS[3], "linear")
    rows = random_rows(16, 7) * 10
    lowest = rows.copy()
    for row in (0, 15):
        rows[row, place], lowest[row, place] = NAN, -1e30
    engine = Engine(model)
    np.testing.assert_array_equal(engine.run(rows), engine.run(lowest))
    np.testing.assert_array_equal(engine.run(rows[0]), engine.run(lowest[0]))


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_nan_that_a_float_layer_makes_counts_as_the_lowest_point_of_the_next():
    """An int8 layer behind a float one quantizes anew: NaN is looked for there too."""
    spread = Dense("spread", np.full((2, 7), 3e38, np.float32), np.zeros(7, np.float32), "linear")
    model = Model((spread, *two_int8_layers(GRIDS[2], GRIDS[3], "linear").layers))
    rows = np.float32([[1, 1], [1, -1], [INF, -INF], [0, 0]])
    expected = logits(model, trace(model, rows))
    np.testing.assert_array_equal(Engine(model).logits(rows), expected)
    lowest = logits_and_hidden(Model(model.layers[1:]), np.full((1, 7), -1e30, np.float32))[0]
    np.testing.assert_array_equal(expected[2], lowest[0])


@pytest.mark.parametrize("n_features", [1, 7])
def test_the_standardization_comes_first_and_is_one_subtraction_and_one_multiplication(n_features):
    """Before a grid, a float layer and a dynamic one; one pair of numbers for all features or one each."""
    rng = np.random.default_rng(0)
    mean, inv_std = (rng.uniform(0.5, 3, n_features).astype(np.float32) for _ in range(2))
    model = two_int8_layers(GRIDS[2], GRIDS[3], "relu")
    scaled = replace(model, preprocessing=Standardization(mean, inv_std))
    rows = random_rows(40, 7) * 10
    expected = Engine(model).run((rows - mean) * inv_std)
    np.testing.assert_array_equal(Engine(scaled).run(rows), expected)
    np.testing.assert_array_equal(np.stack([Engine(scaled).run(row) for row in rows[:3]]), expected[:3])


DYNAMIC_ROWS = {
    "both signs": random_rows(6, 4),
    "all positive": np.abs(random_rows(6, 4)) + 1,
    "all negative": -np.abs(random_rows(6, 4)) - 1,
    "zeros": np.zeros((6, 4), np.float32),
    "a scale that underflows": np.float32([[1e-44, 0, 0, 0]] * 2),
    "an upper end on a tie": np.float32([[-1.5, 253.5, 0, 1], [3, 4, 253.5, -1.5]]),
    "a lower end on a tie": np.float32([[-0.5, 254.5, 0, 1]]),
    "one row": random_rows(1, 4),
}


@pytest.mark.parametrize("rows", DYNAMIC_ROWS.values(), ids=list(DYNAMIC_ROWS))
def test_a_dynamic_layer_quantizes_by_the_batch_it_is_given(rows):
    """By the formulas, in float32 and in their order: sums * weight scale * input scale + bias."""
    rng = np.random.default_rng(5)
    layers = []
    for name, n_in, n_out, activation in (("a", 4, 5, "relu"), ("b", 5, 3, "linear")):
        weight = rng.integers(-127, 128, (n_in, n_out)).astype(np.int8)
        scale, bias = (rng.uniform(0.001, 0.1, n_out).astype(np.float32) for _ in range(2))
        layers.append(DynamicQuantizedDense(name, weight, bias, scale, activation))
    value = rows
    for layer in layers:
        low, high = min(value.min(), np.float32(0)), max(value.max(), np.float32(0))
        step = np.float32(high - low) / np.float32(255)
        step = step if step > 0 else np.float32(1)
        zero = np.rint(np.float32(-low) / step)
        q = np.clip(np.rint(value / step) + zero, 0, 255).astype(np.int64) - int(zero)
        sums = (q @ layer.weight.astype(np.int64)).astype(np.float32)
        value = sums * layer.weight_scale * step + layer.bias
        value = np.maximum(value, 0) if layer.activation.name == "relu" else value
    model = Model(tuple(layers))
    np.testing.assert_array_equal(Engine(model).run(rows), value)
    np.testing.assert_array_equal(logits(model, trace(model, rows)), value)


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
@pytest.mark.parametrize("count", [1, 9])
def test_every_activation_in_an_engine_is_the_function_of_its_name(name, count):
    """With its parameters, at the end and between layers, for one row and many."""
    params = {key: value * 0.7 for key, value in DEFINITIONS[name].defaults.items()}
    activation = Activation.of(name, params)
    rows = random_rows(count, 3) * 3
    np.testing.assert_allclose(Engine(one_to_one(activation)).run(rows), activation(rows.copy()), rtol=2e-6, atol=1e-7)
    np.testing.assert_array_equal(Engine(one_to_one(activation)).logits(rows), rows)


@pytest.mark.parametrize("rows", [1, 2, 16, 100])
@pytest.mark.parametrize("bad", [0, -1])
def test_nan_is_found_in_every_row_of_a_network_of_one_layer(rows, bad):
    """Its outputs lie by rows, those of a hidden layer by features: the first and the last row are both looked at."""
    layer = int8("a", np.arange(-10, 11).reshape(7, 3), GRIDS[2], None, "linear")
    engine, x = Engine(Model((layer,))), random_rows(rows, 7) * 10
    lowest = x.copy()
    x[bad, 3], lowest[bad, 3] = NAN, -1e30
    np.testing.assert_array_equal(engine.run(x), engine.run(lowest))
    assert np.isfinite(engine.run(x)).all()


@pytest.mark.parametrize("scale", [0.1, 0.3, 1 / 255, 0.007])
@pytest.mark.parametrize("preprocessed", [False, True])
@pytest.mark.parametrize("behind_floats", [False, True])
def test_rows_beside_ties_of_a_decimal_grid_are_divided_and_not_multiplied(scale, preprocessed, behind_floats):
    """x / s and x * (1 / s) differ by a step beside some ties: at the network's input and behind a float layer."""
    step = np.float32(scale)
    ties = (np.arange(0, 255, dtype=np.float32) + np.float32(0.5)) * step
    x = np.concatenate([ties, np.nextafter(ties, np.float32(1e9)), np.nextafter(ties, np.float32(0))])[:, None]
    assert (np.rint(x / step) != np.rint(x * (np.float32(1) / step))).any()
    grid = QuantParams(float(step), 0)
    one = int8("a", [[1]], grid, None, "linear", multiplier=1.0)
    layers = (Dense("same", np.ones((1, 1), np.float32), np.zeros(1, np.float32), "linear"), one)
    scaling = Standardization(np.zeros(1, np.float32), np.ones(1, np.float32)) if preprocessed else None
    model = Model(layers if behind_floats else layers[1:], scaling)
    expected, _hidden = logits_and_hidden(Model((one,)), x)
    np.testing.assert_array_equal(Engine(model).run(x), expected)
    np.testing.assert_array_equal(np.stack([Engine(model).run(row) for row in x[:9]]), expected[:9])
