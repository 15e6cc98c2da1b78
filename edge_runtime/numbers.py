"""What callers may give as numbers, and the first thing wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def as_numbers(x: ArrayLike, what: str = "input") -> NDArray[Any]:
    """`x` as an array of real numbers, any shape and width; the very array where it is one.

    Raises InputError for rows of different lengths, other dtypes, and masked values, whose mask would be lost.
    """
    try:
        array = np.asarray(x)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{what} is not an array of numbers ({error}); give rows of one length") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what} has dtype {array.dtype}, expected real numbers such as float32")
    if type(x).__name__ == "MaskedArray" and x.mask.any():  # type: ignore[union-attr]  # by name: numpy.ma loads slowly
        place = tuple(int(index) for index in np.argwhere(x.mask)[0])  # type: ignore[union-attr]
        raise InputError(f"{what} is masked at {place}, expected a number; fill it in or drop the row")
    return array


def require_finite(rows: NDArray[Any], what: str = "input") -> None:
    """Raise InputError that names the first row and column of (n, columns) that is not finite as float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        bad = ~np.isfinite(rows.astype(np.float32, copy=False))
    if bad.any():
        row, column = divmod(int(bad.argmax()), rows.shape[1])
        found = rows[row, column]
        problem = "is beyond float32's range" if np.isfinite(found) else "is not a finite number"
        raise InputError(f"{what} row {row}, column {column} (counted from 0): {found} {problem}; mend or drop the row")
