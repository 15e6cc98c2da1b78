"""The layers of integer weights: on grids that calibration found, and on grids found anew for each batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edge_runtime.arguments import MODEL_CHECKS
from edge_runtime.errors import ModelError
from edge_runtime.layers.base import check_name, checked_array
from edge_runtime.layers.dense import WeightedLayer, check_weight
from edge_runtime.numerics import (
    FEWEST_BITS,
    INT4_MAX,
    INT4_MIN,
    INT32_LIMIT,
    WEIGHT_MAX,
    WIDE_WEIGHT_MAX,
    Activation,
    Nibbles,
    QuantParams,
    certificate,
    largest_sum,
    magnitudes,
    pack,
)

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

MOST_TABLE_BITS = 12  # 4,096 entries: 8 KB


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


def _check_int4(weight: Any, name: str) -> Array:
    """Weights in -8..7 as int8."""
    weight = check_weight(weight, name, (np.int8,))
    for value in (int(weight.min()), int(weight.max())):
        if not INT4_MIN <= value <= INT4_MAX:
            raise ModelError(f"'{name}.weight' holds {value}, expected values in {INT4_MIN}..{INT4_MAX}")
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
    """A dense layer in integers: exact accumulators, one float32 multiplication, one rounding.

    weight: int8 (n_in, n_out) in [-127, 127], or int16 in [-255, 255] for somebody's 8-bit weights less their zero
    point: no column spans more than 255. bias: int32 (n_out,). multiplier: positive float32 (n_out,). input: the grid
    of its inputs. output: the grid of its outputs, or None where the layer gives the float32 values `accumulator *
    multiplier` (then the activation is computed in float32 on them). table: an entry for each code of `output`, of 12
    bits at most, applied to the outputs, giving codes on the grid `table_output`; None for the activations that are
    computed by arithmetic. Codes are uint8, or uint16 on grids of more than 8 bits.
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
        self._check_weight()
        bias = checked_array(self.bias, f"'{self.name}.bias'", (np.int32,), (self.n_out,))
        multiplier = _check_scale(self.multiplier, f"'{self.name}.multiplier'", self.n_out)
        object.__setattr__(self, "bias", bias)
        object.__setattr__(self, "multiplier", multiplier)
        object.__setattr__(self, "activation", Activation.of(self.activation))
        self._check_grids()
        self._check_table()
        _check_certificate(self)

    def _check_weight(self) -> None:
        object.__setattr__(self, "weight", _check_integers(self.weight, self.name))

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
            self._check_entries(self.output)
        elif self.output is not None and not self.activation.definition.is_arithmetic_on_int8:
            raise ModelError(f"layer '{self.name}': activation '{self.activation}' between int8 layers needs a table")

    def _check_entries(self, grid: QuantParams) -> None:
        """Of the table, which is indexed on this grid."""
        assert self.table_output is not None
        if grid.bits > MOST_TABLE_BITS:
            raise ModelError(
                f"layer '{self.name}' has a table on a grid of {grid.bits} bits, expected {MOST_TABLE_BITS} at most"
            )
        what, top = f"'{self.name}.table'", self.table_output.top
        table = checked_array(self.table, what, (self.table_output.dtype,), (grid.top + 1,))
        if table.max() > top:
            raise ModelError(f"{what} holds {table.max()}, expected codes of {self.table_output.bits} bits, 0..{top:,}")
        object.__setattr__(self, "table", table)

    @property
    def weight_bits(self) -> int:
        """Of a weight as it is stored."""
        return 8

    @property
    def has_fine_grids(self) -> bool:
        """Whether a grid of it has more than 8 bits."""
        grids = (grid for grid in (self.input, self.output, self.table_output) if grid is not None)
        return any(grid.bits > FEWEST_BITS for grid in grids)

    @property
    def has_other_bits(self) -> bool:
        """Whether its weights or a grid of it have another number of bits than 8."""
        return self.weight_bits != 8 or self.has_fine_grids

    @property
    def stored_weight(self) -> Array:
        """The weights as they are held and stored."""
        return self.weight

    @property
    def precision(self) -> str:
        """ "int8"; "int4" for weights of 4 bits; "int8-a16", "int4-a16" with inputs of more than 8 bits."""
        return f"int{self.weight_bits}{'-a16' if self.input.bits > FEWEST_BITS else ''}"

    @functools.cached_property
    def certificate(self) -> int:
        """See `edge_runtime.numerics.quantization.certificate`."""
        return largest_sum(self._magnitudes(), self.bias, self.input.zero_point, self.input.bits)

    def _magnitudes(self) -> Array:
        return magnitudes(self.weight)

    @property
    def final_grid(self) -> QuantParams | None:
        """The grid of what the next layer receives; None where that is float32."""
        return self.table_output if self.table is not None else self.output

    def arrays(self) -> dict[str, Array]:
        """The stored arrays by their short names, in file order."""
        arrays = {"weight": self.stored_weight, "bias": self.bias, "multiplier": self.multiplier}
        return arrays if self.table is None else {**arrays, "table": self.table}


@dataclass(frozen=True, eq=False, repr=False)
class Int4Dense(QuantizedDense):
    """A `QuantizedDense` whose weights are 4-bit integers in -8..7 and are held two to a byte.

    weight: given as int8 (n_in, n_out), or packed as `Nibbles`; read, it is int8, unpacked anew each time.
    """

    @property  # type: ignore[misc]  # a property takes what the field would be given
    def weight(self) -> Array:
        """The integers, int8 (n_in, n_out): a new array each time."""
        return self.nibbles.unpacked()

    @weight.setter
    def weight(self, given: Any) -> None:
        object.__setattr__(self, "nibbles", given)

    nibbles: ClassVar[Nibbles]  # of each layer; no field: `weight` stands for it where layers are made and copied

    def _magnitudes(self) -> Array:
        """Added up in parts: the matrix is unpacked nowhere as a whole."""
        return sum((magnitudes(part) for part in self.nibbles.parts()), np.zeros(self.n_out, np.int64))

    def _check_weight(self) -> None:
        given: Any = self.nibbles
        if not isinstance(given, Nibbles):
            given = pack(_check_int4(given, self.name))
        check_name(self.name)
        packed = checked_array(given.packed, f"'{self.name}.weight'", (np.uint8,))
        rows = MODEL_CHECKS.whole(f"'{self.name}.n_in'", given.rows, 1)
        if packed.ndim != 2 or packed.shape[0] != (rows + 1) // 2 or packed.shape[1] == 0:
            raise ModelError(
                f"'{self.name}.weight' has shape {packed.shape}, expected ({(rows + 1) // 2}, n_out): {rows} rows of "
                "4-bit weights, two to a byte"
            )
        if rows % 2 and (packed[-1] > 0x0F).any():
            raise ModelError(f"'{self.name}.weight' has bits behind its last row {rows - 1}, expected zeros")
        object.__setattr__(self, "nibbles", Nibbles(packed, rows))

    @property
    def n_in(self) -> int:
        """Width of the rows it takes."""
        return self.nibbles.rows

    @property
    def n_out(self) -> int:
        """Width of the rows it gives."""
        return int(self.nibbles.packed.shape[1])

    @property
    def n_parameters(self) -> int:
        """Numbers that training sets."""
        return self.n_in * self.n_out + int(self.bias.size)

    @property
    def weight_bits(self) -> int:
        """Of a weight as it is stored."""
        return 4

    @property
    def stored_weight(self) -> Array:
        """The packed integers, uint8 ((n_in + 1) // 2, n_out)."""
        return self.nibbles.packed


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
