"""Why a model does not fit a budget, and what would: every alternative that is named has been planned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edge_runtime.artifact import artifact_bytes
from edge_runtime.engine.limits import Limits
from edge_runtime.engine.plan import MemoryPlan, compute_dtype, is_dynamic, lay_plan
from edge_runtime.engine.plan_choice import DYNAMIC_BATCH, smallest_plan
from edge_runtime.errors import Alternative, BudgetExceeded
from edge_runtime.layers import Dense, Layer, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import Activation, QuantParams

MMAP = "mmap"
# Any grid will do for a layer whose own grid is not looked at.
_SOME_GRID = QuantParams(1.0, 0)


def require_flash(model: Model, flash_bytes: int) -> None:
    """Raise BudgetExceeded if the model's artifact is larger than `flash_bytes`.

    The layer that is responsible is the one whose arrays take the most bytes of the file.
    """
    need = artifact_bytes(model)
    if need <= flash_bytes:
        return
    largest = max(model.layers, key=_stored_bytes)
    problem = f"the artifact has {need:,} B, the flash is {flash_bytes:,} B, missing {need - flash_bytes:,} B"
    weights = f"{_stored_bytes(largest):,} B of {largest.precision} weights"
    found = (need, flash_bytes, largest.name, f"{problem}; the largest layer is", weights)
    raise _exceeded(model, Limits(flash_bytes=flash_bytes), *found, [])


def ram_refusal(model: Model, limits: Limits, plan: MemoryPlan) -> BudgetExceeded:
    """The error for a model whose smallest plan needs more than `limits.ram_bytes`.

    The layer that is responsible is the one for which that plan has the most bytes: its arrays where they are held
    (mapped ones are not), what is kept widened for it, and the arena and temporary bytes that it would need alone.
    """
    have = limits.ram_bytes or 0
    held = [step.stored_bytes if plan.weight_bytes else 0 for step in plan.steps]
    beside = [step.widened_bytes + _running_bytes(model, plan, index) for index, step in enumerate(plan.steps)]
    index = max(range(len(plan.steps)), key=lambda index: held[index] + beside[index])
    step, need = plan.steps[index], plan.total_bytes
    problem = f"the smallest plan needs {need:,} B, the budget is {have:,} B, missing {need - have:,} B"
    weights = f"{held[index]:,} B of {step.kind} weights and " if held[index] else ""
    return _exceeded(
        model,
        limits,
        need,
        have,
        step.name,
        f"{problem}; the largest layer is",
        f"{weights}{beside[index]:,} B to run",
        list(_ram_alternatives(model, limits, plan)),
    )


def _exceeded(
    model: Model, limits: Limits, need: int, have: int, layer: str, problem: str, share: str, options: list[Alternative]
) -> BudgetExceeded:
    """The error with the options that need less than now, split into those that fit and those that do not."""
    smaller = [option for option in options if option.need_bytes < need]
    return BudgetExceeded(
        f"{problem} '{layer}' with {share}",
        need_bytes=need,
        have_bytes=have,
        layer=layer,
        alternatives=tuple(option for option in smaller if option.need_bytes <= have),
        beyond=tuple(option for option in smaller if option.need_bytes > have),
        model=model,
        limits=limits,
    )


def _running_bytes(model: Model, plan: MemoryPlan, index: int) -> int:
    """Arena and temporary bytes of a plan for one layer of it alone, in the same blocks and tiles."""
    layer, step = model.layers[index], plan.steps[index]
    layers = (layer, _narrow(layer)) if isinstance(layer, QuantizedDense) and layer.output is not None else (layer,)
    tile_bytes = step.tile_rows * layer.n_out * np.dtype(compute_dtype(layer)).itemsize
    copied = step.stacked or not (step.lean or isinstance(layer, Dense))
    alone = lay_plan(Model(layers), plan.block, frozenset(() if copied else (0, 1)), tile_bytes)
    return alone.arena_bytes + alone.temporary_bytes


def _narrow(layer: QuantizedDense) -> QuantizedDense:
    """A layer of one unit to stand after one whose values are on a grid: a network must end in floats."""
    return QuantizedDense(
        name=f"{layer.name}+",
        weight=np.zeros((layer.n_out, 1), np.int8),
        bias=np.zeros(1, np.int32),
        multiplier=np.ones(1, np.float32),
        input=layer.final_grid or _SOME_GRID,
        output=None,
        activation=Activation.of("linear"),
    )


def _ram_alternatives(model: Model, limits: Limits, smallest: MemoryPlan) -> Iterator[Alternative]:
    """Changes in the order of how little they change, each with the bytes of its smallest plan."""
    held = smallest.weight_bytes + smallest.other_bytes
    if is_dynamic(model):
        yield from _smaller_batches(model, limits)
    if held:
        yield Alternative(MMAP, smallest.total_bytes - held)
    if held and is_dynamic(model) and smallest.total_bytes - held > (limits.ram_bytes or 0):
        for change, need in _smaller_batches(model, limits, held):
            yield Alternative(f"{MMAP}, {change}", need)


def _smaller_batches(model: Model, limits: Limits, spared: int = 0) -> Iterator[Alternative]:
    """The largest batch, a power of two, with which an int8-dynamic model fits; the single row where none does.

    spared: bytes that the model need not hold then.
    """
    batch = 1 << ((limits.max_batch or DYNAMIC_BATCH) - 1).bit_length()
    while batch > 1:
        batch //= 2
        need = smallest_plan(model, replace(limits, max_batch=batch)).total_bytes - spared
        if need <= (limits.ram_bytes or 0) or batch == 1:
            yield Alternative(f"max_batch={batch}", need)
            return


def _stored_bytes(layer: Layer) -> int:
    return sum(array.nbytes for array in layer.arrays().values())
