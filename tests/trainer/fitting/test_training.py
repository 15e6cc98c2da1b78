import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import InputError
from tests.trainer import plain
from tests.trainer.samples import PLAIN, all_bytes, blobs, small_network
from trainer import ConfigurationError, History, NeuralNetwork, NeuralNetworkModel, PrecisionConfig, TrainingDiverged
from trainer.data.preprocessing import one_hot
from trainer.datasets import load_dataset, split
from trainer.errors import TrainingStopped


@pytest.mark.parametrize("l2", [0.0, 0.03])
@pytest.mark.parametrize("sizes", [(5, 7, 3), (5, 3), (5, 8, 6, 3)])
def test_training_is_the_textbook_step(sizes, l2):
    """Fused, in place and on shared buffers, training computes what the plain step computes: float64, to 1e-10."""
    x, y = blobs(rows=50)
    config = {"train_dtype": "float64"}
    network = small_network(("relu",) * (len(sizes) - 2) + ("softmax",), sizes, config=config, l2_lambda=l2)
    weights = [w.copy() for w in network.weights]
    biases = [b.copy() for b in network.biases]
    history = network.fit(x, y, epochs=3, batch_size=16, learning_rate=0.05, shuffle=False, **PLAIN)
    targets, x64 = one_hot(y, 3, np.float64), x.astype(np.float64)
    weights, biases, losses = plain.train(weights, biases, x64, targets, rate=0.05, batch_size=16, epochs=3, l2=l2)
    np.testing.assert_allclose(history.loss, losses, rtol=0, atol=1e-10)
    for mine, theirs in zip(network.weights + network.biases, weights + biases, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)


def test_small_products_in_halves_change_nothing():
    """Layers at the size where a product is computed in two halves agree with the plain step as well."""
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 700)), rng.integers(0, 10, 40)
    network = small_network(("relu", "softmax"), (700, 64, 10), config={"train_dtype": "float64"})
    weights, biases = [w.copy() for w in network.weights], [b.copy() for b in network.biases]
    history = network.fit(x, y, epochs=2, batch_size=33, learning_rate=0.1, shuffle=False, **PLAIN)
    targets = one_hot(y, 10, np.float64)
    *_, losses = plain.train(weights, biases, x, targets, rate=0.1, batch_size=33, epochs=2)
    np.testing.assert_allclose(history.loss, losses, rtol=0, atol=1e-10)


def test_one_seed_gives_one_network_and_two_seeds_two():
    """Two trainings with one seed are byte-identical, histories too; another seed changes weights and order."""
    x, y = blobs()
    settings_ = {"epochs": 3, "batch_size": 8, "validation_data": (x[:20], y[:20])}
    results = []
    for seed in (1, 1, 2):
        network = small_network(config={"seed": seed}, dropout_rate=0.2)
        results.append((network.fit(x, y, **settings_).to_json(), all_bytes(network)))
    assert results[0] == results[1]
    assert results[0][0] != results[2][0]
    assert results[0][1] != results[2][1]


def test_shuffling_uses_the_seed_and_can_be_switched_off():
    """With equal weights, another seed trains in another order; shuffle=False takes the rows as they come."""
    x, y = blobs(rows=64)
    losses = []
    for seed, shuffle in ((1, True), (2, True), (1, False), (2, False)):
        network = small_network(kind=NeuralNetworkModel)
        network.set_seed(seed)
        losses.append(network.fit(x, y, epochs=2, batch_size=8, shuffle=shuffle).loss)
    assert losses[0] != losses[1]
    assert losses[2] == losses[3] != losses[0]


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 2**31))
def test_every_row_is_trained_on_once_an_epoch(rows, batch_size, seed):
    """Whatever the batch size: an epoch is a permutation of the rows, the same for the same seed."""
    seen = []
    x = np.arange(rows, dtype=np.float32)[:, None]
    for _ in range(2):
        network = NeuralNetworkModel([1, 1], ["linear"], precision_config=PrecisionConfig(seed=seed))
        forward, order = network.chain.forward, []

        def spy(batch, rng, forward=forward, order=order):
            order.extend(batch[:, 0].tolist())
            return forward(batch, rng)

        network.chain.forward = spy
        network.fit(x, x, epochs=1, batch_size=batch_size, learning_rate=1e-9, **PLAIN)
        seen.append(order)
    assert sorted(seen[0]) == list(range(rows))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_digits_are_learned(optimizer):
    """64-32-10 reaches 95 % on digits that it never saw, with each optimizer's own learning rate."""
    parts = split(load_dataset("digits"), seed=0)
    network = NeuralNetwork([64, 32, 10], ["relu", "softmax"], precision_config=PrecisionConfig(seed=0))
    validation = (parts.validation.x, parts.validation.y)
    history = network.fit(
        parts.train.x, parts.train.y, optimizer=optimizer, epochs=40, standardize="global", validation_data=validation
    )
    assert network.score(parts.test.x, parts.test.y) >= 0.95
    assert history.loss[-1] < history.loss[0]


