"""Random networks for tests: any sizes, any activations, with or without standardization."""

from __future__ import annotations

import numpy as np

from edge_runtime import Activation, Dense, Model, Standardization


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
