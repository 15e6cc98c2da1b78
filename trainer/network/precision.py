"""What a lower precision does to weights and activations: a quick look, by rounding and clipping in floating point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.numerics import quantize_symmetric
from trainer.layers import DenseLayer


def symmetric_scale(x: Array, clip_value: int, axis: int) -> Array:
    """The step of a symmetric grid that reaches max |x| with `clip_value` steps, along `axis`; 1 where x is 0."""
    scale = np.abs(x).max(axis=axis, keepdims=True, initial=0) / x.dtype.type(clip_value)
    return np.where(scale > 0, scale, x.dtype.type(1))


def lower_values(x: Array, clip_value: int, axis: int) -> tuple[Array, Array]:
    """Integers from -clip_value to clip_value, as floats of x's dtype, and their scale: x = integers * scale.

    One scale along `axis`, from the values themselves (dynamic quantization), and the export's rounding.
    """
    scale = symmetric_scale(x, clip_value, axis)
    return quantize_symmetric(x, scale, clip_value), scale


def lower_weights(weights: Array, precision: str, clip_value: int, out: Array | None = None) -> Array:
    """The weights (n_in, n_out) that `precision` can hold, in their own dtype: "float32", "float16" or "int8".

    out: an array to write into, with which no other array of the weights' size in their dtype is made.
    """
    if precision == "float16":
        largest = weights.dtype.type(
            np.finfo(np.float16).max
        )  # beyond it float16 is infinite; the export saturates too
        out = np.clip(weights, -largest, largest, out=out)
        np.copyto(out, out.astype(np.float16))
        return out
    if precision == "int8":
        scale = np.maximum(weights.max(axis=0), -weights.min(axis=0)) / weights.dtype.type(clip_value)
        scale = np.where(scale > 0, scale, weights.dtype.type(1))
        out = quantize_symmetric(weights, scale, clip_value, out)
        return np.multiply(out, scale, out=out)
    return weights


@dataclass(frozen=True, eq=False)
class LoweredDense:
    """A dense layer outside of training, x @ weights + bias, in "float32" (as trained), "float16" or "int8".

    "float16" computes with rounded weights in the layer's own dtype, as the exported model does. "int8" puts each row
    of x and each column of weights on a symmetric grid of its own and sums their products in float64, exactly.
    """

    weights: Array
    bias: Array
    precision: str = "float32"
    clip_value: int = 127

    def __post_init__(self) -> None:
        if self.precision == "int8":
            integers, scale = lower_values(self.weights, self.clip_value, axis=0)
            object.__setattr__(self, "_integers", integers.astype(np.float64))
            object.__setattr__(self, "_scale", scale)
        else:
            object.__setattr__(self, "weights", lower_weights(self.weights, self.precision, self.clip_value))

    def forward(self, dense: DenseLayer, x: Array) -> Array:
        """The pre-activations (rows, n_out) of x (rows, n_in), through `dense`, whose own weights are not used."""
        if self.precision != "int8":
            return dense.forward(x, self.weights, self.bias)
        integers, scale = lower_values(x, self.clip_value, axis=1)
        accumulator = integers.astype(np.float64) @ self._integers  # type: ignore[attr-defined]
        return (accumulator * scale * self._scale + self.bias).astype(x.dtype)  # type: ignore[attr-defined]
