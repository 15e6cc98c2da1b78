"""The steps of an engine: each layer as a flat list of NumPy calls, bound to their buffers once.

Between int8 layers the buffers hold centered integers, q - zero_point, as float32: rounding gives exactly these, and
the next product needs exactly these, so the zero point is neither added nor subtracted. `trace` shows the codes.

One row runs on vectors (n,), the quickest calls that NumPy has. Many rows run by rows, (rows, n), or feature-major,
(n, rows), whichever `program` finds quicker for the network; sources are always seen as (n, rows).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.engine.buffers import Buffers, Constants
from edge_runtime.engine.calls import NumpyCall
from edge_runtime.engine.matmul import bias_steps, product_steps
from edge_runtime.engine.numpy_internals import clip_ufunc
from edge_runtime.engine.stages import stage_steps
from edge_runtime.layers import DynamicQuantizedDense, Layer, QuantizedDense, Stage
from edge_runtime.model import Model
from edge_runtime.numerics import QMAX, QMIN, Activation, QuantParams, dynamic_grid

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

ZERO, INFINITY = (np.array(value, np.float32) for value in (0.0, np.inf))


def entry_steps(model: Model, source: Array) -> tuple[Callable[[Array], Any], list[NumpyCall]]:
    """The call that takes the user's float32 rows into `source`, and those that follow before the first layer.

    Where the first operation is one on single values, it reads the user's array itself: nothing is copied first.
    """
    first = model.layers[0]
    steps = _center_steps(first.input, source) if isinstance(first, QuantizedDense) else []
    if model.preprocessing is not None:
        mean, inv_std = model.preprocessing.mean, model.preprocessing.inv_std
        return (lambda x: np.subtract(x, mean, source)), [partial(np.multiply, source, inv_std, source), *steps]
    if isinstance(first, QuantizedDense):
        scale = np.array(first.input.scale, np.float32)
        return (lambda x: np.divide(x, scale, source)), steps[1:]
    return partial(np.copyto, source), []


def layer_steps(
    layer: Layer,
    constants: Constants,
    buffers: Buffers,
    *,
    quantize_input: bool = False,
    may_be_nan: bool = False,
    is_multiplied: bool = False,
    activate: bool = True,
) -> list[NumpyCall]:
    """The calls that take `buffers.source` to `buffers.target` through one layer.

    quantize_input: the source holds real values that must be put on an int8 layer's input grid first (not for the
    network's own input, see `entry_steps`). may_be_nan: the source of an int8 layer may hold NaN, as real values that
    were quantized may. is_multiplied: the target holds the product of a float layer's source and weights already.
    activate: whether a float32 activation that follows is computed too (False gives the logits).
    """
    target = buffers.target
    if isinstance(layer, QuantizedDense):
        steps = _center_steps(layer.input, buffers.source) if quantize_input else []
        steps += _product_without_nan(layer, constants, buffers) if may_be_nan else product_steps(constants, buffers)
        steps.append(partial(np.multiply, target, buffers.per_output(layer.multiplier), target))
        if layer.output is not None:
            return steps + _round_steps(layer, layer.output, constants, buffers)
    elif isinstance(layer, DynamicQuantizedDense):
        steps = _dynamic_steps(layer, constants, buffers)
    elif isinstance(layer, Stage):
        steps = stage_steps(layer, buffers)
    else:
        steps = bias_steps(constants, buffers) if is_multiplied else product_steps(constants, buffers)
    return steps + (activation_steps(layer.activation, buffers) if activate else [])


def _center_steps(grid: QuantParams, x: Array) -> list[NumpyCall]:
    """x = rint(clip(x / scale)): centered integers. NaN stays; see `_product_without_nan`."""
    low, high = _centered_range(grid)
    return [
        partial(np.divide, x, np.array(grid.scale, np.float32), x),
        partial(clip_ufunc, x, low, high, x),
        partial(np.rint, x, x),
    ]


def _centered_range(grid: QuantParams) -> tuple[Array, Array]:
    """The lowest and the highest centered integer of a grid."""
    return np.array(QMIN - grid.zero_point, np.float32), np.array(grid.top - grid.zero_point, np.float32)


def _product_without_nan(layer: QuantizedDense, constants: Constants, buffers: Buffers) -> list[NumpyCall]:
    """The product of a quantized source in which NaN counts as the grid's minimum.

    NaN is looked for in one accumulator of each row, since it reaches all of them, and replaced only if it is there: to
    replace it in the source each time would cost as much as quantizing does.
    """
    product = product_steps(constants, buffers)
    low, _high = _centered_range(layer.input)
    target = buffers.target
    if target.ndim == 1:
        return [*product, partial(_redo_without_nan, target[:1].item, buffers.source, low, product)]
    first = target[:, 0] if buffers.by_rows else target[0]
    return [*product, partial(_redo_without_nan, partial(first.dot, first), buffers.source, low, product)]


def _redo_without_nan(probe: Callable[[], Any], x: Array, low: Array, product: list[NumpyCall]) -> None:
    """Replace NaN in x by `low` and multiply again, where `probe` gives NaN."""
    value = probe()
    if value != value:
        np.fmax(x, low, x)
        for step in product:
            step()


def _dynamic_steps(layer: DynamicQuantizedDense, constants: Constants, buffers: Buffers) -> list[NumpyCall]:
    """Quantize by the batch, multiply, scale: the input's scale is known only when the step runs."""
    target = buffers.target
    scale = np.empty((), np.float32)
    return [
        Centering(buffers.source, scale),
        *product_steps(constants, buffers),
        partial(np.multiply, target, buffers.per_output(layer.weight_scale), target),
        partial(np.multiply, target, scale, target),
        partial(np.add, target, buffers.per_output(layer.bias), target),
    ]


