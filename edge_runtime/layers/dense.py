"""The layers that are a matrix product: what they share, and the one in floats."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import ModelError
from edge_runtime.layers.base import NamedLayer, check_name, checked_array
from edge_runtime.numerics import Activation, count_subnormals

if TYPE_CHECKING:
    from edge_runtime.array_types import Array


def check_weight(weight: Any, name: str, dtypes: tuple[type, ...]) -> Array:
    """The weights of a layer, checked: (n_in, n_out), both at least 1, of one of these dtypes. Raises ModelError."""
    check_name(name)
    array = checked_array(weight, f"'{name}.weight'", dtypes)
    if array.ndim != 2 or 0 in array.shape:
        raise ModelError(f"'{name}.weight' has shape {array.shape}, expected (n_in, n_out), both at least 1")
    return array


class WeightedLayer(NamedLayer):
    """The widths that a weight matrix (n_in, n_out) states."""

    weight: Array
    bias: Array

    @property
    def n_in(self) -> int:
        """Width of the rows it takes."""
        return int(self.weight.shape[0])

    @property
    def n_out(self) -> int:
        """Width of the rows it gives."""
        return int(self.weight.shape[1])

    @property
    def macs(self) -> int:
        """Multiply-accumulates with weights for one row."""
        return self.n_in * self.n_out

    @property
    def n_parameters(self) -> int:
        """Numbers that training sets."""
        return int(self.weight.size + self.bias.size)


@dataclass(frozen=True, eq=False, repr=False)
class Dense(WeightedLayer):
    """y = activation(x @ weight + bias), computed in float32.

    weight: (n_in, n_out), float32 or float16 (widened to float32 before use). bias: float32 (n_out,).
    """

    name: str
    weight: Array
    bias: Array
    activation: Activation

    def __post_init__(self) -> None:
        weight = check_weight(self.weight, self.name, (np.float32, np.float16))
        bias = checked_array(self.bias, f"'{self.name}.bias'", (np.float32,), (weight.shape[1],))
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)
        object.__setattr__(self, "activation", Activation.of(self.activation))

    @property
    def precision(self) -> str:
        """ "float32" or "float16": the dtype of the stored weights."""
        return "float32" if self.weight.dtype == np.float32 else "float16"

    @functools.cached_property
    def subnormals(self) -> int:
        """How many weights an engine takes as 0; see `edge_runtime.numerics.subnormals`."""
        return count_subnormals(self.weight)

    def arrays(self) -> dict[str, Array]:
        """The stored arrays by their short names, in file order."""
        return {"weight": self.weight, "bias": self.bias}
