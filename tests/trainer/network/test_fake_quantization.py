import math
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, Engine, Model, QuantizedDense, QuantParams
from edge_runtime.numerics import dequantize
from export import quantize
from tests.networks import random_model, random_rows
from tests.trainer.quantized import lattice_model
from trainer.fine_tuning import training_blocks
from trainer.layers import DenseLayer
from trainer.losses import choose_loss
from trainer.network import Block, FlatParameters, FloatBlock, LayerChain, QuantizedBlock

KINDS = {
    "relu": (["relu", "relu", "softmax"], False),
    "leaky": (["leaky_relu", "linear", "linear"], True),
    "tables": (["tanh", "sigmoid", "sigmoid"], True),
    "others": (["gelu", "clip", "softmax"], False),
}
PRECISIONS = ("int8", "int4", "int8-a16")


def blocks_of(model, small):
    """A block for each layer."""
    return training_blocks(model, small)


def outputs_of(blocks, small, x):
    """What the blocks give for raw rows, and what they give before the last activation."""
    chain = LayerChain(blocks)
    chain.resize(len(x))
    rows = x if small.preprocessing is None else small.preprocessing(x)
    outputs = chain.infer(rows, [block.folded() for block in blocks]).copy()
    return outputs, blocks[-1].z.copy()


def small_and_float(kind, precision="int8", seed=0, **settings):
    """A random network of odd widths and its quantized form."""
    activations, standardize = KINDS[kind]
    model = random_model([9, 7, 5, 3], activations, seed, standardize)
    return model, quantize(model, random_rows(300, 9, seed + 1), precision, "minmax", test_vectors=0, **settings)


def bits(array):
    return np.ascontiguousarray(array, np.float32).view(np.uint32).tolist()