class Centering:
    """source = centered integers on the grid that spans it; `scale` receives the grid's scale."""

    def __init__(self, source: Array, scale: Array) -> None:
        self.source, self.scale = source, scale

    def __call__(self) -> None:
        """On the grid of the source itself."""
        self.center(*dynamic_grid(self.source))

    def center(self, step: np.float32, zero_point: int) -> None:
        """On a grid that is known: that of a batch of which the source is a part."""
        x = self.source
        self.scale[...] = step
        np.divide(x, step, x)
        clip_ufunc(x, np.float32(QMIN - zero_point), np.float32(QMAX - zero_point), x)
        np.rint(x, x)


def _round_steps(layer: QuantizedDense, grid: QuantParams, constants: Constants, buffers: Buffers) -> list[NumpyCall]:
    """Activation by arithmetic, then rint(clip(v)), then the table: centered integers on the output grid."""
    y = buffers.target
    lowest = 0 if layer.activation.name == "relu" else QMIN - grid.zero_point
    low, high = np.array(lowest, np.float32), np.array(grid.top - grid.zero_point, np.float32)
    steps = _leaky_steps(layer.activation, buffers) if layer.activation.name == "leaky_relu" else []
    steps += [partial(clip_ufunc, y, low, high, y), partial(np.rint, y, y)]
    if constants.table is None:
        return steps
    assert buffers.indices is not None
    zero_point = np.array(grid.zero_point, np.float32)
    return [
        *steps,
        partial(np.add, y, zero_point, y),
        partial(np.copyto, buffers.indices, y, casting="unsafe"),
        # mode="clip" lets take write straight into its output; the indices are in range anyway
        partial(np.take, constants.table, buffers.indices, out=y, mode="clip"),
    ]


def activation_steps(activation: Activation, buffers: Buffers) -> list[NumpyCall]:
    """A float32 activation of `buffers.target`, in place."""
    y = buffers.target
    if activation.name == "linear":
        return []
    if activation.name == "relu":
        return [partial(clip_ufunc, y, ZERO, INFINITY, y)]
    if activation.name == "leaky_relu":
        return _leaky_steps(activation, buffers)
    if activation.name == "softmax":
        return _softmax_steps(buffers)
    if activation.definition.is_over_row and not buffers.by_rows:
        y = y.T  # the last axis is that of the outputs, for one row too
    return [partial(activation, y, out=y)]


def _leaky_steps(activation: Activation, buffers: Buffers) -> list[NumpyCall]:
    """v or alpha * v, whichever is larger; smaller where alpha > 1. The same values as choosing by v >= 0.

    fmax and fmin, because alpha * v is NaN where v overflowed and alpha is 0.
    """
    alpha = dict(activation.params)["alpha"]
    choose = np.fmax if alpha <= 1 else np.fmin
    y, scratch = buffers.target, buffers.scratch
    return [partial(np.multiply, y, np.array(alpha, np.float32), scratch), partial(choose, y, scratch, y)]


def _softmax_steps(buffers: Buffers) -> list[NumpyCall]:
    """exp(y - max y) / sum, summed in the order of the classes, so that one row and many give the same bits.

    For one row the last of the running maxima and sums are read: NumPy accumulates in half the time of a reduction.
    """
    y, row, scratch = buffers.target, buffers.row, buffers.scratch
    if y.ndim == 1:
        assert scratch is not None
        last = scratch[-1:].reshape(())
        top = partial(np.maximum.accumulate, y, 0, None, scratch)
        total = partial(np.add.accumulate, y, 0, None, scratch)
    else:
        last = row
        top = partial(np.maximum.reduce, y, 0, None, row)
        total = partial(np.add.reduce, y, 0, None, row)
    return [
        top,
        partial(np.subtract, y, last, y),
        partial(np.exp, y, y),
        total,
        partial(np.divide, y, last, y),
    ]
