"""A batch of an int8-dynamic model that is larger than a block: its grids are found first, one pass for each of them.

Such a layer's grid spans the whole batch, which never stands in memory as a whole. So the blocks run up to the first
such layer to find what it spans, then, with that grid, up to the second, and so on, and at last to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.engine.calls import NumpyCall
from edge_runtime.engine.kernels import Centering
from edge_runtime.layers import DynamicQuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import dynamic_grid

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

Grids = list[tuple[np.float32, int]]


def find_grids(model: Model, blocks: Iterable[Array], enter: Callable[[Array], Sequence[NumpyCall]]) -> Grids:
    """The scale and zero point of each int8-dynamic layer for the rows of all blocks together.

    enter: takes a block in and gives the steps that follow. Raises InputError as `dynamic_grid`.
    """
    grids: Grids = []
    parts = list(blocks)
    for _layer in (layer for layer in model.layers if isinstance(layer, DynamicQuantizedDense)):
        spans = [run_steps(enter(part), grids) for part in parts]
        grids.append(dynamic_grid(np.array(spans, np.float32)))
    return grids


def run_steps(steps: Sequence[NumpyCall], grids: Grids) -> tuple[float, float] | None:
    """Run a program's steps with these grids, up to the first layer that has none: the ends of what it takes.

    None where all have one: then the program has run to its end.
    """
    known = iter(grids)
    for step in steps:
        if not isinstance(step, Centering):
            step()
        elif (grid := next(known, None)) is not None:
            step.center(*grid)
        else:
            return step.source.min(), step.source.max()
    return None
