"""How much of a signal survives: signal to quantization noise, in the decibels that every figure here is given in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SAME = 1e-6  # of the largest value: outputs that move less are the same for all rows


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


def even_error(reference: NDArray[Any], found: NDArray[Any]) -> float:
    """The mean over outputs of each one's own squared error beside its own variation: each counts alike.

    A sum over all is that of the loudest, a power of 1000 beside a strain of 0.01. An output that does not vary, but
    for the rounding of float32, has no size of its own: its error counts beside the variation of all. Where none
    varies it is `squared_error`.
    """
    exact = reference.astype(np.float64)
    errors = np.square(_difference(exact, found.astype(np.float64))).sum(axis=0)
    signals = _signals(exact)
    if not signals.any():
        return float(errors.sum())
    return float(np.mean(errors / np.where(signals > 0, signals, signals.sum())))


def even_db(reference: NDArray[Any], found: NDArray[Any]) -> float:
    """`even_error` as signal to noise in decibels; of one output it is `sqnr_db`."""
    error = even_error(reference, found)
    if error == 0.0:
        return math.inf
    has_signal = math.isfinite(error) and _signals(reference.astype(np.float64)).any()
    return -10.0 * math.log10(error) if has_signal else -math.inf


def _signals(exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """The variation of each output, 0 for one that does not vary."""
    return np.array([_variation(output[:, None]) if varies(output) else 0.0 for output in exact.T])


def varies(output: NDArray[Any]) -> bool:
    """Whether an output (rows,) moves by more than what float32 rounds; values that are not finite are left out."""
    numbers = output[np.isfinite(output)].astype(np.float64)
    return len(numbers) > 0 and bool(np.ptp(numbers) > _SAME * np.abs(numbers).max())


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
