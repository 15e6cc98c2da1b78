"""The stored rows of a model with what each step gives for them, and how far C may be from it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import Dense, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.reference import LOGITS, tensor_bounds, trace
from export.c_writer.calls import CCall, starts_with_codes


class Expected(NamedTuple):
    """What a step gives. step: its number, -1 for the quantized input. rows: uint8 or float32 (n, width).

    tolerance: steps of the grid or real units; 0: the same bits. place: among all of them.
    """

    step: int
    rows: NDArray[Any]
    tolerance: float
    place: int

    @property
    def is_codes(self) -> bool:
        """Whether they are uint8."""
        return self.rows.dtype == np.uint8


class StoredRows(NamedTuple):
    """inputs: float32 (n, n_in). expected: in the order of the steps. flash: bytes of all of them."""

    inputs: NDArray[np.float32]
    expected: list[Expected]
    flash: int


def stored_rows(model: Model, steps: list[CCall]) -> StoredRows | None:
    """For the test vectors of a model; None where it has none. A tensor without a finite bound is left out."""
    if model.test_vectors is None or not len(model.test_vectors.inputs):
        return None
    inputs = model.test_vectors.inputs
    tensors, bounds = trace(model, inputs), tensor_bounds(model, inputs)
    expected = []
    if starts_with_codes(model):
        expected.append(Expected(-1, tensors[f"{model.layers[0].name}.quantized_input"], 0.0, 0))
    for number, step in enumerate(steps):
        if step.checked and np.isfinite(tensors[step.checked]).all():
            tolerance = _tolerance(model, step, bounds)
            if math.isfinite(tolerance):
                expected.append(Expected(number, tensors[step.checked], tolerance, len(expected)))
    flash = inputs.nbytes + sum(entry.rows.nbytes for entry in expected)
    return StoredRows(inputs, expected, flash)


def _tolerance(model: Model, step: CCall, bounds: dict[str, NDArray[np.float64]]) -> float:
    """The largest that is allowed in any of the rows: one number, so that it takes no flash."""
    if step.layer < 0:
        return 0.0
    layer = model.layers[step.layer]
    if step.kind == "quantize":
        before = bounds[f"{model.layers[step.layer - 1].name}.output"].max() if step.layer else 0.0
        return float(np.ceil(before / step.of.scale)) + (1.0 if before else 0.0)
    if step.kind == "codes":
        assert isinstance(layer, QuantizedDense)
        grid = layer.final_grid
        assert grid is not None
        return float(np.ceil(bounds[f"{layer.name}.output"].max() / grid.scale))
    if step.layer == len(model.layers) - 1:
        return float(bounds[LOGITS].max())
    is_done = step.kind == "activate" or isinstance(layer, QuantizedDense) or layer.activation.name == "linear"
    name = f"{layer.name}.{'output' if is_done or isinstance(layer, Dense) else 'preactivation'}"
    return float(bounds[name].max())
