"""The steps of an engine: each layer as a flat list of NumPy calls, bound to their buffers once.

Between int8 layers the buffers hold centered integers, q - zero_point, as float32: rounding gives exactly these, and
the next product needs exactly these, so the zero point is neither added nor subtracted. `trace` shows the uint8 values.

One row runs on vectors (n,), the quickest calls that NumPy has. Many rows run by rows, (rows, n), or feature-major,
(n, rows), whichever `program` finds quicker for the network; sources are always seen as (n, rows).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edge_runtime.activations import Activation
from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.planner import compute_dtype
from edge_runtime.quantization import QMAX, QMIN, QuantParams, dynamic_grid
from edge_runtime.subnormals import flushed
from edge_runtime.ufuncs import clip

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
Step = Callable[[], Any]

ZERO, INFINITY = (np.array(value, np.float32) for value in (0.0, np.inf))


@dataclass(frozen=True, eq=False)
class Buffers:
    """A layer's views of the arena. Scratch that a layer does not need is None.

    source: (n_in,), or feature-major (n_in, rows); it may be a transposed view. target: likewise; (rows, n_out) where
    `by_rows`, which a last layer may be. scratch: like target, in the memory of the source, which is dead by then.
    row: one value a row. wide_source, wide_target: float64. index: intp. partial: like the product. tile: 1-D.
    """

    source: Array
    target: Array
    by_rows: bool
    scratch: Array | None
    row: Array
    wide_source: Array | None
    wide_target: Array | None
    index: Array | None
    partial: Array | None
    tile: Array | None

    def per_output(self, values: Array) -> Array:
        """One value per output channel, in the shape that goes with the target."""
        return values if self.target.ndim == 1 or self.by_rows else values.reshape(-1, 1)


@dataclass(frozen=True, eq=False)
class Constants:
    """A layer's arrays as its steps read them.

    weight: widened, or as stored where the layer is lean. bias: in the product's dtype; None for int8-dynamic, whose
    bias is added after scaling. table: centered float32. tile_rows: 0, or rows of the weight that are widened at a
    time.
    """

    weight: Array
    bias: Array | None
    table: Array | None
    tile_rows: int


def make_constants(layer: Layer, tile_rows: int) -> Constants:
    """The arrays for a layer. A float32 layer's own are used as they are, unless some weights are subnormal."""
    dtype = compute_dtype(layer)
    weight = layer.weight if tile_rows else np.asarray(layer.weight, dtype)
    if isinstance(layer, Dense) and layer.subnormals:
        weight = flushed(layer.weight)
    if isinstance(layer, DynamicQuantizedDense):
        return Constants(weight, None, None, tile_rows)
    table = None
    if isinstance(layer, QuantizedDense) and layer.table is not None and layer.table_output is not None:
        table = layer.table.astype(np.float32)
        table -= np.float32(layer.table_output.zero_point)
    return Constants(weight, np.asarray(layer.bias, dtype), table, tile_rows)


def entry_steps(model: Model, source: Array) -> tuple[Callable[[Array], Any], list[Step]]:
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
    layer: Layer, constants: Constants, buffers: Buffers, *, quantize_input: bool, activate: bool
) -> list[Step]:
    """The calls that take `buffers.source` to `buffers.target` through one layer.

    quantize_input: the source holds real values that must be put on an int8 layer's input grid first (not for the
    network's own input, see `entry_steps`).
    activate: whether a float32 activation that follows is computed too (False gives the logits).
    """
    target = buffers.target
    if isinstance(layer, QuantizedDense):
        steps = _center_steps(layer.input, buffers.source) if quantize_input else []
        steps += _product_steps(constants, buffers)
        steps.append(partial(np.multiply, target, buffers.per_output(layer.multiplier), target))
        if layer.output is not None:
            return steps + _round_steps(layer, layer.output, constants, buffers)
    elif isinstance(layer, DynamicQuantizedDense):
        steps = _dynamic_steps(layer, constants, buffers)
    else:
        steps = _product_steps(constants, buffers)
    return steps + (activation_steps(layer.activation, buffers) if activate else [])


def _center_steps(grid: QuantParams, x: Array) -> list[Step]:
    """x = rint(clip(x / scale)): centered integers. NaN becomes the grid's minimum, as fmax drops NaN."""
    scale, low, high = (
        np.array(value, np.float32) for value in (grid.scale, QMIN - grid.zero_point, QMAX - grid.zero_point)
    )
    return [
        partial(np.divide, x, scale, x),
        partial(np.fmax, x, low, x),
        partial(clip, x, low, high, x),
        partial(np.rint, x, x),
    ]


def _dynamic_steps(layer: DynamicQuantizedDense, constants: Constants, buffers: Buffers) -> list[Step]:
    """Quantize by the batch, multiply, scale: the input's scale is known only when the step runs."""
    target = buffers.target
    scale = np.empty((), np.float32)
    return [
        partial(_center_dynamically, buffers.source, scale),
        *_product_steps(constants, buffers),
        partial(np.multiply, target, buffers.per_output(layer.weight_scale), target),
        partial(np.multiply, target, scale, target),
        partial(np.add, target, buffers.per_output(layer.bias), target),
    ]


def _center_dynamically(x: Array, scale: Array) -> None:
    """x = centered integers on the grid that spans x; `scale` receives the grid's scale."""
    step, zero_point = dynamic_grid(x)
    scale[...] = step
    np.divide(x, step, x)
    clip(x, np.float32(QMIN - zero_point), np.float32(QMAX - zero_point), x)
    np.rint(x, x)