@pytest.mark.parametrize("rounding", ["nearest", "compensated"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_begins_as_the_layer_that_it_trains(kind, precision, rounding):
    """Integers and multipliers of each layer to the bit, however they were rounded."""
    model, small = small_and_float(kind, precision, rounding=rounding, bias_correction=rounding == "compensated")
    for block, layer in zip(blocks_of(model, small), small.layers, strict=True):
        made = block.to_layer()
        for name, array in layer.arrays().items():
            np.testing.assert_array_equal(made.arrays()[name], array)
            assert made.arrays()[name].dtype == array.dtype


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_trained_is_what_runs(kind, precision, seed):
    """After steps of training, the blocks' forward pass and the engine's logits have the same bits, and so the ends."""
    model, small = small_and_float(kind, precision, seed)
    blocks, x = blocks_of(model, small), random_rows(40, 9, seed + 2)
    chain, loss = LayerChain(blocks), choose_loss("mse", Activation("linear"), 3)
    parameters = FlatParameters([block.dense for block in blocks], np.dtype(np.float32))
    chain.resize(len(x))
    before = [block.integers()[0].tolist() for block in blocks]
    for _ in range(5):
        chain.forward(x if small.preprocessing is None else small.preprocessing(x), np.random.default_rng(0))
        chain.backward(loss, random_rows(40, 3), None, 0.01)
        parameters.values -= 0.05 * np.sign(parameters.gradients)
    assert before != [block.integers()[0].tolist() for block in blocks]
    outputs, logits = outputs_of(blocks, small, x)
    trained = replace(small, layers=tuple(block.to_layer() for block in blocks))
    assert bits(Engine(trained).logits(x)) == bits(logits)
    assert bits(Engine(trained).run(x)) == bits(outputs)


def test_gradients_are_those_of_floats_if_nothing_is_rounded():
    """On a network whose values are all whole numbers on its grids: of weights, of biases and of inputs."""
    small = lattice_model()
    floats = [
        Dense(each.name, each.weight.astype(np.float32), each.bias.astype(np.float32), each.activation)
        for each in small.layers
    ]
    model = Model(tuple(floats))
    blocks, plain = blocks_of(model, small), []
    for layer in floats:
        dense = DenseLayer(layer.n_in, layer.n_out)
        dense.weights, dense.bias = layer.weight, layer.bias
        plain.append(Block(dense, layer.activation))
    x = np.random.default_rng(0).integers(0, 4, (20, small.n_in)).astype(np.float32)
    targets, loss = random_rows(20, small.n_out), choose_loss("mse", Activation("linear"), small.n_out)
    outputs = []
    for chain in (LayerChain(blocks), LayerChain(plain)):
        chain.resize(len(x))
        outputs.append(chain.forward(x, np.random.default_rng(0)).copy())
        chain.backward(loss, targets, None, 0.1)
    np.testing.assert_array_equal(*outputs)
    for block, reference in zip(blocks, plain, strict=True):
        top, reach = block.limits[1], 255 - block.layer.input.zero_point
        np.testing.assert_allclose(block.dense.grad_weights / top, reference.dense.grad_weights, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(block.dense.grad_bias / (top * reach), reference.dense.grad_bias, rtol=1e-5)
        np.testing.assert_allclose(block.grad / block.limits[1], reference.grad, rtol=1e-5, atol=1e-6)


def test_the_scale_of_a_channel_follows_its_gradient():
    """Of the last layer, whose outputs no grid rounds: the gradient is that of central differences."""
    model, small = small_and_float("leaky")
    blocks = blocks_of(model, small)
    x, targets, loss = random_rows(30, 9), random_rows(30, 3), choose_loss("mse", Activation("linear"), 3)
    chain, gain = LayerChain(blocks), blocks[-1].dense.gain
    chain.resize(len(x))
    rows = small.preprocessing(x)

    def cost():
        return float(np.square(chain.forward(rows, np.random.default_rng(0)).astype(np.float64) - targets).sum())

    cost()
    chain.backward(loss, targets, None, 1.0)
    found, differences = blocks[-1].dense.grad_gain.copy(), []
    for channel in range(3):
        sides = []
        for step in (1e-3, -1e-3):
            gain[channel] = step
            sides.append(cost())
        gain[channel] = 0
        differences.append((sides[0] - sides[1]) / 2e-3)
    np.testing.assert_allclose(found, differences, rtol=1e-3)


def test_values_that_the_grid_clips_pass_no_gradient():
    """Neither to weights nor to biases; those within do."""
    grid = QuantParams(1.0, 100)
    layer = QuantizedDense(
        "dense0", np.array([[1, 1, -1]], np.int8), np.array([200, 0, -150], np.int32), np.ones(3, np.float32),
        QuantParams(1.0, 0), grid, Activation("linear"),
    )  # fmt: skip
    block = QuantizedBlock(layer, (-127, 127))
    block.resize(2)
    block.forward(np.array([[3.0], [5.0]], np.float32), np.random.default_rng(0))
    block.grad[...] = 1
    block.backward_activation()
    assert block.grad.tolist() == [[0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "gelu", "softplus"])
def test_tables_have_the_slope_of_their_activation(name):
    """To a step of what the table can hold, also of an activation that floats are not trained with."""
    model = random_model([9, 7, 3], [name, "linear"], weight_scale=2)
    small = quantize(model, random_rows(300, 9), method="minmax", test_vectors=0)
    block = blocks_of(model, small)[0]
    layer = small.layers[0]
    points = dequantize(np.arange(256, dtype=np.uint8), layer.output).astype(np.float64)
    true = (layer.activation(points + 1e-5) - layer.activation(points - 1e-5)) / 2e-5
    found = block._slopes
    step = layer.table_output.scale / layer.output.scale
    assert np.abs(found - true)[4:-4].max() < 0.02 + step / 4


def test_a_float_layer_is_trained_on_the_weights_that_are_stored():
    """float16 weights are rounded in the forward pass, and stay halves."""
    model = random_model([9, 7, 3], ["relu", "softmax"])
    half = replace(model.layers[1], weight=model.layers[1].weight.astype(np.float16))
    block = FloatBlock(half, model.layers[1])
    assert block.to_layer().weight.dtype == np.float16
    np.testing.assert_array_equal(block.folded()[0], half.weight.astype(np.float32))
    block.resize(4)
    x = random_rows(4, 7)
    block.forward(x, np.random.default_rng(0))
    np.testing.assert_array_equal(block.z, x @ half.weight.astype(np.float32) + half.bias)


def test_no_accumulator_leaves_int32():
    """Biases beyond it are kept within: the layer can always be made."""
    layer = lattice_model().layers[0]
    block = QuantizedBlock(layer, (-127, 127))
    block.dense.bias[...] = math.inf
    block.dense.weights[...] = 5
    made = block.to_layer()
    assert (made.weight == 127).all()
    assert (1 << 31) - (1 << 24) < made.certificate < 1 << 31


def test_16_bit_inputs_keep_within_int32_too():
    """Channel by channel: one that has no room to spare takes none from the bias of another, and weights give way."""
    grid, linear = QuantParams(2.0**-13, 30_000, 16), Activation("linear")
    weight = np.full((300, 2), 100, np.int8)
    weight[:, 1] = 1
    bias = np.array([1_000, 2_000_000_000], np.int32)
    layer = QuantizedDense("dense0", weight, bias, np.full(2, 1e-6, np.float32), grid, None, linear)
    block = QuantizedBlock(layer, (-127, 127))
    begun = block.to_layer()
    assert begun.weight.tobytes() == layer.weight.tobytes()
    assert begun.bias.tobytes() == layer.bias.tobytes()
    block.dense.weights *= np.float32(1.25)
    grown = block.to_layer()
    assert 100 < grown.weight[0, 0] < 125
    assert grown.certificate < 1 << 31
