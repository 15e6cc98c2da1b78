"""Quantized operators become the steps that they consist of, on the uint8 grid, or are refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from edge_runtime.errors import ModelError
from edge_runtime.numerics import QuantParams
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.quantized import HANDLERS, MICROSOFT_HANDLERS, integers
from export.onnx_reader.steps import (
    Affine,
    Dequantize,
    DynamicQuantize,
    DynamicScale,
    Function,
    Linear,
    Lookup,
    Quantize,
    RowFunction,
)
from export.onnx_reader.values import Const, DynamicGrid
from tests.export.onnx_reader.operators.test_shapes import flow

RNG = np.random.default_rng(11)
X = flow((4,))
S, Z, SIGNED = np.float32(0.25), np.uint8(7), np.int8(-3)
WEIGHT = RNG.integers(-120, 120, (4, 3)).astype(np.int8)


def run(operator, *inputs, **attributes):
    """All results of a node; arrays are constants."""
    node = Node("n", operator, "", 21, (), ("o",), attributes)
    given = [Const(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value for value in inputs]
    return {**MICROSOFT_HANDLERS, **HANDLERS}[operator](node, given, Budget(1 << 20))


def one(operator, *inputs, **attributes):
    (found,) = run(operator, *inputs, **attributes)
    return found


def steps(value):
    return value.chain.steps_after(X.chain)


def codes(zero=Z):
    """The input on a grid."""
    return one("QuantizeLinear", X, S, zero)


@pytest.mark.parametrize(
    ("zero", "attributes", "expected", "kind"),
    [
        (Z, {}, 7, "uint8"),
        (SIGNED, {}, 125, "int8"),
        (np.array([255], np.uint8), {}, 255, "uint8"),
        (np.int8(-128), {}, 0, "int8"),
        (None, {}, 0, "uint8"),
        (None, {"output_dtype": int(TensorProto.INT8)}, 128, "int8"),
        (None, {"output_dtype": int(TensorProto.UINT8)}, 0, "uint8"),
    ],
)
def test_a_grid_is_counted_from_the_least_uint8(zero, attributes, expected, kind):
    """int8 codes are the same integers plus 128, their zero point too; without one it is the middle of its dtype."""
    found = one("QuantizeLinear", X, S, zero, **attributes)
    assert steps(found) == [Quantize(QuantParams(0.25, expected), kind)]
    assert found.kind == kind
    back = one("DequantizeLinear", found, S, zero if zero is not None else np.zeros(1, kind))
    assert steps(back)[1] == Dequantize(QuantParams(0.25, expected))
    assert back.kind == "float32"


def test_a_missing_input_is_one_that_was_left_out():
    """A zero point may be absent, or named "" at the end."""
    (short,) = HANDLERS["QuantizeLinear"](Node("n", "QuantizeLinear", "", 13, (), ("o",)), [X, Const(S)], Budget(9))
    assert steps(short) == [Quantize(QuantParams(0.25, 0), "uint8")]


def test_codes_without_a_zero_point_keep_their_dtype():
    """DequantizeLinear takes the dtype of its input."""
    found = one("DequantizeLinear", one("QuantizeLinear", X, S, np.int8(0)), S, None)
    assert steps(found)[1] == Dequantize(QuantParams(0.25, 128))


REFUSED = {
    "scales per channel": (lambda: one("QuantizeLinear", X, np.float32([1, 2]), Z), "its scale is not one constant for "
                            "the whole tensor"),
    "a scale of the input": (lambda: one("QuantizeLinear", X, X, Z), "its scale is not one constant"),
    "zero points": (lambda: one("QuantizeLinear", X, S, np.uint8([1, 2])), "its zero point is not one constant for the "
                    "whole tensor"),
    "a zero point of the input": (lambda: one("QuantizeLinear", X, S, X), "its zero point is not one constant"),
    "int16": (lambda: one("QuantizeLinear", X, S, np.int16(0)), "it quantizes to int16, expected uint8 or int8"),
    "a negative scale": (lambda: one("QuantizeLinear", X, -S, Z), "scale is -0.25"),
    "a constant": (lambda: one("QuantizeLinear", WEIGHT, X, Z), "its input is not made of the model's input, and its "
                   "scale is not constant"),
    "integers": (lambda: one("QuantizeLinear", flow((4,), kind="int64"), S, Z), "it quantizes int64 values, expected "
                 "float32"),
    "codes of codes": (lambda: one("QuantizeLinear", codes(), S, Z), "it quantizes uint8 values"),
    "blocks": (lambda: one("DequantizeLinear", codes(), S, Z, block_size=2), "it has a scale for each block of what "
               "is no constant; expected one for the tensor"),
    "real values": (lambda: one("DequantizeLinear", X, S, Z), "its input is not a quantized tensor made of"),
    "another dtype": (lambda: one("DequantizeLinear", codes(), S, SIGNED), "its zero point is int8, its input uint8"),
    "two constants": (lambda: one("QLinearMatMul", WEIGHT.T.copy(), S, SIGNED, WEIGHT, S, SIGNED, S, Z),
                      "it multiplies two constants, labels, or two tensors"),
    "transA": (lambda: one("QGemm", codes(), S, Z, WEIGHT, S, np.int8(0), transA=1), "it has transA or alpha, expected "
               "neither"),
    "alpha": (lambda: one("QGemm", codes(), S, Z, WEIGHT, S, np.int8(0), alpha=2.0), "it has transA or alpha"),
    "softmax over the batch": (lambda: one("QLinearSoftmax", codes(), S, Z, S, Z, axis=0), "it does not work on whole "
                               "rows"),
    "a sum of constants": (lambda: one("QLinearAdd", WEIGHT, S, SIGNED, WEIGHT, S, SIGNED, S, Z), "it has no input "
                           "that is made of the model's input"),
    "a product of a constant": (lambda: one("MatMulInteger", WEIGHT.T.copy(), WEIGHT), "its first input is not a "
                                "quantized tensor made of the model's input"),
    "a dynamic constant": (lambda: run("DynamicQuantizeLinear", WEIGHT), "it quantizes a constant"),
    "a table of 255": (lambda: one("Gather", np.zeros(255, np.uint8), codes()), "it looks up the input's own values in "
                       "a constant, which is no table of 256 codes"),
    "a table of floats": (lambda: one("Gather", np.zeros(256, np.float32), codes()), "which is no table of 256 codes"),
    "a table of real values": (lambda: one("Gather", np.zeros(256, np.uint8), X), "which is no table"),
    "a table of int8 codes": (lambda: one("Gather", np.zeros(256, np.uint8), codes(SIGNED)), "which is no table"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED)
def test_what_this_runtime_has_not_is_refused_with_the_reason(call, words):
    """Each in its own words."""
    with pytest.raises((Unsupported, ModelError)) as caught:
        call()
    assert words in str(caught.value)
    assert not str(caught.value).startswith("XX")


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_a_constant_remembers_its_integers(axis, dtype):
    """Zero point off, with one scale for each place of an axis; as the file has them where they are int8."""
    stored = WEIGHT.astype(dtype)
    count = stored.shape[axis]
    scale, zero = RNG.random(count).astype(np.float32) + 0.1, np.arange(count).astype(dtype)
    shape = [-1, 1] if axis == 0 else [1, -1]
    found = one("DequantizeLinear", stored, scale, zero, axis=axis)
    expected = stored.astype(np.int32) - zero.astype(np.int32).reshape(shape)
    np.testing.assert_array_equal(found.codes, expected)
    assert found.codes.dtype == np.int32
    np.testing.assert_array_equal(found.array, expected.astype(np.float32) * scale.reshape(shape))
    np.testing.assert_array_equal(
        np.broadcast_to(found.scale, stored.shape), np.broadcast_to(scale.reshape(shape), stored.shape)
    )
    assert found.array.dtype == found.scale.dtype == np.float32
    if dtype == np.int8:
        np.testing.assert_array_equal(found.stored, stored)
    else:
        assert found.stored is None


def test_a_constant_needs_constant_scales_and_memory():
    """Scales of the input are refused; what it widens to is charged."""
    for scale, zero in ((X, None), (Const(S), X)):
        with pytest.raises(Unsupported):
            integers(Const(WEIGHT), scale, zero, 1, Budget(1 << 20))
    with pytest.raises(Unsupported, match="needs"):
        integers(Const(WEIGHT), Const(S), None, 1, Budget(8))


def product_of(value):
    """The one product among the steps."""
    (found,) = [step for step in steps(value) if isinstance(step, Linear)]
    return found


def test_a_quantized_product_is_three_steps():
    """Codes become real, the product, real values become codes; the weights stay integers."""
    found = one("QLinearMatMul", codes(), S, Z, WEIGHT, np.float32(0.5), np.int8(0), np.float32(2), np.uint8(9))
    assert [type(step) for step in steps(found)] == [Quantize, Dequantize, Linear, Quantize]
    assert steps(found)[-1] == Quantize(QuantParams(2.0, 9), "uint8")
    np.testing.assert_array_equal(product_of(found).codes, WEIGHT)
    np.testing.assert_allclose(product_of(found).weight, WEIGHT * 0.5)
    assert found.kind == "uint8"


def test_weights_may_stand_on_the_left():
    """Of a product with rows that lie on their side: the same layer with its weights turned."""
    side = one("QuantizeLinear", flow((4,), 1), S, Z)
    rows = RNG.random(3).astype(np.float32) + 0.1
    found = one("QLinearMatMul", WEIGHT.T.copy(), rows, np.zeros(3, np.int8), side, S, Z, S, Z)
    (linear,) = [step for step in found.chain.steps_after(None) if isinstance(step, Linear)]
    np.testing.assert_array_equal(linear.codes, WEIGHT)
    np.testing.assert_allclose(linear.weight, WEIGHT * rows, rtol=1e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_qgemm_has_a_bias_in_steps_of_its_products(turned):
    """scale_a * scale_b each, by output; turned weights; without an output grid the values stay real."""
    scales, bias = np.float32([0.5, 1, 2]), np.array([4, -8, 100], np.int32)
    weight = WEIGHT.T.copy() if turned else WEIGHT
    zero = np.zeros(3, np.int8)
    found = one("QGemm", codes(), S, Z, weight, scales, zero, bias, None, None, transB=int(turned))
    np.testing.assert_array_equal(product_of(found).codes, WEIGHT)
    affine = steps(found)[-1]
    assert isinstance(affine, Affine)
    np.testing.assert_array_equal(np.broadcast_to(affine.shift, 3), [0.5, -2, 50])
    assert found.kind == "float32"
    rounded = one("QGemm", codes(), S, Z, weight, scales, zero, bias, S, SIGNED, transB=int(turned))
    assert steps(rounded)[-1] == Quantize(QuantParams(0.25, 125), "int8")
    plain = one("QGemm", codes(), S, Z, weight, scales, zero, transB=int(turned))
    assert isinstance(steps(plain)[-1], Linear)


def test_activations_of_codes_are_applied_to_real_values():
    """Sigmoid, leaky ReLU with its slope, softmax over whole rows; each between two grids."""
    for operator, attributes, name, params in (
        ("QLinearSigmoid", {}, "sigmoid", {}),
        ("QLinearLeakyRelu", {}, "leaky_relu", {"alpha": 0.01}),
        ("QLinearLeakyRelu", {"alpha": 0.5}, "leaky_relu", {"alpha": 0.5}),
    ):
        found = one(operator, codes(), S, Z, np.float32(0.5), np.uint8(1), **attributes)
        _first, real, function, last = steps(found)
        assert real == Dequantize(QuantParams(0.25, 7))
        assert isinstance(function, Function)
        assert (function.activation.name, dict(function.activation.params)) == (name, params)
        assert last == Quantize(QuantParams(0.5, 1), "uint8")
    for axis in ({}, {"axis": 1}, {"axis": -1}):
        found = one("QLinearSoftmax", codes(), S, Z, np.float32(0.5), np.uint8(1), **axis)
        assert isinstance(steps(found)[2], RowFunction)
        assert steps(found)[2].activation.name == "softmax"
    with pytest.raises(Unsupported, match="whole rows"):
        one("QLinearSoftmax", one("QuantizeLinear", flow((4,), 0, 1, "float32"), S, Z), S, Z, S, Z, axis=0)


@pytest.mark.parametrize("constant_first", [False, True])
@pytest.mark.parametrize("operator", ["QLinearAdd", "QLinearMul"])
def test_a_quantized_constant_is_added_or_multiplied(operator, constant_first):
    """As the real number that it stands for, on either side."""
    number = (np.uint8(11), np.float32(0.5), np.uint8(1))  # 5
    sides = (*number, codes(), S, Z) if constant_first else (codes(), S, Z, *number)
    found = one(operator, *sides, S, Z)
    _first, _real, affine, last = steps(found)
    expected = (1, 5) if operator == "QLinearAdd" else (5, 0)
    assert (float(affine.scale), float(affine.shift)) == expected
    assert last == Quantize(QuantParams(0.25, 7), "uint8")


def dynamic():
    return run("DynamicQuantizeLinear", X)


def test_dynamic_codes_have_a_grid_of_their_own():
    """Codes, and stand-ins for the scale and the zero point that know whose they are."""
    found, scale, zero = dynamic()
    assert (steps(found), found.kind) == ([DynamicQuantize()], "uint8")
    for grid, is_scale in ((scale, True), (zero, False)):
        assert isinstance(grid, DynamicGrid)
        assert (grid.source, grid.is_scale) == (found.chain, is_scale)


def test_sums_of_dynamic_codes_take_their_own_zero_point():
    """That of the same quantization; none, the scale, or another's are refused."""
    found, scale, zero = dynamic()
    sums = one("MatMulInteger", found, WEIGHT, zero)
    assert [type(step) for step in steps(sums)] == [DynamicQuantize, Linear]
    assert sums.kind == "int32"
    np.testing.assert_array_equal(product_of(sums).codes, WEIGHT)
    for wrong in (None, scale, dynamic()[2]):
        with pytest.raises(Unsupported, match="its zero point is not that of its input"):
            one("MatMulInteger", found, WEIGHT, wrong)


