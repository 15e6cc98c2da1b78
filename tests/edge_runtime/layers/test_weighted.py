import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, DynamicQuantizedDense, ModelError, QuantizedDense, QuantParams
from edge_runtime.layers.base import checked_array, count_nonfinite
from edge_runtime.numerics.ownership import is_frozen
from edge_runtime.numerics.quantization import CHUNK
from tests.memory import traced

ONE, GRID, OTHER = np.ones(1, np.float32), QuantParams(1.0, 0), QuantParams(0.5, 7)
TINY = np.finfo(np.float32).tiny


def int8(weight=((1, 2), (3, -4), (5, 6)), **changes):
    weight = np.array(weight, np.int8)
    n_out = weight.shape[1]
    parts = {
        "name": "q",
        "weight": weight,
        "bias": np.zeros(n_out, np.int32),
        "multiplier": np.full(n_out, 0.5, np.float32),
        "input": GRID,
        "output": None,
        "activation": "linear",
    }
    return QuantizedDense(**{**parts, **changes})


def dynamic(weight=((1, 2), (3, -4), (5, 6)), **changes):
    weight = np.array(weight, np.int8)
    n_out = weight.shape[1]
    parts = {"name": "d", "weight": weight, "bias": np.zeros(n_out, np.float32), "activation": "linear"}
    return DynamicQuantizedDense(**{**parts, "weight_scale": np.full(n_out, 0.5, np.float32), **changes})


def wide(make, weight, dtype=np.int16):
    """The same layer with weights that int8 does not hold."""
    return replace(make(), weight=np.array(weight, dtype))


def dense(weight=((1, 2), (3, -4), (5, 6)), **changes):
    weight = np.array(weight, changes.pop("dtype", np.float32))
    return Dense(**{"name": "f", "weight": weight, "bias": np.zeros(2, np.float32), "activation": "linear", **changes})


@pytest.mark.parametrize("make", [dense, int8, dynamic])
def test_a_layer_states_its_widths_and_its_arrays(make):
    """Rows of 3 in, rows of 2 out; the arrays by their short names, in file order; no array is printed."""
    layer = make(activation="relu")
    assert (layer.n_in, layer.n_out) == (3, 2)
    assert repr(layer) == f"{type(layer).__name__}('{layer.name}', 3 -> 2, relu)"
    assert layer.activation == Activation.of("relu")
    names = list(layer.arrays())
    assert names[:2] == ["weight", "bias"]
    assert all(layer.arrays()[name] is getattr(layer, name) for name in names)


def test_names_of_the_arrays_of_each_kind():
    """float: weight and bias; int8: its multipliers, and the table if there is one; int8-dynamic: its scales."""
    table = {"output": GRID, "table": np.zeros(256, np.uint8), "table_output": OTHER, "activation": "tanh"}
    assert list(dense().arrays()) == ["weight", "bias"]
    assert list(int8().arrays()) == ["weight", "bias", "multiplier"]
    assert list(int8(**table).arrays()) == ["weight", "bias", "multiplier", "table"]
    assert list(dynamic().arrays()) == ["weight", "bias", "weight_scale"]


