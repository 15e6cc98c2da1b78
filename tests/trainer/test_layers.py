import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import ConfigurationError
from trainer.arrays import aligned_empty, matmul
from trainer.layers import DenseLayer, custom_uniform, he_uniform
from trainer.network.batch_norm import BatchNorm


@settings(max_examples=40, deadline=None)
@given(n_in=st.integers(1, 60), n_out=st.integers(1, 60), seed=st.integers(0, 2**31))
def test_initial_weights_stay_in_their_range(n_in, n_out, seed):
    """Xavier: |w| <= sqrt(6 / (n_in + n_out)). He: |w| <= sqrt(6 / n_in). (n_in, n_out), of the dtype asked for."""
    for function, limit in ((custom_uniform, 6 / (n_in + n_out)), (he_uniform, 6 / n_in)):
        for dtype in (np.float32, np.float64):
            weights = function(n_in, n_out, np.random.default_rng(seed), dtype)
            assert weights.shape == (n_in, n_out)
            assert weights.dtype == dtype
            assert np.abs(weights).max() <= np.sqrt(limit) * (1 + 1e-6)


def test_initial_weights_have_the_variance_of_their_source():
    """Uniform on (-l, l): mean 0, variance l^2 / 3, which is 2 / (n_in + n_out) for Xavier and 2 / n_in for He."""
    xavier, he = custom_uniform(300, 200), he_uniform(300, 200)
    assert xavier.var() == pytest.approx(2 / 500, rel=0.02)
    assert he.var() == pytest.approx(2 / 300, rel=0.02)
    assert abs(xavier.mean()) < 1e-3
    assert (custom_uniform(3, 2) == custom_uniform(3, 2)).all()


def test_dense_layer_passes():
    """y = x W + b; other weights for one pass; both passes keep what they promise."""
    rng = np.random.default_rng(0)
    layer, x, grad = DenseLayer(5, 3, rng, np.float64), rng.standard_normal((4, 5)), rng.standard_normal((4, 3))
    layer.bias = rng.standard_normal(3)
    assert (layer.forward(x) == x @ layer.weights + layer.bias).all()
    assert layer.input_cache is x
    np.testing.assert_allclose(layer.backward(grad), grad @ layer.weights.T, rtol=1e-14)
    np.testing.assert_allclose(layer.grad_weights, x.T @ grad, rtol=1e-14)
    np.testing.assert_allclose(layer.grad_bias, grad.sum(axis=0), rtol=1e-13)
    other = np.ones((5, 3))
    assert (layer.forward(x, other, np.zeros(3)) == x @ other).all()
    assert (layer.z_cache == x @ other).all()
    assert layer.backward(grad, needs_input_gradient=False) is None


def test_dense_layer_needs_a_forward_pass_first():
    """Backward without a forward pass says so."""
    with pytest.raises(ConfigurationError, match="call forward first"):
        DenseLayer(2, 2).backward(np.zeros((1, 2), np.float32))


@pytest.mark.parametrize("shape", [(3, 4, 5), (32, 784, 64), (33, 700, 64), (784, 32, 64), (2, 1, 1)])
def test_products_in_halves_are_products(shape):
    """Whatever the size, written into `out` or not: a @ b to rounding."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(shape[:2]), rng.standard_normal(shape[1:])
    out = np.empty((shape[0], shape[2]))
    assert matmul(a, b, out) is out
    np.testing.assert_allclose(out, a @ b, rtol=0, atol=1e-11)
    np.testing.assert_allclose(matmul(a, b), a @ b, rtol=0, atol=1e-11)


def test_aligned_arrays_start_at_a_cache_line():
    """Data begin at a multiple of 64 bytes; shape, dtype and order are as asked."""
    for shape, dtype, order in [
        ((3, 5), np.float32, "C"),
        ((7,), bool, "C"),
        ((4, 6), np.float64, "F"),
        ((0, 3), "f4", "C"),
    ]:
        array = aligned_empty(shape, dtype, order)
        assert array.shape == shape
        assert array.dtype == np.dtype(dtype)
        assert array.ctypes.data % 64 == 0 or array.size == 0
        assert array.flags[f"{order}_CONTIGUOUS"]
        assert array.flags.writeable


def test_batch_norm_normalizes_and_remembers():
    """Columns of mean 0 and variance 1; running statistics move by a tenth, with the unbiased variance, as PyTorch."""
    rng = np.random.default_rng(0)
    layer, x = BatchNorm(3, np.float64), rng.standard_normal((8, 3)) * [1, 5, 0.2] + [0, 3, -1]
    start = layer.running_var.copy()
    y = layer.forward(x)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-3)
    np.testing.assert_allclose(layer.running_mean, 0.1 * x.mean(axis=0))
    np.testing.assert_allclose(layer.running_var, 0.9 * start + 0.1 * x.var(axis=0, ddof=1))


def test_batch_norm_folds_exactly():
    """A folded dense layer gives what dense and batch normalization with running statistics give."""
    rng = np.random.default_rng(0)
    dense, norm = DenseLayer(5, 3, rng, np.float64), BatchNorm(3, np.float64)
    norm.gamma, norm.beta = rng.standard_normal(3), rng.standard_normal(3)
    x = rng.standard_normal((20, 5))
    for _ in range(5):
        norm.forward(dense.forward(x))
    weights, bias = norm.fold(dense.weights, dense.bias)
    z = dense.forward(x)
    expected = (z - norm.running_mean) / np.sqrt(norm.running_var + norm.EPSILON) * norm.gamma + norm.beta
    np.testing.assert_allclose(x @ weights + bias, expected, rtol=1e-12, atol=1e-12)


def test_an_untrained_batch_norm_folds_to_nothing():
    """Before training, folding leaves weights and bias bit for bit."""
    dense, norm = DenseLayer(50, 30), BatchNorm(30)
    weights, bias = norm.fold(dense.weights, dense.bias)
    assert (weights == dense.weights).all()
    assert (bias == dense.bias).all()


def test_batch_norm_agrees_with_pytorch():
    """Outputs, running statistics and gradients of one step are PyTorch's, to 1e-12."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, grad = rng.standard_normal((8, 3)), rng.standard_normal((8, 3))
    mine, theirs = BatchNorm(3, np.float64), torch.nn.BatchNorm1d(3).double()
    mine.running_var = np.ones(3)
    theirs_x = torch.from_numpy(x).requires_grad_()
    output = theirs(theirs_x)
    output.backward(torch.from_numpy(grad))
    np.testing.assert_allclose(mine.forward(x), output.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(mine.running_var, theirs.running_var.numpy(), atol=1e-12)
    np.testing.assert_allclose(mine.backward(grad.copy()), theirs_x.grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(mine.grad_gamma, theirs.weight.grad.numpy(), atol=1e-12)
