"""Products with constant weights: their layouts, what is refused, and what an attribute changes."""

from __future__ import annotations

import numpy as np
import pytest

from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.dense import HANDLERS, ML_HANDLERS, matmul
from export.onnx_reader.values import ANY_ROWS, Const, Flow
from tests.export.foreign import normal
from tests.export.onnx_reader.operators.test_shapes import flow


def run(operator, *inputs, opset=13, outputs=("o",), **attributes) -> Flow:
    """One node's first result."""
    node = Node("n", operator, "", opset, (), outputs, attributes)
    given = [Const(value) if isinstance(value, np.ndarray) else value for value in inputs]
    return {**HANDLERS, **ML_HANDLERS}[operator](node, given, Budget(1 << 24))[0]


LAYOUTS = {
    "rows times weights": ((6,), 0, (6, 5), True, (ANY_ROWS, 5), 0),
    "rows times a vector": ((6,), 0, (6,), True, (ANY_ROWS,), 0),
    "rows times one matrix of several": ((6,), 0, (1, 6, 5), True, (1, ANY_ROWS, 5), 1),
    "a row times weights": ((6,), None, (6, 5), True, (5,), None),
    "a row times one matrix of several": ((6,), None, (1, 6, 5), True, (1, 5), None),
    "a vector times a vector": ((6,), None, (6,), True, (), None),
    "weights times columns": ((6,), 1, (5, 6), False, (5, ANY_ROWS), 1),
    "a vector times columns": ((6,), 1, (6,), False, (ANY_ROWS,), 0),
    "weights times a vector": ((6,), None, (5, 6), False, (5,), None),
    "one matrix of several times columns": ((6,), 1, (1, 5, 6), False, (1, 5, ANY_ROWS), 2),
    "one matrix of several times a vector": ((6,), None, (1, 5, 6), False, (1, 5), None),
    "a vector times images": ((6, 1), 0, (6,), False, (ANY_ROWS, 1), 0),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_product_has_numpys_shape(name):
    """With the rows where they are, on either side, for one, two and three axes."""
    shape, batch, weights, is_right, expected, at = LAYOUTS[name]
    x, weight = flow(shape, batch), normal(*weights)
    found = run("MatMul", *((x, weight) if is_right else (weight, x)))
    assert (found.shape, found.batch) == (expected, at)
    rows = 7
    real = np.zeros(shape if batch is None else (*shape[:batch], rows, *shape[batch:]), np.float32)
    product = np.matmul(real, weight) if is_right else np.matmul(weight, real)
    assert product.shape == tuple(rows if size == ANY_ROWS else size for size in expected)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((flow((6,), 1), normal(6, 5)), "sums over the rows"),
        ((normal(5, 6), flow((6,), 0)), "sums over the rows"),
        ((flow((6,)), normal(5, 5)), "its weights take 5 features, its input has shape"),
        ((flow((6,)), normal(2, 6, 5)), "its weights have shape .2, 6, 5., expected one matrix"),
        ((flow((6,)), normal(6, 0)), "its weights are empty"),
        ((flow((6,)), np.array(3.0)), "0 axes, expected a matrix of numbers"),
        ((flow((6,)), np.full((6, 5), "a", object)), "dtype object"),
        ((flow((6,)), flow((6,))), "two tensors that are made of the input"),
    ],
)
def test_what_is_no_product_of_rows_is_refused(inputs, message):
    """With what was found."""
    with pytest.raises(Unsupported, match=message):
        run("MatMul", *inputs)


def test_weights_follow_features_that_stand_in_another_order():
    """Their rows are put in the order of the features, and so are integers behind them."""
    turned = run_order = flow((2, 3))
    turned = Flow(run_order.chain, run_order.order.T.reshape(-1), 0, ANY_ROWS)
    codes = np.arange(12).reshape(6, 2)
    weight = Const(codes * np.float32([0.5, 2]), codes, np.float32([[0.5, 2]]))
    step = matmul(Node("n", "MatMul", "", 13, (), ("o",)), [turned, weight], Budget(1 << 20))[0].chain.step
    back = np.argsort(turned.order)
    np.testing.assert_array_equal(step.weight, weight.array[back])
    np.testing.assert_array_equal(step.codes, codes[back])
    np.testing.assert_array_equal(step.scale, np.float32([0.5, 2]))


