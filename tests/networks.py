"""Random networks for tests: any sizes, any activations, with or without standardization."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime import Activation, Dense, Elementwise, LayerNorm, Model, Standardization
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


def random_elementwise(n, seed=0, activation="linear", name="map", parts="scale shift slope low high") -> Elementwise:
    """An element-wise stage with those parts of its arithmetic; some of its limits are none."""
    rng = np.random.default_rng(seed)
    scale, shift = rng.normal(size=n), rng.normal(size=n)
    slope, low, high = rng.uniform(-0.5, 1.5, n), -rng.uniform(0.2, 2, n), rng.uniform(0.2, 2, n)
    low[rng.random(n) < 0.2], high[rng.random(n) < 0.2] = -np.inf, np.inf
    given = {"scale": np.ones(n), "shift": np.zeros(n)}
    drawn = {"scale": scale, "shift": shift, "slope": slope, "low": low, "high": high}
    given |= {key: drawn[key] for key in parts.split()}
    arrays = {key: array.astype(np.float32) for key, array in given.items()}
    return Elementwise(name=name, activation=Activation.of(activation), **arrays)


def random_layer_norm(n, seed=0, activation="linear", name="norm", epsilon=1e-5, centered=True) -> LayerNorm:
    """A normalization with gamma around 1 and beta around 0."""
    rng = np.random.default_rng(seed)
    gamma, beta = rng.normal(1, 0.3, n), rng.normal(0, 0.5, n)
    return LayerNorm(
        name, gamma.astype(np.float32), beta.astype(np.float32), float(np.float32(epsilon)), Activation.of(activation),
        centered,
    )  # fmt: skip


def staged_model(sizes, seed=0, hidden="relu", final="softmax", standardize=False) -> Model:
    """A float32 model with a stage before, between and after its layers: maps and both normalizations in turn."""
    dense = random_model(sizes, [hidden] * (len(sizes) - 2) + ["linear"], seed, standardize)
    layers = [random_elementwise(sizes[0], seed, name="before", parts="scale shift")]
    for index, layer in enumerate(dense.layers):
        layers.append(layer)
        name, n = f"stage{index}", layer.n_out
        if layer is dense.layers[-1]:
            layers.append(random_elementwise(n, seed, final, name, "low high"))
        elif index % 2:
            layers.append(random_elementwise(n, seed, "tanh", name))
        else:
            layers.append(random_layer_norm(n, seed, name=name, centered=index % 4 == 0))
    return replace(dense, layers=tuple(layers))


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
