"""The integer arithmetic, defined once: grids, quantize, requantize, and the certificate of exact integers.

The rules and their evidence: activations are uint8 on an affine grid, weights int8 in [-127, 127], biases int32, one
float32 multiplier per output channel. Somebody's 8-bit weights less their zero point may need 9 bits: they are int16.
Grids of 9 to 16 bits (uint16) and weights of 4 bits follow the same formulas.
Rounding is to nearest, ties to even; the zero point is added after rounding.
The same formulas stand in the ONNX graphs that `export` writes (QuantizeLinear, MatMulInteger) and give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arguments import MODEL_CHECKS
from edge_runtime.errors import InputError, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

QMIN, QMAX = 0, 255  # the uint8 grid of activations
FEWEST_BITS, MOST_BITS = 8, 16  # of a grid
WEIGHT_MAX = 127  # -128 is left out: symmetric weights, and negating one can never overflow
INT4_MIN, INT4_MAX = -8, 7
WIDE_WEIGHT_MAX = 255  # of 8-bit numbers around any zero point, and of their span
FLOAT32_EXACT = 1 << 24  # integers below this are exact in float32, in any order of summation
INT32_LIMIT = 1 << 31  # an accumulator at or above this wraps on engines that add in int32
_INT16_ROWS = {1: 256, 2: 128}  # as many magnitudes add up within int16, which NumPy adds ten times as fast as int64
CHUNK = 16_384  # values of a large array that a check looks at together: it takes up to 80 KiB for a moment
_SMALLEST_NORMAL, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class QuantParams:
    """The affine grid real = scale * (quantized - zero_point): scale a positive float32, zero_point in 0..top.

    bits: 8, for codes 0..255, or up to 16, for codes 0..2^bits - 1.
    """

    scale: float
    zero_point: int
    bits: int = FEWEST_BITS

    def __post_init__(self) -> None:
        scale = MODEL_CHECKS.number("scale", self.scale)
        if not _SMALLEST_NORMAL <= scale <= _LARGEST or float(np.float32(scale)) != scale:
            raise ModelError(f"scale is {self.scale!r}, expected a positive, finite, normal float32 number")
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "bits", MODEL_CHECKS.whole("bits", self.bits, FEWEST_BITS, MOST_BITS))
        object.__setattr__(self, "zero_point", MODEL_CHECKS.whole("zero_point", self.zero_point, QMIN, self.top))

    @property
    def top(self) -> int:
        """The largest code: 255 for 8 bits."""
        return (1 << self.bits) - 1

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Of the codes: uint8, or uint16 for more than 8 bits."""
        return code_dtype(self.bits)

    @property
    def low(self) -> float:
        """The smallest real value on the grid."""
        return self.scale * (QMIN - self.zero_point)

    @property
    def high(self) -> float:
        """The largest real value on the grid."""
        return self.scale * (self.top - self.zero_point)


def code_dtype(bits: int) -> type[np.uint8] | type[np.uint16]:
    """What holds codes of so many bits."""
    return np.uint8 if bits <= FEWEST_BITS else np.uint16


def quantize(x: NDArray[Any], grid: QuantParams) -> NDArray[np.unsignedinteger]:
    """Put real values on the grid as ONNX QuantizeLinear does: divide in float32, round half to even, saturate.

    x: any shape, converted to float32 first. NaN becomes the grid's minimum (0). Returns codes of x's shape, uint8, or
    uint16 on a grid of more than 8 bits.
    """
    # a division, not a multiplication with the reciprocal: the two differ by one step on some ties
    value = np.asarray(x, np.float32) / np.float32(grid.scale)
    return saturate(value, grid.zero_point, grid.bits)


def saturate(value: NDArray[np.floating], zero_point: int, bits: int = FEWEST_BITS) -> NDArray[np.unsignedinteger]:
    """Round scaled values half to even and add the zero point, clipping to 0..2^bits - 1 first. NaN becomes 0."""
    low, high = np.float32(QMIN - zero_point), np.float32((1 << bits) - 1 - zero_point)
    clipped = np.fmin(np.fmax(value, low), high)  # fmax drops NaN in favour of `low`; np.maximum would keep it
    return (np.rint(clipped) + np.float32(zero_point)).astype(code_dtype(bits))


