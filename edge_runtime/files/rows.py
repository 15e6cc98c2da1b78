"""Rows in and results out: what a device is fed with, and where its answers go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import DATA_MAX_BYTES, describe, is_number, printable, read_file
from edge_runtime.files.npy import NPY_MAGIC, ZIP_MAGIC, read_npy_bytes, read_npz_bytes
from edge_runtime.numerics import as_array, first_not_finite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LINES_PER_WRITE = 1024


def read_rows(
    path: str | os.PathLike[str],
    *,
    n_in: int | None = None,
    max_bytes: int = DATA_MAX_BYTES,
    allow_nonfinite: bool = False,
) -> NDArray[np.float32]:
    """Rows for a model as float32 (n, n_in), n at least 1.

    path: `.npy`; `.npz` with an array `x`; `.csv` (or `.tsv`; header optional; comma, semicolon or tab); `-` for
    standard input, as CSV text or as the bytes of a `.npy` or `.npz`. Bools, integers and floats of any width, byte
    order and memory order are converted. A 1-D array is one row (or a column, where n_in is 1); images (n, h, w) are
    flattened. n_in: the width to insist on. max_bytes: cap on the file, on what it unpacks to and on the result, each.
    Raises InputError for anything else, NaN and inf included unless `allow_nonfinite`; OSError if unreadable.
    """
    what, suffix = describe(path), Path(path).suffix.lower()
    if os.fspath(path) != "-" and suffix not in (".npy", ".npz", ".csv", ".tsv"):
        raise InputError(f"{what}: unknown kind of file, expected a name that ends in .npy, .npz or .csv")
    content = read_file(path, max_bytes=max_bytes)
    if suffix == ".npy" or (not suffix and content.startswith(NPY_MAGIC)):
        array = read_npy_bytes(content, what)
    elif suffix == ".npz" or (not suffix and content.startswith(ZIP_MAGIC)):
        what = f"{what}: array 'x'"
        array = read_npz_bytes(content, describe(path), ["x"], max_bytes=max_bytes)["x"]
    else:
        from edge_runtime.files.csv_table import read_csv

        return read_csv(content, what, n_in=n_in, allow_nonfinite=allow_nonfinite).values
    return to_float32(as_rows(array, what, n_in), what, max_bytes=max_bytes, allow_nonfinite=allow_nonfinite)


def write_rows(path: str | os.PathLike[str], array: ArrayLike, class_names: Sequence[str] | None = None) -> None:
    """Write results: `.npy`, `.csv`, or `-` for CSV on standard output. A file is replaced in one step.

    array: numbers, (n,) or (n, k), kept in their dtype; CSV digits read back to the same values.
    class_names, in CSV only: for (n, k) the header (a name that reads as a number becomes `class_<name>`, so that it is
    seen to be a header); for class indices (n,) each line is a name.
    Raises InputError for another shape, dtype or name, and for an unknown kind of file; OSError.
    """
    values = as_array(array, "results")
    if values.dtype.kind not in "biuf" or values.ndim not in (1, 2):
        raise InputError(f"cannot write {values.dtype} of shape {values.shape}, expected numbers (n,) or (n, k)")
    suffix = Path(path).suffix.lower()
    if os.fspath(path) == "-":
        lines = _csv_blocks(values, class_names)
        sys.stdout.flush()
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
    elif suffix in (".csv", ".tsv"):
        _replace(path, _csv_blocks(values, class_names, "\t" if suffix == ".tsv" else ","))
    elif suffix == ".npy":
        _replace(path, _npy_blocks(values))
    else:
        raise InputError(f"{describe(path)}: unknown kind of file, expected a name that ends in .npy or .csv, or -")


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


def _npy_blocks(values: NDArray[Any]) -> Iterator[bytes]:
    from edge_runtime.files.aligned_npy import npy_header

    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    yield npy_header(values)
    yield values.tobytes()


def _csv_blocks(values: NDArray[Any], class_names: Sequence[str] | None, delimiter: str = ",") -> Iterator[bytes]:
    """The CSV text in pieces. Checks first, so that nothing is written where a name is missing."""
    if class_names:
        if values.ndim == 2:
            _check_names(values.shape[1] == len(class_names), values, class_names)
            names = (f"class_{name}" if is_number(name) else name for name in class_names)
            yield (delimiter.join(_quote(name) for name in names) + "\n").encode()
        else:
            inside = values.dtype.kind in "iu" and bool(((values >= 0) & (values < len(class_names))).all())
            _check_names(inside, values, class_names)
            quoted = [_quote(name) for name in class_names]
    for start in range(0, len(values), _LINES_PER_WRITE):
        block = values[start : start + _LINES_PER_WRITE]
        if block.ndim == 2:  # str() of a NumPy scalar is the shortest text that reads back to it; of a Python float, no
            text = [delimiter.join(map(str, row)) for row in block]
        else:
            text = [quoted[index] for index in block] if class_names else [str(value) for value in block]
        yield "".join(f"{line}\n" for line in text).encode()


def _check_names(fits: bool, values: NDArray[Any], class_names: Sequence[str]) -> None:
    if not fits:
        raise InputError(f"{len(class_names)} class names do not fit {values.dtype} results of shape {values.shape}")


def _quote(name: str) -> str:
    name = printable(" ".join(name.split()))  # one name, one line, and no command to a terminal
    return '"' + name.replace('"', '""') + '"' if any(mark in name for mark in ',;"') else name


def _replace(path: str | os.PathLike[str], blocks: Iterator[bytes]) -> None:
    from edge_runtime.files.atomic import replacing

    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        try:
            with open(
                target, "wb"
            ) as device:  # a device or pipe is written to; a file renamed over it would destroy it
                _write_all(device, blocks)
        except OSError as error:
            if error.filename is None:
                raise type(error)(error.errno, error.strerror, os.fspath(path)) from error
            raise
    else:
        with replacing(path) as file:
            _write_all(file, blocks)


def _write_all(file: IO[bytes], blocks: Iterator[bytes]) -> None:
    for block in blocks:
        file.write(block)
