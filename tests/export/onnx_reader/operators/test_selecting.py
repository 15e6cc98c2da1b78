"""Places are picked and put side by side among the features, never among the rows."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edge_runtime import Engine
from export import quantize, read_onnx, verify, write_onnx
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.selecting import concat, slice_, split
from export.onnx_reader.steps import Affine
from export.onnx_reader.values import ANY_ROWS, Const
from export.verification import verify_import
from export.verification.onnx_session import make_session
from tests.export.foreign import graph, normal
from tests.export.onnx_reader.operators.test_shapes import flow, run
from tests.networks import random_rows


def test_places_are_gathered_by_whole_numbers():
    """Indices of two axes put two axes in the place of one, and the rows' axis moves behind them."""
    found = run("Gather", flow((4,), 1), [[3, 0], [1, 1]], axis=0)
    assert (found.shape, found.batch) == ((2, 2, ANY_ROWS), 2)
    np.testing.assert_array_equal(found.order, [[3, 0], [1, 1]])
    found = run("Gather", flow((4,), 1), 2, axis=0)
    assert (found.shape, found.batch) == ((ANY_ROWS,), 0)
    found = run("Gather", flow((2, 3)), [2, 0], axis=-1)
    np.testing.assert_array_equal(found.order, [[2, 0], [5, 3]])
    with pytest.raises(Unsupported, match="not constant whole numbers"):
        run("Gather", flow((4,)), [1.0], axis=1)


@pytest.mark.parametrize(("operator", "more"), [("Gather", [[0]]), ("Slice", [[0], [1], [0]])])
def test_no_rows_are_picked(operator, more):
    """But from a file that takes one row: that is the row."""
    with pytest.raises(Unsupported, match="picks rows out of the batch"):
        run(operator, flow((4,)), *more)
    assert run(operator, flow((4,), 0, 1), *more).batch is None


def test_slices_count_as_in_onnx():
    """From the end, backwards, and beyond both ends."""
    order = run("Slice", flow((5,)), [-2], [-(1 << 63)], [1], [-2]).order
    np.testing.assert_array_equal(order, [3, 1])
    np.testing.assert_array_equal(run("Slice", flow((5,)), [4], [-6], [1], [-1]).order, [4, 3, 2, 1, 0])
    np.testing.assert_array_equal(run("Slice", flow((5,)), [1], [1 << 62], [1]).order, [1, 2, 3, 4])
    np.testing.assert_array_equal(run("Slice", flow((5,)), [3], [-(1 << 31)], [1], [1]).order, [])
    np.testing.assert_array_equal(run("Slice", flow((5,)), [0, 1], [1 << 31, 3]).order, [1, 2])
    for more in ([[0], [1], [1], [0]], [[0, 1], [1], [1]], [[0], [1], [1, 0]]):
        with pytest.raises(Unsupported, match="do not fit together"):
            run("Slice", flow((5,)), *more)


@pytest.mark.parametrize("end", [(1 << 31) - 1, (1 << 31) - 1 + 7, 1 << 62])
def test_all_rows_are_no_pick(end):
    """As long as they start at the first and leave none out."""
    whole = flow((5,))
    assert run("Slice", whole, [0], [end], [0]) is whole
    for more in ([[1], [end], [0]], [[0], [end], [0], [2]], [[0], [(1 << 31) - 2], [0]]):
        with pytest.raises(Unsupported, match="picks rows"):
            run("Slice", whole, *more)


def test_features_up_to_the_number_of_rows_are_refused():
    """Here that is more than there are; with few rows it is not. Up to a size of the same shape they are taken."""
    node = Node("n", "Slice", "", 13, (), ("o",))
    sizes = run("Shape", flow((5,)))
    ones = Const(np.array([1]))
    for start, end in ((0, ANY_ROWS), (ANY_ROWS, 1 << 40)):
        given = [flow((5,)), *(Const(np.array([size]), origin=sizes.origin) for size in (start, end)), ones]
        with pytest.raises(Unsupported, match="as many features as there are rows"):
            slice_(node, given, Budget(1000))
    given = [flow((5,)), Const(np.array([0])), Const(np.array([3]), origin=sizes.origin), ones]
    np.testing.assert_array_equal(slice_(node, given, Budget(1000))[0].order, [0, 1, 2])


