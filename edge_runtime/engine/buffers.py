"""What a layer's steps read and write: its constants as the matrix product wants them, its views of the arena."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_runtime.engine.plan import PlanStep, compute_dtype
from edge_runtime.layers import Dense, DynamicQuantizedDense, Int4Dense, Layer, QuantizedDense, Stage
from edge_runtime.numerics import Nibbles, flush, flushed

if TYPE_CHECKING:
    from edge_runtime.array_types import Array


class Constants(NamedTuple):
    """A layer's arrays as its steps read them.

    weight: (n_in, n_out), widened, or as stored where the layer is lean: 4-bit weights packed. bias: (n_out,) in the
    product's dtype; None for int8-dynamic, whose bias is added after scaling. stacked: (1 + n_in, n_out), the bias as a
    row over the weights, for a source that begins with a one: the product adds the bias; `weight` and `bias` are then
    its parts. table: centered float32. tile_rows: 0, or rows of the weight that are widened at a time.
    """

    weight: Array | Nibbles
    bias: Array | None
    stacked: Array | None
    table: Array | None
    tile_rows: int


NO_CONSTANTS = Constants(np.empty((0, 0), np.float32), None, None, None, 0)


class Buffers(NamedTuple):
    """A layer's views of the arena. Scratch that a layer does not need is None.

    source: (n_in,), or feature-major (n_in, rows); it may be a transposed view. source_and_one: (1 + n_in,) or (1 +
    n_in, rows), ones and then the source; None where the source does not stand behind ones. target: likewise; (rows,
    n_out) where `by_rows`, which a last layer may be. scratch: like target, in the memory of the source, which is
    dead by then. row: one value a row. sums: (n,), the running sums of one row of a LayerNorm. wide_source,
    wide_target: float64. indices: intp. partial: like the product. tile: 1-D. nibbles: uint8, 1-D.
    """

    source: Array
    source_and_one: Array | None
    target: Array
    by_rows: bool
    scratch: Array | None
    row: Array
    sums: Array | None
    wide_source: Array | None
    wide_target: Array | None
    indices: Array | None
    partial: Array | None
    tile: Array | None
    nibbles: Array | None = None

    def per_output(self, values: Array) -> Array:
        """One value per output channel, in the shape that goes with the target."""
        return values if self.target.ndim == 1 or self.by_rows else values.reshape(-1, 1)


def make_constants(layer: Layer, step: PlanStep) -> Constants:
    """The arrays for a layer. A float32 layer's own are used as they are, unless its bias is to be stacked.

    A stage reads its own, and has none here. Subnormal weights count as 0 (see `edge_runtime.numerics.subnormals`).
    """
    if isinstance(layer, Stage):
        return NO_CONSTANTS
    dtype = compute_dtype(layer)
    stacked: Array | None = None
    weight: Array | Nibbles
    if step.stacked:
        stacked = np.empty((1 + layer.n_in, layer.n_out), dtype)
        stacked[0] = layer.bias
        weight, bias = _widened_into(stacked[1:], layer), stacked[0]
    else:
        weight, bias = _without_bias(layer, step), np.asarray(layer.bias, dtype)
    table = None
    if isinstance(layer, QuantizedDense) and layer.table is not None and layer.table_output is not None:
        table = layer.table.astype(np.float32)
        table -= np.float32(layer.table_output.zero_point)
    is_dynamic = isinstance(layer, DynamicQuantizedDense)
    return Constants(weight, None if is_dynamic else bias, stacked, table, step.tile_rows)


def _widened_into(values: Array, layer: Dense | QuantizedDense | DynamicQuantizedDense) -> Array:
    """`values` (n_in, n_out), with the weights written to it."""
    if isinstance(layer, Int4Dense):
        layer.nibbles.unpack_into(values)
    else:
        np.copyto(values, layer.weight)
    if isinstance(layer, Dense) and layer.subnormals:
        flush(values)
    return values


def _without_bias(layer: Dense | QuantizedDense | DynamicQuantizedDense, step: PlanStep) -> Array | Nibbles:
    """The weights, widened, or as they are stored where the layer is lean."""
    if isinstance(layer, Int4Dense):
        return layer.nibbles if step.lean else layer.nibbles.unpacked(compute_dtype(layer))
    weight = layer.weight if step.lean else np.asarray(layer.weight, compute_dtype(layer))
    return flushed(weight) if isinstance(layer, Dense) and layer.subnormals else weight
