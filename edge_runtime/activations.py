"""Forward maths of the activation functions. They are defined here once; the trainer adds derivatives to them.

Every function maps an array to an array of the same shape and floating dtype, works in place when `out` is `x`,
and allocates nothing that it does not return when `out` is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelError

Array = NDArray[Any]

# exp(-x) stays a finite, normal number above these, so that sigmoid never overflows: {bytes per item: lowest input}
_LOWEST_SIGMOID_INPUT: dict[int, Any] = {4: np.float32(-87.0), 8: np.float64(-708.0)}


def linear(x: Array, out: Array | None = None) -> Array:
    """y = x (ONNX Identity)."""
    if out is None or out is x:
        return x
    np.copyto(out, x)
    return out


def relu(x: Array, out: Array | None = None) -> Array:
    """y = max(x, 0) (ONNX Relu). NaN stays NaN."""
    return np.maximum(x, x.dtype.type(0), out=out)


def leaky_relu(x: Array, out: Array | None = None, *, alpha: float = 0.01) -> Array:
    """y = x where x >= 0, else alpha * x: one multiplication in x's dtype (ONNX LeakyRelu)."""
    scaled = x * x.dtype.type(alpha)
    np.copyto(scaled, x, where=x >= 0)
    if out is None:
        return scaled
    np.copyto(out, scaled)
    return out


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """y = 1 / (1 + exp(-x)) (ONNX Sigmoid). Inputs below -87 (float32) give 1.6e-38 instead of overflowing."""
    out = np.maximum(x, _LOWEST_SIGMOID_INPUT[x.dtype.itemsize], out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.add(out, x.dtype.type(1), out=out)
    return np.reciprocal(out, out=out)


def tanh(x: Array, out: Array | None = None) -> Array:
    """y = tanh(x) (ONNX Tanh)."""
    return np.tanh(x, out=out)


def softmax(x: Array, out: Array | None = None) -> Array:
    """y = exp(x - max x) / sum exp(x - max x) along the last axis (ONNX Softmax, axis = -1)."""
    out = np.subtract(x, np.maximum.reduce(x, axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    return np.divide(out, np.add.reduce(out, axis=-1, keepdims=True), out=out)


FORWARD: dict[str, Callable[..., Array]] = {
    "linear": linear,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
}
DEFAULTS: dict[str, dict[str, float]] = {"leaky_relu": {"alpha": 0.01}}

# A grid step of these is computed on the accumulator itself; any other hidden function becomes a 256-entry table.
ARITHMETIC_ON_INT8 = ("linear", "relu", "leaky_relu")


@dataclass(frozen=True)
class Activation:
    """An activation by name, with its parameters: `Activation("leaky_relu", (("alpha", 0.01),))`.

    Build one with `Activation.of`, which fills in the parameters' defaults and refuses unknown names.
    """

    name: str
    params: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, spec: str | Activation, params: Mapping[str, float] | None = None) -> Activation:
        """The activation that `spec` names. Raises ModelError for an unknown name or parameter."""
        if isinstance(spec, Activation):
            return spec
        if spec not in FORWARD:
            raise ModelError(f"activation {spec!r} is not known; expected one of {', '.join(sorted(FORWARD))}")
        values = dict(DEFAULTS.get(spec, {}))
        for key, value in (params or {}).items():
            if key not in values:
                raise ModelError(f"activation {spec!r} has no parameter {key!r}; it takes {sorted(values) or 'none'}")
            if not np.isfinite(value):
                raise ModelError(f"activation {spec!r}: parameter {key!r} is {value}, expected a finite number")
            values[key] = float(value)
        return cls(spec, tuple(sorted(values.items())))

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Apply it to `x`, shape (..., n), floating dtype; see the function of the same name."""
        return FORWARD[self.name](x, out, **dict(self.params))

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value:g}" for key, value in self.params)
        return f"{self.name}({inside})" if inside else self.name
