"""Random networks for tests: any sizes, any activations, with or without standardization."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime import Activation, Dense, Model, Standardization
from edge_runtime.numerics.subnormals import TINY

SUBNORMALS = 11_000  # weights: as many as a published model was found to have


def random_model(sizes, activations, seed=0, standardize=False, weight_scale=1.0, bias_scale=0.1) -> Model:
    """A float32 model with normal weights, scaled so that values neither grow nor fade from layer to layer."""
    rng = np.random.default_rng(seed)
    layers = []
    for index, (n_in, n_out, activation) in enumerate(zip(sizes[:-1], sizes[1:], activations, strict=True)):
        weight = (rng.normal(size=(n_in, n_out)) * weight_scale / np.sqrt(n_in)).astype(np.float32)
        bias = (rng.normal(size=n_out) * bias_scale).astype(np.float32)
        layers.append(Dense(f"dense{index}", weight, bias, Activation.of(activation)))
    preprocessing = None
    if standardize:
        mean, inv_std = rng.normal(size=sizes[0]), rng.uniform(0.5, 2.0, size=sizes[0])
        preprocessing = Standardization(mean.astype(np.float32), inv_std.astype(np.float32))
    return Model(tuple(layers), preprocessing)


def random_rows(n, n_in, seed=1) -> np.ndarray:
    """Normal rows, float32 (n, n_in)."""
    return np.random.default_rng(seed).normal(size=(n, n_in)).astype(np.float32)


def with_subnormals(count=SUBNORMALS, sizes=(784, 64, 10)):
    """A float32 network in whose first layer so many weights, anywhere, are subnormal."""
    rng = np.random.default_rng(0)
    model = random_model(list(sizes), ["relu", "softmax"])
    weight = model.layers[0].weight.copy()
    places = rng.permutation(weight.size)[:count]
    weight.reshape(-1)[places] = rng.uniform(1e-44, 1.17e-38, count) * rng.choice([-1, 1], count)
    return replace(model, layers=(replace(model.layers[0], weight=weight), *model.layers[1:]))


def zeroed(model):
    """The same with 0 in their place, the obvious way."""
    layers = [
        replace(layer, weight=np.where(np.abs(layer.weight) < TINY, np.float32(0), layer.weight))
        for layer in model.layers
    ]
    return replace(model, layers=tuple(layers))
