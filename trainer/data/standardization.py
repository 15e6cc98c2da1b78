"""Standardization of inputs, learned from training rows: which kind, mean and scale, and what float32 cannot tell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime import InputError, Standardization
from edge_runtime.array_types import Array
from trainer.errors import ConfigurationError

STANDARDIZATIONS = ("auto", "none", "global", "per-feature")
_CHUNK = 1 << 16  # values that are worked on at once where a whole copy would double the memory
_NOISE = 1e-7  # a spread of this share of the mean is what float32 rounds away
_MANY = 64  # columns from which they may be pixels, or one sensor's readings in a row
_COARSE = 32.0  # float32 steps within a standard deviation below which merged values are counted
_FEWEST_ROWS, _ALONE, _SAME = 10, 0.9, 1e-3  # of a value that dwarfs all others of its column
_SHOWN = 6  # columns that a line names


def chosen_standardization(x: Array, mode: str) -> str:
    """What "auto" means for training rows x (rows, n_in), or (rows, height, width) for images; other modes as they are.

    "global", one scale, if x has three axes or more, or at least 64 columns in one unit: of those that vary, nine in
    ten have the same lowest value and half the same highest, as pixels do and features of different kinds do not.
    Else "per-feature".
    """
    if mode != "auto":
        return mode
    return "global" if x.ndim > 2 or (x.shape[1] >= _MANY and _is_one_unit(x)) else "per-feature"


def _is_one_unit(x: Array) -> bool:
    low, high = x.min(axis=0), x.max(axis=0)
    varies = low < high
    if not varies.any():
        return False
    low, high = low[varies], high[varies]
    return bool(np.mean(low == low.min()) >= 0.9 and np.mean(high == high.max()) >= 0.5)


def learn_standardization(x: Array, mode: str, weight: Array | None = None) -> Standardization | None:
    """Mean and 1 / standard deviation of training rows (rows, n_in), computed in float64 from x as it is.

    mode: "per-feature" gives (n_in,) arrays, "global" one pair (1,) for all, "none" gives None, "auto" chooses (see
    `chosen_standardization`). weight: (rows,), of mean 1. A constant feature gets the factor 0, and so does one whose
    spread is below what float32 holds of its mean: whatever a device reads there, it has no effect. Raises
    ConfigurationError for another mode, InputError for values that float32 cannot standardize.
    """
    if mode not in STANDARDIZATIONS:
        raise ConfigurationError(f"standardize is {mode!r}, expected one of {', '.join(STANDARDIZATIONS)}")
    mode = chosen_standardization(x, mode)
    if mode == "none":
        return None
    x = x.reshape(len(x), -1)
    mean, std = _moments(x, mode, weight)
    is_constant = std <= _NOISE * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
    inv_std = np.divide(1.0, std, out=np.zeros_like(std), where=~is_constant)
    beyond = inv_std > np.finfo(np.float32).max
    if beyond.any():
        column = int(beyond.argmax())
        where = "x" if mode == "global" else f"column {column} of x (counted from 0)"
        raise InputError(
            f"{where} varies by {std[column]:.2g}, and 1 / {std[column]:.2g} is beyond float32's range; "
            "scale the data up, or train without standardization"
        )
    return Standardization(mean.astype(np.float32), inv_std.astype(np.float32))


def _moments(x: Array, mode: str, weight: Array | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation, (n_in,), or (1,) of all values together."""
    size = max(1, _CHUNK // x.shape[1])
    parts = [slice(start, start + size) for start in range(0, len(x), size)]
    mean = sum(_weighted_sum(x[part], weight, part) for part in parts) / len(x)
    if mode == "global":
        mean = np.atleast_1d(mean.mean())
    variance = sum(_weighted_sum(np.square(x[part] - mean), weight, part) for part in parts) / len(x)
    if mode == "global":
        variance = np.atleast_1d(variance.mean())
    return mean, np.sqrt(variance)


def _weighted_sum(rows: Array, weight: Array | None, part: slice) -> Any:
    """The sum over a part of the rows, in float64, each times its weight."""
    if weight is None:
        return rows.sum(axis=0, dtype=np.float64)
    return weight[part] @ rows.astype(np.float64, copy=False)


def standardization_notes(standardization: Standardization | None) -> list[str]:
    """What was done to the inputs, a line each: for people, so with the columns' numbers, counted from 0."""
    if standardization is None:
        return ["inputs are taken as they are"]
    if len(standardization.mean) == 1:
        return ["inputs standardized by one mean and one scale"]
    notes = ["inputs standardized feature by feature"]
    constant = np.flatnonzero(standardization.inv_std == 0)
    if len(constant):
        notes.append(f"{_columns(constant)} of x {'does' if len(constant) == 1 else 'do'} not vary and will be ignored")
    return notes


def dominated_columns(x: Array, standardization: Standardization | None) -> str | None:
    """A warning for columns of x (rows, n_in) in which one value is so large that all others become the same."""
    if standardization is None or len(standardization.mean) == 1 or len(x) < _FEWEST_ROWS:
        return None
    x = x.reshape(len(x), -1)
    mean, inv_std = (array.astype(np.float64) for array in (standardization.mean, standardization.inv_std))
    reach = np.maximum(mean - x.min(axis=0), x.max(axis=0) - mean) * inv_std
    suspects = np.flatnonzero(reach > _ALONE * np.sqrt(len(x) - 1))  # sqrt(n - 1) is one value beside n - 1 equal ones
    found = [column for column in suspects if _are_one(_rest(x[:, column]), inv_std[column])]
    if not found:
        return None
    worst = x[_farthest(x[:, found[0]]), found[0]]
    return (
        f"{_columns(np.array(found))} of x: one value ({worst:.4g}) is so large that all others become the same once "
        "standardized; mend or drop its row"
    )


def _farthest(column: Array) -> int:
    return int(np.abs(column - np.median(column)).argmax())


def _rest(column: Array) -> Array:
    return np.delete(column, _farthest(column))


def _are_one(values: Array, inv_std: float) -> bool:
    """Whether values that differ are all the same to a network; a column of zeros beside one 1 says what it can."""
    return len(np.unique(values)) > 2 and float(np.ptp(values)) * inv_std < _SAME


def merged_columns(x: Array) -> str | None:
    """A warning for columns of float64 or integers x (rows, n_in) whose different values become equal in float32.

    Only columns with few float32 steps within a standard deviation are looked at: elsewhere rounding loses nothing.
    """
    if x.dtype.itemsize <= 4 and x.dtype.kind == "f":
        return None
    x = x.reshape(len(x), -1)
    mean, std = _moments(x, "per-feature")
    steps = np.spacing(np.abs(mean).astype(np.float32)).astype(np.float64)
    suspects = np.flatnonzero((std > 0) & (std < _COARSE * steps))
    counts = [(column, *_distinct(x[:, column])) for column in suspects]
    found = [(column, before, after) for column, before, after in counts if 2 * after < before]
    if not found:
        return None
    column, before, after = found[0]
    return (
        f"{_columns(np.array([column for column, *_ in found]))} of x: float32 cannot tell values apart that differ by "
        f"less than {steps[column]:.2g}, so {before:,} different values become {after:,}; subtract a number near "
        f"{mean[column]:.6g} in float64, here and where the model is used"
    )


def _distinct(column: Array) -> tuple[int, int]:
    return len(np.unique(column)), len(np.unique(column.astype(np.float32)))


def _columns(numbers: NDArray[np.intp]) -> str:
    shown = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
    return f"column{'' if len(numbers) == 1 else f's ({len(numbers):,})'} {shown} (counted from 0)"
