"""Features that are repeated, left out or reordered: moved into the product before, so that no layer is needed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.steps import Affine, Bend, DynamicScale, Linear, OfOneNumber, RowFunction, Select, Step


class Placed(NamedTuple):
    """A step and the node that made it."""

    step: Step
    node: Node | None


def without_selections(steps: list[Placed], width: int, budget: Budget) -> list[Placed]:
    """Selections of features moved to the front of elementwise steps, into the columns of the product before."""
    done: list[Placed] = []
    for placed in steps:
        step = placed.step
        if isinstance(step, Select):
            try:
                _select(done, Placed(step, placed.node), width, budget)
            except Unsupported as error:
                raise error.at(placed.node) from error
        else:
            done.append(placed)
        width = step.weight.shape[1] if isinstance(step, Linear) else width
        width = step.index.size if isinstance(step, Select) else width
    return done


def _select(done: list[Placed], select: Placed, width: int, budget: Budget) -> None:
    """Apply a selection to the steps so far."""
    assert isinstance(select.step, Select)
    index = select.step.index
    if np.array_equal(index, np.arange(width)):
        return
    if index.size == 0:
        raise Unsupported("it leaves no features over, expected one at least")
    for position in range(len(done) - 1, -1, -1):
        step, node = done[position]
        if isinstance(step, Linear):
            budget.charge(step.weight.shape[0] * index.size)
            done[position] = Placed(step.picked(index), node)
            return
        if isinstance(step, Affine | Bend):
            done[position] = Placed(step.picked(index), node)
        elif isinstance(step, RowFunction):
            if not np.array_equal(np.sort(index), np.arange(width)):
                raise Unsupported(f"features are taken out of {step.activation.name}, which is supported whole only")
        elif not isinstance(step, OfOneNumber | DynamicScale):
            break
    else:
        budget.charge(width * index.size)
        matrix = np.zeros((width, index.size), np.float32)
        matrix[index, np.arange(index.size)] = 1
        done.insert(0, Placed(Linear(matrix), select.node))
        return
    raise Unsupported("features are selected between quantized layers; supported is a selection right after a product")
