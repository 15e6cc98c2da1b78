"""The steps of layers without weights: from the source's buffer to the target's, then in place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.engine.buffers import Buffers
from edge_runtime.engine.calls import NumpyCall
from edge_runtime.engine.numpy_internals import clip_ufunc
from edge_runtime.layers import Elementwise, LayerNorm

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

ZERO = np.array(0.0, np.float32)


def stage_steps(layer: Elementwise | LayerNorm, buffers: Buffers) -> list[NumpyCall]:
    """The calls that take `buffers.source` to the stage's values before its activation in `buffers.target`.

    The source is dead after them. One row and many give the same bits.
    """
    return _norm_steps(layer, buffers) if isinstance(layer, LayerNorm) else _map_steps(layer, buffers)


def _map_steps(layer: Elementwise, buffers: Buffers) -> list[NumpyCall]:
    """Scale, shift, slope, limits: those that change something; the first of them reads the source."""
    y, x = buffers.target, _like_target(buffers)
    scale, shift = (buffers.per_output(values) for values in (layer.scale, layer.shift))
    steps: list[NumpyCall] = []
    if (layer.scale != 1).any():
        steps.append(partial(np.multiply, x, scale, y))
    if layer.shift.any():
        steps.append(partial(np.add, y if steps else x, shift, y))
    if not steps:
        steps.append(partial(np.copyto, y, x))
    if layer.slope is not None:
        steps += _slope_steps(layer.slope, buffers)
    return steps + _limit_steps(layer, buffers)


def _slope_steps(slope: Array, buffers: Buffers) -> list[NumpyCall]:
    """y where y >= 0, else slope * y: the larger of both if 0 < |slope| <= 1, otherwise as two summands.

    A slope of 0 is not computed as a maximum, which would lose the NaN that it gives for -inf.
    """
    y, scratch, factor = buffers.target, buffers.scratch, buffers.per_output(slope)
    if ((slope <= 1) & (slope != 0)).all():
        return [partial(np.multiply, y, factor, scratch), partial(np.fmax, y, scratch, y)]
    return [
        partial(np.minimum, y, ZERO, out=scratch),
        partial(np.multiply, scratch, factor, scratch),
        partial(np.maximum, y, ZERO, out=y),
        partial(np.add, y, scratch, y),
    ]


def _limit_steps(layer: Elementwise, buffers: Buffers) -> list[NumpyCall]:
    y = buffers.target
    low, high = (None if limit is None else buffers.per_output(limit) for limit in (layer.low, layer.high))
    if low is not None and high is not None:
        return [partial(clip_ufunc, y, low, high, y)]
    steps: list[NumpyCall] = [] if low is None else [partial(np.maximum, y, low, out=y)]
    return steps if high is None else [*steps, partial(np.minimum, y, high, out=y)]


def _norm_steps(layer: LayerNorm, buffers: Buffers) -> list[NumpyCall]:
    """d = x - mean(x); d / sqrt(mean(d * d) + epsilon) * gamma + beta.

    Sums are added up in the order of the features, whatever the number of rows: running sums for one row, and for many
    a reduction over the first axis of a C-ordered array, which adds whole rows of it.
    """
    y, x, scratch = buffers.target, _like_target(buffers), buffers.scratch
    assert scratch is not None
    n, epsilon = np.array(layer.n_in, np.float32), np.array(layer.epsilon, np.float32)
    row = buffers.row.reshape(()) if y.ndim == 1 else buffers.row
    steps: list[NumpyCall] = []
    if y.ndim == 2 and not x.flags.c_contiguous:
        steps, x = [partial(np.copyto, y, x)], y
    if layer.centered:
        steps += [_sum_step(x, buffers), partial(np.divide, _sum(buffers), n, row), partial(np.subtract, x, row, y)]
        x = y
    steps += [
        partial(np.multiply, x, x, scratch if x is y else y),
        _sum_step(scratch if x is y else y, buffers),
        partial(np.divide, _sum(buffers), n, row),
        partial(np.add, row, epsilon, row),
        partial(np.sqrt, row, row),
        partial(np.divide, x, row, y),
    ]
    if (layer.gamma != 1).any():
        steps.append(partial(np.multiply, y, buffers.per_output(layer.gamma), y))
    return [*steps, partial(np.add, y, buffers.per_output(layer.beta), y)] if layer.beta.any() else steps


def _sum_step(x: Array, buffers: Buffers) -> NumpyCall:
    """The call that adds up the values of each row, in their order."""
    if x.ndim == 1:
        return partial(np.add.accumulate, x, 0, None, buffers.sums)
    return partial(np.add.reduce, x, 0, None, buffers.row)


def _sum(buffers: Buffers) -> Array:
    """Where `_sum_step` leaves the sums: () for one row, or (rows,)."""
    if buffers.target.ndim == 2:
        return buffers.row
    assert buffers.sums is not None
    return buffers.sums[-1:].reshape(())


def _like_target(buffers: Buffers) -> Array:
    """The source in the orientation of the target."""
    return buffers.source.T if buffers.by_rows else buffers.source
