"""Where every byte of an engine goes, before it is made; which of its plans an engine follows: `plan_choice`.

An engine holds the model (its bytes as stored, or none where they are mapped from a file), widened copies of the
weights that are to be fast, and one arena: two buffers that layers read from and write to in turn, and scratch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edge_runtime.engine.arena import ALIGNMENT, Region, lay_out
from edge_runtime.engine.model_bytes import held_bytes
from edge_runtime.layers import Dense, DynamicQuantizedDense, Int4Dense, Layer, LayerNorm, QuantizedDense, Stage
from edge_runtime.model import Model
from edge_runtime.numerics import FLOAT32_EXACT

STACKED_BYTES = 128 << 10  # float32 layers up to this size get a copy with their bias stacked: there a call counts
_F32, _F64, _INDEX = 4, 8, np.dtype(np.intp).itemsize


class PlanStep(NamedTuple):
    """One layer's bytes: weights as stored, and their widened copy.

    lean: the weights are widened at each run, `tile_rows` rows of the matrix at a time, instead of being kept widened.
    stacked: the copy has the bias as a row over the weights, so that the product adds it. tile_bytes, partial_bytes: of
    the arena, for a tile, and for each row of a product that is one of several to be added up. nibble_bytes: of the
    arena, in which 4-bit weights of a tile are taken apart.
    """

    name: str
    kind: str
    stored_bytes: int
    widened_bytes: int
    lean: bool
    stacked: bool
    tile_rows: int
    tile_bytes: int
    partial_bytes: int
    nibble_bytes: int = 0


class MemoryPlan(NamedTuple):
    """The bytes of an engine: total_bytes is the sum of weight_, other_, widened_, arena_ and temporary_bytes.

    block: the most rows that go through the network together. weight_bytes: the layers' arrays as stored, 0 where they
    are mapped from a file. other_bytes: what the model holds beside them (test vectors, preprocessing, the headers of
    the file it was read from). temporary_bytes: what an activation in float32 allocates while it is computed, for those
    that need more than their output (see `activations.Definition`). regions: the arena's parts. Not counted: results,
    which are the caller's; Python's own objects, some kilobytes; and scratch of 128 KiB at most that a call of NumPy on
    many rows, or a check of a large layer, takes for a moment.
    """

    block: int
    weight_bytes: int
    other_bytes: int
    widened_bytes: int
    arena_bytes: int
    temporary_bytes: int
    regions: dict[str, Region]
    steps: tuple[PlanStep, ...]

    def __repr__(self) -> str:
        """The sum, in one line; printed, a table."""
        return f"MemoryPlan({self.total_bytes:,} B, {self.block:,} rows at once, {len(self.steps):,} layers)"

    def __str__(self) -> str:
        from edge_runtime.engine.printing import plan_text  # for those who print it

        return plan_text(self)

    @property
    def total_bytes(self) -> int:
        """The most bytes that are allocated while the engine lives."""
        return self.weight_bytes + self.other_bytes + self.widened_bytes + self.arena_bytes + self.temporary_bytes


def is_dynamic(model: Model) -> bool:
    """Whether a layer quantizes its input by the whole batch."""
    return any(isinstance(layer, DynamicQuantizedDense) for layer in model.layers)


def compute_dtype(layer: Layer) -> type:
    """The dtype of a layer's matrix product: float32, or float64 where float32 sums of the integers are not exact."""
    if isinstance(layer, (Dense, Stage)) or layer.certificate < FLOAT32_EXACT:
        return np.float32
    return np.float64


def lay_plan(model: Model, block: int, without_copy: frozenset[int], tile_bytes: int) -> MemoryPlan:
    """One plan of a model; see `Drafts.lay`."""
    return Drafts(model).lay(block, without_copy, tile_bytes)


