"""How far two correct implementations of a model may differ: int8 not at all, float32 within a bound with a reason.

A float32 product of K terms, summed in any order, with or without fused multiply-add, is within
16 * 2^-24 * (|x| @ |W| + |b|) of another one for the sizes this project is made for. The bound below carries that
difference through the layers: by |W|, by how steep an activation can be, and by one grid step wherever a value that
already differs is rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.activations import Activation
from edge_runtime.model import Dense, Layer, Model
from edge_runtime.quantization import QuantParams, dequantize
from edge_runtime.trace import trace

Array = NDArray[Any]

SUM_ERROR = 16 * 2.0**-24
# absolute differences between implementations of exp and tanh that are both correct to a few units in the last place
ACTIVATION_ERROR = {"sigmoid": 1e-6, "tanh": 1e-6, "softmax": 2e-6}


def product_bound(layer: Dense, x: Array) -> Array:
    """The largest difference between two float32 evaluations of x @ weight + bias, float64 (batch, n_out)."""
    weight = np.abs(layer.weight.astype(np.float64))
    return SUM_ERROR * (np.abs(x.astype(np.float64)) @ weight + np.abs(layer.bias.astype(np.float64)))


def steepness(activation: Activation) -> float:
    """The largest slope of an activation: how much it can widen a difference."""
    if activation.name == "leaky_relu":
        return max(1.0, abs(dict(activation.params)["alpha"]))
    return {"sigmoid": 0.25, "softmax": 0.5}.get(activation.name, 1.0)


def output_bound(model: Model, x: Array, *, activated: bool) -> Array:
    """The largest difference between two correct evaluations of the model's outputs, float64 (batch, n_out).

    x: rows as for `Engine.run`. activated: whether the last layer's activation is included; without it this is the
    bound on the logits, which is zero for an int8 model.
    """
    tensors = trace(model, np.atleast_2d(x))
    value = tensors.get("input.standardized", np.atleast_2d(x).astype(np.float32))
    bound = np.zeros(value.shape, np.float64)
    for layer in model.layers:
        is_last = layer is model.layers[-1]
        bound = _layer_bound(layer, value, bound, activate=activated or not is_last)
        value = tensors[f"{layer.name}.output"]
    return bound


def _layer_bound(layer: Layer, value: Array, bound: Array, *, activate: bool) -> Array:
    if isinstance(layer, Dense):
        weight = np.abs(layer.weight.astype(np.float64))
        real = value.astype(np.float32) if value.dtype != np.uint8 else value
        bound = bound @ weight * (1 + SUM_ERROR) + product_bound(layer, real)
        return _activation_bound(layer.activation, bound) if activate else bound
    bound = _rounded(bound, layer.input)
    bound = bound / layer.input.scale @ np.abs(layer.weight.astype(np.float64)) * layer.multiplier
    if layer.output is None:
        return _activation_bound(layer.activation, bound) if activate else bound
    bound = _rounded(bound * layer.output.scale * steepness(layer.activation), layer.output)
    if layer.table is not None and layer.table_output is not None:
        largest_jump = np.abs(np.diff(dequantize(layer.table, layer.table_output))).max(initial=0.0)
        bound = bound / layer.output.scale * largest_jump
    return bound


def _activation_bound(activation: Activation, bound: Array) -> Array:
    if activation.name == "softmax":  # every output depends on every input
        bound = np.broadcast_to(bound.max(axis=-1, keepdims=True), bound.shape)
    return bound * steepness(activation) + ACTIVATION_ERROR.get(activation.name, 0.0)


def _rounded(bound: Array, grid: QuantParams) -> Array:
    """Rounding onto a grid keeps equal values equal, and moves different ones at most one step further apart."""
    return np.where(bound > 0, bound + grid.scale, 0.0)
