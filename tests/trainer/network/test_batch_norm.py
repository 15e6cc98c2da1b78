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
