"""Where every byte of an engine goes, decided before it is made.

An engine holds the model (its bytes as stored, or none where they are mapped from a file), widened copies of the
weights that are to be fast, and one arena: two buffers that layers read from and write to in turn, and scratch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_runtime.arena import Region, lay_out
from edge_runtime.errors import BudgetExceeded
from edge_runtime.held import held_bytes
from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer, QuantizedDense
from edge_runtime.limits import Limits
from edge_runtime.model import Model
from edge_runtime.quantization import FLOAT32_EXACT

BLOCKS = (256, 128, 64, 32, 16, 8, 4, 2, 1)  # rows that go through the network together
DYNAMIC_BATCH = 256  # rows of an int8-dynamic model, whose batch cannot be cut without changing the answers
_F32, _F64, _INDEX = 4, 8, np.dtype(np.intp).itemsize


@dataclass(frozen=True)
class PlanStep:
    """One layer's bytes: weights as stored, and their widened copy.

    lean: the weights are widened at each run, `tile_rows` rows of the matrix at a time, instead of being kept widened.
    """

    name: str
    kind: str
    stored_bytes: int
    widened_bytes: int
    lean: bool
    tile_rows: int
    buffer_bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """The bytes of an engine: total_bytes = weight_bytes + other_bytes + widened_bytes + arena_bytes.

    block: the most rows that go through the network together. weight_bytes: the layers' arrays as stored, 0 where they
    are mapped from a file. other_bytes: what the model holds beside them (test vectors, preprocessing, the headers of
    the file it was read from). regions: the arena's parts. Python's own objects, some kilobytes, are not counted.
    """

    block: int
    weight_bytes: int
    other_bytes: int
    widened_bytes: int
    arena_bytes: int
    regions: dict[str, Region]
    steps: tuple[PlanStep, ...]

    @property
    def total_bytes(self) -> int:
        """All bytes that stay allocated while the engine lives."""
        return self.weight_bytes + self.other_bytes + self.widened_bytes + self.arena_bytes


def is_dynamic(model: Model) -> bool:
    """Whether a layer quantizes its input by the whole batch."""
    return any(isinstance(layer, DynamicQuantizedDense) for layer in model.layers)


def compute_dtype(layer: Layer) -> type:
    """The dtype of a layer's matrix product: float32, or float64 where float32 sums of the integers are not exact."""
    if isinstance(layer, Dense) or layer.certificate < FLOAT32_EXACT:
        return np.float32
    return np.float64


def make_plan(model: Model, limits: Limits) -> MemoryPlan:
    """The fastest plan within `limits.ram_bytes`. Raises BudgetExceeded where even the smallest is larger.

    Tried in the order of their speed: all weights widened with ever smaller blocks down to 32 rows, then the largest
    layers lean one after the other, then smaller blocks, and at last smaller tiles.
    """
    smallest = None
    for plan in _candidates(model, limits):
        if limits.ram_bytes is None or plan.total_bytes <= limits.ram_bytes:
            return plan
        smallest = plan if smallest is None or plan.total_bytes < smallest.total_bytes else smallest
    assert smallest is not None  # there is always a candidate
    raise BudgetExceeded(_refusal(model, smallest, limits.ram_bytes or 0))


def _candidates(model: Model, limits: Limits) -> Iterator[MemoryPlan]:
    if is_dynamic(model):
        blocks: tuple[int, ...] = (limits.max_batch or DYNAMIC_BATCH,)
    else:
        most = limits.max_batch or BLOCKS[0]
        blocks = tuple(block for block in BLOCKS if block <= most) if most in BLOCKS else _blocks_for(most)
    can_be_lean = sorted(
        (i for i, layer in enumerate(model.layers) if _widened_bytes(layer)),
        key=lambda i: _widened_bytes(model.layers[i]),
    )
    large = [block for block in blocks if block >= 32] or [blocks[0]]
    if limits.lean:
        large = []
        yield _plan(model, blocks[0], frozenset(can_be_lean), 1)
    for block in large:
        yield _plan(model, block, frozenset(), 1)
    if limits.ram_bytes is None:
        return
    for count in range(1, len(can_be_lean) + 1):  # the smallest first: they cost the least to widen at each run
        lean = frozenset(can_be_lean[:count])
        for block in large:
            yield _plan(model, block, lean, 1)
    everything = frozenset(can_be_lean)
    for parts in (1, 4, 16, 1 << 62):  # 1 << 62: one row of a matrix at a time
        for block in blocks:
            yield _plan(model, block, everything, parts)


def _blocks_for(most: int) -> tuple[int, ...]:
    """Blocks for a batch limit that is no power of two: the next one up would never be filled, so the next one down."""
    return tuple(block for block in BLOCKS if block <= most) or (1,)


