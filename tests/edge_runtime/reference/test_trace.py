import numpy as np
import pytest

from edge_runtime import Dense, DynamicQuantizedDense, Model, QuantizedDense, QuantParams, Standardization
from edge_runtime.reference.trace import logits, trace, trace_layer
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows
from tests.plain_int8 import logits_and_hidden


def network(precision, activations=("tanh", "relu", "softmax"), standardize=True):
    model = random_model([6, 5, 4, 3], activations, standardize=standardize)
    return quantize(model, random_rows(60, 6), precision, "minmax")


KINDS = {
    "float32": {"preactivation": "float32", "output": "float32"},
    "int8-dynamic": {
        "quantized_input": "uint8",
        "accumulator": "int32",
        "scaled": "float32",
        "preactivation": "float32",
        "output": "float32",
    },
}


@pytest.mark.parametrize("precision", ["float32", "float16", "int8-dynamic"])
def test_tensors_come_in_order_with_their_dtypes(precision):
    """As they are listed: standardized rows first, then each layer's; float16 like float32."""
    kinds = KINDS["float32" if precision == "float16" else precision]
    found = trace(network(precision), random_rows(7, 6))
    expected = ["input.standardized", *(f"dense{index}.{name}" for index in range(3) for name in kinds)]
    assert list(found) == expected
    assert [str(found[name].dtype) for name in expected[1:]] == list(kinds.values()) * 3
    assert {values.shape for values in found.values()} == {(7, 6), (7, 5), (7, 4), (7, 3)}


def test_tensors_of_int8_layers_are_named_by_what_each_has():
    """The first quantizes its input, the second has a table's codes no more, the last gives floats."""
    found = trace(network("int8"), random_rows(7, 6))
    assert {name: str(values.dtype) for name, values in found.items()} == {
        "input.standardized": "float32",
        "dense0.quantized_input": "uint8",
        "dense0.accumulator": "int32",
        "dense0.scaled": "float32",
        "dense0.codes": "uint8",
        "dense0.output": "uint8",
        "dense1.accumulator": "int32",
        "dense1.scaled": "float32",
        "dense1.output": "uint8",
        "dense2.accumulator": "int32",
        "dense2.scaled": "float32",
        "dense2.output": "float32",
    }


@pytest.mark.parametrize("seed", range(5))
def test_hidden_tensors_of_int8_are_those_of_the_plain_integers(seed):
    """Inputs, codes and logits against int64 sums that share no code with these."""
    model = network("int8")
    rows = random_rows(30, 6, seed) * 4
    rows[0, 0] = np.nan
    found, (expected, hidden) = trace(model, rows), logits_and_hidden(model, rows)
    names = ["dense0.quantized_input", "dense0.output", "dense1.output"]
    for name, values in zip(names, hidden, strict=True):
        np.testing.assert_array_equal(found[name], values)
    np.testing.assert_array_equal(logits(model, found), expected)
    np.testing.assert_array_equal(model.layers[0].table[found["dense0.codes"]], found["dense0.output"])
    assert found["dense2.output"].sum(axis=1) == pytest.approx(np.ones(30), rel=1e-5)


def test_rows_are_standardized_in_float32_and_left_as_they_were():
    """Whole numbers and doubles are taken as float32 first; the caller's array is not written to."""
    layer = Dense("a", np.eye(2, dtype=np.float32), np.float32([1, 2]), "relu")
    model = Model((layer,), Standardization(np.float32([1]), np.float32([0.5])))
    rows = np.array([[1, 5], [3, -7]])
    kept = rows.copy()
    found = trace(model, rows)
    assert found["input.standardized"].tolist() == [[0, 2], [1, -4]]
    assert found["a.preactivation"].tolist() == [[1, 4], [2, -2]]
    assert found["a.output"].tolist() == [[1, 4], [2, 0]]
    assert (rows == kept).all()
    assert list(trace(Model((layer,)), rows)) == ["a.preactivation", "a.output"]


def test_a_layer_that_receives_integers_does_not_quantize_them_again():
    """uint8 in is on the input grid already; floats are put on it."""
    grid = QuantParams(0.5, 10)
    one = QuantizedDense(
        "q", np.ones((1, 1), np.int8), np.zeros(1, np.int32), np.ones(1, np.float32), grid, None, "linear"
    )
    integers = trace_layer(one, np.array([[12]], np.uint8))
    floats = trace_layer(one, np.float32([[1.0]]))
    assert "q.quantized_input" not in integers
    assert floats["q.quantized_input"].tolist() == [[12]]
    assert integers["q.accumulator"].tolist() == floats["q.accumulator"].tolist() == [[2]]


@pytest.mark.parametrize("precision", ["float32", "int8", "int8-dynamic"])
def test_no_rows_give_tensors_of_no_rows(precision):
    """With the same names as of some rows."""
    model = network(precision)
    found = trace(model, np.zeros((0, 6), np.float32))
    assert list(found) == list(trace(model, random_rows(2, 6)))
    assert all(len(values) == 0 for values in found.values())


@pytest.mark.parametrize(
    ("precision", "name"), [("float32", "preactivation"), ("int8", "scaled"), ("int8-dynamic", "preactivation")]
)
def test_logits_are_what_the_last_activation_is_given(precision, name):
    """Before softmax, of the last layer and of no other."""
    model = network(precision)
    tensors = trace(model, random_rows(4, 6))
    assert logits(model, tensors) is tensors[f"dense2.{name}"]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "linear"])
@pytest.mark.parametrize("zero_point", [0, 40, 255])
def test_arithmetic_between_grids_is_done_before_rounding(activation, zero_point):
    """On a grid with negative values relu cuts and leaky_relu bends them: against int64 sums."""
    grid, hidden = QuantParams(1.0, 128), QuantParams(1.0, zero_point)
    ones, zeros = np.ones((1, 1), np.int8), np.zeros(1, np.int32)
    first = QuantizedDense("a", ones, zeros, np.float32([0.25]), grid, hidden, activation)
    last = QuantizedDense("b", ones, zeros, np.float32([1]), hidden, None, "linear")
    model, rows = Model((first, last)), np.arange(-128, 128, dtype=np.float32)[:, None]
    expected, tensors = logits_and_hidden(model, rows)
    found = trace(model, rows)
    np.testing.assert_array_equal(found["a.output"], tensors[1])
    np.testing.assert_array_equal(logits(model, found), expected)


def test_a_dynamic_layer_is_traced_step_by_step():
    """By hand: rows from -1 to 3 on a grid of 4 / 255, zero point 64; the bias is added last."""
    weight, scale, bias = np.array([[2], [-3]], np.int8), np.float32([0.5]), np.float32([10])
    layer = DynamicQuantizedDense("d", weight, bias, scale, "relu")
    step = np.float32(4) / np.float32(255)
    found = trace_layer(layer, np.float32([[-1, 3], [0, 0]]))
    assert found["d.quantized_input"].tolist() == [[0, 255], [64, 64]]
    assert found["d.accumulator"].tolist() == [[-64 * 2 - 191 * 3], [0]]
    assert found["d.scaled"].tolist() == [[-350.5], [0]]
    np.testing.assert_array_equal(found["d.preactivation"], np.float32([[-350.5], [0]]) * step + bias)
    np.testing.assert_array_equal(found["d.output"], np.maximum(found["d.preactivation"], 0))
    assert found["d.output"].max() == 10
