"""Places are picked and put side by side among the features, never among the rows."""

from __future__ import annotations

import numpy as np
import pytest

from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.selecting import concat, slice_
from export.onnx_reader.steps import Affine
from export.onnx_reader.values import ANY_ROWS, Const
from tests.export.onnx_reader.operators.test_shapes import flow, run


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
    """Scaled by one number each; by a number for each feature they are no copies."""
    x = flow((2,))
    less = x.with_step(Affine(np.array(-1.0), np.array(1.0)))
    node = Node("n", "Concat", "", 13, (), ("o",), {"axis": 1})
    found = concat(node, [less, x], Budget(1000))[0]
    assert found.shape == (ANY_ROWS, 4)
    np.testing.assert_array_equal(found.chain.step.scale, [-1, -1, 1, 1])
    np.testing.assert_array_equal(found.chain.step.shift, [1, 1, 0, 0])
    np.testing.assert_array_equal(found.chain.parent.step.index, [0, 1, 0, 1])
    uneven = x.with_step(Affine(np.array([1.0, 2.0]), np.array(0.0)))
    with pytest.raises(Unsupported, match="joins branches"):
        concat(node, [uneven, x], Budget(1000))
    rows = Node("n", "Concat", "", 13, (), ("o",), {"axis": 0})
    with pytest.raises(Unsupported, match="joins rows"):
        concat(rows, [x, x], Budget(1000))
