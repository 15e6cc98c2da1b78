"""How far two correct implementations of a layer without weights may differ: not at all, value by value, if it only
scales, shifts and clips; by a bound with a reason if it normalizes.

With u = 2^-24, n values x of a row and E their difference on the way in, an implementation of LayerNorm may round

- the mean, in any order, by (n + 1) u mean|x|, and d = x - mean by u |d|
- the mean square, in any order, by (n + 3) u mean(d^2); in one pass, as mean(x^2) - mean^2, which onnxruntime's fused
  kernel takes and no engine of this project, by 3 (n + 3) u mean(x^2)
- the root, the quotient, and the products and sums with gamma, beta, each by u times its result

Twice that, for two of them, and E + mean E are the difference D of d. A root mean square moves by at most that of D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.layers import Elementwise, LayerNorm

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

_U = 2.0**-24


def stage_bound(layer: Elementwise | LayerNorm, x: Array, bound: Array, *, in_one_pass: bool = True) -> Array:
    """The largest difference before the activation of a stage, float64 (batch, n).

    x: its float32 input (batch, n). bound: the largest difference there, float64 (batch, n). in_one_pass: whether an
    engine may take the mean square so.
    """
    if isinstance(layer, LayerNorm):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return _norm_bound(layer, x.astype(np.float64), bound, in_one_pass)
    return _map_bound(layer, x.astype(np.float64), bound)


def _map_bound(layer: Elementwise, x: Array, bound: Array) -> Array:
    """By the scale and the larger slope, and three roundings on each side; limits only bring values together.

    What is not bounded before is not after either, whatever the scale: 0 times an infinity is NaN.
    """
    scale, shift = np.abs(layer.scale.astype(np.float64)), np.abs(layer.shift.astype(np.float64))
    steepness = 1.0 if layer.slope is None else np.maximum(1.0, np.abs(layer.slope.astype(np.float64)))
    with np.errstate(invalid="ignore"):
        reach = scale * (np.abs(x) + bound) + shift
        moved = (bound * scale + 6 * _U * reach) * steepness
    return np.where(bound == 0, 0.0, np.where(np.isposinf(bound), np.inf, moved))


def _norm_bound(layer: LayerNorm, x: Array, bound: Array, in_one_pass: bool) -> Array:
    gamma, beta = np.abs(layer.gamma.astype(np.float64)), np.abs(layer.beta.astype(np.float64))
    n, size = layer.n_in, _mean(np.abs(x) + bound)
    d = x - _mean(x) if layer.centered else x
    square = _mean(np.square(d)) + layer.epsilon
    deviation = np.sqrt(square)
    moved = bound + 2 * _U * np.abs(d)
    if layer.centered:
        moved = moved + _mean(bound) + 2 * _U * (n + 1) * size
    of_square = 2 * _U * (n + 3) * square
    if layer.centered and in_one_pass:
        of_square = of_square + 2 * _U * 3 * (n + 3) * _mean(np.square(np.abs(x) + bound))
    root = np.sqrt(_mean(np.square(moved))) + of_square / deviation + 2 * _U * deviation
    least = deviation - root
    z = np.abs(d) / deviation
    spread = np.where(least > 0, (moved + z * root) / least, np.inf)
    largest = np.square(np.abs(x) + bound).sum(axis=-1, keepdims=True)
    spread = np.where(np.isfinite(spread) & (largest < np.finfo(np.float32).max), spread, np.inf)
    total = gamma * spread + 2 * _U * (4 * gamma * (z + spread) + beta)
    return np.where(np.isnan(total), np.inf, total)


def _mean(values: Array) -> Array:
    return np.asarray(np.mean(values, axis=-1, keepdims=True))
