"""The layers that a model is made of: float, int8, and int8 with dynamic grids. Each checks itself when it is made."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arguments import MODEL_CHECKS
from edge_runtime.errors import InputError, ModelError
from edge_runtime.files import shortened
from edge_runtime.numerics import (
    CHUNK,
    INT32_LIMIT,
    WEIGHT_MAX,
    Activation,
    QuantParams,
    as_array,
    certificate,
    count_subnormals,
    frozen,
)

if TYPE_CHECKING:
    from edge_runtime.array_types import Array


def checked_array(array: Any, what: str, dtypes: tuple[type, ...], shape: tuple[int, ...] | None = None) -> Array:
    """`array` as a C-ordered array that nobody can write to, once its dtype, shape and finiteness have been checked.

    It is copied unless it is a view of `bytes` or of a map that `load` made, as the arrays of an artifact are.
    """
    try:
        array = as_array(array, what)
    except InputError as error:
        raise ModelError(str(error)) from None
    if array.dtype not in [np.dtype(t) for t in dtypes]:
        expected = " or ".join(np.dtype(t).name for t in dtypes)
        raise ModelError(f"{what} has dtype {array.dtype}, expected {expected}")
    if shape is not None and array.shape != shape:
        raise ModelError(f"{what} has shape {array.shape}, expected {shape}")
    if array.dtype.kind == "f" and (bad := count_nonfinite(array)):
        raise ModelError(f"{what} holds {bad} values that are NaN or inf")
    return frozen(array)


def count_nonfinite(array: Array) -> int:
    """How many values are NaN or inf, counted in parts, so that the check needs little memory."""
    flat = array.reshape(-1)
    return sum(int(np.count_nonzero(~np.isfinite(flat[start : start + CHUNK]))) for start in range(0, flat.size, CHUNK))


def _check_weight(weight: Any, name: str, dtypes: tuple[type, ...]) -> Array:
    if not isinstance(name, str):
        raise MODEL_CHECKS.refusal("a layer's name", name, "Unicode text")
    array = checked_array(weight, f"'{name}.weight'", dtypes)
    if array.ndim != 2 or 0 in array.shape:
        raise ModelError(f"'{name}.weight' has shape {array.shape}, expected (n_in, n_out), both at least 1")
    return array


class Remade:
    """A dataclass whose copies and pickles are made as it was itself: checked, and of read-only arrays."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


class _Widths(Remade):
    """The widths that a weight matrix (n_in, n_out) states, and a name for people: no array is printed."""

    name: str
    weight: Array
    activation: Activation

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({shortened(self.name, 60)!r}, {self.n_in} -> {self.n_out}, {self.activation.name})"
        )

    @property
    def n_in(self) -> int:
        """Width of the rows it takes."""
        return int(self.weight.shape[0])

    @property
    def n_out(self) -> int:
        """Width of the rows it gives."""
        return int(self.weight.shape[1])


@dataclass(frozen=True, eq=False, repr=False)
class Dense(_Widths):
    """y = activation(x @ weight + bias), computed in float32.

    weight: (n_in, n_out), float32 or float16 (widened to float32 before use). bias: float32 (n_out,).
    """

    name: str
    weight: Array
    bias: Array
    activation: Activation

    def __post_init__(self) -> None:
        weight = _check_weight(self.weight, self.name, (np.float32, np.float16))
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


@dataclass(frozen=True, eq=False, repr=False)
class QuantizedDense(_Widths):
    """A dense layer in int8: exact integer accumulators, one float32 multiplication, one rounding.

    weight: int8 (n_in, n_out) in [-127, 127]. bias: int32 (n_out,). multiplier: positive float32 (n_out,).
    input: the grid of its uint8 inputs. output: the grid of its uint8 outputs, or None where the layer gives the
    float32 values `accumulator * multiplier` (then the activation is computed in float32 on them). table: uint8
    (256,) applied to the outputs, giving values on the grid `table_output`; None for the activations that are
    computed by arithmetic.
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
        weight = _check_weight(self.weight, self.name, (np.int8,))
        n_out = weight.shape[1]
        if int(weight.min()) < -WEIGHT_MAX:
            raise ModelError(f"'{self.name}.weight' holds {int(weight.min())}, expected values in -127..127")
        bias = checked_array(self.bias, f"'{self.name}.bias'", (np.int32,), (n_out,))
        multiplier = checked_array(self.multiplier, f"'{self.name}.multiplier'", (np.float32,), (n_out,))
        if not (multiplier >= np.finfo(np.float32).tiny).all():
            raise ModelError(
                f"'{self.name}.multiplier' holds {multiplier.min()}, expected positive, normal float32 numbers"
            )
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)
        object.__setattr__(self, "multiplier", multiplier)
        object.__setattr__(self, "activation", Activation.of(self.activation))
        self._check_grids()
        self._check_table()
        if self.certificate >= INT32_LIMIT:
            raise ModelError(
                f"layer '{self.name}': an accumulator can reach {self.certificate:,}, and must stay below "
                f"{INT32_LIMIT:,} to fit int32 on every engine; keep this layer in float16 or float32"
            )

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
class DynamicQuantizedDense(_Widths):
    """A dense layer with int8 weights that quantizes its float32 input anew for each batch.

    weight: int8 (n_in, n_out) in [-127, 127]. weight_scale, bias: float32 (n_out,), weight_scale positive. The value
    before the activation is accumulator * weight_scale * input scale + bias, in this order, in float32. The input's
    grid spans the whole batch, so a row's answer depends on the rows around it.
    """

    name: str
    weight: Array
    bias: Array
    weight_scale: Array
    activation: Activation

    def __post_init__(self) -> None:
        weight = _check_weight(self.weight, self.name, (np.int8,))
        n_out = weight.shape[1]
        if int(weight.min()) < -WEIGHT_MAX:
            raise ModelError(f"'{self.name}.weight' holds {int(weight.min())}, expected values in -127..127")
        scale = checked_array(self.weight_scale, f"'{self.name}.weight_scale'", (np.float32,), (n_out,))
        if not (scale >= np.finfo(np.float32).tiny).all():
            raise ModelError(
                f"'{self.name}.weight_scale' holds {scale.min()}, expected positive, normal float32 numbers"
            )
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", checked_array(self.bias, f"'{self.name}.bias'", (np.float32,), (n_out,)))
        object.__setattr__(self, "weight_scale", scale)
        object.__setattr__(self, "activation", Activation.of(self.activation))
        if self.certificate >= INT32_LIMIT:
            raise ModelError(
                f"layer '{self.name}': an accumulator can reach {self.certificate:,}, and must stay below "
                f"{INT32_LIMIT:,} to fit int32 on every engine; keep this layer in float16 or float32"
            )

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


Layer = Dense | QuantizedDense | DynamicQuantizedDense
