"""The layers of int8 weights: on grids that calibration found, and on grids found anew for each batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arguments import MODEL_CHECKS
from edge_runtime.errors import ModelError
from edge_runtime.layers.base import checked_array
from edge_runtime.layers.dense import WeightedLayer, check_weight
from edge_runtime.numerics import INT32_LIMIT, WEIGHT_MAX, WIDE_WEIGHT_MAX, Activation, QuantParams, certificate

if TYPE_CHECKING:
    from edge_runtime.array_types import Array


def _check_integers(weight: Any, name: str) -> Array:
    """Weights as integers: int8 around 0, or int16 that 8 bits hold around some zero point of each output."""
    weight = check_weight(weight, name, (np.int8, np.int16))
    low, high = weight.min(axis=0), weight.max(axis=0)
    most = WEIGHT_MAX if weight.dtype == np.int8 else WIDE_WEIGHT_MAX
    for value in (int(low.min()), int(high.max())):
        if abs(value) > most:
            raise ModelError(f"'{name}.weight' holds {value}, expected values in -{most}..{most}")
    span = int((high.astype(np.int32) - low).max())
    if span > WIDE_WEIGHT_MAX:
        raise ModelError(
            f"the values of a column of '{name}.weight' span {span}, expected {WIDE_WEIGHT_MAX} at most, which 8 bits "
            "hold around a zero point"
        )
    return weight


def _check_scale(scale: Any, what: str, n_out: int) -> Array:
    scale = checked_array(scale, what, (np.float32,), (n_out,))
    if not (scale >= np.finfo(np.float32).tiny).all():
        raise ModelError(f"{what} holds {scale.min()}, expected positive, normal float32 numbers")
    return scale


def _check_certificate(layer: QuantizedDense | DynamicQuantizedDense) -> None:
    if layer.certificate >= INT32_LIMIT:
        raise ModelError(
            f"layer '{layer.name}': an accumulator can reach {layer.certificate:,}, and must stay below "
            f"{INT32_LIMIT:,} to fit int32 on every engine; keep this layer in float16 or float32"
        )


@dataclass(frozen=True, eq=False, repr=False)
class QuantizedDense(WeightedLayer):
    """A dense layer in int8: exact integer accumulators, one float32 multiplication, one rounding.

    weight: int8 (n_in, n_out) in [-127, 127], or int16 in [-255, 255] for somebody's 8-bit weights less their zero
    point: no column spans more than 255. bias: int32 (n_out,). multiplier: positive float32 (n_out,). input: the grid
    of its uint8 inputs. output: the grid of its uint8 outputs, or None where the layer gives the float32 values
    `accumulator * multiplier` (then the activation is computed in float32 on them). table: uint8 (256,) applied to the
    outputs, giving values on the grid `table_output`; None for the activations that are computed by arithmetic.
    """

    name: str
    weight: Array
    bias: Array
    multiplier: Array
    input: QuantParams
    output: QuantParams | None
    activation: Activation
    table: Array | None = None
    table_output: QuantParams | None = None

    def __post_init__(self) -> None:
        weight = _check_integers(self.weight, self.name)
        n_out = weight.shape[1]
        bias = checked_array(self.bias, f"'{self.name}.bias'", (np.int32,), (n_out,))
        multiplier = _check_scale(self.multiplier, f"'{self.name}.multiplier'", n_out)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)
        object.__setattr__(self, "multiplier", multiplier)
        object.__setattr__(self, "activation", Activation.of(self.activation))
        self._check_grids()
        self._check_table()
        _check_certificate(self)

    def _check_grids(self) -> None:
        if self.input is None:
            raise ModelError(f"layer '{self.name}' has no input grid, expected QuantParams(scale, zero_point)")
        for side in ("input", "output", "table_output"):
            grid = getattr(self, side)
            MODEL_CHECKS.instance(f"'{self.name}.{side}'", grid, QuantParams, "QuantParams(scale, zero_point)")

    def _check_table(self) -> None:
        if (self.table is None) != (self.table_output is None):
            raise ModelError(
                f"layer '{self.name}': a table and its output grid belong together, found only one of them"
            )
        if self.table is not None:
            if self.output is None:
                raise ModelError(f"layer '{self.name}' has a table but no output grid to index it with")
            if self.activation.name in ("relu", "leaky_relu"):
                raise ModelError(
                    f"layer '{self.name}' has a table and the activation '{self.activation}', which is computed by "
                    "arithmetic; expected one or the other"
                )
            object.__setattr__(self, "table", checked_array(self.table, f"'{self.name}.table'", (np.uint8,), (256,)))
        elif self.output is not None and not self.activation.definition.is_arithmetic_on_int8:
            raise ModelError(f"layer '{self.name}': activation '{self.activation}' between int8 layers needs a table")

    @property
    def precision(self) -> str:
        """Always "int8"."""
        return "int8"

    @functools.cached_property
    def certificate(self) -> int:
        """See `edge_runtime.numerics.quantization.certificate`."""
        return certificate(self.weight, self.bias, self.input.zero_point)

    @property
    def final_grid(self) -> QuantParams | None:
        """The grid of what the next layer receives; None where that is float32."""
        return self.table_output if self.table is not None else self.output

    def arrays(self) -> dict[str, Array]:
        """The stored arrays by their short names, in file order."""
        arrays = {"weight": self.weight, "bias": self.bias, "multiplier": self.multiplier}
        return arrays if self.table is None else {**arrays, "table": self.table}


@dataclass(frozen=True, eq=False, repr=False)
class DynamicQuantizedDense(WeightedLayer):
    """A dense layer with int8 weights that quantizes its float32 input anew for each batch.

    weight: int8 or int16 (n_in, n_out), as in `QuantizedDense`. weight_scale, bias: float32 (n_out,), weight_scale
    positive. The value before the activation is accumulator * weight_scale * input scale + bias, in this order, in
    float32. The input's grid spans the whole batch, so a row's answer depends on the rows around it.
    """

    name: str
    weight: Array
    bias: Array
    weight_scale: Array
    activation: Activation

    def __post_init__(self) -> None:
        weight = _check_integers(self.weight, self.name)
        n_out = weight.shape[1]
        scale = _check_scale(self.weight_scale, f"'{self.name}.weight_scale'", n_out)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", checked_array(self.bias, f"'{self.name}.bias'", (np.float32,), (n_out,)))
        object.__setattr__(self, "weight_scale", scale)
        object.__setattr__(self, "activation", Activation.of(self.activation))
        _check_certificate(self)

    @property
    def precision(self) -> str:
        """Always "int8-dynamic"."""
        return "int8-dynamic"

    @functools.cached_property
    def certificate(self) -> int:
        """The largest accumulator with any zero point; see `edge_runtime.numerics.quantization.certificate`."""
        return certificate(self.weight, np.zeros(self.n_out, np.int32), 0)

    def arrays(self) -> dict[str, Array]:
        """The stored arrays by their short names, in file order."""
        return {"weight": self.weight, "bias": self.bias, "weight_scale": self.weight_scale}
