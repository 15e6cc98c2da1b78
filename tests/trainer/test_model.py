import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.version import made_with
from tests.trainer.samples import all_bytes, blobs, small_network
from trainer import ConfigurationError, NeuralNetworkModel, PrecisionConfig, TrainingDiverged
from trainer.layers import BetweenLayer, Parameter
from trainer.network.layer_types import LAYER_TYPES
from trainer.network.precision import lower_values, lower_weights


@pytest.mark.parametrize(
    ("sizes", "names", "more", "words"),
    [
        ([5], [], {}, "expected at least an input and an output size"),
        ([5, 3], ["relu", "softmax"], {}, "2 activations for 2 layer sizes, expected 1"),
        ([5, 0], ["softmax"], {}, "a layer size is 0"),
        ([5, 2.5], ["softmax"], {}, "a layer size is 2.5"),
        ([5, 3], "softmax", {}, "expected a list with one name per layer"),
        ([5, 3], ["sofmax"], {}, "activation 'sofmax' is not known"),
        ([5, 3, 2], ["softmax", "softmax"], {}, "softmax stands before the last layer"),
        ([5, 3], ["softmax"], {"l2_lambda": -1}, "l2_lambda is -1"),
        (
            [5, 3],
            ["softmax"],
            {"dropout_rate": 1.0},
            "dropout_rate is 1.0, expected a finite number at least 0 and below 1",
        ),
        ([5, 3], ["softmax"], {"init": "zeros"}, "init is 'zeros', expected one of xavier, he"),
        (
            [5, 3],
            ["softmax"],
            {"between": ["layer_norm"]},
            "between names layer type 'layer_norm', expected one of batch_norm",
        ),
    ],
)
def test_impossible_networks_are_refused(sizes, names, more, words):
    """A ValueError that says what was found and what was expected."""
    with pytest.raises(ValueError, match=words):
        NeuralNetworkModel(sizes, names, **more)


def test_intermediate_tensors_can_be_looked_at():
    """After a training pass: input, outputs before and after dropout, and masks, all consistent with each other."""
    x, _ = blobs(rows=9)
    network = small_network(("relu", "tanh", "softmax"), (5, 7, 4, 3), kind=NeuralNetworkModel, dropout_rate=0.5)
    assert network.a_values == network.a_raw_values == network.dropout_masks == []
    output = network.forward(x, training=True)
    assert [a.shape for a in network.a_values] == [(9, 5), (9, 7), (9, 4), (9, 3)]
    assert (network.a_values[0] == x).all()
    assert (network.a_values[-1] == output).all()
    assert network.dropout_masks[-1] is None
    for raw, mask, after in zip(network.a_raw_values, network.dropout_masks, network.a_values[1:], strict=True):
        assert (after == (raw if mask is None else raw * mask)).all()
    for layer, inputs in zip(network.layers, network.a_values, strict=False):
        assert (layer.input_cache == inputs).all()
        np.testing.assert_allclose(layer.z_cache, inputs @ layer.weights + layer.bias, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(rate=st.floats(0.05, 0.9), seed=st.integers(0, 2**31))
def test_dropout_keeps_the_mean(rate, seed):
    """Inverted dropout: factors are 0 or 1 / (1 - rate), their mean is near 1, and without training there are none."""
    config = PrecisionConfig(seed=seed)
    network = NeuralNetworkModel([2, 400, 2], ["sigmoid", "softmax"], dropout_rate=rate, precision_config=config)
    x = np.random.default_rng(seed).standard_normal((50, 2)).astype(np.float32)
    network.forward(x, training=True)
    mask = network.dropout_masks[0]
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / (1 - rate))}
    deviation = np.sqrt(rate / (1 - rate) / mask.size)
    assert abs(mask.mean() - 1) < 6 * deviation
    assert (network.forward(x) == network.forward(x)).all()


