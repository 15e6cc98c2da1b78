"""Small data and networks for the tests of training."""

import numpy as np

from trainer import NeuralNetwork, PrecisionConfig


def blobs(rows=90, n_in=5, classes=3, seed=0):
    """Well separated clouds of points, one for each class: x float32 (rows, n_in), y int64 (rows,)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows)
    y[:classes] = np.arange(classes)
    centers = rng.standard_normal((classes, n_in)) * 2
    return (centers[y] + 0.7 * rng.standard_normal((rows, n_in))).astype(np.float32), y


def small_network(activations=("relu", "softmax"), sizes=(5, 7, 3), *, kind=NeuralNetwork, config=None, **settings):
    """A network of odd widths, without a penalty; `config` are settings of PrecisionConfig."""
    settings = {"l2_lambda": 0.0, **settings}
    return kind(list(sizes), list(activations), precision_config=PrecisionConfig(**(config or {})), **settings)


def randomize_biases(network, seed=1):
    """Biases away from 0: with zero biases a dropped-out input gives a pre-activation on ReLU's kink."""
    rng = np.random.default_rng(seed)
    for bias in network.biases:
        bias[...] = rng.uniform(-0.5, 0.5, bias.shape)


def all_bytes(network):
    """Every parameter and state value, as bytes."""
    return network.parameters.values.tobytes() + network.parameters.state.tobytes()


# training without what is done for its user: the steps are those of a textbook, on the rows as they are
PLAIN = {"optimizer": "sgd", "schedule": "constant", "validation_share": 0.0, "patience": None, "standardize": "none"}
