"""4-bit integers, two to a byte: the rows of a matrix in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

_BITS, _LOW = 4, 0x0F


class Nibbles(NamedTuple):
    """A matrix of integers in -8..7, (rows, columns), packed.

    packed: uint8 ((rows + 1) // 2, columns). Row 2r is in the low four bits of packed row r, row 2r + 1 in the high
    ones, as two's complement; without a row 2r + 1 they are 0.
    """

    packed: Array
    rows: int

    def unpacked(self, dtype: type = np.int8) -> Array:
        """The integers, (rows, columns)."""
        values: Array = np.empty((self.rows, self.packed.shape[1]), dtype)
        unpack_into(values, self.packed)
        return values


def pack(values: Array) -> Nibbles:
    """int8 (rows, columns) in -8..7, packed."""
    low, high = values[0::2].view(np.uint8) & _LOW, values[1::2].view(np.uint8) << _BITS
    low[: len(high)] |= high
    return Nibbles(low, len(values))


def unpack_into(values: Array, packed: Array) -> None:
    """Write the rows that `packed` ((n + 1) // 2, columns) holds to `values` (n, columns), of any dtype."""
    odd = values[1::2]
    np.right_shift((packed << _BITS).view(np.int8), _BITS, out=values[0::2], casting="unsafe")
    np.right_shift(packed[: len(odd)].view(np.int8), _BITS, out=odd, casting="unsafe")
