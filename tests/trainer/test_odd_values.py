"""Values that are numbers to Python and to NumPy, and none that a training could use."""

import numpy as np
import pytest

from edge_runtime import InputError
from tests.trainer.fitting.test_checkpoint import blobs, small_network
from trainer import ConfigurationError, NeuralNetwork


def masked(y):
    return np.ma.array(y, mask=np.arange(len(y)) % 2 == 1)


@pytest.mark.parametrize("use", ["fit", "score", "evaluate", "validation"])
def test_masked_labels_are_refused_as_masked_rows_are(use):
    """Under the mask stand values that were not meant: the first is named."""
    x, y = blobs()
    uses = {
        "fit": lambda net: net.fit(x, masked(y), epochs=1),
        "validation": lambda net: net.fit(x, y, epochs=1, validation_data=(x, masked(y))),
        "score": lambda net: net.score(x, masked(y)),
        "evaluate": lambda net: net.evaluate(x, masked(y)),
    }
    with pytest.raises(InputError, match=r"y is masked at \(1,\), expected a number; fill it in or drop the row"):
        uses[use](small_network())
    regression = NeuralNetwork([x.shape[1], 1], ["linear"])
    with pytest.raises(InputError, match="y is masked"):
        regression.fit(x, masked(y.astype(np.float64)), epochs=1)


@pytest.mark.parametrize("y", [None, 3, "text"])
@pytest.mark.parametrize("use", ["fit", "score", "evaluate"])
def test_what_is_no_array_is_refused_with_what_was_found(use, y):
    """One value for all rows is a mistake, and None is."""
    x, _ = blobs()
    with pytest.raises(InputError, match=f"y is {y!r}, expected a label, or targets, for each row of x"):
        getattr(small_network(), use)(x, y)


def test_a_missing_label_is_named_by_its_row():
    """NaN among labels: the row, and not a list of the labels with NaN in it."""
    x, y = blobs()
    y = y.astype(np.float64)
    y[5] = np.nan
    with pytest.raises(InputError, match=r"y row 5 \(counted from 0\): nan is not a finite number"):
        small_network().fit(x, y, epochs=1)


def test_numbers_that_float32_cannot_hold_are_said_to_be_that():
    """1e300 is not inf, it is beyond the range."""
    x, y = blobs()
    x = x.astype(np.float64)
    x[3, 1] = 1e300
    with pytest.raises(InputError, match=r"x row 3, column 1 \(counted from 0\): 1e\+300 is beyond float32's range"):
        small_network().fit(x, y, epochs=1)


HUGE = {
    "layer_sizes": lambda: NeuralNetwork([4, 10**30, 2], ["relu", "softmax"]),
    "learning_rate": lambda: small_network().fit(*blobs(), learning_rate=10**400),
    "l2_lambda": lambda: NeuralNetwork([4, 2], ["softmax"], l2_lambda=10**400),
    "dropout_rate": lambda: NeuralNetwork([4, 2], ["softmax"], dropout_rate=10**400),
    "min_delta": lambda: small_network().fit(*blobs(), min_delta=10**400),
    "label_smoothing": lambda: small_network().fit(*blobs(), label_smoothing=10**400),
    "epochs": lambda: small_network().fit(*blobs(), epochs=-(10**400)),
    "patience": lambda: small_network().fit(*blobs(), patience=0.5),
}


@pytest.mark.parametrize("name", HUGE)
def test_whole_numbers_beyond_every_float_are_refused_by_name(name):
    """Not an OverflowError, and not a ValueError of NumPy's."""
    with pytest.raises(ConfigurationError, match=name.replace("layer_sizes", "a layer size")):
        HUGE[name]()


@pytest.mark.parametrize("value", [10**9, 10**12])
@pytest.mark.parametrize("name", ["batch_size", "patience"])
def test_a_batch_or_a_patience_beyond_all_rows_is_no_error(name, value):
    """The batch is all rows, and the patience lasts to the end."""
    small_network().fit(*blobs(), epochs=1, **{name: value})


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.arange(12) % 2 * (1 + 1j), r"y has dtype complex128, expected labels or real numbers; give y\.real"),
        (np.array(["a", None, "b"] * 4, object), "y holds None at 1, expected text; mend the label or drop the row"),
        (np.array([None, "a", "b"] * 4, object), "y holds None at 0, expected text"),
        (np.array(["a", 1, "b"] * 4, object), "y holds 1 at 1, expected text"),
        (np.array([0, "a", 1] * 4, object), "y holds 'a' at 1, expected numbers"),
        (np.array(["a", np.nan, "b"] * 4, object), "y holds nan at 1, expected text"),
        ([None] * 12, "y holds None at 0"),
    ],
)
def test_labels_that_are_no_labels_are_refused(y, words):
    """Complex numbers, missing ones among texts, and texts among numbers, by row."""
    with pytest.raises(InputError, match=words):
        NeuralNetwork([3, 2, 2], ["relu", "softmax"]).fit(np.ones((12, 3)), y, epochs=1)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (np.ma.array(np.ones((3, 2)), mask=np.eye(3, 2) > 0), InputError, r"weights is masked at \(0, 0\)"),
        (np.ones((3, 2), complex), InputError, "weights has dtype complex128, expected real numbers"),
        ([["a", "b"]] * 3, InputError, "weights has dtype <U1, expected real numbers"),
        (np.ones((2, 3)), ConfigurationError, r"weights has shape \(2, 3\), expected \(3, 2\)"),
    ],
)
def test_weights_that_are_no_weights_are_refused(value, error, words):
    """A mask would be lost; the network keeps what it had."""
    net = NeuralNetwork([3, 2], ["softmax"])
    before = net.weights[0].copy()
    with pytest.raises(error, match=words):
        net.layers[0].weights = value
    np.testing.assert_array_equal(net.weights[0], before)
    net.layers[0].weights = np.ma.array(np.ones((3, 2)), mask=False)
    assert net.weights[0].tolist() == [[1, 1]] * 3