def _product_steps(constants: Constants, buffers: Buffers) -> list[Step]:
    """target = source @ weight + bias. float64 accumulators round to float32 once, as an integer's conversion does."""
    if buffers.wide_source is None or buffers.wide_target is None:
        return _dot_steps(constants, buffers.source, buffers.target, buffers)
    return [
        partial(np.copyto, buffers.wide_source, buffers.source),
        *_dot_steps(constants, buffers.wide_source, buffers.wide_target, buffers),
        partial(np.copyto, buffers.target, buffers.wide_target, casting="same_kind"),
    ]


def _dot_steps(constants: Constants, source: Array, target: Array, buffers: Buffers) -> list[Step]:
    steps = _tiled_dot_steps(constants, source, target, buffers)
    if constants.bias is not None:
        steps.append(partial(np.add, target, buffers.per_output(constants.bias), target))
    return steps


def _tiled_dot_steps(constants: Constants, source: Array, target: Array, buffers: Buffers) -> list[Step]:
    """The product; for a lean layer tile by tile: widen some rows of the weights, multiply, add up."""
    weight, tile_rows = constants.weight, constants.tile_rows
    if not tile_rows:
        return [product_step(source, weight, target, buffers.by_rows)]
    assert buffers.tile is not None
    steps: list[Step] = []
    n_in, n_out = weight.shape
    for start in range(0, n_in, tile_rows):
        stop = min(start + tile_rows, n_in)
        tile = buffers.tile[: (stop - start) * n_out].reshape(stop - start, n_out)
        steps.append(partial(np.copyto, tile, weight[start:stop]))
        if start == 0:
            steps.append(product_step(source[start:stop], tile, target, buffers.by_rows))
        else:
            assert buffers.partial is not None
            steps.append(product_step(source[start:stop], tile, buffers.partial, buffers.by_rows))
            steps.append(partial(np.add, target, buffers.partial, target))
    return steps


def product_step(source: Array, weight: Array, target: Array, by_rows: bool) -> Step:
    """target = weight^T source, in the orientation of the target; BLAS takes transposed views as they are."""
    if source.ndim == 1:
        return partial(np.dot, source, weight, target)
    return partial(np.dot, source.T, weight, target) if by_rows else partial(np.dot, weight.T, source, target)


def _round_steps(layer: QuantizedDense, grid: QuantParams, constants: Constants, buffers: Buffers) -> list[Step]:
    """Activation by arithmetic, then rint(clip(v)), then the table: centered integers on the output grid."""
    y = buffers.target
    lowest = 0 if layer.activation.name == "relu" else QMIN - grid.zero_point
    low, high = np.array(lowest, np.float32), np.array(QMAX - grid.zero_point, np.float32)
    steps = _leaky_steps(layer.activation, buffers) if layer.activation.name == "leaky_relu" else []
    steps += [partial(clip, y, low, high, y), partial(np.rint, y, y)]
    if constants.table is None:
        return steps
    assert buffers.index is not None
    zero_point = np.array(grid.zero_point, np.float32)
    return [
        *steps,
        partial(np.add, y, zero_point, y),
        partial(np.copyto, buffers.index, y, casting="unsafe"),
        # mode="clip" lets take write straight into its output; the indices are in range anyway
        partial(np.take, constants.table, buffers.index, out=y, mode="clip"),
    ]


def activation_steps(activation: Activation, buffers: Buffers) -> list[Step]:
    """A float32 activation of `buffers.target`, in place."""
    y = buffers.target
    if activation.name == "linear":
        return []
    if activation.name == "relu":
        return [partial(clip, y, ZERO, INFINITY, y)]
    if activation.name == "leaky_relu":
        return _leaky_steps(activation, buffers)
    if activation.name == "softmax":
        return _softmax_steps(buffers)
    return [partial(activation, y, out=y)]


def _leaky_steps(activation: Activation, buffers: Buffers) -> list[Step]:
    """v or alpha * v, whichever is larger; smaller where alpha > 1. The same values as choosing by v >= 0.

    fmax and fmin, because alpha * v is NaN where v overflowed and alpha is 0.
    """
    alpha = dict(activation.params)["alpha"]
    choose = np.fmax if alpha <= 1 else np.fmin
    y, scratch = buffers.target, buffers.scratch
    return [partial(np.multiply, y, np.array(alpha, np.float32), scratch), partial(choose, y, scratch, y)]


def _softmax_steps(buffers: Buffers) -> list[Step]:
    """exp(y - max y) / sum, summed in the order of the classes, so that one row and many give the same bits.

    What lies by rows is turned first: NumPy reduces along the slow axis many times faster.
    """
    y, row, scratch = buffers.target, buffers.row, buffers.scratch
    assert scratch is not None
    if y.ndim == 1:
        return [partial(_softmax_vector, y, scratch, scratch[-1:])]
    turned = scratch if buffers.by_rows else y
    steps: list[Step] = [
        partial(np.maximum.reduce, turned, 0, None, row),
        partial(np.subtract, turned, row, turned),
        partial(np.exp, turned, turned),
        partial(np.add.reduce, turned, 0, None, row),
        partial(np.divide, turned, row, turned),
    ]
    return [partial(np.copyto, turned, y.T), *steps, partial(np.copyto, y, turned.T)] if buffers.by_rows else steps


def _softmax_vector(y: Array, sums: Array, total: Array) -> None:
    """Softmax of one row, in place. sums: like y. total: its last entry. Running sums are quicker than a reduction."""
    np.subtract(y, y[y.argmax()], y)
    np.exp(y, y)
    np.add.accumulate(y, 0, None, sums)
    np.divide(y, total, y)