def test_parts_of_one_tensor_are_put_side_by_side():
    """Scaled by one number each, or by one for each feature."""
    x = flow((2,))
    less = x.with_step(Affine(np.array(-1.0), np.array(1.0)))
    node = Node("n", "Concat", "", 13, (), ("o",), {"axis": 1})
    found = concat(node, [less, x], Budget(1000))[0]
    assert found.shape == (ANY_ROWS, 4)
    np.testing.assert_array_equal(found.chain.step.scale, [-1, -1, 1, 1])
    np.testing.assert_array_equal(found.chain.step.shift, [1, 1, 0, 0])
    np.testing.assert_array_equal(found.chain.parent.step.index, [0, 1, 0, 1])
    uneven = x.with_step(Affine(np.array([1.0, 2.0]), np.array(0.0)))
    np.testing.assert_array_equal(concat(node, [uneven, x], Budget(1000))[0].chain.step.scale, [1, 2, 1, 1])
    rows = Node("n", "Concat", "", 13, (), ("o",), {"axis": 0})
    with pytest.raises(Unsupported, match="joins rows"):
        concat(rows, [x, x], Budget(1000))


def parts_of(value, outputs=2, opset=13, room=1 << 20, **attributes):
    """What a Split node makes of a value; `sizes` is its second input."""
    sizes = attributes.pop("sizes", None)
    more = [] if sizes is None else [Const(np.array(sizes))]
    node = Node("n", "Split", "", opset, ("x",), tuple(f"o{part}" for part in range(outputs)), attributes)
    return split(node, [value, *more], Budget(room))


@pytest.mark.parametrize(
    ("outputs", "opset", "stated", "expected"),
    [
        (2, 2, {"split": [2, 5]}, [2, 5]),
        (3, 11, {"split": [3, 0, 4]}, [3, 0, 4]),
        (2, 13, {"sizes": [6, 1]}, [6, 1]),
        (7, 13, {}, [1] * 7),
        (3, 18, {"num_outputs": 3}, [3, 3, 1]),
        (1, 18, {"num_outputs": 1}, [7]),
    ],
)
def test_parts_have_the_sizes_that_a_split_states(outputs, opset, stated, expected):
    """As an attribute, as an input, or by their number, which leaves a smaller last one: of features and constants."""
    order = np.split(np.arange(7), np.cumsum(expected)[:-1])
    for found, places in zip(parts_of(flow((7,)), outputs, opset, axis=1, **stated), order, strict=True):
        np.testing.assert_array_equal(found.order, places)
        assert found.shape == (ANY_ROWS, len(places))
    for found, places in zip(parts_of(Const(np.arange(7)), outputs, opset, **stated), order, strict=True):
        np.testing.assert_array_equal(found.array, places)


@pytest.mark.parametrize(
    ("outputs", "opset", "stated"),
    [
        (2, 13, {}),  # 7 places are not even, which opset 18 was the first to allow
        (2, 11, {"split": [3, 3]}),
        (2, 13, {"sizes": [8, -1]}),
        (2, 13, {"sizes": [2, 2, 3]}),
        (2, 18, {"num_outputs": 3}),
        (5, 18, {"num_outputs": 5}),  # 2, 2, 2, 2 and less than none
    ],
)
def test_parts_that_do_not_fit_are_refused(outputs, opset, stated):
    """As onnxruntime refuses them, of features and of constants."""
    for value, axis in ((flow((7,)), 1), (Const(np.arange(7.0)), 0)):
        with pytest.raises(Unsupported, match="do not fit 7 places"):
            parts_of(value, outputs, opset, axis=axis, **stated)


