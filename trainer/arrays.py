"""Arrays and matrix products as fast as NumPy's BLAS gives them for small networks."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from edge_runtime.array_types import Array
from edge_runtime.files import ALIGNMENT

# OpenBLAS has a kernel for small products, which skips packing, up to 100**3 multiplications. A product that is up to
# twice as large is up to 1.3 times faster as two halves; larger ones are slower in parts (measured with NumPy 2.4).
_SMALL = 100**3


def aligned_empty(shape: int | tuple[int, ...], dtype: DTypeLike, order: Literal["C", "F"] = "C") -> Array:
    """An uninitialized array whose data start at a multiple of 64 bytes."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.empty(count * kind.itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count * kind.itemsize].view(kind).reshape(shape, order=order)


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """a @ b for matrices (m, k) and (k, n); the rows in two halves where that is faster."""
    rows, inner = a.shape
    if out is None or not _SMALL < rows * inner * b.shape[1] <= 2 * _SMALL:
        return np.matmul(a, b, out=out)
    half = rows // 2
    np.matmul(a[:half], b, out=out[:half])
    np.matmul(a[half:], b, out=out[half:])
    return out
