"""Tables of other libraries (pandas, polars and the like), by what they have in common: none of them is imported.

A frame has `columns` (or `column_names`), gives a column by its name, and turns into an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.numerics.column_names import respelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

_MISSING = ("NAType", "NaTType")  # pandas' own, by the names of their types
_SHOWN = 6  # names that a message lists


def is_frame(x: Any) -> bool:
    """Whether `x` is a table with columns, of whatever library."""
    if isinstance(x, (np.ndarray, np.generic, list, tuple, str)):
        return False
    return all(hasattr(x, name) for name in ("__array__", "__getitem__", "columns"))


def frame_names(x: Any, what: str = "input") -> tuple[str, ...]:
    """The names of a frame's columns; () where they are numbers, as pandas counts columns without names, or no frame.

    Raises InputError for texts beside others, and for a name that is there twice.
    """
    labels = _labels(x) if is_frame(x) else []
    if len(set(labels)) < len(labels):
        label = next(label for label in labels if labels.count(label) > 1)
        raise InputError(f"{what} has {labels.count(label)} columns {_quoted(label)}, expected one; rename them")
    are_texts = [isinstance(label, str) for label in labels]
    if any(are_texts) and not all(are_texts):
        raise InputError(f"{what} has columns {_listed(labels)}, expected texts as names, or none; rename them")
    return tuple(map(str, labels)) if all(are_texts) else ()


def frame_numbers(x: Any, what: str, names: Sequence[str] = ()) -> Array:
    """The columns of a frame as numbers (rows, columns); with names, those columns, in this order.

    Other columns are left out where names are given, which may have an exporter's spelling. Raises InputError, by the
    column's name: for one that is not there, for text, dates and other things, and for missing cells.
    """
    found = frame_names(x, what)
    meant = {new: name for name, new in respelled(found, names).items()}
    names = [meant.get(name, name) for name in names]
    lacking = [name for name in names if name not in found]
    if found and lacking:
        raise InputError(
            f"{what} has no column {_listed(lacking)}, it has {_listed(found)}; expected {_listed(names)}, in any order"
        )
    labels = list(names) if found and names else _labels(x)
    whole = _whole(x) if labels == _labels(x) else None
    if whole is not None:
        return whole
    columns = [_numbers(x[label], f"{what}: column {_quoted(label)}") for label in labels]
    return np.column_stack(columns) if columns else np.empty((len(x), 0))


def frame_cells(x: Any) -> list[tuple[Array, NDArray[np.bool_], NDArray[np.float64]]]:
    """Each column of a frame: its cells (rows,), which of them have no value, and the numbers, NaN for what is none."""
    found = []
    for label in _labels(x):
        cells = np.asanyarray(x[label])
        gaps = _gaps(cells)
        found.append((np.asarray(cells), gaps, np.where(gaps, np.nan, _values(cells))))
    return found


def _whole(x: Any) -> Array | None:
    """The array of a frame whose columns are numbers of one type, which is quick to have; None for another frame."""
    if len(set(getattr(x, "dtypes", ()))) != 1:
        return None
    array = np.asanyarray(x)
    is_whole = array.dtype.kind in "fiu" and array.shape == (len(x), len(_labels(x)))
    return np.asarray(array) if is_whole and not _gaps(array).any() else None


def _labels(x: Any) -> list[Any]:
    return list(x.column_names if hasattr(x, "column_names") else x.columns)


def _numbers(column: Any, what: str) -> Array:
    """A column (rows,) as numbers; `what` names it."""
    cells = np.asanyarray(column)
    gaps = _gaps(cells)
    if gaps.any():
        raise InputError(
            f"{what} has no value in {int(gaps.sum()):,} of {len(gaps):,} rows (the first is row {int(gaps.argmax())}, "
            "counted from 0); fill them in or drop the rows"
        )
    if cells.dtype.kind in "fiub":
        return np.asarray(cells)
    if cells.dtype.kind in "mM":
        raise InputError(f"{what} holds {cells.dtype}, expected numbers; turn it into seconds or the like, or drop it")
    values = _values(cells)
    bad = np.isnan(values)
    if bad.any():
        row = int(bad.argmax())
        found = repr(cells.tolist()[row])[:40]
        raise InputError(
            f"{what} holds {found} in row {row} (counted from 0), expected numbers; turn it into numbers, a column for "
            "each category for example, or drop it"
        )
    return values


def _values(cells: Array) -> NDArray[np.float64]:
    """The cells as numbers, NaN for each that is none."""
    if cells.dtype.kind in "fiub":
        return np.asarray(cells, np.float64)
    if cells.dtype.kind != "O":
        return np.full(len(cells), np.nan)
    return np.array([_number(cell) for cell in cells.tolist()], np.float64)


def _gaps(cells: Array) -> NDArray[np.bool_]:
    """Which cells have no value: NaN, None, pandas' NA and NaT, and what is masked."""
    masked = np.asarray(getattr(cells, "mask", False))
    plain = np.asarray(cells)
    if plain.dtype.kind in "fmM":
        return np.asarray(np.isnan(plain) if plain.dtype.kind == "f" else np.isnat(plain)) | masked
    if plain.dtype.kind != "O":
        return np.zeros(plain.shape, bool) | masked
    return np.array([_is_missing(cell) for cell in plain.tolist()], bool) | masked


def _is_missing(cell: Any) -> bool:
    return cell is None or type(cell).__name__ in _MISSING or (isinstance(cell, float) and cell != cell)


def _number(cell: Any) -> float:
    """A cell as a number, or NaN for one that is none; text is none, whatever it says."""
    if isinstance(cell, (str, bytes)):
        return float("nan")
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _quoted(label: Any) -> str:
    return repr(label) if len(repr(label)) <= 60 else f"{repr(label)[:57]}..."


def _listed(labels: Sequence[Any]) -> str:
    more = f", and {len(labels) - _SHOWN + 1:,} more" if len(labels) > _SHOWN else ""
    return ", ".join(map(_quoted, labels[: _SHOWN - 1] if more else labels)) + more