def test_forward_pass_takes_raw_rows_and_leaves_them_alone():
    """One row or many, lists too; standardization is part of the pass; the caller's array is not written into."""
    x, y = blobs()
    network = small_network(kind=NeuralNetworkModel)
    network.fit(x, y, epochs=1, standardize="per-feature")
    before = x.copy()
    outputs = network.forward(x)
    assert (x == before).all()
    np.testing.assert_allclose(network.forward(x[3].tolist())[0], outputs[3], atol=1e-6)
    assert outputs.dtype == np.float32
    with pytest.raises(ConfigurationError, match="precision is 'int4', expected one of"):
        network.forward(x, precision="int4")
    with pytest.raises(ConfigurationError, match="for a training pass, expected None"):
        network.forward(x, training=True, precision="int8")


def test_backprop_fills_the_gradients_and_moves_nothing():
    """Gradients are those of the loss it returns, penalty included: a small step against them lowers it just so."""
    x, y = blobs()
    network = small_network(kind=NeuralNetworkModel, l2_lambda=0.1, config={"train_dtype": "float64"})
    before = all_bytes(network)
    loss = network.backprop(x, y)
    assert all_bytes(network) == before
    gradients = [g.copy() for g in network.weight_gradients + network.bias_gradients]
    for array, gradient in zip(network.weights + network.biases, gradients, strict=True):
        array -= 1e-6 * gradient
    expected = -1e-6 * sum(float((g * g).sum()) for g in gradients)
    assert network.backprop(x, y) - loss == pytest.approx(expected, rel=1e-4)


def test_assigning_weights_copies_them_into_place():
    """The optimizer's buffer sees new weights; a wrong shape is refused."""
    network = small_network(kind=NeuralNetworkModel)
    network.layers[0].weights = np.ones((5, 7))
    assert (network.parameters.values[:35] == 1).all()
    with pytest.raises(ConfigurationError, match=r"weights has shape \(7, 5\), expected \(5, 7\)"):
        network.layers[0].weights = np.ones((7, 5))


def test_reset_draws_the_first_weights_again():
    """After training, `reset` gives the network as it was made, batch statistics included."""
    x, y = blobs()
    network = small_network(kind=NeuralNetworkModel, batch_norm=True)
    before = all_bytes(network)
    network.fit(x, y, epochs=2, standardize="global")
    assert all_bytes(network) != before
    network.reset()
    assert all_bytes(network) == before
    assert network.preprocessing is None


def test_models_have_the_networks_layers():
    """Layers "dense0", "dense1", ..., float32 (n_in, n_out), with preprocessing, names and metadata."""
    x, y = blobs()
    network = small_network(kind=NeuralNetworkModel, config={"train_dtype": "float64"})
    network.fit(x, y, epochs=1, standardize="per-feature")
    model = network.to_model(class_names=["a", "b", "c"], metadata={"made": "by hand"})
    assert [layer.name for layer in model.layers] == ["dense0", "dense1"]
    assert [layer.weight.shape for layer in model.layers] == [(5, 7), (7, 3)]
    assert {layer.weight.dtype.name for layer in model.layers} == {"float32"}
    assert model.preprocessing.mean.shape == (5,)
    assert (model.class_names, model.metadata["made"]) == (("a", "b", "c"), "by hand")
    assert model.metadata == {"made": "by hand", **made_with()}


def test_profile_measures_every_layer_and_changes_nothing():
    """One call, a row per layer with times and exact bytes, printable; weights, statistics and generator stay."""
    x, y = blobs(rows=40)
    network = small_network(kind=NeuralNetworkModel, batch_norm=True, dropout_rate=0.1)
    before, generator = all_bytes(network), network.rng.bit_generator.state
    report = network.profile(x, y, repeats=3)
    assert all_bytes(network) == before
    assert network.rng.bit_generator.state == generator
    assert [layer.parameter_bytes for layer in report.layers] == [4 * (5 * 7 + 7 + 7 + 7), 4 * (7 * 3 + 3)]
    hidden = 40 * 7 * (4 * 5 + 1) + 2 * 40 * 7 * 4 + 40 * 4  # z, raw, a, mask, grad and a bool mask; batch norm; ones
    assert report.layers[0].activation_bytes == hidden
    assert all(layer.forward_us > 0 and layer.backward_us > 0 for layer in report.layers)
    assert "dense0 5x7 relu" in str(report)
    assert "total, 40 rows" in str(report)


