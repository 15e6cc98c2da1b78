"""What a trained model is given on its way to the file: the ranges of its tensors on the rows that it learned from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import QuantizationError
from edge_runtime.model import Model
from export.quantization import spread_places, with_ranges

MOST_ROWS_RANGED = 8192  # spread evenly over the training rows: the ranges of more are hardly wider


def ranged(model: Model, rows: NDArray[np.float32]) -> Model:
    """The model with its ranges on rows (n, n_in); as it is if no integers can be made of it, which export says."""
    try:
        return with_ranges(model, rows[spread_places(len(rows), MOST_ROWS_RANGED)])
    except QuantizationError:
        return model
