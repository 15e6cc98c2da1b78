"""Rows in: what a device is fed with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import DATA_MAX_BYTES, describe, printable, read_file
from edge_runtime.files.names import ROW_NAMES, TABLE_SUFFIXES, is_table_name
from edge_runtime.files.not_data import refuse_not_data
from edge_runtime.files.npy import NPY_MAGIC, ZIP_MAGIC, read_npy_bytes, read_npz_bytes
from edge_runtime.numerics import first_not_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.files.table import Table

_BY_PLACE = "the columns were taken by their place, not by the header: the model does not know their names"


class RowsRead(NamedTuple):
    """Rows for a model. x: float32 (n, n_in), n at least 1. notes: what was noticed, a line each.

    places: how messages count each row, int64 (n,): its line in a table, its index in an array.
    """

    x: NDArray[np.float32]
    notes: tuple[str, ...]
    places: NDArray[np.int64]


class SchemaRead(Protocol):
    """What a schema reads. kept: the rows of the table that are in x."""

    @property
    def x(self) -> NDArray[np.float32]:
        """float32 (n, n_in)."""

    @property
    def kept(self) -> NDArray[np.int64]:
        """int64 (n,)."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed, a line each."""


class RowSchema(Protocol):
    """What a model says of its columns: see `edge_runtime.schema.Schema`."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called."""

    def read(self, table: Table, what: str, *, max_bytes: int = DATA_MAX_BYTES) -> SchemaRead:
        """The rows of a table as the model takes them."""

    def subtract(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (n, n_in) of raw values as the model takes it."""


def read_rows(
    path: str | os.PathLike[str],
    *,
    n_in: int | None = None,
    schema: RowSchema | None = None,
    max_bytes: int = DATA_MAX_BYTES,
    allow_nonfinite: bool = False,
) -> RowsRead:
    """Rows for a model.

    path: `.npy`; `.npz` with an array `x` (or another of ROW_NAMES); a table of text (see `read_table`); `-` for
    standard input: a table, or the bytes of a `.npy` or `.npz`. Bools, integers and floats of any width, byte order and
    memory order are converted. A 1-D array is one row (or a column, where n_in is 1); images (n, h, w) are flattened.
    n_in: the width to insist on. schema: picks the columns of a table by name; without it all are taken, in their
    order. max_bytes: cap on the file, on what it unpacks to and on the result, each.
    Raises InputError for anything else, NaN and inf included unless `allow_nonfinite`; OSError if unreadable.
    """
    _refuse_other_kinds(path, max_bytes)
    content = read_file(path, max_bytes=max_bytes)
    return rows_in(content, path, n_in=n_in, schema=schema, max_bytes=max_bytes, allow_nonfinite=allow_nonfinite)


def rows_in(
    content: bytes | bytearray,
    path: str | os.PathLike[str],
    *,
    n_in: int | None = None,
    schema: RowSchema | None = None,
    max_bytes: int = DATA_MAX_BYTES,
    allow_nonfinite: bool = False,
) -> RowsRead:
    """As `read_rows`, for the bytes of the file."""
    what, kind = describe(path), _kind(path, content)
    if kind == "table":
        from edge_runtime.files.table import read_table

        table = read_table(content, what, max_bytes=max_bytes, expected=() if schema is None else schema.names)
        return rows_of_table(
            table, what, n_in=n_in, schema=schema, allow_nonfinite=allow_nonfinite, max_bytes=max_bytes
        )
    notes: tuple[str, ...] = ()
    if kind == "npy":
        array = read_npy_bytes(content, what)
    else:
        name, array = _npz_rows(content, what, max_bytes)
        what = f"{what}: array '{name}'"
        notes = () if name == "x" else (f"rows read from the array '{name}'",)
    rows = as_rows(array, what, n_in)
    rows = rows if schema is None else schema.subtract(rows)
    x = to_float32(rows, what, max_bytes=max_bytes, allow_nonfinite=allow_nonfinite)
    return RowsRead(x, notes, np.arange(len(x)))


def rows_of_table(
    table: Table,
    what: str,
    *,
    n_in: int | None,
    schema: RowSchema | None,
    allow_nonfinite: bool = False,
    max_bytes: int = DATA_MAX_BYTES,
) -> RowsRead:
    """The rows of a table for a model: those columns that the schema names; without one all, as they stand.

    max_bytes: cap on what texts become.
    """
    if schema is not None:
        read = schema.read(table, what, max_bytes=max_bytes)
        return RowsRead(read.x, (*table.notes, *read.notes), table.line_numbers[read.kept])
    x = _all_columns(table, what, n_in, allow_nonfinite=allow_nonfinite)
    by_place = (_BY_PLACE,) if n_in is not None and any(table.names) else ()
    return RowsRead(x, (*table.notes, *by_place), table.line_numbers)


def _kind(path: str | os.PathLike[str], content: bytes | bytearray) -> str:
    """ "npy", "npz" or "table": by the name, or of standard input by the first bytes."""
    suffix = Path(path).suffix.lower()
    if suffix in (".npy", ".npz"):
        return suffix[1:]
    start = bytes(content[: len(NPY_MAGIC)]) if os.fspath(path) == "-" else b""
    return "npy" if start == NPY_MAGIC else "npz" if start.startswith(ZIP_MAGIC) else "table"


def _refuse_other_kinds(path: str | os.PathLike[str], max_bytes: int) -> None:
    """Raise InputError for a name that is no array's and no table's, saying what the file is, if it is known."""
    if os.fspath(path) == "-" or Path(path).suffix.lower() in (".npy", ".npz") or is_table_name(path):
        return
    if Path(path).is_file():
        refuse_not_data(read_file(path, max_bytes=max_bytes), describe(path))
    raise InputError(
        f"{describe(path)}: unknown kind of file, expected a name that ends in .npy, .npz or, for a table, "
        f"{', '.join(TABLE_SUFFIXES)}"
    )


def _npz_rows(content: bytes | bytearray, what: str, max_bytes: int) -> tuple[str, NDArray[Any]]:
    arrays = read_npz_bytes(content, what, [], ROW_NAMES, max_bytes=max_bytes)
    name = next((name for name in ROW_NAMES if name in arrays), "")
    return (name, arrays[name]) if name else ("x", read_npz_bytes(content, what, ["x"], max_bytes=max_bytes)["x"])


def _all_columns(table: Table, what: str, n_in: int | None, *, allow_nonfinite: bool) -> NDArray[np.float32]:
    """All columns of a table, in their order, as float32 (n, columns).

    Raises InputError for another number of columns than n_in, for texts and missing cells, by row and column, and for
    what float32 does not hold.
    """
    width = table.numbers.shape[1]
    if n_in is not None and width != n_in:
        advice = "; is the last one a label? drop it" if width == n_in + 1 else "; give one column per feature"
        raise InputError(f"{what}: {width:,} columns, the model takes {n_in:,}{advice}")
    for column, texts in table.texts.items():
        is_text = np.isnan(table.numbers[:, column])
        is_text &= True if table.missing is None else ~table.missing[:, column]
        row, count = int(is_text.argmax()), int(is_text.sum())
        where = f"{what}: row {table.line_numbers[row]}, column {column + 1}"
        rest = "" if count == 1 else f" ({count:,} of {len(texts):,} rows of the column are text)"
        raise InputError(
            f"{where}: {printable(repr(texts[row].strip()), 40)} is not a number{rest}; mend or drop the "
            + ("row" if count < 0.1 * len(texts) or count == 1 else "column")
        )
    if table.missing is not None and not allow_nonfinite:
        row, column = divmod(int(table.missing.argmax()), width)
        count = int(table.missing.sum())
        rest = "" if count == 1 else f", as {count - 1:,} others are"
        raise InputError(
            f"{what}: row {table.line_numbers[row]}, column {column + 1}: missing{rest}; fill in or drop the row"
        )
    with np.errstate(over="ignore"):
        values = table.numbers.astype(np.float32)
    bad = first_not_finite(values, table.numbers, allow_nonfinite=allow_nonfinite)
    if bad is not None:
        where = f"{what}: row {table.line_numbers[bad.place[0]]}, column {bad.place[1] + 1}"
        raise InputError(f"{where}: {bad.found} {bad.problem}; mend or drop the row")
    return values


def as_rows(array: NDArray[Any], what: str, n_in: int | None = None) -> NDArray[Any]:
    """`array` as (n, columns): one row from (columns,), images (n, h, w) flattened. InputError if not n_in wide."""
    shape = array.shape
    if array.ndim == 0 or array.size == 0:
        raise InputError(f"{what}: shape {shape}, expected at least one row of numbers")
    if array.ndim == 1:
        array = array.reshape((-1, 1) if n_in == 1 else (1, -1))
    elif array.ndim > 2:
        array = array.reshape(shape[0], -1)
    width = array.shape[1]
    if n_in is not None and width != n_in:
        advice = f"give shape (n, {n_in})"
        if width == n_in + 1:
            advice = "is the last one a label? drop it"
        elif array.size == n_in:
            advice = f"for one row, reshape it to (1, {n_in})"
        raise InputError(f"{what}: shape {shape} has {width:,} columns, the model takes {n_in:,}; {advice}")
    return array


def to_float32(
    array: NDArray[Any], what: str, *, max_bytes: int = DATA_MAX_BYTES, allow_nonfinite: bool = False
) -> NDArray[np.float32]:
    """(n, columns) of bools, integers or floats as a C-ordered, native float32 array, which may be `array` itself.

    Raises InputError, naming row and column, for a value beyond float32's range and, unless allowed, for NaN and inf;
    and where the result is larger than `max_bytes`.
    """
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what}: dtype {array.dtype}, expected bools, integers or floats; convert it first")
    if array.size * 4 > max_bytes:
        raise InputError(
            f"{what}: {array.size * 4:,} bytes as float32, over the limit of {max_bytes:,}; raise max_bytes"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ascontiguousarray(array, np.float32)
    if array.dtype.kind != "f":
        return values  # the largest uint64 is far inside float32's range
    bad = first_not_finite(values, array, allow_nonfinite=allow_nonfinite)
    if bad is not None:
        raise bad.error(f"{what}:")
    return values
