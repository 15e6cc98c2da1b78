"""Calibration: which values occur at each place of a network, over rows that stand for what a device will see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import QuantizationError
from edge_runtime.model import Dense, Model
from edge_runtime.trace import trace

BLOCK = 256  # rows traced at once: memory does not grow with the calibration set


@dataclass(frozen=True)
class Range:
    """The smallest and largest real value seen at one place, widened to hold 0, which every grid must represent."""

    low: float
    high: float

    @staticmethod
    def of(values: NDArray[Any]) -> Range:
        """The range of an array with at least one value."""
        return Range(min(0.0, float(values.min())), max(0.0, float(values.max())))

    def union(self, other: Range) -> Range:
        """The range of both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def calibrate(model: Model, rows: ArrayLike) -> dict[str, Range]:
    """The min-max range at the input (after standardization) and of each layer's preactivation and output.

    model: float layers. rows: (n, n_in), as a user would feed them. The result does not depend on how the rows are cut
    into blocks. Raises QuantizationError for no rows, a wrong width, or NaN and inf in the rows or in a tensor.
    """
    x = checked_rows(model, rows)
    ranges: dict[str, Range] = {}
    for start in range(0, len(x), BLOCK):
        for name, values in observed(model, x[start : start + BLOCK]).items():
            if not np.isfinite(values).all():
                raise QuantizationError(
                    f"tensor '{name}' becomes NaN or inf on calibration rows {start}..{start + BLOCK}"
                )
            found = Range.of(values)
            ranges[name] = ranges[name].union(found) if name in ranges else found
    return ranges


def checked_rows(model: Model, rows: ArrayLike) -> NDArray[np.float32]:
    """Calibration rows as float32 (n, n_in). Raises QuantizationError, naming the first bad row."""
    x = np.asarray(rows)
    if x.dtype.kind not in "fiub":
        raise QuantizationError(f"calibration rows have dtype {x.dtype}, expected real numbers")
    if x.ndim != 2 or x.shape[1] != model.n_in:
        raise QuantizationError(f"calibration rows have shape {x.shape}, expected (n, {model.n_in})")
    if len(x) == 0:
        raise QuantizationError(
            "the calibration set is empty; give at least one row, better some hundreds of real ones"
        )
    with np.errstate(over="ignore"):
        x = x.astype(np.float32, copy=False)
    bad = ~np.isfinite(x)
    if bad.any():
        row, column = (int(index) for index in np.argwhere(bad)[0])
        raise QuantizationError(
            f"calibration row {row}, feature {column} is {x[row, column]}; {int(bad.sum())} values in all are "
            "NaN or inf: remove these rows or fill the values in"
        )
    return x


def observed(model: Model, x: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The float tensors that grids are chosen for: "input", and "NAME.preactivation", "NAME.output" of each layer."""
    float_model = Model(tuple(widened(layer) for layer in model.layers), model.preprocessing)
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = trace(float_model, x)
    return {"input": tensors.pop("input.standardized", x), **tensors}


def widened(layer: object) -> Dense:
    """A float layer in float32. Raises QuantizationError for one that is int8 already."""
    if not isinstance(layer, Dense):
        raise QuantizationError(
            f"layer '{getattr(layer, 'name', layer)}' is int8 already; start from the float32 model"
        )
    return Dense(layer.name, layer.weight.astype(np.float32), layer.bias, layer.activation)
