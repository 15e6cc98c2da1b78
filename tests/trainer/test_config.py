import tracemalloc
import warnings

import numpy as np
import pytest

from edge_runtime import BudgetExceeded
from tests.trainer.samples import PLAIN, all_bytes, blobs, small_network
from trainer import DEFAULT_CONFIG, HardwareLimitWarning, NeuralNetworkModel, PrecisionConfig
from trainer.fitting.throttle import Throttle


def test_defaults():
    """The documented defaults, in their documented order."""
    assert PrecisionConfig() == DEFAULT_CONFIG
    assert PrecisionConfig() == PrecisionConfig("float32", "float32", 127, 42, False, False, 512.0, 1.0, "float32", 128)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("train_dtype", "float16", "train_dtype is 'float16', expected one of float32, float64"),
        ("infer_precision", "int4", "expected one of float32, float16, int8"),
        ("int8_clip_value", 0, "int8_clip_value is 0, expected a whole number from 1 to 127"),
        ("int8_clip_value", 128, "from 1 to 127"),
        ("seed", -1, "seed is -1, expected a whole number of at least 0"),
        ("seed", 1.5, "seed is 1.5"),
        ("enable_profiling", "yes", "enable_profiling is 'yes', expected True or False"),
        ("enable_hardware_simulation", 1, "enable_hardware_simulation is 1"),
        ("max_memory_mb", 0.0, "max_memory_mb is 0.0, expected a finite number above 0"),
        ("max_memory_mb", float("inf"), "max_memory_mb is inf"),
        ("compute_speed_factor", 0.5, "compute_speed_factor is 0.5, expected a finite number at least 1"),
        ("precision_mode", "bfloat16", "precision_mode is 'bfloat16'"),
        ("batch_size_limit", 0, "batch_size_limit is 0"),
        ("batch_size_limit", True, "batch_size_limit is True"),
    ],
)
def test_every_field_is_validated(field, value, words):
    """A ValueError says what was found and what was expected."""
    with pytest.raises(ValueError, match=words):
        PrecisionConfig(**{field: value})


def test_train_dtype_is_the_dtype_of_everything():
    """Weights, gradients, intermediate tensors and outputs."""
    x, y = blobs()
    for name in ("float32", "float64"):
        network = small_network(
            kind=NeuralNetworkModel, config={"train_dtype": name}, dropout_rate=0.1, batch_norm=True
        )
        network.fit(x, y, epochs=1)
        network.backprop(x, y)
        held = network.weights + network.biases + network.weight_gradients + network.bias_gradients
        held += network.a_values + network.a_raw_values + [network.dropout_masks[0], network.forward(x)]
        assert {array.dtype.name for array in held} == {name}


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_infer_precision_is_what_predictions_compute_with(precision):
    """Outputs of a configured network are those of precision=..., and differ from float32 by about the right amount."""
    x, _ = blobs()
    plain = small_network(kind=NeuralNetworkModel)
    lowered = small_network(kind=NeuralNetworkModel, config={"infer_precision": precision})
    exact, rough = plain.forward(x), lowered.forward(x)
    assert (rough == plain.forward(x, precision=precision)).all()
    error = np.abs(rough - exact).max()
    assert 0 < error < {"float16": 2e-3, "int8": 0.05}[precision]


def test_int8_clip_value_is_the_number_of_steps():
    """Fewer steps cost more; 1 leaves weights of three values."""
    x, _ = blobs()
    errors = []
    for clip in (127, 7, 1):
        network = small_network(kind=NeuralNetworkModel, config={"int8_clip_value": clip})
        errors.append(np.abs(network.forward(x, precision="int8") - network.forward(x)).mean())
    assert 0 < errors[0] < errors[1] < errors[2]


def test_seed_decides_the_weights():
    """The same seed draws the same weights, another seed others."""
    first, second, other = (small_network(config={"seed": seed}) for seed in (5, 5, 6))
    assert all_bytes(first) == all_bytes(second) != all_bytes(other)


def test_enable_profiling_measures_fit():
    """With it, `fit` leaves a table of times and bytes; without it, none."""
    x, y = blobs()
    network = small_network(config={"enable_profiling": True})
    network.fit(x, y, epochs=2, batch_size=16)
    assert [layer.name for layer in network.profile_.layers] == ["dense0 5x7 relu", "dense1 7x3 softmax"]
    assert all(layer.forward_us > 0 and layer.backward_us > 0 for layer in network.profile_.layers)
    assert network.profile_.rows == 16
    plain = small_network()
    plain.fit(x, y, epochs=2, batch_size=16)
    assert not hasattr(plain, "profile_")
    assert all_bytes(plain) == all_bytes(network)


