"""The header of a `.npy` file, written so that the data after it are aligned."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

NPY_START = b"\x93NUMPY\x01\x00"
ALIGNMENT = 64  # a cache line: data that start here need no copy, and vector instructions straddle no two lines


def npy_header(array: NDArray[Any]) -> bytes:
    """The header that `np.save` writes before this C-ordered array's data: a multiple of 64 bytes (format 1.0)."""
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape!r}, }}"
    room = -(len(NPY_START) + 2 + len(text) + 1) % ALIGNMENT
    return NPY_START + struct.pack("<H", len(text) + room + 1) + (text + " " * room + "\n").encode("latin1")