def _plan(model: Model, block: int, lean: frozenset[int], parts: int) -> MemoryPlan:
    steps = tuple(_step(layer, block, index in lean, parts) for index, layer in enumerate(model.layers))
    regions = lay_out(_region_sizes(model, block, steps))
    weights = sum(step.stored_bytes for step in steps)
    held = held_bytes(model)
    mapped = held.mapped > 0
    return MemoryPlan(
        block=block,
        weight_bytes=0 if mapped else weights,
        other_bytes=held.allocated - (0 if mapped else weights),
        widened_bytes=sum(step.widened_bytes for step in steps),
        arena_bytes=max(-(-region.end // 64) * 64 for region in regions.values()),
        regions=regions,
        steps=steps,
    )


def _step(layer: Layer, block: int, lean: bool, parts: int) -> PlanStep:
    return PlanStep(
        name=layer.name,
        kind=layer.precision,
        stored_bytes=sum(array.nbytes for array in layer.arrays().values()),
        widened_bytes=_constant_bytes(layer) + (0 if lean else _widened_bytes(layer)),
        lean=lean,
        tile_rows=max(1, -(-layer.n_in // parts)) if lean else 0,
        buffer_bytes=block * _F32 * (layer.n_in + layer.n_out),
    )


def _region_sizes(model: Model, block: int, steps: tuple[PlanStep, ...]) -> dict[str, int]:
    """Bytes of each region for `block` rows. A layer's source is dead once its product is made, and is the scratch."""
    buffers = [model.n_in, 0]
    tile = partial_sum = wide_source = wide_target = index = 0
    for position, (layer, step) in enumerate(zip(model.layers, steps, strict=True)):
        source, target = position % 2, (position + 1) % 2
        buffers[target] = max(buffers[target], layer.n_out)
        buffers[source] = max(buffers[source], layer.n_out if needs_scratch(layer) else 0)
        item = np.dtype(compute_dtype(layer)).itemsize
        if item == _F64:
            wide_source, wide_target = max(wide_source, layer.n_in), max(wide_target, layer.n_out)
        if step.lean:
            tile = max(tile, step.tile_rows * layer.n_out * item)
            if step.tile_rows < layer.n_in:
                partial_sum = max(partial_sum, layer.n_out * item)
        if isinstance(layer, QuantizedDense) and layer.table is not None:
            index = max(index, layer.n_out)
    return {
        "ping": block * buffers[0] * _F32,
        "pong": block * buffers[1] * _F32,
        "row": block * _F32,
        "wide_source": block * wide_source * _F64,
        "wide_target": block * wide_target * _F64,
        "index": block * index * _INDEX,
        "partial": block * partial_sum,
        "tile": tile,
    }


def needs_scratch(layer: Layer) -> bool:
    """Whether its activation works in a second array of the output's size."""
    return layer.activation.name in ("leaky_relu", "softmax")


def _widened_bytes(layer: Layer) -> int:
    """Bytes of the float copy of the weights that the matrix product reads; 0 for float32, which is used as stored."""
    if layer.weight.dtype == np.float32:
        return 0
    return int(layer.weight.size) * np.dtype(compute_dtype(layer)).itemsize


def _constant_bytes(layer: Layer) -> int:
    """Bytes of what a layer needs in any plan: int8's bias and table as floats, float32 weights without subnormals."""
    if isinstance(layer, Dense):
        return int(layer.weight.nbytes) if layer.subnormals else 0
    if not isinstance(layer, QuantizedDense):
        return 0
    table = 0 if layer.table is None else _F32 * int(layer.table.size)
    return int(layer.bias.size) * np.dtype(compute_dtype(layer)).itemsize + table


def _refusal(model: Model, smallest: MemoryPlan, budget: int) -> str:
    largest = max(smallest.steps, key=lambda step: step.stored_bytes + step.buffer_bytes)
    advice = []
    without_weights = smallest.total_bytes - smallest.weight_bytes - smallest.other_bytes
    if smallest.weight_bytes and without_weights <= budget:
        advice.append(f"with the weights mapped from the file (mmap) it needs {without_weights:,} B")
    if model.precision in ("float32", "float16"):
        item = {"float32": 4, "float16": 2}[model.precision]
        int8 = smallest.total_bytes - smallest.weight_bytes * (item - 1) // item
        advice.append(f"as int8 it would need about {int8:,} B")
    if is_dynamic(model):
        advice.append("a smaller max_batch needs less")
    return (
        f"the smallest plan needs {smallest.total_bytes:,} B, the budget is {budget:,} B, missing "
        f"{smallest.total_bytes - budget:,} B; the largest layer is '{largest.name}' with {largest.stored_bytes:,} B "
        f"of {largest.kind} weights; {'; '.join(advice) or 'use smaller layers or a larger budget'}"
    )
