"""How many rows a comparison draws or runs at once: 256, fewer if they would take more than a stated memory."""

from __future__ import annotations

from edge_runtime.model import Model

RANDOM_ROWS = 256
CHECK_BYTES = 1 << 28  # that the rows of a check take at once; a single row may take more
_BYTES_PER_VALUE = 64  # of the input and of every layer's output: drawn, run twice, traced and bounded in float64


def bytes_per_row(model: Model) -> int:
    """What a row takes in a check."""
    return _BYTES_PER_VALUE * (model.n_in + sum(layer.n_out for layer in model.layers))


def rows_within(model: Model) -> int:
    """Rows that a check may take at once, 1 to RANDOM_ROWS."""
    return max(1, min(RANDOM_ROWS, CHECK_BYTES // bytes_per_row(model)))
