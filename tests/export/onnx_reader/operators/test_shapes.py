"""Operators that move values move layouts, leave each row by itself, and refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from export.onnx_reader.inputs import Input
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.selecting import concat, gather, slice_
from export.onnx_reader.operators.shapes import HANDLERS, moved, resolved_axis, whole_numbers
from export.onnx_reader.values import ANY_ROWS, Const, Flow, Stacked


def flow(shape=(2, 3), batch=0, rows=ANY_ROWS, kind="float32") -> Flow:
    """The graph's input, of free rows."""
    return Input("x", kind, shape, batch, rows).flow()


def run(operator, value, *more, opset=13, outputs=("o",), **attributes):
    """One node's first result."""
    handlers = {**HANDLERS, "Gather": gather, "Slice": slice_, "Concat": concat}
    node = Node("n", operator, "", opset, (), outputs, attributes)
    given = [None if array is None else Const(np.array(array)) for array in more]
    return handlers[operator](node, [value, *given], Budget(1 << 20))[0]


def test_axes_are_counted_from_both_ends():
    """-rank..rank - 1."""
    assert [resolved_axis(axis, 3) for axis in (-3, -1, 0, 2)] == [0, 2, 0, 2]
    for axis in (-4, 3):
        with pytest.raises(Unsupported, match=f"axis {axis} does not exist in a tensor of 3 axes"):
            resolved_axis(axis, 3)


@pytest.mark.parametrize("array", [np.float32([1]), np.array([[1]]), np.array([True])])
def test_lists_of_whole_numbers_are_just_that(array):
    """At most one axis, of integers."""
    assert whole_numbers(Const(np.uint8(3)), "axes") == [3]
    with pytest.raises(Unsupported, match="its axes is not a constant list of whole numbers"):
        whole_numbers(Const(array), "axes")
    with pytest.raises(Unsupported, match="its axes is not"):
        whole_numbers(flow(), "axes")


def test_integers_behind_a_constant_move_along():
    """And their scales, spread to each of them before."""
    value = Const(np.arange(6.0).reshape(2, 3), np.arange(6).reshape(2, 3), np.float32([[1, 2, 3]]))
    found = moved(value, lambda array: array.T, (), Budget(1 << 20))
    np.testing.assert_array_equal(found.codes, np.arange(6).reshape(2, 3).T)
    np.testing.assert_array_equal(found.scale, np.float32([[1, 1], [2, 2], [3, 3]]))
    assert moved(Const(np.ones(2), of_half=True), np.copy, (), Budget(100)).of_half


@pytest.mark.parametrize(
    ("target", "shape", "batch"),
    [([0, -1], (ANY_ROWS, 6), 0), ([-1, 6], (ANY_ROWS, 6), 0), ([0, 3, 2], (ANY_ROWS, 3, 2), 0),
     ([1, -1, 6], (1, ANY_ROWS, 6), 1), ([0, 0, 0], (ANY_ROWS, 2, 3), 0)],
)  # fmt: skip
def test_a_shape_that_keeps_rows_apart(target, shape, batch):
    """-1 and 0 mean what they mean in Reshape."""
    found = run("Reshape", flow(), target)
    assert (found.shape, found.batch) == (shape, batch)


@pytest.mark.parametrize(
    ("target", "message"),
    [([2, -1, 3], "mixes rows and features: .rows, 2, 3. becomes .2, rows, 3."), ([6, -1], "mixes rows and features"),
     ([-1, -1, 6], "is not possible"), ([-2, 6], "is not possible"), ([-1, 5], "does not fit a tensor of shape"),
     ([0, 2, 3, 0], "copies an axis that does not exist"), ([-1, 12], "does not fit|mixes"), ([-1, 3], "mixes rows")],
)  # fmt: skip
def test_a_shape_that_mixes_rows_is_refused(target, message):
    """With both shapes."""
    with pytest.raises(Unsupported, match=message):
        run("Reshape", flow(), target)


def test_rows_that_stand_behind_features_stay_there():
    """(2, rows, 3) has as many numbers as (rows, 6), in another order."""
    assert run("Reshape", flow((2, 3), 1), [2, -1, 3]).order.shape == (2, 3)
    with pytest.raises(Unsupported, match="mixes rows and features"):
        run("Reshape", flow((2, 3), 1), [-1, 6])


def test_all_rows_in_one_axis_are_the_end():
    """Of several outputs; of one, they are rows still, which a later node may use."""
    assert isinstance(run("Reshape", flow(), [-1]), Stacked)
    assert isinstance(run("Reshape", flow((1,)), [-1]), Flow)


def test_a_row_without_an_axis_of_rows_may_get_one_and_lose_it():
    """One row of fixed shape is laid out at will."""
    one = flow((6,), 0, 1)
    assert run("Reshape", one, [1, 2, 3]).batch == 0
    assert run("Reshape", one, [2, 3]).batch is None
    assert run("Reshape", one, [6]).batch is None
    assert run("Reshape", flow((1,), 0, 1), [1]).batch is None


def test_sizes_of_one_come_and_go():
    """Others do not go; an axis is named once."""
    assert run("Squeeze", flow((1, 3)), [1]).shape == (ANY_ROWS, 3)
    assert run("Unsqueeze", flow((3,)), [0]).batch == 1
    with pytest.raises(Unsupported, match="not of size 1, from a tensor of 3 axes"):
        run("Squeeze", flow((2, 3)), [1])
    with pytest.raises(Unsupported, match="not of size 1"):
        run("Squeeze", flow((1, 3)), [0])
    with pytest.raises(Unsupported, match="name one axis twice"):
        run("Unsqueeze", flow((3,)), [0, -4])