@pytest.mark.parametrize("mode", ["float16", "int8"])
def test_precision_mode_trains_for_that_precision(mode):
    """Training sees rounded weights: the result differs from plain training, and loses less when it is rounded."""
    x, y = blobs(rows=300, classes=3, seed=4)
    clip = 1  # three values: coarse enough to matter
    results = {}
    for name in ("float32", mode):
        config = {"precision_mode": name, "int8_clip_value": clip}
        network = small_network(("relu", "softmax"), (5, 16, 3), kind=NeuralNetworkModel, config=config)
        network.fit(x, y, **PLAIN | {"epochs": 30, "batch_size": 16})
        results[name] = network
    assert all_bytes(results["float32"]) != all_bytes(results[mode])
    if mode == "int8":
        rounded = []
        for network in results.values():
            twin = small_network(("relu", "softmax"), (5, 16, 3), kind=NeuralNetworkModel)
            for mine, weight, bias, source in zip(
                twin.weights, network.weights, twin.biases, network.biases, strict=True
            ):
                step = np.abs(weight).max(axis=0)
                mine[...] = np.clip(np.rint(weight / step), -clip, clip) * step
                bias[...] = source
            rounded.append(twin.evaluate(x, y).loss)
        assert rounded[1] < rounded[0]


def test_limits_do_nothing_without_the_simulation():
    """max_memory_mb, batch_size_limit and compute_speed_factor wait for enable_hardware_simulation."""
    x, y = blobs()
    config = {"max_memory_mb": 1e-6, "batch_size_limit": 1, "compute_speed_factor": 50.0}
    limited, free = small_network(config=config), small_network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limited.fit(x, y, epochs=2)
    free.fit(x, y, epochs=2)
    assert all_bytes(limited) == all_bytes(free)


def test_batch_size_limit_lowers_the_batch_with_a_warning():
    """The warning states both numbers, and training is that of the lower batch size."""
    x, y = blobs(rows=200)
    config = {"enable_hardware_simulation": True, "batch_size_limit": 48}
    limited, free = small_network(config=config), small_network()
    with pytest.warns(HardwareLimitWarning, match="batch size lowered from 64 to 48"):
        limited.fit(x, y, epochs=2, batch_size=64)
    free.fit(x, y, epochs=2, batch_size=48)
    assert all_bytes(limited) == all_bytes(free)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limited.fit(x, y, epochs=1, batch_size=48)


def test_batch_size_limit_bounds_predictions():
    """Prediction works through the rows in pieces of at most that many."""
    x, _ = blobs(rows=100)
    network = small_network(config={"enable_hardware_simulation": True, "batch_size_limit": 32})
    sizes = []
    forward = network.layers[0].forward
    network.layers[0].forward = lambda x, *rest, **more: sizes.append(len(x)) or forward(x, *rest, **more)
    network.forward(x)
    assert sizes == [32, 32, 32, 4]


def test_max_memory_lowers_the_batch_to_the_largest_that_fits():
    """One row more would not fit; the count says so, and the warning gives both numbers."""
    x, y = blobs(rows=400)
    free = small_network(sizes=(5, 64, 3))
    free.fit(x, y, epochs=1, batch_size=1)
    least = free.memory_.total
    budget = (least + 30_000) / 2**20
    limited = small_network(sizes=(5, 64, 3), config={"enable_hardware_simulation": True, "max_memory_mb": budget})
    with pytest.warns(HardwareLimitWarning, match=r"lowered from 128 to (\d+): 128 rows need .* B, max_memory_mb"):
        limited.fit(x, y, epochs=1, batch_size=128)
    assert limited.memory_.total <= limited.config.max_memory_bytes
    free.fit(x, y, epochs=1, batch_size=2)
    per_row = free.memory_.total - least
    assert limited.memory_.total + per_row > limited.config.max_memory_bytes


def test_a_network_that_cannot_train_at_batch_1_is_refused():
    """BudgetExceeded states need, budget, what is missing and the largest part."""
    x, y = blobs()
    network = small_network(config={"enable_hardware_simulation": True, "max_memory_mb": 0.002})
    before = all_bytes(network)
    with pytest.raises(BudgetExceeded, match=r"needs [\d,]+ B at batch size 1, .* allows 2,097 B, missing .*; largest"):
        network.fit(x, y)
    assert all_bytes(network) == before


