import copy

import numpy as np
import pytest

from edge_runtime import Engine
from tests.trainer.samples import PLAIN
from trainer import NeuralNetwork, NeuralNetworkModel, PrecisionConfig
from trainer.data.target_units import TargetUnits, coarse_targets
from trainer.errors import DataWarning
from trainer.losses import Huber

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
SIGNAL = X @ [1, -2, 0.5, 0.3]
Y = np.c_[2e6 + 5e5 * SIGNAL, 0.01 * (SIGNAL + X[:, 0]), 1e5 + SIGNAL]  # prices, a small ratio, a large offset


def made(kind=NeuralNetwork, n_out=3, **settings):
    """A small regression network."""
    return kind([4, 16, n_out], ["tanh", "linear"], precision_config=PrecisionConfig(seed=1), **settings)


def r_squared(predicted, truth):
    """Of each target."""
    return 1 - np.square(truth - predicted).sum(axis=0) / np.square(truth - truth.mean(axis=0)).sum(axis=0)


def test_targets_of_any_size_are_learned():
    """Millions, hundredths and a spread of 1 about 100,000, together, by the defaults."""
    network = made()
    network.fit(X, Y)
    assert (r_squared(network.predict(X).astype(np.float64), Y) > 0.98).all()


def test_the_model_gives_real_units():
    """`to_model` holds them in its last layer: what it gives is what `predict` gives, which a saved file keeps."""
    network = made()
    network.fit(X, Y, epochs=5)
    rows = X.astype(np.float32)
    outputs = Engine(network.to_model()).run(rows)
    steps = np.spacing(np.abs(Y).max(axis=0).astype(np.float32))
    assert (np.abs(outputs - network.predict(X)) <= 4 * steps).all()
    np.testing.assert_array_equal(copy.deepcopy(network).predict(X), network.predict(X))


def test_scales_are_powers_of_two():
    """So that folding rounds no weight, and learned values vary by 0.7 to 1.5; a constant target keeps its scale."""
    units = TargetUnits.of(np.c_[Y, np.full(len(Y), 7.0)])
    exponents = np.log2(units.scale)
    assert (exponents == np.rint(exponents)).all()
    assert units.scale[3] == 1
    spread = units.learned(np.c_[Y, np.full(len(Y), 7.0)]).std(axis=0)
    assert ((spread[:3] > 0.7) & (spread[:3] < 1.5)).all()
    assert spread[3] == 0
    weights, bias = RNG.normal(size=(5, 4)).astype(np.float32), RNG.normal(size=4).astype(np.float32)
    folded = units.fold(weights, bias)
    np.testing.assert_array_equal(folded[0] / units.scale, weights)
    assert folded[1].tolist() == (bias * units.scale + units.mean).astype(np.float32).tolist()
    np.testing.assert_array_equal(units.unfold(*folded)[0], weights)


def test_units_count_rows_by_their_weights():
    """A weight of 2 is a row twice."""
    targets, count = RNG.normal(size=(30, 2)) * 100, RNG.integers(1, 4, 30)
    found = TargetUnits.of(targets, count / count.mean())
    expected = TargetUnits.of(targets.repeat(count, axis=0))
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
    assert found.scale.tolist() == expected.scale.tolist()


def test_metrics_are_in_real_units_and_losses_of_training_are_not():
    """The mean absolute error of the history and of `evaluate` is the targets' own; so is the loss of `evaluate`."""
    network = made(n_out=1)
    price = Y[:, :1]
    history = network.fit(X, price, epochs=3, validation_data=(X, price))
    misses = network.predict(X) - price[:, 0]
    error = np.abs(misses).mean()
    best = history.records[history.best_epoch - 1]
    assert best.validation_metric == pytest.approx(error, rel=1e-4)
    report = network.evaluate(X, price)
    assert report.metric == pytest.approx(error, rel=1e-4)
    assert report.loss == pytest.approx(np.square(misses).mean(), rel=1e-3)
    scale = float(network.target_units.scale[0])
    assert best.validation_loss == pytest.approx(report.loss / scale**2, rel=1e-3)


