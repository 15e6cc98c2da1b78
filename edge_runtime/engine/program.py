"""A model compiled for a fixed number of rows: buffers to fill, calls to make, buffer to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.engine.arena import Arena
from edge_runtime.engine.buffers import Buffers, Constants
from edge_runtime.engine.calls import NumpyCall, Program
from edge_runtime.engine.kernels import entry_steps, layer_steps
from edge_runtime.engine.matmul import FEW_ROWS, product_of_rows
from edge_runtime.engine.plan import MemoryPlan, compute_dtype, needs_scratch
from edge_runtime.layers import Dense, Layer, LayerNorm, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import Nibbles

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDE_INPUT = 256  # features from which many rows run by rows; see `is_by_rows`


def compile_program(
    model: Model, plan: MemoryPlan, arena: Arena, constants: list[Constants], rows: int | None, *, activate: bool
) -> Program:
    """The program for `rows` rows, or for one row given as a vector where that is None.

    activate: whether the last layer's float32 activation is part of it.
    """
    source = arena.view("ping", (model.n_in,) if rows is None else (rows, model.n_in))
    enter, first = entry_steps(model, source)
    is_multiplied = not _starts_in_arena(model) and not plan.steps[0].lean
    if is_multiplied:  # straight from the user's rows: nothing is copied first
        by_rows = rows is not None and is_by_rows(model, 0, rows)
        weight = constants[0].weight
        assert not isinstance(weight, Nibbles)  # an integer layer starts in the arena
        enter = product_of_rows(weight, _target(model, arena, 0, rows), rows, by_rows=by_rows)
    sections = layer_sections(model, plan, arena, constants, rows, activate=activate, is_multiplied=is_multiplied)
    steps = [*first, *(step for _name, steps in sections for step in steps)]
    last = len(model.layers) - 1
    result = _target(model, arena, last, rows)
    by_rows = rows is None or is_by_rows(model, last, rows)
    return Program(source, enter, not is_multiplied, tuple(steps), result if by_rows else result.T)


def layer_sections(
    model: Model,
    plan: MemoryPlan,
    arena: Arena,
    constants: list[Constants],
    rows: int | None,
    *,
    activate: bool,
    is_multiplied: bool = False,
) -> list[tuple[str, list[NumpyCall]]]:
    """The steps by layer name, from rows that have been taken in; `is_multiplied`: by the first layer's weights too."""
    sections: list[tuple[str, list[NumpyCall]]] = []
    on_grid = isinstance(model.layers[0], QuantizedDense)
    for position, layer in enumerate(model.layers):
        is_last = position == len(model.layers) - 1
        steps = layer_steps(
            layer,
            constants[position],
            _buffers(model, plan, arena, position, rows),
            quantize_input=not on_grid,
            may_be_nan=position == 0 or not on_grid,
            is_multiplied=is_multiplied and position == 0,
            activate=activate or not is_last,
        )
        sections.append((layer.name, steps))
        on_grid = isinstance(layer, QuantizedDense) and layer.output is not None
    return sections


def _starts_in_arena(model: Model) -> bool:
    """Whether the first layer reads values that were computed from the user's, and not the user's own array."""
    return model.preprocessing is not None or not isinstance(model.layers[0], Dense)


def is_by_rows(model: Model, position: int, rows: int) -> bool:
    """Whether a block's target of this layer is (rows, n) and not (n, rows).

    Feature-major spares the bias a call of its own, softmax reduces faster so, and LayerNorm adds up in the order of
    the features, as for one row. Products of a wide input and many rows are quicker by rows, and turning their result
    costs more than it gains, so such a network runs by rows throughout. A last layer gives what the user gets: rows.
    """
    if isinstance(model.layers[position], LayerNorm):
        return False
    if position == len(model.layers) - 1:
        return model.layers[-1].activation.name != "softmax"
    return model.n_in >= WIDE_INPUT and rows > FEW_ROWS


def _target(model: Model, arena: Arena, position: int, rows: int | None) -> NDArray[np.float32]:
    region, n_out = "pong" if position % 2 == 0 else "ping", model.layers[position].n_out
    if rows is None:
        return arena.view(region, (n_out,))
    return arena.view(region, (rows, n_out) if is_by_rows(model, position, rows) else (n_out, rows))


def _buffers(model: Model, plan: MemoryPlan, arena: Arena, position: int, rows: int | None) -> Buffers:
    layer, step = model.layers[position], plan.steps[position]
    dtype = compute_dtype(layer)
    region = "ping" if position % 2 == 0 else "pong"
    is_wide = dtype is np.float64
    is_tiled = step.lean and step.tile_rows < layer.n_in
    has_table = isinstance(layer, QuantizedDense) and layer.table is not None
    target = _target(model, arena, position, rows)
    by_rows = rows is not None and is_by_rows(model, position, rows)
    source_by_rows = rows is not None and (position == 0 or is_by_rows(model, position - 1, rows))
    is_stacked = step.stacked and not source_by_rows and (position > 0 or _starts_in_arena(model))

    def like_target(name: str, kind: Any = np.float32) -> NDArray[Any]:
        return arena.view(name, target.shape, kind)

    return Buffers(
        source=_source(layer, arena, region, rows, source_by_rows),
        source_and_one=arena.view_with_one(region, _feature_major(layer.n_in, rows)) if is_stacked else None,
        target=target,
        by_rows=by_rows,
        scratch=arena.view(region, target.shape) if needs_scratch(layer) else None,
        row=arena.view("row", (rows or 1,)),
        sums=arena.view("sums", (layer.n_in,)) if isinstance(layer, LayerNorm) else None,
        wide_source=_source(layer, arena, "wide_source", rows, source_by_rows, np.float64) if is_wide else None,
        wide_target=like_target("wide_target", np.float64) if is_wide else None,
        indices=like_target("index", np.intp) if has_table else None,
        partial=like_target("partial", dtype) if is_tiled else None,
        tile=arena.view("tile", (step.tile_rows * layer.n_out,), dtype) if step.lean else None,
        nibbles=arena.view("nibbles", (step.nibble_bytes,), np.uint8) if step.nibble_bytes else None,
    )


def _feature_major(n: int, rows: int | None) -> tuple[int, ...]:
    return (n,) if rows is None else (n, rows)


def _source(
    layer: Layer, arena: Arena, region: str, rows: int | None, by_rows: bool, dtype: Any = np.float32
) -> NDArray[Any]:
    """(n_in,) or (n_in, rows); what is (rows, n_in) in memory is turned by its strides alone."""
    if by_rows and rows is not None:
        return arena.view(region, (rows, layer.n_in), dtype).T
    return arena.view(region, _feature_major(layer.n_in, rows), dtype)
