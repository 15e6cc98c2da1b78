"""Numbers and arrays as C writes them: exact, and the same text on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PER_LINE = {
    "f": 5,
    1: 19,
    2: 16,
    4: 9,
}  # by the kind or the bytes of a dtype: lines of up to 116 letters
_INT32_MIN = -(1 << 31)


def c_float(value: Any) -> str:
    """A float32 as a hexadecimal literal, which names its bits: 0x1.8p+0F; for an infinity the name in <math.h>."""
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}F"


def c_double(value: Any) -> str:
    """A finite float64 as a hexadecimal literal."""
    return float(value).hex()


def c_array(values: NDArray[Any]) -> str:
    """The numbers of an array in C order, as the lines between the braces; floats must be no NaN."""
    flat = np.ascontiguousarray(values).reshape(-1)
    is_float = flat.dtype.kind == "f"
    words = [c_float(value) for value in flat] if is_float else [_whole(value) for value in flat.tolist()]
    step = _PER_LINE["f" if is_float else flat.dtype.itemsize]
    lines = (", ".join(words[start : start + step]) for start in range(0, len(words), step))
    return ",\n".join(f"    {line}" for line in lines)


def _whole(value: int) -> str:
    """-2^31 has no literal: its digits alone do not fit an int32."""
    return "(-2147483647 - 1)" if value == _INT32_MIN else str(value)
