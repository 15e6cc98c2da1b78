"""How much of a signal survives: signal to quantization noise, in the decibels that every figure here is given in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def sqnr_db(reference: NDArray[Any], found: NDArray[Any]) -> float:
    """10 log10(sum (reference - mean)^2 / sum (found - reference)^2) in decibels; inf where nothing differs.

    reference, found: (rows, outputs). mean is that of each output over the rows: what an output always is carries no
    signal, so a large offset does not hide noise. An offset in `found` is noise. 6 dB are one bit. -inf where no
    output of `reference` varies and something differs, as in a single row, and where `found` is not finite.
    """
    noise = squared_error(reference, found)
    if noise == 0.0:
        return math.inf
    signal = _variation(reference.astype(np.float64))
    return 10.0 * math.log10(signal / noise) if signal > 0 and math.isfinite(noise) else -math.inf


def finite(value: float) -> float | None:
    """A number as JSON has it: None for inf (nothing differs) and for -inf, which a warning explains."""
    return value if math.isfinite(value) else None


def squared_error(reference: NDArray[Any], found: NDArray[Any]) -> float:
    """sum (found - reference)^2, in float64; inf where a value is not finite on one side alone."""
    difference = _difference(reference.astype(np.float64), found.astype(np.float64))
    return float(np.sum(np.square(difference)))


def _difference(reference: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    same = (found == reference) | (np.isnan(found) & np.isnan(reference))  # inf - inf would be NaN
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, found - reference)
    return np.where(np.isnan(difference), np.inf, difference)


def _variation(reference: NDArray[np.float64]) -> float:
    """How far the outputs are from their means; values that are not finite are left out."""
    numbers = np.where(np.isfinite(reference), reference, np.nan)
    lowest = np.fmin.reduce(numbers, axis=0)
    shifted = numbers - lowest  # the mean of equal values may be off by rounding: their variation is 0
    counts = np.maximum(np.sum(~np.isnan(shifted), axis=0), 1)
    return float(np.nansum(np.square(shifted - np.nansum(shifted, axis=0) / counts)))
