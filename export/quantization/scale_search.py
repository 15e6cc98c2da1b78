"""The scale of each output's 4-bit weights: of sixteen steps the largest weight need not be the last.

A smaller scale clips the largest weights and is finer for all others, and compensated rounding makes good what is
clipped, so each is judged by the error of the rounding itself: first shares of the scale that holds every weight, then
scales closer and closer around the best. To judge by rounding to nearest chose worse scales, and to fit the scale to
the rounded weights by least squares changed next to nothing.

Sixteen levels of odd half steps, -7.5 to 7.5, were no better than -8 to 7. A scale for each 64 inputs of an output was,
by less than a decibel, and one float32 multiplication an output cannot compute it exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.quantization.rounding import Compensation

SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)  # of the scale that holds every weight
NEARER = (0.05, 0.025)  # to both sides of the best share


class ScaleSearch:
    """Weights with the best scales so far, and how they are rounded with them.

    weight: (n_in, n_out). largest: positive (n_out,), the scales that hold every weight. least: (n_out,), 0 or what a
    scale may not be below. low, high: the whole numbers that weights become.
    """

    def __init__(
        self,
        weight: NDArray[np.float64],
        largest: NDArray[np.float64],
        least: NDArray[np.float64],
        covariance: NDArray[np.float64],
        low: int,
        high: int,
    ) -> None:
        self._weight, self._least, self._limits = weight, least, (low, high)
        self._compensation = Compensation(covariance)
        self.scale = largest
        self.steps, self._errors = self._rounded(largest)

    def run(self) -> None:
        """Try all shares, then those around the best."""
        largest = self.scale
        for share in SHARES:
            self._try(share * largest)
        for distance in NEARER:
            best = self.scale
            for factor in (1 - distance, 1 + distance):
                self._try(factor * best)

    def _try(self, scale: NDArray[np.float64]) -> None:
        """Take the scales of those outputs that come closer with them."""
        scale = np.maximum(scale, self._least)
        steps, errors = self._rounded(scale)
        is_closer = errors < self._errors
        self.scale = np.where(is_closer, scale, self.scale)
        self.steps = np.where(is_closer, steps, self.steps)
        self._errors = np.minimum(errors, self._errors)

    def _rounded(self, scale: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Whole numbers (n_in, n_out) and the mean square of each output's error, (n_out,)."""
        low, high = self._limits
        steps = self._compensation.rounded(self._weight, scale, high, low=low)
        return steps, self._compensation.squared_errors(self._weight - steps * scale)
