"""A model compiled for a fixed number of rows: buffers to fill, calls to make, buffer to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arena import Arena
from edge_runtime.kernels import Buffers, Constants, Step, entry_steps, layer_steps
from edge_runtime.layers import Dense, Layer, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.planner import MemoryPlan, compute_dtype, needs_scratch

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDE_INPUT = 256  # features from which a network runs by rows; see `is_by_rows`


@dataclass(frozen=True, eq=False)
class Program:
    """enter: takes the user's rows in, float32 (rows, n_in) or (n_in,). steps: the rest. result: where the outputs are.

    source: a buffer of the rows' shape, to convert other dtypes in before `enter`.
    """

    source: NDArray[np.float32]
    enter: Callable[[NDArray[np.float32]], Any]
    steps: tuple[Step, ...]
    result: NDArray[np.float32]


def compile_program(
    model: Model, plan: MemoryPlan, arena: Arena, constants: list[Constants], rows: int | None, *, activate: bool
) -> Program:
    """The program for `rows` rows, or for one row given as a vector where that is None.

    activate: whether the last layer's float32 activation is part of it.
    """
    source = arena.view("ping", (model.n_in,) if rows is None else (rows, model.n_in))
    enter, first = entry_steps(model, source)
    sections = layer_sections(model, plan, arena, constants, rows, activate=activate)
    steps = [*first, *(step for _name, steps in sections for step in steps)]
    if not first and isinstance(model.layers[0], Dense) and not plan.steps[0].lean and model.preprocessing is None:
        enter, steps = _product_of_input(model, arena, constants[0], rows), steps[1:]
    last = len(model.layers) - 1
    result = _target(model, arena, last, rows)
    by_rows = rows is None or is_by_rows(model, last)
    return Program(source, enter, tuple(steps), result if by_rows else result.T)


def layer_sections(
    model: Model, plan: MemoryPlan, arena: Arena, constants: list[Constants], rows: int | None, *, activate: bool
) -> list[tuple[str, list[Step]]]:
    """The steps by layer name, from rows that have been taken in."""
    sections: list[tuple[str, list[Step]]] = []
    on_grid = isinstance(model.layers[0], QuantizedDense)
    for position, layer in enumerate(model.layers):
        is_last = position == len(model.layers) - 1
        steps = layer_steps(
            layer,
            constants[position],
            _buffers(model, plan, arena, position, rows),
            quantize_input=not on_grid,
            activate=activate or not is_last,
        )
        sections.append((layer.name, steps))
        on_grid = isinstance(layer, QuantizedDense) and layer.output is not None
    return sections


def _product_of_input(model: Model, arena: Arena, constants: Constants, rows: int | None) -> Callable[[Any], Any]:
    """The first layer's product straight from the user's rows, in the place of a copy and the product of the copy."""
    weight, target = constants.weight, _target(model, arena, 0, rows)
    if rows is None or is_by_rows(model, 0):
        return lambda x: np.dot(x, weight, target)
    turned = weight.T
    return lambda x: np.dot(turned, x.T, target)


def is_by_rows(model: Model, position: int) -> bool:
    """Whether a block's target of this layer is (rows, n) and not (n, rows).

    A wide input makes the first product quicker by rows, and turning its result costs more than it gains, so such a
    network runs by rows throughout. Others run feature-major, up to a last layer whose rows are what the user receives;
    softmax reduces faster feature-major, and has few outputs to turn.
    """
    is_last = position == len(model.layers) - 1
    return model.n_in >= WIDE_INPUT or (is_last and model.layers[-1].activation.name != "softmax")


def _target(model: Model, arena: Arena, position: int, rows: int | None) -> NDArray[np.float32]:
    region, n_out = "pong" if position % 2 == 0 else "ping", model.layers[position].n_out
    if rows is None:
        return arena.view(region, (n_out,))
    return arena.view(region, (rows, n_out) if is_by_rows(model, position) else (n_out, rows))


def _buffers(model: Model, plan: MemoryPlan, arena: Arena, position: int, rows: int | None) -> Buffers:
    layer, step = model.layers[position], plan.steps[position]
    dtype = compute_dtype(layer)
    region = "ping" if position % 2 == 0 else "pong"
    is_wide = dtype is np.float64
    is_tiled = step.lean and step.tile_rows < layer.n_in
    has_table = isinstance(layer, QuantizedDense) and layer.table is not None
    target = _target(model, arena, position, rows)
    by_rows = rows is not None and is_by_rows(model, position)
    source_by_rows = position == 0 or is_by_rows(model, position - 1)

    def like_target(name: str, kind: Any = np.float32) -> NDArray[Any]:
        return arena.view(name, target.shape, kind)

    return Buffers(
        source=_source(layer, arena, region, rows, source_by_rows),
        target=target,
        by_rows=by_rows,
        scratch=_scratch(layer, arena, region, target, by_rows) if needs_scratch(layer) else None,
        row=arena.view("row", (rows or 1,)),
        wide_source=_source(layer, arena, "wide_source", rows, source_by_rows, np.float64) if is_wide else None,
        wide_target=like_target("wide_target", np.float64) if is_wide else None,
        index=like_target("index", np.intp) if has_table else None,
        partial=like_target("partial", dtype) if is_tiled else None,
        tile=arena.view("tile", (step.tile_rows * layer.n_out,), dtype) if step.lean else None,
    )


def _scratch(layer: Layer, arena: Arena, region: str, target: NDArray[Any], by_rows: bool) -> NDArray[Any]:
    """An array of the target's size in the memory of the layer's dead source; turned for softmax by rows."""
    is_turned = by_rows and layer.activation.name == "softmax"
    return arena.view(region, target.shape[::-1] if is_turned else target.shape)


def _source(
    layer: Layer, arena: Arena, region: str, rows: int | None, by_rows: bool, dtype: Any = np.float32
) -> NDArray[Any]:
    """(n_in,) or (n_in, rows); what is (rows, n_in) in memory is turned by its strides alone."""
    if rows is None:
        return arena.view(region, (layer.n_in,), dtype)
    if by_rows:
        return arena.view(region, (rows, layer.n_in), dtype).T
    return arena.view(region, (layer.n_in, rows), dtype)