class Scale(BetweenLayer):
    """A layer type made for a test: one trained factor per feature."""

    PARAMETERS = ("factor",)
    factor = Parameter()

    def __init__(self, width, dtype=np.float32):
        super().__init__(width, dtype)
        self.factor, self.grad_factor = np.ones(width, dtype), np.zeros(width, dtype)

    def forward(self, x):
        """x * factor."""
        self.x = x
        return x * self.factor

    def backward(self, grad):
        """In place."""
        np.add.reduce(grad * self.x, axis=0, out=self.grad_factor)
        return np.multiply(grad, self.factor, out=grad)

    def fold(self, weights, bias):
        """The factor times both."""
        return weights * self.factor, bias * self.factor


def test_a_new_layer_type_is_a_class_and_a_registry_line(monkeypatch):
    """Registered under a name, it trains, has right gradients, is folded into the model, and stands beside others."""
    monkeypatch.setitem(LAYER_TYPES, "scale", Scale)
    x, y = blobs()
    network = NeuralNetworkModel([5, 7, 3], ["tanh", "softmax"], between=["batch_norm", "scale"])
    assert network.gradient_check(x[:7], y[:7]) < 1e-7
    network.fit(x, y, epochs=5, standardize="none")
    assert (network.chain.blocks[0].between[1].factor != 1).all()
    model = network.to_model()
    hidden = np.tanh(x @ model.layers[0].weight + model.layers[0].bias)
    logits = hidden @ model.layers[1].weight + model.layers[1].bias
    assert (logits.argmax(axis=1) == network.predict(x)).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), clip=st.integers(1, 127), power=st.integers(-20, 20))
def test_symmetric_quantization_is_within_half_a_step(seed, clip, power):
    """Whole numbers from -clip to clip; every value within half a step; the largest is exact; zeros stay zeros."""
    x = np.random.default_rng(seed).standard_normal((6, 5)).astype(np.float32) * np.float32(2.0**power)
    x[0] = 0
    integers, scale = lower_values(x, clip, axis=1)
    assert (integers == np.rint(integers)).all()
    assert np.abs(integers).max() <= clip
    assert (np.abs(integers * scale - x) <= scale / 2 * (1 + 1e-5)).all()
    assert (np.abs(integers[1:]).max(axis=1) == clip).all()
    assert (integers[0] == 0).all()
    lowered = lower_weights(x.T, "int8", clip)
    np.testing.assert_allclose(lowered, (integers * scale).T, rtol=1e-6)


def test_int8_rows_do_not_depend_on_their_neighbours():
    """Each row has a scale of its own: alone or in a batch, it gives the same bits."""
    x, _ = blobs()
    network = small_network(kind=NeuralNetworkModel)
    together = network.forward(x * 100, precision="int8")
    alone = np.concatenate([network.forward(row, precision="int8") for row in x * 100])
    assert (together == alone).all()


def test_float16_weights_beyond_its_range_saturate():
    """65,504 is the largest float16; larger weights become it and not infinity."""
    assert lower_weights(np.array([[1e6, -1e6, 0.1]], np.float32), "float16", 127).tolist() == [
        [65504.0, -65504.0, float(np.float16(0.1))]
    ]


@pytest.mark.parametrize("reset", [False, True])
def test_fitting_again_keeps_the_standardization(reset):
    """Weights that go on learning see rows in the units they know; after `reset` both are learned anew."""
    x, y = blobs(rows=200)
    network = small_network(kind=NeuralNetworkModel)
    network.fit(x, y, epochs=20, standardize="per-feature")
    before, learned = network.evaluate(x, y).metric, network.preprocessing
    if reset:
        network.reset()
    network.fit(x[:30] + 3, y[:30], epochs=1, learning_rate=1e-9, standardize="per-feature")
    assert (network.preprocessing is learned) == (not reset)
    if not reset:
        assert network.evaluate(x, y).metric == before > 0.9


def test_a_run_that_failed_at_once_leaves_no_standardization_to_keep():
    """Weights that have learned nothing take the scale of the rows that they are trained on next."""
    x, y = blobs()
    network = small_network(kind=NeuralNetworkModel)
    with pytest.raises(TrainingDiverged):
        network.fit(x, y, epochs=1, learning_rate=1e30, standardize="per-feature")
    first = network.preprocessing
    network.fit(x * 1000, y, epochs=1, standardize="per-feature")
    assert network.preprocessing is not first
