"""Quantized models for the tests of fine-tuning."""

from dataclasses import replace

import numpy as np

from edge_runtime import Activation, Engine, Model, QuantizedDense, QuantParams, TestVectors


def lattice_model(seed=0):
    """5-4-3, ReLU then linear: inputs 0..3, weights and biases are small whole numbers, and so is all between.

    All grids have the step 1, so that nothing is rounded and nothing clipped.
    """
    rng = np.random.default_rng(seed)
    one = QuantParams(1.0, 0)
    layers = []
    for index, (n_in, n_out, output, activation) in enumerate([(5, 4, one, "relu"), (4, 3, None, "linear")]):
        weight = rng.integers(-4, 5, (n_in, n_out)).astype(np.int8)
        bias = rng.integers(-3, 4, n_out).astype(np.int32)
        ones = np.ones(n_out, np.float32)
        layers.append(QuantizedDense(f"dense{index}", weight, bias, ones, one, output, Activation(activation)))
    return Model(tuple(layers))


def coarse(model, step=24):
    """An int8 model whose weights keep each `step`-th of their whole numbers alone: far from those of floats."""
    layers = [
        replace(layer, weight=(np.rint(layer.weight / step) * step).clip(-127, 127).astype(np.int8))
        for layer in model.layers
    ]
    vectors, coarser = model.test_vectors, replace(model, layers=tuple(layers), test_vectors=None)
    if vectors is None:
        return coarser
    return coarser.with_test_vectors(TestVectors(vectors.inputs, Engine(coarser).logits(vectors.inputs)))