class FakeClock:
    """Time that passes only when something says so."""

    now = 0.0

    def perf_counter(self):
        """The time in seconds."""
        return self.now

    def sleep(self, seconds):
        """Wait."""
        self.now += seconds


@pytest.mark.parametrize("factor", [1.0, 2.0, 3.5])
def test_compute_speed_factor_makes_training_and_prediction_take_longer(monkeypatch, factor):
    """2.0 makes a run take exactly twice as long as its work, on a clock on which each batch takes a millisecond."""
    clock = FakeClock()
    monkeypatch.setattr("trainer.fitting.throttle.time", clock)
    x, y = blobs(rows=90)
    network = small_network(config={"enable_hardware_simulation": True, "compute_speed_factor": factor})
    forward = network.layers[0].forward

    def work(*arguments, **more):
        clock.now += 0.001
        return forward(*arguments, **more)

    network.layers[0].forward = work
    network.fit(x, y, epochs=3, batch_size=30, validation_share=0.0)
    assert clock.now == pytest.approx(9 * 0.001 * factor)
    network.predict(x)
    assert clock.now == pytest.approx(10 * 0.001 * factor)


def test_the_throttle_collects_short_waits_and_loses_none(monkeypatch):
    """Forty pieces of half a millisecond take 2.5 times as long, in fewer and longer waits that may wake up late."""
    clock, waits = FakeClock(), []

    def sleep(seconds):
        waits.append(seconds)
        clock.now += seconds + 0.0001  # as late as a real sleep

    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr("trainer.fitting.throttle.time", clock)
    throttle = Throttle(2.5)
    for _ in range(40):
        clock.now += 0.0005
        throttle.catch_up()
    throttle.catch_up(is_last=True)
    assert clock.now == pytest.approx(2.5 * 40 * 0.0005, abs=0.0002)
    assert len(waits) < 20
    assert min(waits[:-1]) > 0.002


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("extras", [{}, {"dropout_rate": 0.2}, {"batch_norm": True}])
@pytest.mark.parametrize("with_validation", [False, True])
def test_counted_memory_is_the_measured_peak(optimizer, extras, with_validation):
    """tracemalloc's peak over making and training a network agrees with the count within 5 %."""
    rng = np.random.default_rng(0)
    x, y = rng.random((3000, 300)), rng.integers(0, 5, 3000)  # float64 rows, which fit must copy
    validation = (x[:500].astype(np.float32), y[:500]) if with_validation else None
    settings = {"epochs": 1, "batch_size": 128, "optimizer": optimizer, "validation_data": validation}
    sizes, names = [300, 400, 200, 5], ["relu", "tanh", "softmax"]
    NeuralNetworkModel(sizes, names, **extras).fit(x[:200], y[:200], **settings)  # imports and caches are made
    tracemalloc.start()
    try:
        network = NeuralNetworkModel(sizes, names, **extras)
        network.fit(x, y, **settings)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert network.memory_.total == pytest.approx(peak, rel=0.05)


def test_memory_count_is_exact_by_hand():
    """Every part of 5-7-3 at batch 4, counted by hand; printing it names the parts."""
    x, y = blobs(rows=20)
    network = small_network(kind=NeuralNetworkModel)
    network.fit(x, y, epochs=1, batch_size=4, **PLAIN | {"optimizer": "adam"})
    count, parameters = network.memory_, 5 * 7 + 7 + 7 * 3 + 3
    assert count.parameters == count.gradients == count.kept_weights == 4 * parameters
    assert count.optimizer == 2 * 4 * parameters + 4 * (5 * 7 + 7 * 3)
    hidden = 4 * 7 * (3 * 4 + 1)  # z, output and gradient in float32, a mask in bool
    final = 4 * 3 * 4 * 4  # z, output, gradient and scratch of softmax
    assert count.activations == hidden + final + 2 * 4 * 4  # and a column of ones for each layer
    assert count.batch == 4 * (5 * 4 + 3 * 3 * 4 + 8 + 8 + 1)
    assert count.data == 20 * (3 * 4 + 8) + 20 * 8  # x is the caller's own; one-hot rows, labels and the order are not
    assert "kept weights" in str(count)
    assert f"{count.total:,} B" in str(count)