def test_sums_of_static_codes_are_those_of_their_distance_from_zero():
    """In steps of 1, with the weights' own zero point taken off."""
    sums = one("MatMulInteger", codes(), WEIGHT.astype(np.int8), Z, np.int8(2))
    assert steps(sums)[1] == Dequantize(QuantParams(1.0, 7))
    np.testing.assert_array_equal(product_of(sums).codes, WEIGHT.astype(int) - 2)
    assert sums.kind == "int32"


@pytest.mark.parametrize("has_bias", [False, True])
def test_fused_dynamic_products_are_the_plain_nodes(has_bias):
    """DynamicQuantizeMatMul, and MatMulIntegerToFloat with its inputs in another order."""
    scale, zero, bias = np.float32([0.5, 1, 2]), np.zeros(3, np.int8), np.float32([1, 2, 3]) if has_bias else None
    whole = one("DynamicQuantizeMatMul", X, WEIGHT, scale, zero, bias)
    found, own_scale, own_zero = dynamic()
    parts = one("MatMulIntegerToFloat", found, WEIGHT, own_scale, scale, own_zero, zero, bias)
    for value in (whole, parts):
        after = [step for step in steps(value) if isinstance(step, Affine)]
        others = [type(step) for step in steps(value) if not isinstance(step, Affine)]
        assert others == [DynamicQuantize, Linear, DynamicScale]
        np.testing.assert_array_equal(product_of(value).codes, WEIGHT)
        one_by_one = np.ones(3)
        for affine in after:
            one_by_one = affine(one_by_one)
        np.testing.assert_array_equal(one_by_one, scale + (0 if bias is None else bias))
        assert value.kind == "float32"
    with pytest.raises(Unsupported, match="the scale of its weights is not constant"):
        one("DynamicQuantizeMatMul", X, WEIGHT, X, zero)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_a_table_of_codes_is_looked_up(dtype):
    """256 codes, on the uint8 grid whatever the file has; its codes may be looked up again where they are uint8."""
    table = RNG.permutation(256).astype(np.uint8).astype(dtype)
    found = one("Gather", table, codes())
    lookup = steps(found)[-1]
    assert isinstance(lookup, Lookup)
    np.testing.assert_array_equal(lookup.table, table.astype(int) + (128 if dtype == np.int8 else 0))
    assert lookup.table.dtype == np.uint8
    assert (lookup.kind, found.kind) == (np.dtype(dtype).name,) * 2
    if dtype == np.uint8:
        assert isinstance(steps(one("Gather", table, found))[-1], Lookup)
    else:
        with pytest.raises(Unsupported, match="no table of 256 codes"):
            one("Gather", table, found)


def test_other_gathers_pick_features():
    """A constant index of the input."""
    found = one("Gather", flow((4,)), np.array([3, 0]), axis=1)
    np.testing.assert_array_equal(found.order, [3, 0])
