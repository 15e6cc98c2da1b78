import itertools

import numpy as np
import pytest

from tests.trainer.samples import randomize_biases, small_network
from trainer.activations import (
    DERIVATIVES,
    leaky_relu,
    leaky_relu_derivative_from_pre_activation,
    linear,
    linear_derivative_from_pre_activation,
    relu,
    relu_derivative_from_pre_activation,
    sigmoid,
    sigmoid_derivative_from_activation,
    softmax,
    softmax_backward,
    tanh,
    tanh_derivative_from_activation,
)
from trainer.losses import LOSSES, Huber

HIDDEN = [name for name in DERIVATIVES if name != "softmax"]
# the last activations that each loss allows
ENDINGS = [("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")]
ENDINGS += [(loss, last) for loss in ("mse", "huber") for last in DERIVATIVES]
CASES = list(itertools.product(HIDDEN, ENDINGS))


def _rows(last, loss, rows=7, n_in=5, n_out=3):
    rng = np.random.default_rng(3)
    y = rng.random((rows, n_out))
    if loss == "cross_entropy":
        y /= y.sum(axis=1, keepdims=True)
    if loss == "huber":
        y *= 4  # errors on both sides of delta
    return rng.standard_normal((rows, n_in)), y


@pytest.mark.parametrize(("hidden", "ending"), CASES)
def test_gradients_agree_with_central_differences(hidden, ending):
    """Every hidden activation with every loss and last activation: relative error below 1e-7 in float64, odd shapes."""
    loss, last = ending
    network = small_network((hidden, hidden, last), (5, 4, 6, 3), l2_lambda=0.01)
    randomize_biases(network)
    assert network.gradient_check(*_rows(last, loss), loss=loss) < 1e-7


@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradients_with_batch_norm_and_dropout(hidden):
    """Batch normalization and (repeated) dropout masks have exact gradients too."""
    network = small_network((hidden, hidden, "softmax"), (5, 4, 6, 3), dropout_rate=0.3, batch_norm=True)
    randomize_biases(network)
    assert network.gradient_check(*_rows("softmax", "cross_entropy")) < 1e-7


@pytest.mark.parametrize("sizes", [(1, 1), (1, 2), (3, 1, 2), (2, 9, 1, 4)])
def test_gradients_of_odd_shapes(sizes):
    """Widths of 1 and networks without a hidden layer."""
    network = small_network(("tanh",) * (len(sizes) - 1), sizes)
    rng = np.random.default_rng(0)
    assert network.gradient_check(rng.standard_normal((1, sizes[0])), rng.standard_normal((1, sizes[-1]))) < 1e-7


def test_gradient_check_finds_a_wrong_gradient(monkeypatch):
    """A backward pass that is wrong by one per cent is noticed."""
    network = small_network(("tanh", "softmax"))
    right = network.gradient_check(*_rows("softmax", "cross_entropy"))
    monkeypatch.setattr(
        type(LOSSES["cross_entropy"]), "gradient", lambda self, a, t, out: np.multiply(a - t, 1.01, out=out)
    )
    assert right < 1e-7
    assert network.gradient_check(*_rows("softmax", "cross_entropy")) > 1e-3


def test_gradient_check_leaves_the_network_alone():
    """It works on a copy: weights, generator and scratch are untouched."""
    network = small_network(dropout_rate=0.5)
    before, state = network.parameters.values.copy(), network.rng.bit_generator.state
    network.gradient_check(*_rows("softmax", "cross_entropy"))
    assert (network.parameters.values == before).all()
    assert network.rng.bit_generator.state == state


@pytest.mark.parametrize(
    ("function", "derivative", "takes_z"),
    [
        (linear, linear_derivative_from_pre_activation, True),
        (relu, relu_derivative_from_pre_activation, True),
        (leaky_relu, leaky_relu_derivative_from_pre_activation, True),
        (sigmoid, sigmoid_derivative_from_activation, False),
        (tanh, tanh_derivative_from_activation, False),
    ],
)
def test_standalone_derivatives(function, derivative, takes_z):
    """Each derivative is the slope of its function, away from kinks, in the dtype of its argument."""
    z = np.array([-3.0, -0.7, -1e-3, 1e-3, 0.4, 2.5])
    slope = (function(z + 1e-6) - function(z - 1e-6)) / 2e-6
    np.testing.assert_allclose(derivative(z if takes_z else function(z)), slope, rtol=1e-8, atol=1e-9)
    single = z.astype(np.float32)
    assert derivative(single if takes_z else function(single)).dtype == np.float32


def test_in_place_derivatives_are_the_standalone_ones():
    """What training does in place on its arrays is what the functions say."""
    rng = np.random.default_rng(0)
    z, upstream = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    cases = {
        "linear": (linear(z), linear_derivative_from_pre_activation(z)),
        "relu": (relu(z), relu_derivative_from_pre_activation(z)),
        "leaky_relu": (leaky_relu(z), leaky_relu_derivative_from_pre_activation(z)),
        "sigmoid": (sigmoid(z), sigmoid_derivative_from_activation(sigmoid(z))),
        "tanh": (tanh(z), tanh_derivative_from_activation(tanh(z))),
    }
    assert {*cases, "softmax"} == set(DERIVATIVES)
    for name, (a, slope) in cases.items():
        grad, kind = upstream.copy(), DERIVATIVES[name]
        scratch = np.empty(z.shape, bool if kind.scratch == "bool" else z.dtype)
        kind.backward(grad, z, a, scratch, **({"alpha": 0.01} if name == "leaky_relu" else {}))
        np.testing.assert_allclose(grad, upstream * slope, rtol=1e-14)
    grad = upstream.copy()
    DERIVATIVES["softmax"].backward(grad, z, softmax(z), np.empty_like(z))
    np.testing.assert_allclose(grad, softmax_backward(softmax(z), upstream), rtol=1e-12)


def test_softmax_is_stable():
    """Inputs of a thousand give finite rows that sum to 1."""
    rows = softmax(np.array([[1e3, 0.0, -1e3], [-5e3, -5e3, -5e3]], np.float32))
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)


def test_huber_delta_is_used():
    """The gradient is clipped at delta, wherever delta is."""
    out = np.empty((1, 3))
    Huber(delta=0.5).gradient(np.array([[0.2, 2.0, -3.0]]), np.zeros((1, 3)), out)
    np.testing.assert_allclose(out, [[0.2, 0.5, -0.5]])