def test_best_weights_are_kept():
    """With validation rows the network ends with the weights of the best epoch, not of the last."""
    x, y = blobs(rows=60)
    network = small_network(("tanh", "softmax"), (5, 40, 3))
    noise = np.random.default_rng(0).integers(0, 3, 30)
    history = network.fit(x[:30], noise, epochs=60, batch_size=4, learning_rate=0.5, validation_data=(x[30:], y[30:]))
    best = min(history.validation_loss)
    assert history.best_epoch == history.validation_loss.index(best) + 1 < 60
    assert network.evaluate(x[30:], y[30:]).loss == pytest.approx(best, rel=1e-6)


def test_early_stopping_waits_for_patience_epochs():
    """Training ends `patience` epochs after the best one; min_delta says what counts as better."""
    x, y = blobs(rows=60)
    noise = np.random.default_rng(0).integers(0, 3, 30)
    arguments = {"epochs": 200, "learning_rate": 0.3, "batch_size": 4, "validation_data": (x[30:], y[30:])}
    history = small_network().fit(x[:30], noise, patience=3, **arguments)
    assert history.stopped_early
    assert len(history.records) == history.best_epoch + 3
    impatient = small_network().fit(x[:30], noise, patience=3, min_delta=100.0, **arguments)
    assert len(impatient.records) == 4
    assert impatient.best_epoch == 1


def test_patience_without_validation_watches_the_training_loss():
    """A learning rate near zero does not improve the loss by min_delta, so training stops."""
    x, y = blobs()
    history = small_network().fit(x, y, epochs=50, learning_rate=1e-6, patience=2, min_delta=0.1)
    assert len(history.records) == 3


def test_history_has_what_happened():
    """Epochs from 1, losses and metrics of both sets, and the schedule's learning rates."""
    x, y = blobs()
    seen = []
    history = small_network().fit(
        x, y, epochs=4, learning_rate=0.2, schedule="cosine", validation_data=(x, y), on_epoch=seen.append
    )
    assert seen == history.records
    assert [record.epoch for record in seen] == [1, 2, 3, 4]
    np.testing.assert_allclose([r.learning_rate for r in seen], 0.1 * (1 + np.cos(np.pi * np.arange(4) / 4)))
    assert all(0 <= value <= 1 for value in history.metric + history.validation_metric)
    assert history.metric_name == "accuracy"
    assert History.from_json(history.to_json()) == history


def test_training_metric_is_the_share_of_right_answers():
    """With a learning rate near 0 the metric and the loss of the epoch are those of `evaluate`."""
    x, y = blobs(rows=37)
    network = small_network(kind=NeuralNetworkModel)
    history = network.fit(x, y, epochs=1, batch_size=8, learning_rate=1e-12, validation_data=(x, y))
    report = network.evaluate(x, y)
    assert history.metric[0] == history.validation_metric[0] == report.metric
    assert history.loss[0] == pytest.approx(report.loss, rel=1e-5)


