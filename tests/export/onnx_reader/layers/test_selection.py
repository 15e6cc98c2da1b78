"""Selections of features move into the columns of the product before, past what works feature by feature."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.numerics.activations import Activation
from edge_runtime.numerics.quantization import QuantParams
from export.onnx_reader.layers.selection import Placed, without_selections
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.steps import Affine, DynamicQuantize, Linear, Quantize, RowFunction, Select

PICK = np.array([2, 0])
NODE = Node("pick", "Gather", "", 13, (), ("o",))


def moved(*steps, width=3, budget=1 << 20):
    """The steps without their selections."""
    return [placed.step for placed in without_selections([Placed(step, NODE) for step in steps], width, Budget(budget))]


def test_a_product_gives_the_chosen_columns_with_their_integers_and_scales():
    """What stands between moves along: an affine map by its own numbers, a single number as it is."""
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    linear = Linear(weight, weight.astype(np.int32), np.float32([1, 2, 3]))
    affine = Affine(np.array([1.0, 2.0, 3.0]), np.array(0.5))
    product, map_, grid = moved(linear, affine, Quantize(QuantParams(0.5, 3)), Select(PICK), width=2)
    np.testing.assert_array_equal(product.weight, weight[:, PICK])
    np.testing.assert_array_equal(product.codes, weight[:, PICK])
    np.testing.assert_array_equal(product.scale, [3, 1])
    np.testing.assert_array_equal(map_.scale, [3, 1])
    assert map_.shift == 0.5
    assert grid == Quantize(QuantParams(0.5, 3))


def test_plain_weights_have_no_integers_to_choose():
    """None stays None."""
    (product,) = moved(Linear(np.eye(3, dtype=np.float32)), Select(PICK))
    assert product.codes is product.scale is None


def test_without_a_product_before_it_a_selection_is_one():
    """Ones and zeros, in front of all."""
    affine = Affine(np.array(2.0), np.array(0.0))
    product, after = moved(affine, Select(PICK))
    np.testing.assert_array_equal(product.weight, [[0, 1], [0, 0], [1, 0]])
    assert (after.scale, after.shift) == (2, 0)


def test_all_features_in_order_are_no_selection():
    """Not even a layer of ones; but the first ones of more features are."""
    assert moved(Select(np.arange(3))) == []
    assert len(moved(Select(np.arange(3)), width=4)) == 1


def test_selections_follow_one_another():
    """The second counts among what the first has left."""
    (product,) = moved(Linear(np.arange(3, dtype=np.float32)[None]), Select(PICK), Select(np.array([1])), width=1)
    np.testing.assert_array_equal(product.weight, [[0]])
    (product,) = moved(Linear(np.arange(3, dtype=np.float32)[None]), Select(PICK), Select(np.array([0, 1])), width=1)
    np.testing.assert_array_equal(product.weight, [[2, 0]])
    softmax = RowFunction(Activation.of("softmax"))
    product, row = moved(Linear(np.eye(3, dtype=np.float32)), Select(PICK), softmax, Select(np.array([1, 0])))
    np.testing.assert_array_equal(product.weight, np.eye(3)[:, [0, 2]])
    assert row == softmax


@pytest.mark.parametrize("index", [[1, 2, 0], [2, 1, 0]])
def test_softmax_may_be_put_in_another_order(index):
    """It is the same of whole rows in any order."""
    product, row = moved(
        Linear(np.eye(3, dtype=np.float32)), RowFunction(Activation.of("softmax")), Select(np.array(index))
    )
    np.testing.assert_array_equal(product.weight, np.eye(3)[:, index])
    assert row == RowFunction(Activation.of("softmax"))


@pytest.mark.parametrize(
    ("before", "index", "message"),
    [
        (RowFunction(Activation.of("softmax")), PICK, "features are taken out of softmax"),
        (RowFunction(Activation.of("softmax")), np.array([0, 0, 1]), "features are taken out of softmax"),
        (DynamicQuantize(), PICK, "between quantized layers"),
        (Affine(np.array(1.0), np.array(0.0)), np.array([], int), "leaves no features over"),
    ],
)
def test_what_a_selection_cannot_pass_is_refused(before, index, message):
    """With the node that selects."""
    with pytest.raises(Unsupported, match=rf"node 'pick' \(Gather, output 'o'\): .*{message}"):
        moved(Linear(np.eye(3, dtype=np.float32)), before, Select(index))


def test_columns_are_charged_before_they_are_copied():
    """Those of a product, and those of the ones and zeros."""
    for steps in ((Linear(np.eye(3, dtype=np.float32)), Select(PICK)), (Select(PICK),)):
        assert moved(*steps, budget=48)
        with pytest.raises(Unsupported, match="raise max_bytes"):
            moved(*steps, budget=47)
