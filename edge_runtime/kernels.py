"""The steps of an engine: each layer as a flat list of NumPy calls, bound to their buffers once.

Between int8 layers the buffers hold centered integers, q - zero_point, as float32: rounding gives exactly these, and
the next product needs exactly these, so the zero point is neither added nor subtracted. `trace` shows the uint8
values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.activations import Activation
from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer, QuantizedDense
from edge_runtime.model import Standardization
from edge_runtime.planner import is_float32_exact
from edge_runtime.quantization import QMAX, QMIN, QuantParams, dynamic_grid

Array = NDArray[Any]
Step = Callable[[], Any]


@dataclass(frozen=True, eq=False)
class Buffers:
    """Views of the arena for a number of rows. source and target: (rows, n); row: (rows, 1); the rest may be empty."""

    source: Array
    target: Array
    scratch: Array
    row: Array
    wide_source: Array
    wide_target: Array
    index: Array


@dataclass(frozen=True, eq=False)
class Constants:
    """A layer's arrays as the matrix product reads them: float32, or float64 where float32 would not be exact."""

    weight: Array
    bias: Array | None
    table: Array | None


def widen(layer: Layer) -> Constants:
    """The float copies of a layer's weights. A float32 layer's own arrays are used as they are."""
    if isinstance(layer, Dense):
        return Constants(np.asarray(layer.weight, np.float32), layer.bias, None)
    dtype = np.float32 if is_float32_exact(layer) else np.float64
    if isinstance(layer, DynamicQuantizedDense):
        return Constants(layer.weight.astype(dtype), None, None)
    table = None
    if layer.table is not None and layer.table_output is not None:
        table = layer.table.astype(np.float32) - np.float32(layer.table_output.zero_point)
    return Constants(layer.weight.astype(dtype), layer.bias.astype(dtype), table)


def standardize_steps(preprocessing: Standardization, x: Array) -> list[Step]:
    """x = (x - mean) * inv_std, in place."""
    return [
        partial(np.subtract, x, preprocessing.mean, out=x),
        partial(np.multiply, x, preprocessing.inv_std, out=x),
    ]


def layer_steps(
    layer: Layer, constants: Constants, buffers: Buffers, *, quantize_input: bool, activate: bool
) -> list[Step]:
    """The calls that take `buffers.source` to `buffers.target` through one layer.

    quantize_input: the source holds real values that must be put on an int8 layer's input grid first.
    activate: whether a float32 activation that follows is computed too (False gives the logits).
    """
    if isinstance(layer, Dense):
        steps = _product_steps(constants, buffers)
        return steps + (activation_steps(layer.activation, buffers) if activate else [])
    if isinstance(layer, DynamicQuantizedDense):
        steps = _dynamic_steps(layer, constants, buffers)
        return steps + (activation_steps(layer.activation, buffers) if activate else [])
    steps = _center_steps(layer.input, buffers.source) if quantize_input else []
    steps += _product_steps(constants, buffers)
    steps.append(partial(np.multiply, buffers.target, layer.multiplier, out=buffers.target))
    if layer.output is None:
        return steps + (activation_steps(layer.activation, buffers) if activate else [])
    steps += _round_steps(layer, layer.output, buffers)
    if constants.table is not None:
        steps += _table_steps(constants.table, layer.output.zero_point, buffers)
    return steps


def _center_steps(grid: QuantParams, x: Array) -> list[Step]:
    """x = rint(clip(x / scale)): centered integers. NaN becomes the grid's minimum, as fmax drops NaN."""
    low, high = np.float32(QMIN - grid.zero_point), np.float32(QMAX - grid.zero_point)
    return [
        partial(np.divide, x, np.float32(grid.scale), out=x),
        partial(np.fmax, x, low, out=x),
        partial(np.minimum, x, high, out=x),
        partial(np.rint, x, out=x),
    ]


