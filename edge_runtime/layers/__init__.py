"""The layers that a model is made of. Each checks itself when it is made.

Matrix products: float, int8, int4, and int8 with dynamic grids. Stages, which have no weights and keep the width of the
rows: element-wise maps, and normalization over the row.
"""

from __future__ import annotations

from edge_runtime.layers.base import Remade, checked_array, count_nonfinite
from edge_runtime.layers.dense import Dense, WeightedLayer
from edge_runtime.layers.quantized import MOST_TABLE_BITS, DynamicQuantizedDense, Int4Dense, QuantizedDense
from edge_runtime.layers.stages import Elementwise, LayerNorm, Stage

Layer = Dense | QuantizedDense | DynamicQuantizedDense | Elementwise | LayerNorm

__all__ = [
    "Dense",
    "DynamicQuantizedDense",
    "Elementwise",
    "Int4Dense",
    "Layer",
    "LayerNorm",
    "MOST_TABLE_BITS",
    "QuantizedDense",
    "Remade",
    "Stage",
    "WeightedLayer",
    "checked_array",
    "count_nonfinite",
]
