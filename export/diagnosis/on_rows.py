"""How two models answer the same rows: scores, decisions that flip, and the first tensor that differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Tensors
from edge_runtime.layers import Layer, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import dequantize
from edge_runtime.reference import logits, trace
from export.diagnosis.aligned import in_units_of
from export.diagnosis.answers import Answers, Judge
from export.diagnosis.rows import rows_of_model, spread
from export.quantization import checked_labels, finite, rows_that_fit

ROWS_DRAWN = 256


@dataclass(frozen=True)
class TensorDifference:
    """A tensor of both models that differs. bits: whether it was compared bit by bit; differing: values, of `size`.

    relative: the size of the difference beside that of the first model's values, both as root mean squares.
    """

    name: str
    bits: bool
    differing: int
    size: int
    relative: float


@dataclass(frozen=True)
class RowDifference:
    """On rows of which `what` says where they come from.

    first, second: the answers of both models; "changed" and decibels are beside the first. tensor: the first that
    differs in its bits, if both models have the same tensors; else the values behind the layer at which the relative
    difference is the largest. None if nothing differs.
    """

    rows: int
    what: str
    first: Answers
    second: Answers
    tensor: TensorDifference | None

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        tensor = None
        if self.tensor is not None:
            tensor = {**vars(self.tensor), "relative": finite(self.tensor.relative)}
        return {**vars(self), "first": self.first.as_dict(), "second": self.second.as_dict(), "tensor": tensor}


def row_difference(first: Model, second: Model, rows: Any, labels: Any, what: str) -> RowDifference | None:
    """On rows (n, n_in), as many as memory allows; None if the models take or give other numbers of values."""
    if (first.n_in, first.n_out) != (second.n_in, second.n_out):
        return None
    x = rows_of_model(first, rows, "rows")
    y = checked_labels(first, labels, len(x))
    few = spread(len(x), rows_that_fit(first))
    x, y = x[few], None if y is None else y[few]
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = [trace(model, x) for model in (first, second)]
    one, other = (logits(model, found) for model, found in zip((first, second), tensors, strict=True))
    judge = Judge(first, one, y)
    tensor = _first_tensor(*tensors) if _are_alike(*tensors) else _furthest_layer(first, second, x)
    return RowDifference(len(x), what, judge.answers(one), judge.answers(other), tensor)


def rows_of_their_own(first: Model, second: Model) -> tuple[NDArray[np.float32], str]:
    """Rows where no data is given, and what they are: stored test vectors; else random ones, where inputs may lie."""
    stored = [model.test_vectors.inputs for model in (first, second) if model.test_vectors is not None]
    if stored and all(len(rows[0]) == first.n_in for rows in stored):
        return np.unique(np.concatenate(stored), axis=0), "stored test vectors"
    random, grid = np.random.default_rng(0), getattr(first.layers[0], "input", None)
    if isinstance(first.layers[0], QuantizedDense) and grid is not None:
        rows, where = (
            random.uniform(grid.low, grid.high, (ROWS_DRAWN, first.n_in)),
            "random rows within the input grid",
        )
    else:
        rows, where = random.normal(size=(ROWS_DRAWN, first.n_in)), "random normal rows"
    if first.preprocessing is not None:
        rows, where = first.preprocessing.inverse(rows), f"{where}, before standardization"
    return rows.astype(np.float32), where


def _are_alike(one: Tensors, other: Tensors) -> bool:
    """Whether both models have the same tensors, so that bits can be compared."""
    return [(name, tensor.dtype, tensor.shape) for name, tensor in one.items()] == [
        (name, tensor.dtype, tensor.shape) for name, tensor in other.items()
    ]


def _first_tensor(one: Tensors, other: Tensors) -> TensorDifference | None:
    for name, values in one.items():
        bits = [np.ascontiguousarray(array).view(f"u{array.itemsize}") for array in (values, other[name])]
        differing = int(np.sum(bits[0] != bits[1]))
        if differing:
            return TensorDifference(name, True, differing, values.size, _relative(values, other[name]))
    return None


def _furthest_layer(first: Model, second: Model, rows: NDArray[np.float32]) -> TensorDifference | None:
    """Behind which layer of the same name and width the values differ most, as real values in the same units."""
    mine, theirs = _real_outputs(_in_units_of(first, second), rows), _real_outputs(_in_units_of(second, first), rows)
    found = [
        TensorDifference(f"{name}.output", False, int(np.sum(values != theirs[name])), values.size, size)
        for name, values in mine.items()
        if name in theirs and values.shape == theirs[name].shape
        for size in [_relative(values, theirs[name])]
    ]
    worst = max(found, key=lambda tensor: tensor.relative, default=None)
    return worst if worst is not None and worst.differing else None


def _in_units_of(model: Model, other: Model) -> Model:
    """A float model with the units of the smaller one that was made of it; else as it is."""
    if model.precision != "float32" or other.precision == "float32":
        return model
    try:
        return in_units_of(model, other)
    except ValueError:  # not made of it
        return model


def _real_outputs(model: Model, rows: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = trace(model, rows)
    return {layer.name: _real(layer, tensors[f"{layer.name}.output"]) for layer in model.layers}


def _real(layer: Layer, values: NDArray[Any]) -> NDArray[Any]:
    grid = getattr(layer, "final_grid", None)
    return values if grid is None else dequantize(values, grid)


def _relative(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The root mean square of the difference beside that of `one`; inf if `one` is all zeros."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        size, apart = float(np.sqrt(np.mean(first**2))), float(np.sqrt(np.mean((first - second) ** 2)))
    return apart / size if size > 0 else float("inf") if apart else 0.0