def test_precisions_are_the_dtypes_of_the_weights():
    """The four words that reports use."""
    kinds = [layer.precision for layer in (dense(), dense(dtype=np.float16), int8(), dynamic())]
    assert kinds == ["float32", "float16", "int8", "int8-dynamic"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dense(dtype=np.float64), "'f.weight' has dtype float64, expected float32 or float16"),
        (lambda: dense(dtype=np.int8), "'f.weight' has dtype int8"),
        (lambda: dense(bias=np.zeros(2)), "'f.bias' has dtype float64, expected float32"),
        (lambda: dense(bias=np.zeros(2, np.float16)), "'f.bias' has dtype float16, expected float32"),
        (lambda: dense(bias=np.zeros((1, 2), np.float32)), r"'f.bias' has shape \(1, 2\), expected \(2,\)"),
        (lambda: dense(bias=np.float32([0, np.inf])), "'f.bias' holds 1 values that are NaN or inf"),
        (lambda: dense(bias=np.ma.array(np.zeros(2, np.float32), mask=[0, 1])), "'f.bias' is masked at"),
        (lambda: Dense("f", ONE, ONE, "linear"), r"'f.weight' has shape \(1,\), expected \(n_in, n_out\)"),
        (lambda: Dense("f", np.ones((1, 1, 1), "f4"), ONE, "linear"), "both at least 1"),
        (lambda: Dense("f", np.ones((3, 0), "f4"), np.zeros(0, "f4"), "linear"), "both at least 1"),
        (lambda: Dense("f", np.ones((0, 3), "f4"), np.zeros(3, "f4"), "linear"), "both at least 1"),
        (lambda: dense(activation="swash"), "swash"),
        (lambda: int8([[-128, 0]]), "'q.weight' holds -128, expected values in -127..127"),
        (lambda: int8(weight=np.ones((3, 2), np.uint8), bias=np.zeros(2, "i4")), None),
        (lambda: wide(int8, [[256, 9]]), "'q.weight' holds 256, expected values in -255..255"),
        (lambda: wide(dynamic, [[9, -256]]), "'d.weight' holds -256, expected values in -255..255"),
        (lambda: wide(int8, [[9, 200], [9, -56]]), "a column of 'q.weight' span 256, expected 255 at most"),
        (lambda: wide(int8, [[9, 200]], np.int32), "'q.weight' has dtype int32, expected int8 or int16"),
        (lambda: int8(bias=np.zeros(2, np.int64)), "'q.bias' has dtype int64, expected int32"),
        (lambda: int8(bias=np.zeros(3, np.int32)), "'q.bias' has shape"),
        (lambda: int8(multiplier=np.zeros(2)), "'q.multiplier' has dtype float64"),
        (lambda: int8(multiplier=np.ones(1, np.float32)), r"'q.multiplier' has shape \(1,\), expected \(2,\)"),
        (lambda: int8(multiplier=np.float32([1, -1])), "'q.multiplier' holds -1.0, expected positive"),
        (lambda: int8(multiplier=np.float32([TINY / 2, 1])), "'q.multiplier' holds .*e-39, expected positive, normal"),
        (lambda: int8(multiplier=np.float32([1, np.inf])), "'q.multiplier' holds 1 values that are NaN or inf"),
        (lambda: dynamic([[-128, 0]]), "'d.weight' holds -128, expected values in -127..127"),
        (lambda: dynamic(bias=np.zeros(2, np.int32)), "'d.bias' has dtype int32, expected float32"),
        (lambda: dynamic(bias=np.zeros(3, np.float32)), r"'d.bias' has shape \(3,\), expected \(2,\)"),
        (lambda: dynamic(weight_scale=np.zeros(2, np.float32)), "'d.weight_scale' holds 0.0, expected positive"),
        (lambda: dynamic(weight_scale=np.float32([1, TINY / 2])), "'d.weight_scale' holds .*e-39"),
        (lambda: dynamic(weight_scale=np.ones(3, np.float32)), "'d.weight_scale' has shape"),
        (lambda: dynamic(weight_scale=np.ones(2)), "'d.weight_scale' has dtype float64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(make, message):
    """Name, what was found, what was expected."""
    if message is None:  # the helper converts uint8 weights
        assert make().weight.dtype == np.int8
        return
    with pytest.raises(ModelError, match=message):
        make()


def test_the_ends_of_what_is_allowed_are_allowed():
    """Weights of 127 and -127, of 255 and -255 in int16, and the smallest normal multiplier and scale."""
    assert wide(int8, [[255, -255], [0, -1]]).weight.tolist() == [[255, -255], [0, -1]]
    assert wide(int8, [[200, -55], [-55, 200]]).precision == "int8"
    assert wide(dynamic, [[255, -255]]).precision == "int8-dynamic"
    assert int8([[127, -127]]).weight.tolist() == [[127, -127]]
    assert dynamic([[127, -127]]).weight.tolist() == [[127, -127]]
    assert int8(multiplier=np.full(2, TINY)).multiplier[0] == TINY
    assert dynamic(weight_scale=np.full(2, TINY)).weight_scale[0] == TINY


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": np.zeros(256, np.uint8)}, "a table and its output grid belong together, found only one"),
        ({"table_output": OTHER}, "a table and its output grid belong together, found only one"),
        ({"output": GRID, "table_output": OTHER}, "belong together"),
        ({"output": GRID, "table": np.zeros(256, np.uint8)}, "belong together"),
        ({"table": np.zeros(256, np.uint8), "table_output": OTHER}, "has a table but no output grid to index it with"),
        ({"activation": "relu"}, "'q' has a table and the activation 'relu', which is computed by arithmetic"),
        ({"activation": "leaky_relu"}, "has a table and the activation 'leaky_relu"),
        ({"table": np.zeros(255, np.uint8)}, r"'q.table' has shape \(255,\), expected \(256,\)"),
        ({"table": np.zeros(256, np.int16)}, "'q.table' has dtype int16, expected uint8"),
    ],
)
def test_a_table_comes_with_both_of_its_grids_and_a_function_that_needs_it(changes, message):
    """One without the other, no grid before it, and arithmetic beside it are refused."""
    whole = {"output": GRID, "table": np.zeros(256, np.uint8), "table_output": OTHER, "activation": "tanh"}
    partial = changes if not {"activation"} & set(changes) and "q.table" not in message else {**whole, **changes}
    with pytest.raises(ModelError, match=message):
        int8(**partial)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu", "clip", "abs", "softmax"])
def test_what_is_no_arithmetic_on_integers_needs_a_table_between_int8_layers(activation):
    """At the end it is computed on floats; with a table any function may stand, linear too."""
    with pytest.raises(ModelError, match=f"activation '{activation}.*' between int8 layers needs a table"):
        int8(output=GRID, activation=activation)
    assert int8(activation=activation).output is None
    table = {"output": GRID, "table": np.zeros(256, np.uint8), "table_output": OTHER}
    assert int8(**table, activation=activation).final_grid == OTHER
    assert int8(**table, activation="linear").final_grid == OTHER


