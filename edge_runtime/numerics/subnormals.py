"""Float32 numbers below the normal range (magnitude under 1.2e-38), which make processors 10 to 100 times slower.

Weights that faded away in training end there, thousands of them in published models. An engine computes with 0 in their
place, and `export.quantize` stores 0: each such weight changes by less than 1.18e-38, so an output by less than that
times the sum of its layer's inputs, far below what the order of summation changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.numerics.quantization import CHUNK

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

TINY = np.finfo(np.float32).tiny  # the smallest normal number
_SIGN = np.uint32(0x7FFFFFFF)  # mask of all bits but the sign


def count_subnormals(array: Array) -> int:
    """How many values of a C-ordered float32 array are subnormal; 0 for other dtypes (float16's are normal as float32).

    Counted by their bits and in parts, so that it is quick and needs little memory.
    """
    if array.dtype != np.float32:
        return 0
    return sum(int(np.count_nonzero(_are_subnormal(part))) for part in _parts(array))


def flushed(array: Array) -> Array:
    """A read-only copy of a C-ordered float32 array with 0 for each subnormal value."""
    copy = array.copy()
    flush(copy)
    copy.setflags(write=False)
    return copy


def flush(array: Array) -> None:
    """Put 0 in the place of each subnormal value of a C-ordered float32 array."""
    for part in _parts(array):
        part[_are_subnormal(part)] = 0


def _parts(array: Array) -> Iterator[Array]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        yield flat[start : start + CHUNK]


def _are_subnormal(part: Array) -> Array:
    """Where the exponent's bits are 0 and the others, but the sign, are not: 0 wraps around to the largest."""
    bits = part.view(np.uint32) & _SIGN
    bits -= np.uint32(1)
    return bits < TINY.view(np.uint32) - np.uint32(1)