@pytest.mark.parametrize("loss", ["mse", Huber(0.5)])
def test_gradients_are_right_with_units(loss):
    """Backpropagation agrees with central differences for targets of a million."""
    network = made(kind=NeuralNetworkModel)
    network.fit(X, Y, epochs=2, loss=loss)
    assert network.gradient_check(X[:9], Y[:9], loss=loss) < 1e-7


def test_a_second_fit_goes_on_from_the_same_function(tmp_path):
    """Whether its weights were learned here, without standardization, or come out of a file."""
    first = made(kind=NeuralNetworkModel, n_out=1)
    first.fit(X, Y[:, :1])
    plain = made(kind=NeuralNetworkModel, n_out=1)
    plain.fit(X, SIGNAL, **PLAIN | {"epochs": 5, "learning_rate": 0.01})
    first.save_weights(tmp_path / "m.npz")
    loaded = made(kind=NeuralNetworkModel, n_out=1)
    loaded.load_weights(tmp_path / "m.npz")
    for network, y in ((first, Y[:, :1]), (plain, SIGNAL), (loaded, Y[:, :1])):
        before = network.predict(X).astype(np.float64)
        network.fit(X[:50] + 3, y[:50], epochs=1, learning_rate=1e-12)
        assert network.target_units is not None
        np.testing.assert_allclose(network.predict(X), before, atol=1e-4 * np.std(y))


def test_labels_and_other_losses_have_no_units():
    """Classes, bounded outputs and standardize="none" are learned as they are."""
    labels = (SIGNAL > 0).astype(int)
    classifier = NeuralNetworkModel([4, 2], ["linear"])
    classifier.fit(X, labels, loss="mse", epochs=2)
    assert classifier.target_units is None
    bounded = NeuralNetworkModel([4, 1], ["tanh"])
    bounded.fit(X, np.tanh(SIGNAL), epochs=2)
    assert bounded.target_units is None
    raw = made(kind=NeuralNetworkModel, n_out=1)
    raw.fit(X, SIGNAL, epochs=2, standardize="none")
    assert raw.target_units is None
    assert raw.preprocessing is None


def test_an_autoencoder_learns_its_inputs_in_one_scale_where_they_have_one():
    """Images keep how bright their pixels are beside each other; features of a table each have their own scale."""
    pixels = RNG.integers(0, 256, (60, 64)).astype(float)
    pixels[0], pixels[1] = 0, 255
    images = NeuralNetworkModel([64, 4, 64], ["relu", "linear"])
    images.fit(pixels, pixels, epochs=1)
    assert len(set(images.target_units.scale)) == len(set(images.target_units.mean)) == 1
    table = NeuralNetworkModel([4, 2, 4], ["relu", "linear"])
    table.fit(X * [1, 100, 1e4, 1e6], X * [1, 100, 1e4, 1e6], epochs=1)
    assert len(set(table.target_units.scale)) == 4


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_lower_precisions_hold_large_targets(precision):
    """Weights of a million are beyond float16: they are rounded in the units in which they were learned."""
    network = made(kind=NeuralNetworkModel)
    network.fit(X, Y)
    off = np.abs(network.forward(X, precision=precision) - network.forward(X)) / Y.std(axis=0)
    assert off.max() < {"float16": 0.02, "int8": 0.2}[precision]


@pytest.mark.parametrize(("mean", "spread"), [(1e9, 0.5), (101_325, 0.05)])
def test_targets_that_float32_answers_cannot_tell_apart_are_said(mean, spread):
    """With the steps of float32, how much the target varies, and what to do."""
    values = mean + spread * np.random.default_rng(0).normal(size=(50, 1))
    text = coarse_targets(values)
    assert f"{np.spacing(np.float32(mean)):.2g}" in text
    assert "subtract a constant" in text
    assert coarse_targets(values - mean) is None
    assert coarse_targets(np.full((50, 1), 1e9)) is None


@pytest.mark.parametrize("kind", [NeuralNetwork, NeuralNetworkModel])
def test_a_fit_warns_once_of_targets_that_its_answers_cannot_tell_apart(kind):
    """A network by itself says it as the command does."""
    with pytest.warns(DataWarning, match="the answers are float32, whose steps near 101,325") as seen:
        made(kind, 1).fit(X, 101_325 + 0.05 * SIGNAL[:, None], epochs=1)
    assert len(seen) == 1
