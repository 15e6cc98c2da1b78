"""What callers may give as numbers, and the first thing wrong with it: the one place where it becomes an array."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.numerics.frames import frame_numbers, is_frame

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Index: TypeAlias = "tuple[int, ...]"  # along each axis

BLOCK_VALUES = 4096  # values that are looked at together: a check takes up to 20 KiB for a moment, however many rows
_PLAIN = (str, bytes, np.generic)
_NUMBERS = {int, float, bool, np.float64, np.float32}  # a row of these alone is passed over at once


def as_numbers(x: ArrayLike, what: str = "input") -> NDArray[Any]:
    """`x` as an array of real numbers, any shape and width; the very array where it is one.

    A frame of another library gives its columns in their order. Raises InputError for rows of different lengths, other
    dtypes, masked values (whose mask would be lost) wherever they stand, sparse matrices, tensors of other libraries
    that do not turn into an array by themselves, and for text and missing cells of a frame, by the column's name.
    """
    if type(x) is not np.ndarray and is_frame(x):
        return frame_numbers(x, what)
    array = as_array(x, what)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what} has dtype {array.dtype}, expected real numbers such as float32; convert it first")
    return array


def as_array(x: ArrayLike, what: str = "input") -> NDArray[Any]:
    """`x` as an array of whatever it holds, labels for example. Raises InputError as `as_numbers` does, but for dtypes.

    The array is a plain `ndarray`; the very one where `x` is one.
    """
    if type(x) is np.ndarray and x.dtype.kind != "O":
        return x
    _refuse_sparse(x, what)
    try:
        if isinstance(x, list | tuple):  # NumPy before 2 takes rows that turn into arrays by themselves for objects
            x = [np.asanyarray(row) if hasattr(row, "__array__") else row for row in x]
        array = np.asanyarray(x)
    except MemoryError:
        raise
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{what} is not an array of numbers ({error}); give rows of one length") from None
    except Exception as error:  # whatever another library's `__array__` raises
        raise InputError(f"{what} is a {_kind(x)} that is no array of numbers ({error}); {_advice(x)}") from None
    _refuse_masked(x, array, what)
    return np.asarray(array)


def _kind(x: Any) -> str:
    module = type(x).__module__.partition(".")[0]
    return type(x).__name__ if module == "builtins" else f"{module}.{type(x).__name__}"


def _refuse_sparse(x: Any, what: str) -> None:
    """SciPy's matrices would become an array of one object."""
    if not isinstance(x, np.ndarray) and hasattr(x, "nnz") and hasattr(x, "toarray"):
        raise InputError(f"{what} is a sparse {_kind(x)}, expected a dense array; give x.toarray()")


def _advice(x: Any) -> str:
    if not hasattr(x, "detach"):
        return "give a NumPy array"
    layout = ".to_dense()" if "strided" not in str(getattr(x, "layout", "strided")) else ""
    return f"give x.detach().cpu(){layout}.float().numpy()"


def _refuse_masked(x: Any, array: NDArray[Any], what: str) -> None:
    """A mask can exist only if `numpy.ma` has been imported, which takes long: so it is not imported here."""
    module = sys.modules.get("numpy.ma")
    if module is None:
        return
    for candidate in (array, x):
        place = _masked_place(candidate, module.MaskedArray, np.ndim(array) + 1)
        if place is not None:
            raise InputError(f"{what} is masked at {place}, expected a number; fill it in or drop the row")


def _masked_place(x: Any, masked: type, depth: int) -> Index | None:
    """The first masked value in `x`: an array, or lists, tuples and objects of arrays that are nested up to `depth`."""
    if isinstance(x, masked):
        mask = np.asarray(x.mask)  # type: ignore[attr-defined]
        return first_place(mask != np.zeros((), mask.dtype))  # a record is masked if one of its fields is
    if isinstance(x, np.ndarray) and x.dtype.kind != "O":
        return None
    if hasattr(x, "__array__") and not isinstance(x, (np.ndarray, np.generic)):
        converted = np.asanyarray(x)
        return _masked_place(converted, masked, depth) if isinstance(converted, np.ndarray) else None
    return _masked_item(x, lambda item: _masked_place(item, masked, depth - 1)) if depth > 0 else None


def _masked_item(x: Any, find: Callable[[Any], Index | None]) -> Index | None:
    """The first place that `find` gives for an item of a sequence, with the item's own index in front."""
    is_sequence = hasattr(x, "__len__") and hasattr(x, "__getitem__") and not isinstance(x, _PLAIN)
    if not is_sequence or (isinstance(x, np.ndarray) and x.ndim == 0) or set(map(type, x)) <= _NUMBERS:
        return None
    for index, item in enumerate(x):
        place = find(item)
        if place is not None:
            return (index, *place)
    return None


class BadValue:  # written out: to define a NamedTuple would take a third of a millisecond of every start
    """The first value that cannot be taken. place: its index along each axis. found: as given. problem: in words."""

    def __init__(self, place: Index, found: Any, problem: str) -> None:
        self.place, self.found, self.problem = place, found, problem

    def error(self, what: str, first_row: int = 0) -> InputError:
        """What to raise. what: the message's beginning, "input" or "d.npy:". first_row: the number of row 0."""
        row, *columns = self.place
        where = ", ".join([f"row {first_row + row}", *(f"column {column}" for column in columns)])
        return InputError(f"{what} {where} (counted from 0): {self.found} {self.problem}; mend or drop the row")


def first_place(wrong: NDArray[np.bool_]) -> Index | None:
    """The index of the first True, row by row; None where there is none."""
    if not wrong.any():
        return None
    return tuple(int(index) for index in np.unravel_index(int(wrong.argmax()), wrong.shape))


def first_not_finite(
    values: NDArray[Any], given: NDArray[Any] | None = None, *, allow_nonfinite: bool = False
) -> BadValue | None:
    """The first NaN, infinity or number beyond the range of the dtype of `values`; None where all are finite.

    given: what `values` were converted from, of the same shape, which tells a number beyond the range from an infinity
    and is quoted. allow_nonfinite: look for numbers beyond the range alone.
    """
    wrong = ~np.isfinite(values)
    given = values if given is None else given
    if allow_nonfinite:
        wrong &= np.isfinite(given)
    place = first_place(wrong)
    if place is None:
        return None
    problem = f"is beyond {values.dtype}'s range" if np.isfinite(given[place]) else "is not a finite number"
    return BadValue(place, given[place], problem)


def require_finite(rows: NDArray[Any], what: str = "input") -> None:
    """Raise InputError that names the first row and column of (n, columns) that is not finite as float32.

    Looked at in blocks of rows, so that the check of many needs little memory.
    """
    step = max(1, BLOCK_VALUES // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        with np.errstate(over="ignore", invalid="ignore"):
            bad = first_not_finite(block.astype(np.float32, copy=False), block)
        if bad is not None:
            raise bad.error(what, start)
