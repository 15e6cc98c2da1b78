"""Which epoch is kept, and when training stops."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.samples import all_bytes
from trainer import NeuralNetworkModel, PrecisionConfig
from trainer.fitting.early_stopping import EarlyStopping


def network(seed, last="softmax"):
    return NeuralNetworkModel(
        [3, 6, 2 if last == "softmax" else 1], ["relu", last], precision_config=PrecisionConfig(seed=seed)
    )


def noisy(seed, classes=True):
    """Rows whose labels are mostly noise, so that loss and metric do not agree on the best epoch."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    y = x[:, 0] + rng.normal(size=60)
    return x, (y > 0).astype(int) if classes else y.astype(np.float32)


def fitted(seed, monitor, last="softmax", **settings):
    x, y = noisy(seed, last == "softmax")
    net = network(seed, last)
    kept = {}

    def keep(record):
        kept[record.epoch] = all_bytes(net)

    history = net.fit(
        x[:30], y[:30], epochs=25, batch_size=5, optimizer="adam", learning_rate=0.05, monitor=monitor,
        validation_data=(x[30:], y[30:]), on_epoch=keep, **settings,
    )  # fmt: skip
    return net, history, kept


@pytest.mark.parametrize("last", ["softmax", "linear"])
def test_the_kept_epoch_is_the_best_by_what_is_monitored(last):
    """The lowest loss; the highest accuracy, or for values the lowest mean absolute error: these are other epochs."""
    apart = 0
    for seed in range(6):
        epochs = {}
        for monitor in ("loss", "metric"):
            net, history, kept = fitted(seed, monitor, last)
            values = [r.validation_loss if monitor == "loss" else r.validation_metric for r in history.records]
            best = int(np.argmax(values) if monitor == "metric" and last == "softmax" else np.argmin(values)) + 1
            assert history.best_epoch == best
            assert all_bytes(net) == kept[best]
            epochs[monitor] = best
        apart += epochs["loss"] != epochs["metric"]
    assert apart >= 2


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_counts_epochs_without_gain(patience):
    """Training stops after so many in a row, and not before."""
    _net, history, _kept = fitted(2, "loss", patience=patience)
    assert history.stopped_early
    assert len(history.records) == history.best_epoch + patience


def watching(patience=2, min_delta=0.0, is_watching=True):
    parameters = network(0).parameters
    return EarlyStopping(patience, min_delta, is_watching, parameters), parameters


def test_a_gain_is_more_than_min_delta():
    """A value that is just min_delta better is none."""
    stopping, parameters = watching(min_delta=0.25)
    for epoch, value in enumerate([1.0, 0.75, 0.5, 0.24], 1):
        stopping.update(epoch, value, parameters)
    assert stopping.best_epoch == 4
    assert (stopping.waited, stopping.should_stop) == (0, False)
    stopping, parameters = watching(min_delta=0.25)
    for epoch, value in enumerate([1.0, 0.75, 0.76], 1):
        stopping.update(epoch, value, parameters)
    assert (stopping.best_epoch, stopping.waited, stopping.should_stop) == (1, 2, True)


def test_the_same_value_is_no_gain_and_none_is_the_last_epoch():
    """The first of equal epochs is kept; without watching, each epoch is, and nothing stops."""
    stopping, parameters = watching()
    stopping.update(1, 0.5, parameters)
    stopping.update(2, 0.5, parameters)
    assert (stopping.best_epoch, stopping.waited) == (1, 1)
    stopping, parameters = watching(is_watching=False)
    for epoch in (1, 2, 3):
        stopping.update(epoch, float(epoch), parameters)
    assert (stopping.best_epoch, stopping.should_stop) == (3, False)


def test_before_the_first_epoch_the_first_weights_are_kept():
    """As epoch 0, with which any epoch's value is better."""
    stopping, parameters = watching(min_delta=1e300)
    assert stopping.counters() == {"best_value": np.inf, "best_epoch": 0, "waited": 0}
    before = parameters.values.copy()
    parameters.values[:] = 7
    stopping.restore(parameters)
    assert parameters.values.tobytes() == before.tobytes()
    stopping.update(1, 1e300, parameters)
    assert stopping.best_epoch == 1


def test_what_was_kept_comes_back():
    """Weights and state, whatever happened since; the counters go through a checkpoint."""
    stopping, parameters = watching()
    before = parameters.values.copy()
    stopping.update(1, 1.0, parameters)
    parameters.values[:] = 7
    stopping.update(2, 2.0, parameters)
    stopping.restore(parameters)
    assert parameters.values.tobytes() == before.tobytes()
    other, _parameters = watching()
    other.set_counters(stopping.counters())
    assert other.counters() == stopping.counters() == {"best_value": 1.0, "best_epoch": 1, "waited": 1}


def test_a_loss_decides_between_equal_values_and_may_forbid_a_better_one():
    """Where it is asked to: the lower of two losses, and none above the most that is allowed."""
    stopping, parameters = watching()
    stopping.least_loss, stopping.most_loss = 2.0, 3.0
    for epoch, (value, loss) in enumerate([(0.5, 2.5), (0.5, 2.6), (0.5, 2.4), (0.1, 3.1)], 1):
        stopping.update(epoch, value, parameters, loss)
    assert (stopping.best_epoch, stopping.best_value, stopping.waited) == (3, 0.5, 1)