@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu"])
def test_arithmetic_on_integers_needs_none(activation):
    """The next layer receives the output grid; without one, floats."""
    assert int8(output=GRID, activation=activation).final_grid == GRID
    assert int8(activation=activation).final_grid is None


@pytest.mark.parametrize("zero_point", [0, 100, 200, 255])
def test_an_accumulator_that_reaches_two_to_the_31_is_refused_and_one_less_is_not(zero_point):
    """To the integer, with the further end of the grid and either sign of the bias."""
    grid, reach = QuantParams(1.0, zero_point), max(zero_point, 255 - zero_point)
    products = 6 * reach
    for sign in (1, -1):
        bias = np.array([sign * (2**31 - 1 - products)], np.int32)
        layer = int8([[1], [2], [-3]], bias=bias, input=grid)
        assert layer.certificate == 2**31 - 1
        with pytest.raises(ModelError, match=r"'q': an accumulator can reach 2,147,483,648, and must stay below 2,147"):
            replace(layer, bias=bias + sign)
    with pytest.raises(ModelError, match="can reach 2,147,483,648"):
        int8([[0]], bias=np.array([-(2**31)], np.int32), input=grid)


def test_an_int8_dynamic_layer_counts_the_whole_grid():
    """Its zero point may be at either end: 255 times the sum of the weights' magnitudes, to the integer."""
    assert dynamic([[1], [-2], [3]]).certificate == 6 * 255
    rows = 2**31 // (127 * 255)
    rest = (2**31 - 1 - rows * 127 * 255) // 255
    weight = np.full((rows + 1, 1), 127, np.int8)
    weight[-1] = rest
    assert dynamic(weight).certificate < 2**31
    weight[-1] = rest + 1
    with pytest.raises(ModelError, match=r"'d': an accumulator can reach 2,147,483,\d+, and must stay below"):
        dynamic(weight)


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_values_that_are_not_finite_are_counted_in_every_part(size):
    """The first and the last value of each part are looked at."""
    values = np.zeros((1, size), np.float32)
    assert count_nonfinite(values) == 0
    for place, bad in ((0, np.nan), (size - 1, np.inf), (size // 2, -np.inf)):
        values[0, place] = bad
    assert count_nonfinite(values) == len({0, size // 2, size - 1})


def test_a_large_layer_is_checked_within_little_memory():
    """Parts of 16,384 values: a megabyte of weights takes 80 KiB for a moment."""
    weight = np.frombuffer(np.zeros((512, 512), np.float32).tobytes(), np.float32).reshape(512, 512)
    bias = np.zeros(512, np.float32)
    Dense("a", weight, bias, "linear")
    with traced() as peak:
        Dense("a", weight, bias, "linear")
        assert peak() < 90 << 10


def test_integers_are_not_looked_at_for_nan():
    """They hold none, and any shape is taken where none is given."""
    assert checked_array([[1, 2]], "x", (np.int64,)).tolist() == [[1, 2]]
    assert checked_array(np.zeros((2, 0), np.float32), "x", (np.float32,)).shape == (2, 0)


def test_subnormal_weights_are_counted_once_and_float16_has_none():
    """What float16 can hold is normal as float32."""
    weight = np.float32([[1e-40, 1], [0, -1e-39], [TINY, 5]])
    assert dense(weight).subnormals == 2
    assert dense(np.float16([[6e-8, 1], [0, 1], [1, 5]]), dtype=np.float16).subnormals == 0


def test_a_layer_does_not_follow_later_writes_to_what_it_was_made_of():
    """Read-only views of writable arrays are copied, and arrays of a layer are nobody's to change."""
    weight, bias = np.ones((2, 2), np.float32), np.ones(2, np.float32)
    views = [array[:] for array in (weight, bias)]
    for view in views:
        view.setflags(write=False)
    layer = Dense("a", *views, "linear")
    weight[...] = bias[...] = 7
    assert layer.weight.max() == layer.bias.max() == 1
    assert not layer.weight.flags.writeable


WHOLE = {
    "float32": dense,
    "float16": lambda: dense(dtype=np.float16),
    "int8": lambda: int8(
        output=GRID,
        table=np.arange(256).astype(np.uint8),
        table_output=OTHER,
        activation="tanh",
        bias=np.int32([4, -5]),
    ),
    "int8-dynamic": dynamic,
}
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "replace": lambda layer: replace(layer, name=layer.name),
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=list(WHOLE))
@pytest.mark.parametrize("duplicate", COPIES.values(), ids=list(COPIES))
def test_every_array_of_a_layer_and_of_its_copies_is_frozen(make, duplicate):
    """Weights, biases, multipliers, scales and tables: as given, and nobody can write to them."""
    layer = make()
    other = duplicate(layer)
    assert type(other) is type(layer)
    for name, array in layer.arrays().items():
        assert is_frozen(array)
        assert is_frozen(other.arrays()[name])
        assert array.dtype == other.arrays()[name].dtype
        np.testing.assert_array_equal(array, other.arrays()[name])
    rest = [field for field in vars(layer) if field not in layer.arrays()]
    assert [vars(layer)[field] for field in rest] == [getattr(other, field) for field in rest]
