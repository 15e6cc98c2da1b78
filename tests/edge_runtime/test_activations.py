import tracemalloc

import numpy as np
import pytest

from edge_runtime import Activation, ModelError
from edge_runtime.activations import FORWARD, TEMPORARIES

X = np.array([[-200.0, -3.0, -0.5, 0.0, 0.5, 3.0, 200.0]])


@pytest.mark.parametrize("name", sorted(FORWARD))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_shape_stay_and_in_place_gives_the_same(name, dtype):
    """A function never widens float32, and writing over its input changes nothing."""
    x = X.astype(dtype)
    y = Activation.of(name)(x.copy())
    assert (y.dtype, y.shape) == (dtype, x.shape)
    out = x.copy()
    assert Activation.of(name)(out, out=out) is out
    np.testing.assert_array_equal(out, y)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", np.where(X > 0, X, 0)),
        ("leaky_relu", np.where(X >= 0, X, 0.01 * X)),
        ("tanh", np.tanh(X)),
        ("linear", X),
        ("softmax", np.exp(X - 200) / np.exp(X - 200).sum()),
    ],
)
def test_values_are_those_of_the_definition(name, expected):
    """Each function is its textbook formula."""
    np.testing.assert_allclose(Activation.of(name)(X.copy()), expected, rtol=1e-12)


def test_sigmoid_neither_overflows_nor_loses_small_values():
    """At -60 the answer is exp(-60) to full precision, at -200 a number near 0, without a warning."""
    y = Activation.of("sigmoid")(np.array([-200.0, -60.0, 0.0, 200.0]))
    np.testing.assert_allclose(y, [np.exp(-200.0), np.exp(-60.0), 0.5, 1.0], rtol=1e-12)
    assert Activation.of("sigmoid")(np.float32([-200.0])) < 2e-38


def test_softmax_of_huge_logits_stays_finite():
    """The maximum is subtracted first."""
    np.testing.assert_allclose(Activation.of("softmax")(np.float32([[1e30, 1e30, -1e30]])), [[0.5, 0.5, 0.0]])


def test_unknown_names_and_parameters_are_refused():
    """The message lists what there is."""
    with pytest.raises(ModelError, match=r"expected one of.*relu"):
        Activation.of("relou")
    with pytest.raises(ModelError, match="no parameter 'beta'"):
        Activation.of("leaky_relu", {"beta": 1.0})
    with pytest.raises(ModelError, match="finite"):
        Activation.of("leaky_relu", {"alpha": float("nan")})


@pytest.mark.parametrize("name", sorted(FORWARD))
@pytest.mark.parametrize("size", [60_000, 200_000], ids=["no temporaries reused", "temporaries reused"])
def test_what_an_activation_allocates_is_what_the_planner_counts(name, size):
    """The peak beside the output is the entry in TEMPORARIES, whether NumPy reuses temporaries (from 256 KiB) or not.

    The arrays dwarf NumPy's own buffers.
    """
    activation = Activation.of(name)
    y = np.linspace(-3, 3, size, dtype=np.float32).reshape(10, -1)
    activation(y, out=y)
    tracemalloc.start()
    activation(y, out=y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert TEMPORARIES.get(name, 0) * y.nbytes <= peak <= TEMPORARIES.get(name, 0) * y.nbytes + 100_000
