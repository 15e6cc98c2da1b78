"""4-bit integers, two to a byte: the rows of a matrix in pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_runtime.numerics.quantization import CHUNK

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
        self.unpack_into(values)
        return values

    def unpack_into(self, values: Array) -> None:
        """Write the integers to `values` (rows, columns), of any dtype; beside it this takes `CHUNK` bytes at most."""
        for start, part in self._parts():
            unpack_rows(values[start : start + 2 * len(part)], part, np.empty_like(part))

    def parts(self) -> Iterator[Array]:
        """The integers as int8, some rows after the other: `CHUNK` values at most, or two rows."""
        for start, part in self._parts():
            yield Nibbles(part, min(2 * len(part), self.rows - start)).unpacked()

    def _parts(self) -> Iterator[tuple[int, Array]]:
        """Some packed rows, and which row of the matrix is their first."""
        step = max(1, CHUNK // (2 * self.packed.shape[1]))
        for start in range(0, len(self.packed), step):
            yield 2 * start, self.packed[start : start + step]


def pack(values: Array) -> Nibbles:
    """int8 (rows, columns) in -8..7, packed."""
    low, high = values[0::2].view(np.uint8) & _LOW, values[1::2].view(np.uint8) << _BITS
    low[: len(high)] |= high
    return Nibbles(low, len(values))


def unpack_rows(values: Array, packed: Array, scratch: Array) -> None:
    """Write the rows that `packed` ((n + 1) // 2, columns) holds to `values` (n, columns), of any dtype.

    scratch: uint8, of the shape of `packed`. Nothing else is allocated, which a shift straight into floats would do.
    """
    odd, signed = values[1::2], scratch.view(np.int8)
    np.left_shift(packed, _BITS, scratch)
    np.right_shift(signed, _BITS, signed)
    np.copyto(values[0::2], signed)
    np.right_shift(packed.view(np.int8), _BITS, signed)
    np.copyto(odd, signed[: len(odd)])