def test_divergence_names_epoch_and_layer_and_keeps_the_best_weights():
    """Training that overflows stops with an error, the weights of the best epoch stay, and nothing is NaN."""
    x, y = blobs()
    network = NeuralNetworkModel([5, 7, 1], ["relu", "linear"])
    target = y.astype(np.float32)
    network.fit(x, target, epochs=2, learning_rate=0.01, **PLAIN)
    kept = all_bytes(network)
    with pytest.raises(
        TrainingDiverged, match=r"epoch 1 at step \d+, first in the \w+ of layer 'dense\d'.*learning rate"
    ):
        network.fit(x * 1e6, target, epochs=50, learning_rate=1e6, **PLAIN)
    assert all_bytes(network) == kept


def test_divergence_later_keeps_the_best_epoch():
    """When a later epoch overflows, the error names the epoch whose weights are kept."""
    x, y = blobs()

    def explode(record):
        if record.epoch == 3:
            network.weights[0][0, 0] = np.inf

    network = small_network(kind=NeuralNetworkModel)
    with pytest.raises(TrainingDiverged, match=r"epoch 4 .* first in the weights of layer 'dense0'; .* from epoch 3"):
        network.fit(x, y, epochs=9, on_epoch=explode)
    assert np.isfinite(network.parameters.values).all()


def test_regression_learns_a_line():
    """Targets (rows,) are one column: mean squared error falls and R^2 nears 1."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    y = x @ [1.0, -2.0, 0.5] + 3
    network = NeuralNetwork([3, 1], ["linear"])
    history = network.fit(x, y, epochs=60, learning_rate=0.05, **PLAIN)
    assert network.score(x, y) > 0.999
    assert network.predict(x).shape == (200,)
    assert history.metric_name == "mean_absolute_error"
    np.testing.assert_allclose(network.weights[0][:, 0], [1.0, -2.0, 0.5], atol=0.02)


@pytest.mark.parametrize("loss", ["mse", "huber", "binary_cross_entropy"])
def test_autoencoder_learns_its_inputs(loss):
    """Targets are the inputs; two numbers are enough for points on a plane."""
    rng = np.random.default_rng(0)
    x = 1 / (1 + np.exp(-(rng.standard_normal((300, 2)) @ rng.standard_normal((2, 6)))))
    network = NeuralNetwork([6, 2, 6], ["tanh", "sigmoid"])
    history = network.fit(x, x, epochs=60, optimizer="adam", learning_rate=0.02, loss=loss)
    assert np.abs(network.predict(x) - x).mean() < 0.08
    assert history.loss[-1] < history.loss[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": -1}, "epochs is -1, expected a whole number of at least 0"),
        ({"epochs": 2.5}, "epochs is 2.5"),
        ({"batch_size": 0}, "batch_size is 0, expected a whole number of at least 1"),
        ({"learning_rate": 0}, "learning_rate is 0, expected a finite number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"patience": 0}, "patience is 0"),
        ({"min_delta": -1.0}, "min_delta is -1.0"),
        ({"optimizer": "sdg"}, "optimizer is 'sdg', expected one of sgd, momentum, adam, adamw"),
        ({"schedule": "cosin"}, "schedule is 'cosin', expected one of constant, step, cosine"),
        ({"loss": "mean"}, "loss is 'mean', expected one of cross_entropy"),
        ({"loss": "binary_cross_entropy"}, "needs sigmoid as the last activation, found softmax"),
        ({"standardize": "yes"}, "standardize is 'yes', expected one of auto, none, global, per-feature"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"class_weight": "even"}, "class_weight is 'even', expected 'balanced'"),
        ({"class_weight": [1.0]}, "class_weight has 1 numbers, expected 3"),
        ({"class_weight": {7: 1.0}}, "class_weight names class 7, expected 0 to 2"),
        ({"on_epoch": 3}, "on_epoch is 3"),
    ],
)
def test_wrong_settings_are_refused(change, words):
    """Each message says what was found and what was expected; the weights are as before."""
    x, y = blobs()
    network = small_network(kind=NeuralNetworkModel)
    before = all_bytes(network)
    with pytest.raises(ConfigurationError, match=words):
        network.fit(x, y, **change)
    assert all_bytes(network) == before


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((4, 6)), [0, 1, 2, 0], r"x has shape \(4, 6\), expected \(rows, 5\)"),
        (np.zeros((0, 5)), [], "x has no rows"),
        (np.zeros((2, 5)), [0, 1, 2], r"y has shape \(3,\), expected 2 rows"),
        (np.full((2, 5), np.nan), [0, 1], r"x row 0, column 0 .*: nan is"),
        (np.full((2, 5), np.inf), [0, 1], "x row 0.*: inf is"),
        (np.array([["a"] * 5]), [0], "x has dtype <U1"),
        (np.zeros((2, 5)), [0, 3], "y holds labels from 0 to 3, expected 0 to 2"),
        (np.zeros((2, 5)), [-1, 0], "y holds labels from -1 to 0"),
        (np.zeros((2, 5)), [0.5, 1], "expected whole numbers as labels"),
        (np.zeros((2, 5)), np.zeros((2, 4)), r"y has shape \(2, 4\), expected \(rows, 3\)"),
        (np.zeros((2, 5)), np.ones((2, 3)), "y row 0 sums to 3, expected 1"),
        (np.zeros((2, 5)), np.full((2, 3), -1.0), "expected 0 to 1"),
    ],
)
def test_wrong_data_are_refused(x, y, words):
    """Shape, dtype, NaN, labels out of range: one line that says what was found and expected."""
    with pytest.raises(InputError, match=words):
        small_network(kind=NeuralNetworkModel).fit(x, y)


def test_wrong_validation_data_are_named():
    """The message says that the validation rows are meant; a failed fit leaves the preprocessing alone."""
    x, y = blobs()
    network = small_network(kind=NeuralNetworkModel)
    with pytest.raises(InputError, match="validation x has shape"):
        network.fit(x, y, validation_data=(x[:, :4], y), standardize="global")
    assert network.preprocessing is None
    with pytest.raises(InputError, match="expected a pair"):
        network.fit(x, y, validation_data=x)


def test_weights_that_fade_away_become_zero():
    """Unused weights under an L2 penalty and vanished moments never stay below float32's normal range."""
    x, y = blobs(rows=64)
    x = np.hstack([x, np.zeros((64, 3), x.dtype)]).astype(np.float32)  # three features that are never used
    network = NeuralNetwork([x.shape[1], 8, 3], ["relu", "softmax"], l2_lambda=0.5)
    network.fit(x, y, epochs=400, batch_size=16, learning_rate=0.05, optimizer="adam")
    values = np.abs(network.parameters.values)
    assert not ((values > 0) & (values < np.finfo(np.float32).tiny)).any()