def _dynamic_steps(layer: DynamicQuantizedDense, constants: Constants, buffers: Buffers) -> list[Step]:
    """Quantize by the batch, multiply, scale: the input's scale is known only when the step runs."""
    target = buffers.target
    scale = np.empty((), np.float32)
    return [
        partial(_center_dynamically, buffers.source, scale),
        *_product_steps(constants, buffers),
        partial(np.multiply, target, layer.weight_scale, out=target),
        partial(np.multiply, target, scale, out=target),
        partial(np.add, target, layer.bias, out=target),
    ]


def _center_dynamically(x: Array, scale: Array) -> None:
    """x = centered integers on the grid that spans x; `scale` receives the grid's scale."""
    step, zero_point = dynamic_grid(x)
    scale[...] = step
    np.divide(x, step, out=x)
    np.maximum(x, np.float32(QMIN - zero_point), out=x)
    np.minimum(x, np.float32(QMAX - zero_point), out=x)
    np.rint(x, out=x)


def _product_steps(constants: Constants, buffers: Buffers) -> list[Step]:
    """target = source @ weight + bias. float64 accumulators round to float32 once, as an integer's conversion does."""
    source, target = buffers.source, buffers.target
    if constants.weight.dtype == np.float32:
        steps: list[Step] = [partial(np.matmul, source, constants.weight, out=target)]
        return steps + _bias_steps(constants, target)
    wide_source, wide_target = buffers.wide_source, buffers.wide_target
    return [
        partial(np.copyto, wide_source, source),
        partial(np.matmul, wide_source, constants.weight, out=wide_target),
        *_bias_steps(constants, wide_target),
        partial(np.copyto, target, wide_target, casting="same_kind"),
    ]


def _bias_steps(constants: Constants, target: Array) -> list[Step]:
    return [] if constants.bias is None else [partial(np.add, target, constants.bias, out=target)]


def _round_steps(layer: QuantizedDense, grid: QuantParams, buffers: Buffers) -> list[Step]:
    """Activation by arithmetic, then rint(clip(v)): centered integers on the output grid."""
    y = buffers.target
    steps = _leaky_steps(layer.activation, buffers) if layer.activation.name == "leaky_relu" else []
    lowest = 0 if layer.activation.name == "relu" else QMIN - grid.zero_point
    return [
        *steps,
        partial(np.maximum, y, np.float32(lowest), out=y),
        partial(np.minimum, y, np.float32(QMAX - grid.zero_point), out=y),
        partial(np.rint, y, out=y),
    ]


def _table_steps(table: Array, zero_point: int, buffers: Buffers) -> list[Step]:
    """target = table[target + zero_point]. mode="clip" lets take write straight into its output."""
    y, index = buffers.target, buffers.index
    return [
        partial(np.add, y, np.float32(zero_point), out=y),
        partial(np.copyto, index, y, casting="unsafe"),
        partial(np.take, table, index, out=y, mode="clip"),
    ]


def activation_steps(activation: Activation, buffers: Buffers) -> list[Step]:
    """A float32 activation of `buffers.target`, in place, without allocating."""
    y, row = buffers.target, buffers.row
    if activation.name == "linear":
        return []
    if activation.name == "softmax":
        return [
            partial(np.maximum.reduce, y, axis=1, keepdims=True, out=row),
            partial(np.subtract, y, row, out=y),
            partial(np.exp, y, out=y),
            partial(np.add.reduce, y, axis=1, keepdims=True, out=row),
            partial(np.divide, y, row, out=y),
        ]
    if activation.name == "leaky_relu":
        return _leaky_steps(activation, buffers)
    return [partial(activation, y, out=y)]


def _leaky_steps(activation: Activation, buffers: Buffers) -> list[Step]:
    """v or alpha * v, whichever is larger; smaller where alpha > 1. The same values as choosing by v >= 0."""
    alpha = dict(activation.params)["alpha"]
    choose = np.maximum if alpha <= 1 else np.minimum
    y, scratch = buffers.target, buffers.scratch
    return [partial(np.multiply, y, np.float32(alpha), out=scratch), partial(choose, y, scratch, out=y)]
