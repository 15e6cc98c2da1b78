"""Where every byte of an engine goes, decided before it is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.errors import BudgetExceeded
from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer, QuantizedDense
from edge_runtime.limits import Limits
from edge_runtime.model import Model
from edge_runtime.quantization import FLOAT32_EXACT

DEFAULT_BLOCK = 32  # rows that go through the network together
DYNAMIC_BATCH = 256  # rows of an int8-dynamic model, whose batch cannot be cut without changing the answers
_F32, _F64, _INDEX = 4, 8, np.dtype(np.intp).itemsize


@dataclass(frozen=True)
class PlanStep:
    """One layer's bytes: weights as stored, their widened copy, and the arena while it runs."""

    name: str
    kind: str
    stored_bytes: int
    widened_bytes: int
    arena_bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """The bytes an engine holds. total_bytes = weight_bytes + widened_bytes + arena_bytes.

    buffers: floats in each of the two buffers that layers read from and write to in turn; scratch buffers follow them.
    """

    block: int
    weight_bytes: int
    widened_bytes: int
    arena_bytes: int
    buffers: tuple[int, int]
    wide_floats: tuple[int, int]
    index_entries: int
    steps: tuple[PlanStep, ...]

    @property
    def total_bytes(self) -> int:
        """All bytes that stay allocated while the engine lives."""
        return self.weight_bytes + self.widened_bytes + self.arena_bytes


def is_dynamic(model: Model) -> bool:
    """Whether a layer quantizes its input by the whole batch."""
    return any(isinstance(layer, DynamicQuantizedDense) for layer in model.layers)


def is_float32_exact(layer: QuantizedDense | DynamicQuantizedDense) -> bool:
    """Whether float32 matrix products of this layer's integers are exact in any order (see `certificate`)."""
    return layer.certificate < FLOAT32_EXACT


def needs_scratch(layer: Layer) -> bool:
    """Whether its activation needs a second buffer of the output's size."""
    return layer.activation.name == "leaky_relu"


def make_plan(model: Model, limits: Limits) -> MemoryPlan:
    """The plan that an engine for `model` follows. Raises BudgetExceeded where it is larger than `limits.ram_bytes`."""
    if is_dynamic(model):
        blocks = [limits.max_batch or DYNAMIC_BATCH]
    else:
        blocks = [min(DEFAULT_BLOCK, limits.max_batch or DEFAULT_BLOCK)]
    while not is_dynamic(model) and limits.ram_bytes is not None and blocks[-1] > 1:
        blocks.append(blocks[-1] // 2)
    plans = [_plan(model, block) for block in blocks]
    for plan in plans:
        if limits.ram_bytes is None or plan.total_bytes <= limits.ram_bytes:
            return plan
    _refuse(plans[-1], limits.ram_bytes or 0)
    raise AssertionError("unreachable")


def _refuse(smallest: MemoryPlan, budget: int) -> None:
    largest = max(smallest.steps, key=lambda step: step.stored_bytes + step.widened_bytes)
    raise BudgetExceeded(
        f"the model needs {smallest.total_bytes:,} B at one row at a time, the budget is {budget:,} B, "
        f"missing {smallest.total_bytes - budget:,} B; the largest layer is '{largest.name}' with "
        f"{largest.stored_bytes:,} B of {largest.kind} weights and {largest.widened_bytes:,} B of widened copies: "
        "use a smaller layer or raise the budget"
    )


def _plan(model: Model, block: int) -> MemoryPlan:
    buffers, wide, index = [model.n_in, 0], [0, 0], 0
    steps = []
    for position, layer in enumerate(model.layers):
        source, target = position % 2, (position + 1) % 2
        buffers[target] = max(buffers[target], layer.n_out)
        if needs_scratch(layer):
            buffers[source] = max(buffers[source], layer.n_out)
        wide_here, index_here = _extra(layer)
        wide = [max(a, b) for a, b in zip(wide, wide_here, strict=True)]
        index = max(index, index_here)
        stored = sum(array.nbytes for array in layer.arrays().values())
        arena = block * (_F32 * (layer.n_in + layer.n_out) + _F64 * sum(wide_here) + _INDEX * index_here)
        steps.append(PlanStep(layer.name, layer.precision, stored, _widened_bytes(layer), arena))
    return MemoryPlan(
        block=block,
        weight_bytes=sum(step.stored_bytes for step in steps),
        widened_bytes=sum(step.widened_bytes for step in steps),
        arena_bytes=block * (_F32 * (sum(buffers) + 1) + _F64 * sum(wide) + _INDEX * index),
        buffers=(buffers[0], buffers[1]),
        wide_floats=(wide[0], wide[1]),
        index_entries=index,
        steps=tuple(steps),
    )


def _extra(layer: Layer) -> tuple[tuple[int, int], int]:
    """Scratch entries per row: float64 input and accumulator where float32 is not exact, and table indices."""
    if isinstance(layer, Dense):
        return (0, 0), 0
    wide = (0, 0) if is_float32_exact(layer) else (layer.n_in, layer.n_out)
    return wide, layer.n_out if isinstance(layer, QuantizedDense) and layer.table is not None else 0


def _widened_bytes(layer: Layer) -> int:
    """Bytes of the float copies that the matrix products read: none for float32, which is used as stored."""
    if isinstance(layer, Dense):
        return 0 if layer.weight.dtype == np.float32 else _F32 * layer.weight.size
    item = _F32 if is_float32_exact(layer) else _F64
    if isinstance(layer, DynamicQuantizedDense):
        return item * layer.weight.size
    table = 0 if layer.table is None else _F32 * layer.table.size
    return item * (layer.weight.size + layer.bias.size) + table