def test_values_are_cast_to_what_holds_them():
    """Whole numbers to those that hold all of them, real ones to floats alone, and none to bfloat16."""
    assert run("Cast", flow(kind="uint8"), to=TensorProto.INT16).kind == "int16"
    assert run("Cast", flow(kind="int32"), to=TensorProto.FLOAT).kind == "float32"
    for kind, to in (("int32", TensorProto.INT16), ("float32", TensorProto.INT64), ("float32", TensorProto.BFLOAT16),
                     ("uint8", TensorProto.BFLOAT16)):  # fmt: skip
        with pytest.raises(Unsupported, match=f"it makes .* of {kind} values, which cuts or wraps"):
            run("Cast", flow(kind=kind), to=to)


def test_values_take_the_dtype_of_another_tensor():
    """Of a constant or of what is made of the input; what Cast refuses is refused."""
    assert run("CastLike", flow(kind="uint8"), np.float16(1)).kind == "float16"
    node = Node("n", "CastLike", "", 15, (), ("o",), {})
    found = HANDLERS["CastLike"](node, [Const(np.array([2, 3])), flow()], Budget(1 << 20))[0]
    assert (found.array.dtype, found.array.tolist()) == (np.float32, [2, 3])
    with pytest.raises(Unsupported, match="it makes int64 of float32 values"):
        run("CastLike", flow(), np.int64(1))


def test_dropout_in_training_is_refused():
    """By its input, since opset 12."""
    assert run("Dropout", flow(), None, None).chain.step is None
    assert run("Dropout", flow(), None, False).chain.step is None
    assert run("Dropout", flow(), opset=7).chain.step is None
    with pytest.raises(Unsupported, match="training mode"):
        run("Dropout", flow(), None, True)


def test_a_flow_is_expanded_along_axes_of_one_place():
    """Ones in the shape change nothing, and axes may come in front; rows and longer axes stay as they are."""
    assert run("Expand", flow((3,)), [1, 3]).shape == (ANY_ROWS, 3)
    assert run("Expand", flow((3,)), [1, 1, 1]).shape == (1, ANY_ROWS, 3)
    twice = run("Expand", flow((3,)), [2, 1, 1])
    assert (twice.shape, twice.order.tolist()) == ((2, ANY_ROWS, 3), [[0, 1, 2], [0, 1, 2]])
    for target in ([1, 6], [1, 2], [5, 3], [2, 5, 3]):
        with pytest.raises(Unsupported, match="it repeats values that are made of the input"):
            run("Expand", flow((3,)), target)


@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 3)])
def test_what_is_repeated_for_every_row_is_one_row(shape):
    """Other rows of constants, or an axis in front of them, would be repeated along another one."""
    rows = Const(np.array([ANY_ROWS, 3]), origin=run("Shape", flow((3,))).origin)
    node = Node("n", "Expand", "", 13, (), ("o",))
    assert HANDLERS["Expand"](node, [Const(np.ones((1, 3))), rows], Budget(1000))[0].array.shape == (1, 3)
    with pytest.raises(Unsupported, match="to the number of rows, expected one row"):
        HANDLERS["Expand"](node, [Const(np.ones(shape)), rows], Budget(1000))
    with pytest.raises(Unsupported, match="to the number of rows, expected one row"):
        HANDLERS["Expand"](node, [Const(np.ones((1, 1, 3))), rows], Budget(1000))


def test_a_literal_size_is_no_number_of_rows():
    """2^31 - 1 stands for the rows only where it came from a shape; in the file it is a size, and too large."""
    node = Node("n", "Expand", "", 13, (), ("o",))
    with pytest.raises(Unsupported, match="raise max_bytes"):
        HANDLERS["Expand"](node, [Const(np.ones((1, 3))), Const(np.array([ANY_ROWS, 3]))], Budget(1000))


def test_turning_a_tensor_takes_every_axis_once():
    """The axis of the rows among them."""
    found = run("Transpose", flow(), perm=[2, 0, 1])
    assert (found.shape, found.batch) == ((3, ANY_ROWS, 2), 1)
    for perm in ([0, 1], [0, 0, 1], [1, 2, 3]):
        with pytest.raises(Unsupported, match="does not fit a tensor of 3 axes"):
            run("Transpose", flow(), perm=perm)


@pytest.mark.parametrize(
    ("before", "after", "is_kept"),
    [
        ("uint8", "int8", False), ("int8", "uint8", False), ("uint8", "bool", False), ("int32", "uint32", False),
        ("int64", "int32", False), ("uint8", "int16", True), ("bool", "uint8", True), ("int32", "int64", True),
        ("float32", "int32", False), ("int64", "float32", True), ("float32", "float16", True),
    ],
)  # fmt: skip
def test_a_cast_of_the_input_keeps_every_value_or_is_refused(before, after, is_kept):
    """200 of uint8 is -56 of int8, and 1 of bool: a model without that cast would compute something else."""
    code, value = helper.np_dtype_to_tensor_dtype(np.dtype(after)), flow((3,), kind=before)
    if is_kept:
        assert run("Cast", value, to=code).kind == after
    else:
        with pytest.raises(Unsupported, match=f"it makes {after} of {before} values, which cuts or wraps"):
            run("Cast", value, to=code)


def test_a_cast_that_cuts_dequantized_weights_drops_the_integers_behind_them():
    """They are those of other values: a layer made of them would have the uncut weights."""
    weights = Const(np.float32([0.5, 2.0]), np.int32([1, 4]), np.float32([0.5]))
    for code, is_kept in ((TensorProto.DOUBLE, True), (TensorProto.INT32, False)):
        found = run("Cast", weights, to=code)
        assert (found.codes is not None) == (found.scale is not None) == is_kept
