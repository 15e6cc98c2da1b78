"""Training data, and the arrays that one mini-batch of it is gathered into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Array
from trainer.arrays import aligned_empty
from trainer.data import Targets
from trainer.losses import Loss


@dataclass(frozen=True, eq=False)
class Rows:
    """Prepared data: x (rows, n_in), standardized, of the training dtype, and what it is compared with.

    picked: indices of the rows that count, int64, where others are kept apart; None: all.
    """

    x: Array
    targets: Targets
    picked: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.x if self.picked is None else self.picked)

    def take(self, indices: NDArray[np.int64]) -> Rows:
        """Copies of these rows, in this order."""
        return Rows(self.x[indices], self.targets.take(indices))


class Batch:
    """One mini-batch: x, targets, row weights and labels, and room for the loss.

    gathers: rows come in any order, by `gather`, into arrays of the batch's own; else in the data's order, by `view`.
    """

    def __init__(self, rows: Rows, capacity: int, *, gathers: bool) -> None:
        self._rows = rows
        shapes = batch_shapes(rows, capacity, gathers=gathers)
        self._full = {name: aligned_empty(shape, dtype) for name, (shape, dtype) in shapes.items()}
        self.resize(capacity)

    def resize(self, rows: int) -> None:
        """Make all arrays `rows` long, at most the capacity."""
        arrays = {name: array[:rows] for name, array in self._full.items()}
        self.x, self.targets = arrays.get("x", self._rows.x[:0]), arrays.get("targets", self._rows.targets.values[:0])
        self.weight, self.labels = arrays.get("weight"), arrays.get("labels")
        self._elements, self._scratch = arrays["elements"], arrays["scratch"]
        self._predicted, self._is_right = arrays.get("predicted"), arrays.get("is_right")
        self.size = rows

    def gather(self, indices: NDArray[np.int64]) -> None:
        """Copy the rows of these indices; as many as `resize` was told."""
        source = self._rows
        # mode: the indices are right, and "raise" would make NumPy gather into a copy first
        source.x.take(indices, 0, self.x, "clip")
        source.targets.values.take(indices, 0, self.targets, "clip")
        if self.weight is not None and source.targets.weight is not None:
            source.targets.weight.take(indices, 0, self.weight, "clip")
        if self.labels is not None and source.targets.labels is not None:
            source.targets.labels.take(indices, 0, self.labels, "clip")

    def view(self, start: int) -> None:
        """Look at the next rows from `start` on, in their own order, without a copy."""
        part, targets = slice(start, start + self.size), self._rows.targets
        self.x, self.targets = self._rows.x[part], targets.values[part]
        self.weight = None if targets.weight is None else targets.weight[part]
        self.labels = None if targets.labels is None else targets.labels[part]

    def measure(self, loss: Loss, a: Array) -> tuple[float, float]:
        """Sums over the rows: of the loss, and of the metric (right answers, or mean absolute errors in real units)."""
        total = loss.total(a, self.targets, self.weight, self._elements, self._scratch)
        if self.labels is None or self._predicted is None or self._is_right is None:
            np.subtract(a, self.targets, out=self._scratch)
            np.absolute(self._scratch, out=self._scratch)
            units = self._rows.targets.units
            if units is None:
                return total, float(np.add.reduce(self._scratch, axis=None)) / a.shape[1]
            return total, float(np.add.reduce(self._scratch, axis=0) @ units.scale) / a.shape[1]
        if a.shape[1] == 1:
            np.greater(a[:, 0], 0.5, out=self._predicted, casting="unsafe")
        else:
            a.argmax(1, self._predicted)
        np.equal(self._predicted, self.labels, out=self._is_right)
        return total, float(np.count_nonzero(self._is_right))


def batch_shapes(rows: Rows, capacity: int, *, gathers: bool) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shape and dtype of each array of a `Batch`, by name."""
    n_in, n_out, dtype = rows.x.shape[1], rows.targets.values.shape[1], rows.x.dtype
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        name: ((capacity, n_out), dtype) for name in ("elements", "scratch")
    }
    if rows.targets.labels is not None:
        shapes |= {"predicted": ((capacity,), np.intp), "is_right": ((capacity,), bool)}
    if gathers:
        shapes |= {"x": ((capacity, n_in), dtype), "targets": ((capacity, n_out), dtype)}
        if rows.targets.weight is not None:
            shapes["weight"] = ((capacity, 1), dtype)
        if rows.targets.labels is not None:
            shapes["labels"] = ((capacity,), np.int64)
    return shapes