def quantize_symmetric(
    x: NDArray[Any], scale: Any, limit: int = WEIGHT_MAX, out: NDArray[Any] | None = None, *, low: int | None = None
) -> NDArray[Any]:
    """Real values on a grid around 0, as weights are: x / scale rounded half to even, within low..limit.

    low: -limit if it is not given.

    Whole numbers as floats of x's dtype, which the division is made in. scale: positive, of a shape that fits x. out:
    an array of x's shape and dtype to write into, which may be x itself.
    """
    out = np.divide(x, scale, out=out)
    np.rint(out, out=out)
    return np.clip(out, -limit if low is None else low, limit, out=out)


def dequantize(q: NDArray[np.unsignedinteger], grid: QuantParams) -> NDArray[np.float32]:
    """The real values of grid points: float32 scale * (q - zero_point)."""
    return (q.astype(np.float32) - np.float32(grid.zero_point)) * np.float32(grid.scale)


def scale_accumulator(accumulator: NDArray[Any], multiplier: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32(accumulator) * multiplier: one float32 multiplication per value.

    accumulator: integers below 2^31 in magnitude, (..., n_out), as an integer or float64 array. multiplier: (n_out,).
    float32 on purpose: a float64 product differs from onnxruntime near ties.
    """
    return accumulator.astype(np.float32) * multiplier


def accumulate(
    q: NDArray[np.unsignedinteger], zero_point: int, weight: NDArray[np.integer], bias: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Exact accumulators sum_k (q[k] - zero_point) * weight[k, j] + bias[j], int32 (batch, n_out).

    Computed by float64 BLAS, which is exact here: every partial sum is an integer below 2^31 (see `certificate`).
    """
    centered = q.astype(np.float64) - zero_point
    return (centered @ weight.astype(np.float64) + bias).astype(np.int32)


def dynamic_grid(x: NDArray[np.float32]) -> tuple[np.float32, int]:
    """The scale and zero point that fit all of `x`, widened to hold 0 (ONNX DynamicQuantizeLinear, all in float32).

    x: finite, any shape, at least one value. An array of zeros, or of values so small that their scale underflows, gets
    scale 1. Raises InputError for values that are not finite.
    """
    low, high = np.minimum(x.min(), np.float32(0)), np.maximum(x.max(), np.float32(0))
    with np.errstate(over="ignore", invalid="ignore"):
        scale = (high - low) / np.float32(QMAX - QMIN)
    if not np.isfinite(scale):
        raise InputError("an int8-dynamic layer met NaN, inf or an overflow; it takes finite values only")
    if scale == 0:
        return np.float32(1), 0
    return scale, int(np.rint(np.clip(np.float32(0) - low / scale, np.float32(QMIN), np.float32(QMAX))))


def quantize_on(x: NDArray[np.float32], scale: np.float32, zero_point: int) -> NDArray[np.uint8]:
    """`quantize` with a grid that was computed at run time."""
    return saturate(x / scale, zero_point)


def certificate(weight: NDArray[np.integer], bias: NDArray[np.int32], zero_point: int, bits: int = FEWEST_BITS) -> int:
    """The largest magnitude any partial sum of an accumulator can reach, over all inputs: an exact Python int.

    max_j (sum_k |weight[k, j]| * max(zero_point, 255 - zero_point) + |bias[j]|). Of more than 8 bits the codes are
    summed as they are, in two halves, and what the zero point takes is part of the bias: 2^bits - 1 in place of the
    maximum bounds each of these sums. Below 2^24 a float32 matrix product of the integers is exact in any order of
    summation; below 2^31 an int32 accumulator cannot wrap.
    """
    return largest_sum(magnitudes(weight), bias, zero_point, bits)


def largest_sum(
    magnitudes: NDArray[np.int64], bias: NDArray[np.int32], zero_point: int, bits: int = FEWEST_BITS
) -> int:
    """The `certificate` of weights whose magnitudes add up to these sums, one for each output."""
    reach = max(zero_point - QMIN, QMAX - zero_point) if bits <= FEWEST_BITS else (1 << bits) - 1
    return int((np.abs(bias.astype(np.int64)) + reach * magnitudes).max(initial=0))


def magnitudes(weight: NDArray[np.integer]) -> NDArray[np.int64]:
    """The sums of the weights' magnitudes, one for each output."""
    sums = np.zeros(weight.shape[1], np.int64)
    rows = min(_INT16_ROWS[weight.itemsize], CHUNK // max(1, weight.shape[1]))  # loading needs little beside the model
    step = max(1, rows)
    for start in range(0, len(weight), step):
        sums += np.add.reduce(np.abs(weight[start : start + step]), axis=0, dtype=np.int16)
    return sums
