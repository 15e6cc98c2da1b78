"""An independent implementation of integer layers with int64 sums, written from the definition of the arithmetic.

It shares no code with `edge_runtime`. The four ways in which re-implementations go wrong can be switched on, so that
the tests can show that each would be caught.
"""

from __future__ import annotations

import numpy as np

MUTATIONS = ("half_away", "float64_product", "reciprocal", "zero_point_before_rounding")


def _round(values, mutation):
    if mutation == "half_away":
        return np.sign(values) * np.floor(np.abs(values) + np.asarray(0.5, values.dtype))
    return np.rint(values)


def _to_grid(values, grid, mutation):
    """Saturate and round values that are in steps already; NaN to the lowest."""
    values, zero_point, top = np.where(np.isnan(values), -np.inf, values), grid.zero_point, 2**grid.bits - 1
    if mutation == "zero_point_before_rounding":
        return np.clip(_round(values + values.dtype.type(zero_point), mutation), 0, top).astype(np.int64)
    return (np.clip(_round(np.clip(values, -zero_point, top - zero_point), mutation) + zero_point, 0, top)).astype(
        np.int64
    )


def logits_and_hidden(model, x, mutation=None):
    """(float32 logits, [int64 hidden tensors]) of a static int8 model. x: float32 (n, n_in)."""
    value = np.asarray(x, np.float32)
    if model.preprocessing is not None:
        value = (value - model.preprocessing.mean) * model.preprocessing.inv_std
    grid = model.layers[0].input
    scale = np.float32(grid.scale)
    steps = value * (np.float32(1) / scale) if mutation == "reciprocal" else value / scale
    q = _to_grid(steps, grid, mutation)
    hidden = [q]
    for layer in model.layers:
        accumulator = (q - layer.input.zero_point) @ layer.weight.astype(np.int64) + layer.bias.astype(np.int64)
        if mutation == "float64_product":
            scaled = accumulator.astype(np.float64) * layer.multiplier.astype(np.float64)
        else:
            scaled = accumulator.astype(np.float32) * layer.multiplier
        if layer.output is None:
            return scaled.astype(np.float32), hidden
        if layer.activation.name == "leaky_relu":
            alpha = scaled.dtype.type(dict(layer.activation.params)["alpha"])
            scaled = np.where(scaled >= 0, scaled, alpha * scaled)
        if layer.activation.name == "relu":
            scaled = np.maximum(scaled, 0)
        q = _to_grid(scaled, layer.output, mutation)
        if layer.table is not None:
            q = layer.table.astype(np.int64)[q]
        hidden.append(q)
    raise AssertionError("a model's last layer has no output grid")
