"""How two models answer the same rows: scores, decisions that flip, and the first tensor that differs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Tensors
from edge_runtime.errors import InputError
from edge_runtime.layers import Layer, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import dequantize
from edge_runtime.reference import logits, trace
from export.diagnosis.aligned import alike
from export.diagnosis.answers import Answers, Judge
from export.diagnosis.endings import ending_text, has_same_last_layers
from export.diagnosis.rows import rows_of_model
from export.quantization import checked_labels, finite, float_outputs, rows_that_fit, spread_places

_Values: TypeAlias = NDArray[Any]

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
    difference is the largest. None if nothing differs. has_same_tensors: whether bits could be compared. activations:
    the last ones of both models where the outputs behind them were compared: they end otherwise. rows_in_all: those
    that could have been answered, in bounded memory fewer are, spread evenly.
    """

    rows: int
    what: str
    first: Answers
    second: Answers
    tensor: TensorDifference | None
    has_same_tensors: bool = False
    activations: tuple[str, str] | None = None
    rows_in_all: int = 0

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
    of, few = len(x), spread_places(len(x), rows_that_fit(first))
    x, y = x[few], None if y is None else y[few]
    tensors = [_traced(model, x) for model in (first, second)]
    one, other = (_answered(model, found) for model, found in zip((first, second), tensors, strict=True))
    if has_same_last_layers(first, second):
        one, other, ends = (one[0], None), (other[0], None), None
    else:
        ends = (ending_text(first), ending_text(second))
    judge = Judge(first, one[0], y, one[1])
    is_alike = _are_alike(*tensors)
    tensor = _first_tensor(*tensors) if is_alike else _furthest_layer(first, second, x)
    return RowDifference(len(x), what, judge.answers(*one), judge.answers(*other), tensor, is_alike, ends, of)


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
    found = [
        TensorDifference(f"{name}.output", False, int(np.sum(one != other)), one.size, _relative(one, other))
        for name, one, other in _real_outputs(first, second, rows)
        if one.shape == other.shape
    ]
    worst = max(found, key=lambda tensor: tensor.relative, default=None)
    return worst if worst is not None and worst.differing else None


def _real_outputs(first: Model, second: Model, rows: NDArray[np.float32]) -> list[tuple[str, _Values, _Values]]:
    """By the name of a layer of both. Of a float model and a smaller one that was made of it, in the same units."""
    if second.precision == "float32" != first.precision:
        return [(name, one, other) for name, other, one in _real_outputs(second, first, rows)]
    outputs = {layer.name: f"{layer.name}.output" for layer in first.layers}
    if first.precision == "float32" != second.precision:
        with contextlib.suppress(InputError):  # not made of it
            first, second = alike(first, second)
            outputs = dict(float_outputs(first, second))
    mine, theirs = (_traced(model, rows) for model in (first, second))
    kinds = {layer.name: layer for layer in first.layers}
    return [
        (layer.name, _real(kinds[layer.name], mine[outputs[layer.name]]), _real(layer, theirs[f"{layer.name}.output"]))
        for layer in second.layers
        if layer.name in outputs
    ]


def _traced(model: Model, rows: NDArray[np.float32]) -> Tensors:
    with np.errstate(over="ignore", invalid="ignore"):
        return trace(model, rows)


def _answered(model: Model, tensors: Tensors) -> tuple[_Values, _Values | None]:
    """Logits, and outputs as they come."""
    last = model.layers[-1]
    return logits(model, tensors), _real(last, tensors[f"{last.name}.output"])


def _real(layer: Layer, values: NDArray[Any]) -> NDArray[Any]:
    grid = getattr(layer, "final_grid", None)
    return values if grid is None else dequantize(values, grid)


def _relative(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The root mean square of the difference beside that of `one`; inf if `one` is all zeros."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        size, apart = float(np.sqrt(np.mean(first**2))), float(np.sqrt(np.mean((first - second) ** 2)))
    return apart / size if size > 0 else float("inf") if apart else 0.0
