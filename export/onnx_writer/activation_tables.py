"""What a table between two int8 layers may hold where it stands for its activation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import QuantizedDense
from edge_runtime.numerics import QMAX, dequantize, quantize
from edge_runtime.reference import implementation_error

_ROUNDED = 2.0**-22  # of a value: the division by the scale and the sum before it round once each


def is_its_function(layer: QuantizedDense) -> bool:
    """Whether the layer's table is its activation, computed code by code; beside a tie an entry may lie either way."""
    if layer.table is None or layer.activation.definition.is_over_row:
        return False
    low, high = _function_range(layer)
    return bool(((low <= layer.table) & (layer.table <= high)).all())


def entry_range(layer: QuantizedDense) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The lowest and the highest value, (256,) each, that the qdq form may give for each code.

    A table that is its activation is written as that, so an engine computes it; another one is written as it is.
    """
    assert layer.table is not None
    if not is_its_function(layer):
        return layer.table, layer.table
    return _function_range(layer)


def _function_range(layer: QuantizedDense) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    assert layer.output is not None
    assert layer.table_output is not None
    real = dequantize(np.arange(QMAX + 1, dtype=np.uint8), layer.output)
    with np.errstate(over="ignore", invalid="ignore"):
        value = layer.activation(real).astype(np.float64)
        error = implementation_error(layer.activation, real) + np.abs(value) * _ROUNDED
        ends = quantize(value - error, layer.table_output), quantize(value + error, layer.table_output)
    return ends