def test_a_split_keeps_what_is_known_of_its_parts():
    """Integers and scales of quantized weights; the rows stay whole, and all parts of a constant are charged once."""
    weight = np.arange(8, dtype=np.int8).reshape(2, 4)
    quantized = Const(weight * np.float32(0.5), weight.astype(np.int32), np.float32([[0.5]]), stored=weight)
    for part, places in zip(parts_of(quantized, axis=-1, room=32), ([0, 1], [2, 3]), strict=True):
        np.testing.assert_array_equal(part.stored, weight[:, places])
        np.testing.assert_array_equal(part.codes, weight[:, places])
        assert part.scale.shape == (2, 2)
    with pytest.raises(Unsupported, match="raise max_bytes"):
        parts_of(quantized, axis=-1, room=31)
    whole = flow((4,))
    assert parts_of(whole, 1) == [whole]
    with pytest.raises(Unsupported, match="picks rows out of the batch"):
        parts_of(whole, axis=0)
    assert parts_of(flow((4,), 0, 2), 1)[0].rows == 2
    with pytest.raises(Unsupported, match="axis 2 does not exist"):
        parts_of(whole, axis=2)


SPLITS = {
    "opset 7, attribute, the second part": (7, "a, b = Split<axis=1, split=[2, 4]>(x) h = Gemm(b, W, B) y = Relu(h)"),
    "opset 11, from the end, the first part": (
        11,
        "a, b, c = Split<axis=-1, split=[4, 1, 1]>(x) h = Gemm(a, W, B) y = Softmax(h)",
    ),
    "opset 13, input": (13, "a, b = Split<axis=1>(x, sizes) h = Gemm(b, W, B) y = Relu(h)"),
    "opset 13, parts in another order": (
        13,
        "a, b, c = Split<axis=1>(x) d = Concat<axis=1>(c, a) h = Gemm(d, W, B) y = Tanh(h)",
    ),
    "opset 18, number, uneven": (18, "a, b = Split<axis=1, num_outputs=2>(x) h = Gemm(a, V, B) y = Relu(h)"),
    "opset 18, uneven, the smaller": (
        18,
        "a, b, c, d = Split<axis=1, num_outputs=4>(z) h = Gemm(d, one, B) y = Relu(h)",
    ),
    "hidden": (13, "g = Gemm(x, U, C) r = Relu(g) a, b = Split<axis=1>(r, sizes) h = Gemm(b, W, B) y = Softmax(h)"),
    "constants": (13, "a, b = Split<axis=1>(M, sizes) h = MatMul(x, b) y = Relu(h)"),
}  # fmt: skip
SPLIT_VALUES = {
    "W": normal(4, 3), "B": normal(3), "V": normal(3, 3), "one": normal(1, 3), "U": normal(6, 6), "C": normal(6),
    "M": normal(6, 6), "sizes": np.array([2, 4]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPLITS)
def test_parts_of_the_input_are_read_as_onnxruntime_runs_them(name, tmp_path):
    """Read, verified, and shrunk to int8, which is written and verified again."""
    opset, nodes = SPLITS[name]
    if "(z)" in nodes:
        nodes = f"g = Gemm(x, U7, C7) z = Relu(g) {nodes}"
    values = {**SPLIT_VALUES, "U7": normal(6, 7), "C7": normal(7)}
    used = {
        key: value for key, value in values.items() if any(f"{end}{key}{to}" in nodes for end in " (" for to in ",)")
    }
    path, rows = tmp_path / "m.onnx", random_rows(60, 6)
    onnx.save(graph(nodes, opset=opset, **used), path)
    model = read_onnx(path)
    theirs = make_session(str(path)).run(None, {"x": rows})[0]
    np.testing.assert_allclose(Engine(model).run(rows), theirs, rtol=1e-5, atol=1e-6)
    assert verify_import(model, path, rows).ok
    assert verify(model, path, rows).ok
    small = quantize(model, rows)
    write_onnx(small, tmp_path / "int8.onnx")
    assert verify(small, tmp_path / "int8.onnx", rows).ok
    assert verify_import(read_onnx(tmp_path / "int8.onnx"), tmp_path / "int8.onnx", rows).ok
