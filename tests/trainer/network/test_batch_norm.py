"""Batch normalization at its edges; its gradients are held in tests/trainer/test_gradients.py."""

from __future__ import annotations

import numpy as np
import pytest

from trainer import NeuralNetworkModel
from trainer.network.batch_norm import BatchNorm


def test_a_batch_of_one_row_leaves_the_running_values_alone():
    """It has no variance: its own values become the shift, and the running mean and variance stay."""
    layer = BatchNorm(3)
    layer.running_mean, layer.running_var = np.float32([1, 2, 3]), np.float32([4, 5, 6])
    layer.beta = np.float32([7, 8, 9])
    out = layer.forward(np.float32([[10, 20, 30]]))
    assert out.tolist() == [[7, 8, 9]]
    assert layer.running_mean.tolist() == [1, 2, 3]
    assert layer.running_var.tolist() == [4, 5, 6]
    layer.forward(np.float32([[10, 20, 30], [12, 24, 36]]))
    # a tenth of the way to the batch's mean and its unbiased variance
    np.testing.assert_allclose(layer.running_mean, [0.9 + 1.1, 1.8 + 2.2, 2.7 + 3.3], rtol=1e-6)
    np.testing.assert_allclose(layer.running_var, [3.6 + 0.2, 4.5 + 0.8, 5.4 + 1.8], rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_a_network_learns_from_batches_of_any_size(rows):
    """A last batch of one row among larger ones is no error, and nothing becomes NaN."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 4)).astype(np.float32)
    net = NeuralNetworkModel([4, 5, 2], ["relu", "softmax"], batch_norm=True)
    net.fit(x, np.arange(8) % 2, epochs=3, batch_size=rows)
    assert np.isfinite(net.parameters.values).all()
    assert np.isfinite(net.predict(x)).all()


def test_folding_is_the_same_map():
    """A dense layer with the normalization folded in gives what the two give with running values."""
    rng = np.random.default_rng(1)
    layer = BatchNorm(3)
    for name in ("gamma", "beta", "running_mean"):
        setattr(layer, name, rng.normal(size=3).astype(np.float32))
    layer.running_var = rng.uniform(0.5, 2, 3).astype(np.float32)
    weights, bias, x = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(9, 4))
    folded, moved = layer.fold(weights, bias)
    plain = (x @ weights + bias - layer.running_mean) / np.sqrt(layer.running_var + layer.EPSILON)
    np.testing.assert_allclose(x @ folded + moved, plain * layer.gamma + layer.beta, rtol=1e-5, atol=1e-6)


def plain(x, gamma, beta):
    """The definition, in float64: biased variance, and 1e-5 under the root."""
    x = x.astype(np.float64)
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) * gamma + beta


def filled(dtype=np.float64, width=3, seed=2):
    rng = np.random.default_rng(seed)
    layer = BatchNorm(width, dtype)
    layer.gamma, layer.beta = rng.normal(size=width).astype(dtype), rng.normal(size=width).astype(dtype)
    return layer, rng


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [2, 7])
def test_a_batch_is_normalized_by_itself(dtype, rows):
    """By its own mean and biased variance, in its dtype; the running values move a tenth, with the unbiased one."""
    layer, rng = filled(dtype)
    x = (rng.normal(size=(rows, 3)) * [1, 10, 0.001] + 5).astype(dtype)
    before, tolerance = x.copy(), 1e-12 if dtype is np.float64 else 2e-3
    found = layer.forward(x)
    assert found.dtype == layer.running_mean.dtype == layer.running_var.dtype == dtype
    np.testing.assert_allclose(found, plain(x, layer.gamma, layer.beta), rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(layer.running_mean, 0.1 * x.mean(axis=0), rtol=1e-5)
    variance = x.astype(np.float64).var(axis=0, ddof=1)
    np.testing.assert_allclose(layer.running_var, 0.9 * (1 - 1e-5) + 0.1 * variance, rtol=1e-5)


@pytest.mark.parametrize("rows", [2, 5])
def test_gradients_are_those_of_the_definition(rows):
    """Central differences of a weighted sum of the outputs, by inputs, scale and shift, to 1e-6."""
    layer, rng = filled()
    x, weight = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 3))
    layer.forward(np.zeros((9, 3)))  # a larger batch came before
    layer.forward(x)
    given = weight.copy()
    found = layer.backward(given)
    assert found is given  # in place

    def cost(x, gamma, beta):
        return float((plain(x, gamma, beta) * weight).sum())

    values = [x, np.array(layer.gamma), np.array(layer.beta)]
    for position, gradient in enumerate((found, layer.grad_gamma, layer.grad_beta)):
        for place in np.ndindex(*gradient.shape):
            both = []
            for change in (1e-5, -1e-5):
                moved = [value.copy() for value in values]
                moved[position][place] += change
                both.append(cost(*moved))
            assert gradient[place] == pytest.approx((both[0] - both[1]) / 2e-5, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_that_a_layer_holds_has_its_dtype(dtype):
    """Before and after a pass, whose result lies in the room that was counted."""
    layer = BatchNorm(3, dtype)

    def dtypes():
        held = [array for value in vars(layer).values() for array in (value if isinstance(value, tuple) else (value,))]
        return {array.dtype for array in held if isinstance(array, np.ndarray)}

    assert dtypes() == {np.dtype(dtype)}
    assert [array.nbytes for array in layer._full] == [0, 0]
    found = layer.forward(np.ones((4, 3), dtype))
    assert any(np.shares_memory(found, room) for room in layer._full)
    assert dtypes() == {np.dtype(dtype)}


def test_gradients_keep_float32():
    """No pass widens what a float32 network computes with."""
    layer, rng = filled(np.float32)
    layer.forward(rng.normal(size=(4, 3)).astype(np.float32))
    grad = layer.backward(np.ones((4, 3), np.float32))
    assert grad.dtype == layer.grad_gamma.dtype == layer.grad_beta.dtype == np.float32
    assert layer.grad_beta.tolist() == [4, 4, 4]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_new_layer_and_one_that_was_reset_change_nothing(dtype):
    """Scale 1, shift 0, running mean 0, and a variance that is 1 with epsilon: folding keeps the weights."""
    rng = np.random.default_rng(3)
    weights, bias = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=3).astype(dtype)
    used, _rng = filled(dtype)
    used.forward(rng.normal(size=(8, 3)).astype(dtype))
    used.reset(rng)
    for layer in (BatchNorm(3, dtype), used):
        values = (layer.gamma, layer.beta, layer.running_mean, layer.running_var)
        assert [value.dtype for value in values] == [dtype] * 4
        assert [value.tolist() for value in values[:3]] == [[1] * 3, [0] * 3, [0] * 3]
        folded, moved = layer.fold(weights, bias)
        assert folded.dtype == moved.dtype == dtype
        np.testing.assert_allclose(folded, weights, rtol=1e-7)
        np.testing.assert_allclose(moved, bias, rtol=1e-7)
    assert BatchNorm(3).gamma.dtype == np.float32


def test_room_is_made_once_and_is_what_is_counted():
    """Two arrays as long as the longest batch; a shorter one uses their beginning."""
    for dtype, size in ((np.float32, 4), (np.float64, 8)):
        layer = BatchNorm(3, dtype)
        assert layer.scratch_bytes(10) == 2 * 10 * 3 * size
        layer.reserve(10)
        room = layer._full
        assert sum(array.nbytes for array in room) == layer.scratch_bytes(10)
        assert [array.dtype for array in room] == [dtype, dtype]
        layer.reserve(10)
        layer.forward(np.ones((4, 3), dtype))
        assert layer._full is room
        layer.reserve(11)
        assert [len(array) for array in layer._full] == [11, 11]
