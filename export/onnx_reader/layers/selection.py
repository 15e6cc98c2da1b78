"""Features repeated, left out or reordered, and means of rows: moved into the product before, so no layer is needed."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from edge_runtime.array_types import Array
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.steps import (
    IDENTITY,
    Affine,
    Bend,
    Center,
    DynamicScale,
    Linear,
    Normalize,
    OfOneNumber,
    OfWholeRow,
    RowFunction,
    RowMean,
    Select,
    Step,
)


class Placed(NamedTuple):
    """A step and the node that made it."""

    step: Step
    node: Node | None


def without_selections(steps: list[Placed], width: int, budget: Budget) -> list[Placed]:
    """Selections of features moved to the front of elementwise steps, into the columns of the product before."""
    done: list[Placed] = []
    for placed, following in zip_longest(steps, steps[1:]):
        step = placed.step
        is_alone = following is None or not isinstance(following.step, Normalize)
        try:
            if isinstance(step, Select):
                _select(done, Placed(step, placed.node), width, budget)
            elif isinstance(step, RowMean) or (isinstance(step, Center) and is_alone):
                _multiply(done, Placed(step, placed.node), width, budget)
            else:
                done.append(placed)
        except Unsupported as error:
            raise error.at(placed.node) from error
        width = step.weight.shape[1] if isinstance(step, Linear) else 1 if isinstance(step, RowMean) else width
        width = step.index.size if isinstance(step, Select) else width
    return done


def _multiply(done: list[Placed], placed: Placed, width: int, budget: Budget) -> None:
    """The mean of a row, or the row without it: part of the product before if only scaling is between, else its own."""
    over_row, start, scaling = placed.step, len(done), IDENTITY
    assert isinstance(over_row, RowMean | Center)
    while start and isinstance(step := done[start - 1].step, Affine):
        start, scaling = start - 1, step.then(scaling)
    before = done[start - 1].step if start else None
    if isinstance(before, Linear) and before.codes is None:
        placed, weight = done[start - 1], before.weight.astype(np.float64) * scaling.scale
        shift = np.broadcast_to(scaling.shift, (width,))
        del done[start - 1 :]
    else:
        budget.charge(width * width)
        weight, shift = np.eye(width), np.zeros(width)
    budget.charge(weight.size)
    product, added = Linear(over_row(weight)), Affine(np.array(1.0), over_row(shift))
    done += [placed._replace(step=product), placed._replace(step=added)]


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
        elif isinstance(step, OfWholeRow):
            if np.array_equal(np.sort(index), np.arange(width)):
                continue
            if isinstance(step, RowFunction):
                raise Unsupported(f"features are taken out of {step.activation.name}, which is supported whole only")
            done.insert(position + 1, Placed(_choice(width, index, budget), select.node))
            return
        elif not isinstance(step, OfOneNumber | DynamicScale):
            break
    else:
        done.insert(0, Placed(_choice(width, index, budget), select.node))
        return
    raise Unsupported("features are selected between quantized layers; supported is a selection right after a product")


def _choice(width: int, index: Array, budget: Budget) -> Linear:
    """A product that selects features."""
    budget.charge(width * index.size)
    matrix = np.zeros((width, index.size), np.float32)
    matrix[index, np.arange(index.size)] = 1
    return Linear(matrix)
