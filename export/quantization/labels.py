"""What rows should give, as whoever judges a network is told it: classes or values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.model import Model
from edge_runtime.numerics import require_finite


def checked_labels(model: Model, labels: Any, count: int) -> NDArray[Any] | None:
    """Labels as an array: int classes (n,) of the model, or float targets (n, n_out). Raises InputError for others.

    Targets must be finite as float32, in which a model answers: the squares of their errors are so in float64.
    """
    if labels is None:
        return None
    found = np.asarray(labels)
    if found.dtype.kind in "iub" and found.shape == (count,):
        classes = max(model.n_out, 2)
        if count and not (found.min() >= 0 and found.max() < classes):
            raise InputError(f"labels run from {found.min()} to {found.max()}, the model has classes 0..{classes - 1}")
        return found.astype(np.int64)
    if found.dtype.kind == "f" and found.size == count * model.n_out and len(found) == count:
        targets = found.reshape(count, model.n_out)
        require_finite(targets, "labels")
        return targets
    raise InputError(
        f"labels have dtype {found.dtype} and shape {found.shape}, expected whole numbers ({count},) for classes or "
        f"floats ({count}, {model.n_out}) for values"
    )