class Drafts:
    """The plans of one model. What they share is found out once, so that hundreds of them take little time."""

    def __init__(self, model: Model) -> None:
        self._layers = model.layers
        self._held = held_bytes(model)
        self._row_bytes = _row_bytes(model)
        self._sums_bytes = _F32 * max(layer.n_in if isinstance(layer, LayerNorm) else 0 for layer in model.layers)
        self._temporary = max(temporary_bytes_a_row(layer) for layer in model.layers)
        reads_users_rows = model.preprocessing is None and isinstance(model.layers[0], Dense)
        # a first layer that reads the user's own rows, which no one stands before, is never stacked
        self._never = frozenset({0} if reads_users_rows and model.layers[0].precision == "float32" else ())
        self._steps: dict[tuple[int, bool, int], PlanStep] = {}

    def lay(self, block: int, without_copy: frozenset[int], tile_bytes: int) -> MemoryPlan:
        """The plan for `block` rows at a time, without the copies of the layers that are named by their position.

        tile_bytes: how much of a matrix is widened at a time; at least one row of it.
        """
        without_copy |= self._never
        steps = tuple(self._step(index, index not in without_copy, tile_bytes) for index in range(len(self._layers)))
        regions = lay_out(self._region_sizes(block, steps))
        weights = 0 if self._held.mapped else sum(step.stored_bytes for step in steps)
        return MemoryPlan(
            block=block,
            weight_bytes=weights,
            other_bytes=self._held.allocated - weights,
            widened_bytes=sum(step.widened_bytes for step in steps),
            arena_bytes=max(-(-region.end // 64) * 64 for region in regions.values()),
            temporary_bytes=block * self._temporary,
            regions=regions,
            steps=steps,
        )

    def _step(self, index: int, copied: bool, tile_bytes: int) -> PlanStep:
        key = (index, copied, tile_bytes)
        if key not in self._steps:
            self._steps[key] = _step(self._layers[index], copied, tile_bytes)
        return self._steps[key]

    def _region_sizes(self, block: int, steps: tuple[PlanStep, ...]) -> dict[str, int]:
        """Bytes of each region for `block` rows."""
        sizes = {name: block * nbytes for name, nbytes in self._row_bytes.items()}
        ones = -(-block * _F32 // ALIGNMENT) * ALIGNMENT if any(step.stacked for step in steps) else 0
        return {
            "ping_ones": ones,
            "ping": sizes.pop("ping"),
            "pong_ones": ones,
            **sizes,
            "sums": self._sums_bytes,
            "partial": block * max(step.partial_bytes for step in steps),
            "tile": max(step.tile_bytes for step in steps),
            "nibbles": max(step.nibble_bytes for step in steps),
        }


def _step(layer: Layer, copied: bool, tile_bytes: int) -> PlanStep:
    lean = layer.precision != "float32" and not copied
    row_bytes = layer.n_out * np.dtype(compute_dtype(layer)).itemsize
    tile_rows = _tile_rows(layer, tile_bytes // row_bytes) if lean else 0
    return PlanStep(
        name=layer.name,
        kind=layer.precision,
        stored_bytes=sum(array.nbytes for array in layer.arrays().values()),
        widened_bytes=_constant_bytes(layer, copied) + (copy_bytes(layer) if copied else 0),
        lean=lean,
        stacked=copied and _can_be_stacked(layer),
        tile_rows=tile_rows,
        tile_bytes=tile_rows * row_bytes,
        partial_bytes=row_bytes if 0 < tile_rows < layer.n_in else 0,
        nibble_bytes=(tile_rows + 1) // 2 * layer.n_out if isinstance(layer, Int4Dense) else 0,
    )


def _tile_rows(layer: Layer, rows: int) -> int:
    """As many rows as fit, and one at least; of 4-bit weights, two of which are a byte, an even number of them."""
    together = 2 if isinstance(layer, Int4Dense) else 1
    return min(layer.n_in, max(1, rows // together) * together)


def _row_bytes(model: Model) -> dict[str, int]:
    """Bytes for one row of the regions that every plan has.

    A layer's source is dead once its product is made, and is the scratch.
    """
    buffers = [model.n_in, 0]
    wide_source = wide_target = index = 0
    for position, layer in enumerate(model.layers):
        source, target = position % 2, (position + 1) % 2
        buffers[target] = max(buffers[target], layer.n_out)
        buffers[source] = max(buffers[source], layer.n_out if needs_scratch(layer) else 0)
        if compute_dtype(layer) is np.float64:
            wide_source, wide_target = max(wide_source, layer.n_in), max(wide_target, layer.n_out)
        if isinstance(layer, QuantizedDense) and layer.table is not None:
            index = max(index, layer.n_out)
    return {
        "ping": buffers[0] * _F32,
        "pong": buffers[1] * _F32,
        "row": _F32,
        "wide_source": wide_source * _F64,
        "wide_target": wide_target * _F64,
        "index": index * _INDEX,
    }


def needs_scratch(layer: Layer) -> bool:
    """Whether its activation works in a second array of the output's size."""
    return layer.activation.name in ("leaky_relu", "softmax") or isinstance(layer, Stage)


def temporary_bytes_a_row(layer: Layer) -> int:
    """What a float32 activation allocates for each row. int8 has it as a table; the engine has its own leaky_relu."""
    is_table = isinstance(layer, QuantizedDense) and layer.output is not None
    if is_table or layer.activation.name == "leaky_relu":
        return 0
    return math.ceil(layer.activation.definition.temporaries * _F32 * layer.n_out)


def _can_be_stacked(layer: Layer) -> bool:
    """Whether a copy of the weights may begin with the bias: sums must be as exact with it as without."""
    if isinstance(layer, (DynamicQuantizedDense, Stage)) or compute_dtype(layer) is not np.float32:
        return False
    return layer.precision != "float32" or layer.weight.nbytes + layer.bias.nbytes <= STACKED_BYTES


def copy_bytes(layer: Layer) -> int:
    """Bytes of the copy of the weights that makes a layer fast; 0 for large float32 layers, used as they are stored."""
    if isinstance(layer, Stage) or (layer.precision == "float32" and not _can_be_stacked(layer)):
        return 0
    rows = layer.n_in + (1 if _can_be_stacked(layer) else 0)
    return rows * layer.n_out * np.dtype(compute_dtype(layer)).itemsize


def _constant_bytes(layer: Layer, copied: bool) -> int:
    """Bytes of what a layer needs besides a copy that makes it fast.

    int8: its table and, where it is not stacked, its bias as floats. float32: the weights without subnormals.
    """
    is_stacked = copied and _can_be_stacked(layer)
    if isinstance(layer, Dense):
        return int(layer.weight.nbytes) if layer.subnormals and not is_stacked else 0
    if not isinstance(layer, QuantizedDense):
        return 0
    table = 0 if layer.table is None else _F32 * int(layer.table.size)
    return table + (0 if is_stacked else int(layer.bias.size) * np.dtype(compute_dtype(layer)).itemsize)
