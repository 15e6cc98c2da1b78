"""Are the inputs those that a model was calibrated for? Pixels of 0-255 fed to a model of 0-1 give a wrong answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.layers import QuantizedDense
from edge_runtime.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

WARN_ABOVE = 0.05  # share of clipped values from which the inputs are doubtful; real data clips one in a thousand


def clipped_share(model: Model, x: NDArray[Any]) -> float:
    """The share of input values that an int8 model's first grid clips by more than a step. x: (n, n_in), not empty.

    0.0 for a model whose first layer is not int8, and for no rows.
    """
    first = model.layers[0]
    if not isinstance(first, QuantizedDense) or x.size == 0:
        return 0.0
    rows = np.asarray(x, np.float32)
    values = rows if model.preprocessing is None else model.preprocessing(rows)
    grid = first.input
    outside = (values < grid.low - grid.scale) | (values > grid.high + grid.scale)
    return float(np.mean(outside))


def range_warning(model: Model, x: NDArray[Any]) -> str | None:
    """One line where many inputs lie outside of the calibrated range, with their share; None where few do."""
    share = clipped_share(model, x)
    first = model.layers[0]
    if share <= WARN_ABOVE or not isinstance(first, QuantizedDense):
        return None
    low, high = first.input.low, first.input.high
    if model.preprocessing is not None and model.preprocessing.mean.size == 1:
        low, high = model.preprocessing.inverse(np.array([low, high])).tolist()
    unit = "after standardization " if model.preprocessing is not None and model.preprocessing.mean.size > 1 else ""
    return (
        f"{share:.1%} of the input values are clipped: {unit}they lie outside {low:.4g}..{high:.4g}, the range "
        "that the model was calibrated for; feed raw values as in the training data"
    )
