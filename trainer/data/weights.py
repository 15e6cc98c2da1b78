"""How much each training row counts: sample weights, as scikit-learn means them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime import InputError
from edge_runtime.numerics import as_numbers
from trainer.data.preprocessing import as_truth


def weighted_rows(
    x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[ArrayLike, ArrayLike, NDArray[np.float64] | None]:
    """The rows that weigh something, their labels or targets, and their weights with the mean 1; None if all are equal.

    A weight of 2 counts like a row that is there twice, a weight of 0 like one that is not. sample_weight: (rows,), or
    one number for all. Raises InputError for another length, negative or infinite weights, and for zeros alone.
    """
    if sample_weight is None:
        return x, y, None
    rows, labels = as_numbers(x, "x"), as_truth(y)
    weight = _checked(sample_weight, len(labels))
    kept = weight > 0
    if len(rows) == len(labels) and not kept.all():  # other lengths are refused, with their names, where they meet
        rows, labels, weight = rows[kept], labels[kept], weight[kept]
    if (weight == weight[0]).all():
        return rows, labels, None
    return rows, labels, weight / weight.mean()


def _checked(sample_weight: ArrayLike, rows: int) -> NDArray[np.float64]:
    weight = as_numbers(sample_weight, "sample_weight").astype(np.float64)
    if weight.ndim == 0:
        weight = np.full(rows, weight)
    if weight.shape != (rows,):
        raise InputError(f"sample_weight has shape {weight.shape}, expected ({rows},), one for each row of x")
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"sample_weight holds {weight[row]:g} at {row}, expected finite numbers of at least 0")
    if not weight.any():
        raise InputError("every sample weight is zero, expected some row that counts")
    return weight
