"""Layers without weights: n float values to n values, one by one or over the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arguments import MODEL_CHECKS
from edge_runtime.errors import InputError, ModelError
from edge_runtime.layers.base import NamedLayer, check_name, checked_array
from edge_runtime.numerics import Activation, as_array, frozen

if TYPE_CHECKING:
    from edge_runtime.array_types import Array


class Stage(NamedLayer):
    """Rows of n float32 values in, rows of n float32 values out; no products with weights."""

    @property
    def n_in(self) -> int:
        """Width of the rows it takes."""
        return int(next(iter(self.arrays().values())).size)

    @property
    def n_out(self) -> int:
        """The same width."""
        return self.n_in

    @property
    def precision(self) -> str:
        """Always "float32"."""
        return "float32"

    @property
    def macs(self) -> int:
        """Multiply-accumulates with weights for one row: none."""
        return 0

    @property
    def n_parameters(self) -> int:
        """Numbers that training may set."""
        return sum(int(array.size) for array in self.arrays().values())

    @property
    def operations(self) -> int:
        """Operations on single values for one row, without those of the activation."""
        raise NotImplementedError

    def arrays(self) -> dict[str, Array]:
        """The stored arrays by their short names, in file order."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class Elementwise(Stage):
    """y = activation(limited(sloped(x * scale + shift))), value by value in float32: the same for each row.

    scale, shift: float32 (n,); two roundings, and a scale of ones or a shift of zeros is left out, which changes no
    value. slope: float32 (n,) or None; values below 0 are multiplied by it (ONNX PRelu). low, high: float32 (n,) or
    None; the values are kept within them, and -inf and +inf are no limit (ONNX Max, Min). NaN stays NaN.
    """

    name: str
    scale: Array
    shift: Array
    activation: Activation
    low: Array | None = None
    high: Array | None = None
    slope: Array | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        scale = _checked_vector(self.scale, f"'{self.name}.scale'")
        object.__setattr__(self, "scale", scale)
        for key in ("shift", "slope"):
            if key == "shift" or self.slope is not None:
                array = checked_array(getattr(self, key), f"'{self.name}.{key}'", (np.float32,), scale.shape)
                object.__setattr__(self, key, array)
        for key, no_limit in (("low", -np.inf), ("high", np.inf)):
            if getattr(self, key) is not None:
                limits = _checked_limits(getattr(self, key), f"'{self.name}.{key}'", scale.shape, no_limit)
                object.__setattr__(self, key, limits)
        self._check_order()
        object.__setattr__(self, "activation", Activation.of(self.activation))

    def _check_order(self) -> None:
        if self.low is None or self.high is None or (self.low <= self.high).all():
            return
        place = int((self.low > self.high).argmax())
        raise ModelError(
            f"layer '{self.name}' keeps value {place} within {self.low[place]}..{self.high[place]}, expected a lower "
            "limit that is at most the upper one"
        )

    @property
    def operations(self) -> int:
        """One for each number that is stored."""
        return self.n_parameters

    def arrays(self) -> dict[str, Array]:
        """The stored arrays by their short names, in file order."""
        arrays = {name: getattr(self, name) for name in ("scale", "shift", "slope", "low", "high")}
        return {name: array for name, array in arrays.items() if array is not None}


@dataclass(frozen=True, eq=False, repr=False)
class LayerNorm(Stage):
    """y = activation(d / sqrt(mean(d * d) + epsilon) * gamma + beta), d = x - mean(x), over each row in float32.

    gamma, beta: float32 (n,). epsilon: a float32 number of at least 0. centered: False leaves the mean out, d = x,
    which is RMSNorm. The order of the sums is not stated: implementations agree within a bound
    (`edge_runtime.reference.bounds`).
    """

    name: str
    gamma: Array
    beta: Array
    epsilon: float
    activation: Activation
    centered: bool = True

    def __post_init__(self) -> None:
        check_name(self.name)
        gamma = _checked_vector(self.gamma, f"'{self.name}.gamma'")
        object.__setattr__(self, "gamma", gamma)
        object.__setattr__(self, "beta", checked_array(self.beta, f"'{self.name}.beta'", (np.float32,), gamma.shape))
        epsilon = MODEL_CHECKS.number(f"'{self.name}.epsilon'", self.epsilon, low=0.0)
        with np.errstate(over="ignore"):
            if float(np.float32(epsilon)) != epsilon:
                raise ModelError(f"'{self.name}.epsilon' is {epsilon!r}, expected a number that float32 holds")
        object.__setattr__(self, "epsilon", epsilon)
        object.__setattr__(self, "centered", MODEL_CHECKS.flag(f"'{self.name}.centered'", self.centered))
        object.__setattr__(self, "activation", Activation.of(self.activation))

    @property
    def operations(self) -> int:
        """Of each value: into two sums, less the mean, a square, a quotient, gamma and beta."""
        return (7 if self.centered else 5) * self.n_in

    def arrays(self) -> dict[str, Array]:
        """The stored arrays by their short names, in file order."""
        return {"gamma": self.gamma, "beta": self.beta}


def _checked_vector(array: Any, what: str) -> Array:
    """Finite float32 values (n,), at least one."""
    vector = checked_array(array, what, (np.float32,))
    if vector.ndim != 1 or not vector.size:
        raise ModelError(f"{what} has shape {vector.shape}, expected (n,), at least one value")
    return vector


def _checked_limits(array: Any, what: str, shape: tuple[int, ...], no_limit: float) -> Array:
    """Float32 values of this shape that are numbers or `no_limit`, as an array that nobody can write to."""
    try:
        limits = as_array(array, what)
    except InputError as error:
        raise ModelError(str(error)) from None
    if limits.dtype != np.float32 or limits.shape != shape:
        raise ModelError(f"{what} is {limits.dtype} {limits.shape}, expected float32 {shape}")
    if bad := int(np.count_nonzero(~(np.isfinite(limits) | (limits == no_limit)))):
        raise ModelError(f"{what} holds {bad} values that are neither numbers nor {no_limit:+}")
    return frozen(limits)