def test_integers_are_kept_if_each_output_has_one_scale():
    """With a scale for each input they are plain numbers."""
    codes = np.arange(12).reshape(6, 2)
    scale = np.float32([1, 2, 3, 4, 5, 6])[:, None]
    step = run("MatMul", flow((6,)), Const(codes * scale, codes, scale)).chain.step
    assert step.codes is step.scale is None


def test_half_weights_stay_half():
    """Also if the file widens them first."""
    wide = Const(normal(6, 5).astype(np.float16).astype(np.float32), of_half=True)
    assert run("MatMul", flow((6,)), wide).chain.step.weight.dtype == np.float16


def test_gemm_scales_its_product_and_its_bias():
    """alpha and beta, one by one; a beta of 0 leaves the bias out, whatever it holds."""
    x, weight, bias = flow((6,)), normal(6, 5), normal(5)
    steps = run("Gemm", x, weight, bias, alpha=0.5, beta=2.0).chain.steps_after(None)
    assert steps[1].scale == 0.5
    np.testing.assert_array_equal(steps[2].shift, bias.astype(np.float64) * 2)
    assert len(run("Gemm", x, weight, np.full(5, np.nan), beta=0.0).chain.steps_after(None)) == 1
    assert len(run("Gemm", x, weight).chain.steps_after(None)) == 1
    with pytest.raises(Unsupported, match="residual Gemm"):
        run("Gemm", x, weight, x)


NORMAL = (np.float32([2, 3]), np.float32([1, 0]), np.float32([0.5, -1]), np.float32([0.25, 4]))


def test_batch_normalization_is_two_affine_maps():
    """With its own epsilon; channels are the second axis, or with spatial = 0 all that follow."""
    steps = run("BatchNormalization", flow((2,)), *NORMAL, epsilon=0.75).chain.steps_after(None)
    factor = np.array([2, 3]) / np.sqrt([1, 4.75])
    np.testing.assert_allclose(steps[0].scale, factor, rtol=1e-12)
    np.testing.assert_allclose(steps[1].shift, [1, 0] - np.array([0.5, -1]) * factor, rtol=1e-12)
    image = run("BatchNormalization", flow((2, 3)), *NORMAL).chain.steps_after(None)[0].scale
    np.testing.assert_allclose(image, np.repeat(np.array([2, 3]) / np.sqrt([0.25001, 4.00001]), 3), rtol=1e-12)
    newer = run("BatchNormalization", flow((2, 3)), *NORMAL, opset=9, spatial=0).chain.steps_after(None)[0].scale
    np.testing.assert_array_equal(newer, image)  # an attribute that opset 9 does not have
    every = [np.tile(values, 3).reshape(2, 3) for values in NORMAL]
    spread = run("BatchNormalization", flow((2, 3)), *every, opset=8, spatial=0).chain.steps_after(None)[0].scale
    np.testing.assert_allclose(spread, every[0].ravel() / np.sqrt(every[3].ravel() + 1e-5), rtol=1e-6)


TRAINING = {
    "the attribute": {"opset": 14, "training_mode": 1},
    "more outputs before opset 14": {"opset": 13, "outputs": ("o", "mean")},
}


@pytest.mark.parametrize("name", TRAINING)
def test_batch_normalization_in_training_is_refused(name):
    """Its statistics would be those of the batch; outputs that are left out, or newer opsets', say nothing."""
    with pytest.raises(Unsupported, match="training mode"):
        run("BatchNormalization", flow((2,)), *NORMAL, **TRAINING[name])
    for fine in ({"opset": 14, "outputs": ("o", "mean")}, {"outputs": ("o", "")}):
        assert run("BatchNormalization", flow((2,)), *NORMAL, **fine).chain.depth == 2
