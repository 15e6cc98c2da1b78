"""Of the plans within a budget, the one that is predicted to be the fastest; and the smallest of all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_runtime.engine.limits import Limits
from edge_runtime.engine.plan import Drafts, MemoryPlan, PlanStep, compute_dtype, copy_bytes, is_dynamic
from edge_runtime.layers import Int4Dense, Layer, Stage, WeightedLayer
from edge_runtime.model import Model

BLOCKS = (256, 128, 64, 32, 16, 8, 4, 2, 1)  # rows that go through the network together
DYNAMIC_BATCH = 256  # rows of an int8-dynamic model, whose batch cannot be cut without changing the answers
# Of a matrix that is widened at each run. The first stays in a processor's cache from the widening to the product;
# smaller ones cost more calls and additions.
TILES = (512 << 10, 128 << 10, 32 << 10, 8 << 10, 2 << 10, 512, 1)

# Nanoseconds on the machine of the README's figures. Only their proportions count, and only roughly: they decide
# between a larger block, a larger tile and one more layer that is kept widened.
_CALL, _TILE_CALLS = 1000, 2300
_MULTIPLICATION, _ADDITION = 0.022, 0.4
_WEIGHT, _WEIGHT_FOR_ONE_ROW = 0.5, 0.2  # read and rearranged by the BLAS, once for each block
_WIDENED = {"i": 0.15, "f": 1.15}  # integers and halves, by the kind of their dtype
_UNPACKED, _UNPACKED_ROW = 0.3, 60  # a 4-bit weight, and a row of them: every other row is written at a time


def fastest_plan(model: Model, limits: Limits, smallest: MemoryPlan) -> MemoryPlan:
    """The fastest plan within `limits.ram_bytes`, in which `smallest` fits.

    The fastest is that of the smallest product of two predicted times: for one row, and for as many as go through the
    network together at most.
    """
    fitting = list(_fitting(model, limits, limits.ram_bytes or 0))
    if not fitting:
        return smallest
    rows = row_blocks(model, limits)[0]
    return min(fitting, key=lambda plan: _cost(model, plan, 1) * _cost(model, plan, rows))


def smallest_plan(model: Model, limits: Limits) -> MemoryPlan:
    """The plan of the fewest bytes, whatever `limits.ram_bytes` is."""
    block, lean = row_blocks(model, limits)[-1], frozenset(_copied(model))
    drafts = Drafts(model)
    plans = [drafts.lay(block, without, tile) for tile in _tiles(model) for without in (lean, frozenset[int]())]
    return min(plans, key=lambda plan: plan.total_bytes)


def usual_plan(model: Model, limits: Limits) -> MemoryPlan:
    """The plan that an engine follows if nothing limits its memory."""
    lean = frozenset(_copied(model)) if limits.lean else frozenset[int]()
    return Drafts(model).lay(row_blocks(model, limits)[0], lean, TILES[0])


def _fitting(model: Model, limits: Limits, ram_bytes: int) -> Iterator[MemoryPlan]:
    """For each block and tile the plan with the fewest layers lean that fits."""
    drafts, copied = Drafts(model), _copied(model)
    for block in row_blocks(model, limits):
        for tile in _tiles(model):
            plan = _fewest_lean(drafts, block, tile, copied, ram_bytes, is_all=limits.lean)
            if plan is not None:
                yield plan
            if plan is not None and not any(step.lean for step in plan.steps):
                break  # without lean layers there are no tiles


def _fewest_lean(
    drafts: Drafts, block: int, tile: int, copied: list[int], ram_bytes: int, *, is_all: bool
) -> MemoryPlan | None:
    """The plan with the fewest of `copied` given up that fits, by bisection; None where not even all are enough.

    None given up may take less than one: a tile of 4-bit weights needs a little more than the copy of a small matrix.
    """

    def plan_without(count: int) -> MemoryPlan:
        return drafts.lay(block, frozenset(copied[:count]), tile)

    most = len(copied)
    least = most if is_all else 1
    if not is_all and (found := plan_without(0)).total_bytes <= ram_bytes:
        return found
    found = plan_without(most)
    if found.total_bytes > ram_bytes:
        return None
    while least < most:
        middle = (least + most) // 2
        plan = plan_without(middle)
        if plan.total_bytes <= ram_bytes:
            found, most = plan, middle
        else:
            least = middle + 1
    return found


def row_blocks(model: Model, limits: Limits) -> tuple[int, ...]:
    """The rows that may go through the network together, the most first.

    Of a batch limit that is no power of two the next one up would never be filled, so it is the next one down.
    """
    if is_dynamic(model):
        return (limits.max_batch or DYNAMIC_BATCH,)
    most = limits.max_batch or BLOCKS[0]
    return tuple(block for block in BLOCKS if block <= most) or (1,)


def _tiles(model: Model) -> tuple[int, ...]:
    """The tiles that differ: one that holds the largest widened matrix is like every larger one."""
    lean = [layer for layer in model.layers if isinstance(layer, WeightedLayer) and layer.precision != "float32"]
    largest = max((layer.macs * np.dtype(compute_dtype(layer)).itemsize for layer in lean), default=0)
    holding = [tile for tile in TILES if tile >= largest]
    return (*holding[-1:], *(tile for tile in TILES if tile < largest))


def _copied(model: Model) -> list[int]:
    """The layers with a copy of their weights, by position; first what costs the least to go without.

    A float32 copy saves one call, the others are widened anew at each run.
    """
    copied = [i for i, layer in enumerate(model.layers) if copy_bytes(layer)]
    return sorted(copied, key=lambda i: (model.layers[i].precision != "float32", copy_bytes(model.layers[i])))


def _cost(model: Model, plan: MemoryPlan, rows: int) -> float:
    """Predicted nanoseconds for `rows` rows."""
    return sum(_layer_cost(layer, step, plan.block, rows) for layer, step in zip(model.layers, plan.steps, strict=True))


def _layer_cost(layer: Layer, step: PlanStep, block: int, rows: int) -> float:
    if isinstance(layer, Stage):
        return 0.0  # the same in every plan of a model
    blocks, weights = -(-rows // block), layer.macs
    read = _WEIGHT_FOR_ONE_ROW if min(rows, block) == 1 else _WEIGHT
    cost = blocks * (2 * _CALL + read * weights) + rows * _MULTIPLICATION * weights
    if not step.stacked:  # the bias is added by a call of its own
        cost += blocks * _CALL + rows * _ADDITION * layer.n_out
    if step.lean:
        tiles = -(-layer.n_in // step.tile_rows)
        cost += blocks * (_widening(layer) + tiles * _TILE_CALLS) + (tiles - 1) * rows * _ADDITION * layer.n_out
    return cost


def _widening(layer: WeightedLayer) -> float:
    """Predicted nanoseconds for the weights as floats, without the calls."""
    if isinstance(layer, Int4Dense):
        return _UNPACKED * layer.macs + _UNPACKED_ROW * layer.n_in
    return _WIDENED[layer.weight.dtype.kind] * layer.macs
