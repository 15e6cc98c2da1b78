"""A histogram of a stream in fixed memory, the same whatever the order and however the stream is cut into batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = 4096  # bins on each side of zero: 16 for each step of a uint8 grid, at least
_LOWEST_EXPONENT = -149  # of the smallest float32 number


class Histogram:
    """Counts of values in 2 * HALF bins of equal width over [-2^exponent, 2^exponent), with the exact extremes.

    When a value falls outside, the exponent grows and neighbouring bins are merged. Bin edges are multiples of a
    power of two, so a merged bin holds exactly the values it would have held from the start: the counts depend on the
    set of values alone.
    """

    def __init__(self) -> None:
        self.exponent = _LOWEST_EXPONENT
        self.counts = np.zeros(2 * HALF, np.int64)
        self.low = self.high = 0.0
        self.total = 0

    def add(self, values: NDArray[Any]) -> None:
        """Count finite float values of any shape."""
        values = np.asarray(values, np.float64).ravel()
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        self.low, self.high = (min(self.low, low), max(self.high, high)) if self.total else (low, high)
        self._grow(max(abs(low), abs(high)))
        bins = np.floor(np.ldexp(values, _bits(HALF) - self.exponent)).astype(np.int64)
        self.counts += np.bincount(bins + HALF, minlength=2 * HALF)
        self.total += values.size

    def _grow(self, magnitude: float) -> None:
        """Double the range until `magnitude` is inside, merging bins."""
        needed = int(np.frexp(magnitude)[1]) if magnitude > 0 else self.exponent
        if needed <= self.exponent:
            return
        places = (np.arange(-HALF, HALF) >> min(needed - self.exponent, 62)) + HALF
        self.counts = np.bincount(places, weights=self.counts, minlength=2 * HALF).astype(np.int64)
        self.exponent = needed

    @property
    def width(self) -> float:
        """The width of a bin."""
        return float(np.ldexp(1.0, self.exponent - _bits(HALF)))

    def filled(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The centers and counts of the bins that hold something, ascending; centers never pass the extremes."""
        places = np.flatnonzero(self.counts)
        centers = (places - HALF + 0.5) * self.width
        return np.clip(centers, self.low, self.high), self.counts[places]


def _bits(power_of_two: int) -> int:
    return power_of_two.bit_length() - 1
