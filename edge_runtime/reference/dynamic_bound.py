"""How far int8-dynamic sums may be apart whose inputs differ a little: which codes can differ at all.

Two engines find their grids from values that differ in the last bits. A value becomes another code only if it lies
beside a tie, or if the grid itself has moved: the two are worked out value by value, as intervals. To allow each value
a step would let pass another network, of some hundred inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_runtime.layers import DynamicQuantizedDense
from edge_runtime.numerics import QMAX, TINY, dynamic_grid, quantize_on

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

_SUMMED = 8 * 2.0**-24  # of a value and its bias: sum to float32, two scales, bias, on each side
_ROUNDED = 2.0**-22  # of a scale or a quotient: two roundings to float32, and to spare


class _Grids(NamedTuple):
    """The ends of what the other engine's scale and zero point may be."""

    scale: tuple[float, float]
    zero_point: tuple[float, float]


def dynamic_bound(layer: DynamicQuantizedDense, value: Array, bound: Array) -> Array:
    """The largest difference of the values before the activation, float64 (batch, n_out).

    value: our float32 inputs (batch, n_in), a whole batch. bound: what the other engine's may differ by. The same input
    gives the same bits.
    """
    if not bound.any():
        return np.zeros((len(value), layer.n_out))
    if not np.isfinite(bound).all():
        return np.full((len(value), layer.n_out), np.inf)
    scale, zero_point = dynamic_grid(value)
    codes = quantize_on(value, scale, zero_point).astype(np.float64) - zero_point
    grids = _grids(value.astype(np.float64), bound)
    low, high = _codes(value.astype(np.float64), bound, grids)
    weight = layer.weight.astype(np.float64)
    moved = np.maximum(np.maximum(high - codes, codes - low), 0) @ np.abs(weight)
    sums = np.abs(codes @ weight)
    rescaled = (grids.scale[1] - grids.scale[0]) * sums
    largest = grids.scale[1] * (sums + moved) * layer.weight_scale + np.abs(layer.bias.astype(np.float64))
    return np.asarray((grids.scale[1] * moved + rescaled) * layer.weight_scale + _SUMMED * largest)


def _grids(value: Array, bound: Array) -> _Grids:
    """From the least and the most that the batch's lowest and highest values may be."""
    below, above = value - bound, value + bound
    lows = [max(0.0, -float(end.min())) for end in (above, below)]  # how far below 0: the least, the most
    highs = [max(0.0, float(end.max())) for end in (below, above)]
    scales = [(lows[at] + highs[at]) / QMAX * (1 + side * _ROUNDED) for at, side in ((0, -1), (1, 1))]
    ends = (lows[0], highs[1], -1), (lows[1], highs[0], 1)  # the zero point grows with the one, falls with the other
    shares = [QMAX * low / max(low + high, float(TINY)) + side * QMAX * _ROUNDED for low, high, side in ends]
    zero_points = np.rint(np.clip(shares, 0, QMAX))
    return _Grids((max(scales[0], float(TINY)), scales[1]), (float(zero_points[0]), float(zero_points[1])))


def _codes(value: Array, bound: Array, grids: _Grids) -> tuple[Array, Array]:
    """The lowest and the highest centered code that the other engine may have for each value."""
    found = []
    for side, zero_point in ((-1, grids.zero_point[1]), (1, grids.zero_point[0])):
        end = value + side * bound
        quotients = [end / scale for scale in grids.scale]
        furthest = np.maximum(*quotients) if side > 0 else np.minimum(*quotients)
        furthest += side * _ROUNDED * np.abs(furthest)
        found.append(np.clip(np.rint(furthest), -zero_point, QMAX - zero_point))
    return found[0], found[1]
