"""The same rows in the float network and in the int8 one that is being made of it, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import Dense, Layer
from edge_runtime.model import Model
from edge_runtime.numerics import QuantParams, dequantize, quantize
from edge_runtime.reference import trace_layer
from export.quantization.calibration import float_model, observed
from export.quantization.rounding import Moments, moments

WIDEST = 4096  # inputs of a layer whose moments are taken: a matrix of 128 MiB


class FollowedRows:
    """Follows rows, as a user would feed them, (n, n_in), through `model`, in float32, and through its int8 layers."""

    def __init__(self, model: Model, rows: NDArray[np.float32]) -> None:
        self._exact = observed(float_model(model), rows)
        self._value: NDArray[Any] = self._exact["input"]  # what the int8 network gives the next layer

    def moments(self, layer: Dense, grid: QuantParams, entering: str, *, about_means: bool) -> Moments | None:
        """Of the inputs that reach `layer`; None for a layer too wide for them, which is rounded to the nearest.

        grid: of its inputs. entering: the name of the float network's tensor there. about_means: see `Moments`.
        """
        if layer.n_in > WIDEST:
            return None
        codes = self._value if self._value.dtype.kind == "u" else quantize(self._value, grid)
        exact, wanted = self._exact[entering], self._exact[f"{layer.name}.preactivation"]
        return moments(dequantize(codes, grid), exact, wanted, about_means=about_means)

    def start_again(self) -> None:
        """The rows stand before the first layer again."""
        self._value = self._exact["input"]

    def pass_through(self, layer: Layer) -> None:
        """The rows go through the next layer of the int8 network."""
        self._value = trace_layer(layer, self._value)[f"{layer.name}.output"]
