"""From the values seen at one place to the range that its grid covers: four methods.

minmax      everything seen. Never saturates on the calibration rows; one outlier costs resolution for all values.
percentile  all but 0.01 % of the values, half of that at each end.
mse         the range with the smallest mean squared rounding and saturation error.
entropy     the range that loses the least information (S. Migacz, "8-bit Inference with TensorRT", GTC 2017).

For entropy that is the smallest Kullback-Leibler divergence between the values and their quantized distribution. It is
meant for many rows: with few, the counts are noisy and it cuts deep.

mse and entropy try `CANDIDATES` shares of the full range; both ends shrink alike, and 0 stays inside. They count the
steps of the grid: with 16 bits almost nothing is worth cutting off.

What calibration did not see is clipped, and beside steps as fine as those of 9 to 16 bits that is the largest error: so
such grids reach further than the method says. The index of a table does not for functions that hardly change outside,
such as tanh and sigmoid: it has fewer bits, and they would be spent there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_runtime.numerics import FEWEST_BITS, QMIN
from export.quantization.histogram import Histogram

Cost: TypeAlias = "Callable[[NDArray[Any], NDArray[Any], Range, int], float]"

CANDIDATES = np.linspace(1.0, 0.2, 81)
PERCENTILE = 0.9999
ROOM = 1.5  # of a grid of more than 8 bits, in parts of the method's range


@dataclass(frozen=True)
class Range:
    """Real values from low to high, which hold 0: every grid must represent it."""

    low: float
    high: float


def full_range(histogram: Histogram, bits: int = FEWEST_BITS) -> Range:
    """Method minmax."""
    return Range(min(0.0, histogram.low), max(0.0, histogram.high))


def percentile_range(histogram: Histogram, bits: int = FEWEST_BITS) -> Range:
    """Method percentile."""
    centers, counts = histogram.filled()
    below = np.cumsum(counts) / max(histogram.total, 1)
    tail = (1.0 - PERCENTILE) / 2
    low = centers[int(np.searchsorted(below, tail, side="left"))]
    high = centers[min(int(np.searchsorted(below, 1.0 - tail, side="left")), len(centers) - 1)]
    return Range(min(0.0, float(low)), max(0.0, float(high)))


def mse_range(histogram: Histogram, bits: int = FEWEST_BITS) -> Range:
    """Method mse, for a grid of so many bits."""
    return _smallest(histogram, _squared_error, bits)


def entropy_range(histogram: Histogram, bits: int = FEWEST_BITS) -> Range:
    """Method entropy, for a grid of so many bits."""
    return _smallest(histogram, _divergence, bits)


METHODS: dict[str, Callable[..., Range]] = {
    "minmax": full_range,
    "percentile": percentile_range,
    "mse": mse_range,
    "entropy": entropy_range,
}


class ChosenRanges:
    """The range of each tensor, by a method, for a grid of so many bits. histograms: by the tensor's name."""

    def __init__(self, histograms: Mapping[str, Histogram], method: str) -> None:
        self._histograms, self._method = histograms, METHODS[method]
        self._found: dict[tuple[str, int], Range] = {}

    def of(self, name: str, bits: int = FEWEST_BITS, *, has_room: bool = True) -> Range:
        """Of one tensor. has_room: whether it is wider by `ROOM` for more than 8 bits."""
        found, room = self._without_room(name, bits), ROOM if has_room and bits > FEWEST_BITS else 1.0
        return Range(found.low * room, found.high * room)

    def _without_room(self, name: str, bits: int) -> Range:
        if (name, bits) not in self._found:
            self._found[name, bits] = self._method(self._histograms[name], bits)
        return self._found[name, bits]


def _smallest(histogram: Histogram, cost: Cost, bits: int) -> Range:
    """The candidate range with the smallest cost; the widest of equals."""
    whole = full_range(histogram)
    if whole.low == whole.high:
        return whole
    centers, counts = histogram.filled()
    ranges = [Range(whole.low * share, whole.high * share) for share in CANDIDATES]
    return ranges[int(np.argmin([cost(centers, counts, candidate, bits) for candidate in ranges]))]


def _codes(centers: NDArray[np.float64], candidate: Range, bits: int) -> tuple[NDArray[np.float64], float, float]:
    """The grid point of each value, with the grid's scale and zero point, in float64."""
    top = (1 << bits) - 1
    scale = (candidate.high - candidate.low) / (top - QMIN)
    zero_point = np.rint(-candidate.low / scale)
    return np.clip(np.rint(centers / scale) + zero_point, QMIN, top), scale, float(zero_point)


def _squared_error(centers: NDArray[np.float64], counts: NDArray[np.int64], candidate: Range, bits: int) -> float:
    codes, scale, zero_point = _codes(centers, candidate, bits)
    error = (codes - zero_point) * scale - centers
    return float(np.sum(counts * error * error))


def _divergence(
    centers: NDArray[np.float64], counts: NDArray[np.int64], candidate: Range, bits: int = FEWEST_BITS
) -> float:
    """KL(values with the outliers moved to the ends || values inside, spread evenly over their grid point's bins)."""
    codes, _scale, _zero_point = _codes(centers, candidate, bits)
    inside = (centers >= candidate.low) & (centers <= candidate.high)
    if not inside.any():
        return float("inf")
    first, last = np.flatnonzero(inside)[[0, -1]]
    reference = counts[first : last + 1].astype(np.float64)
    kept = reference.copy()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[last + 1 :].sum()
    groups = codes[first : last + 1].astype(np.int64)
    spread = np.bincount(groups, kept) / np.maximum(np.bincount(groups), 1)
    quantized = spread[groups]
    p, q = reference / reference.sum(), quantized / quantized.sum()
    return float(np.sum(p * np.log(p / q)))