def test_an_activation_that_cannot_be_trained_is_refused_by_name():
    """What the runtime runs and the trainer has no derivative for."""
    with pytest.raises(ConfigurationError, match="'gelu' can be run but not trained; expected one of"):
        NeuralNetwork([4, 3, 2], ["gelu", "softmax"])


def test_ctrl_c_without_a_checkpoint_leaves_the_best_weights():
    """Those of the best epoch so far, which the exception names, and not of a batch that is half done."""
    x, y = blobs(rows=200)
    network, seen = small_network(), []

    def told(record):
        seen.append((record.validation_loss, all_bytes(network)))
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(TrainingStopped) as caught:
        network.fit(x, y, on_epoch=told)
    assert isinstance(caught.value, KeyboardInterrupt)
    best = min(range(4), key=lambda epoch: seen[epoch][0])
    assert caught.value.kept_epoch == best + 1
    assert all_bytes(network) == seen[best][1]


@pytest.mark.parametrize(("scale", "names"), [((1, 1), []), ((1e3, 1), ["inputs"]), ((1, 1e6), ["targets"])])
def test_divergence_names_what_is_too_large(scale, names):
    """Inputs or targets that are far from a size to learn from, with their reach; the learning rate in any case."""
    x = np.random.default_rng(0).normal(size=(200, 3))
    y = x[:, :1] * scale[1]
    network = NeuralNetworkModel([3, 1], ["linear"])
    with pytest.raises(TrainingDiverged, match=r"lower the learning rate \(1e\+12\)") as caught:
        network.fit(x * scale[0], y, **PLAIN | {"learning_rate": 1e12})
    for name in ("inputs", "targets"):
        assert (f"standardize the {name}, which reach" in str(caught.value)) == (name in names)
