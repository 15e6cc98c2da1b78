"""Results out: where a device's answers go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files.aligned_npy import npy_header
from edge_runtime.files.atomic import replacing
from edge_runtime.files.bounded import describe, is_number, printable
from edge_runtime.numerics import as_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LINES_PER_WRITE = 1024


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
    if os.fspath(path) == "-" or suffix in (".csv", ".tsv"):
        write_blocks(path, csv_blocks(values, class_names, delimiter="\t" if suffix == ".tsv" else ","))
    elif suffix == ".npy":
        write_blocks(path, _npy_blocks(values))
    else:
        raise InputError(f"{describe(path)}: unknown kind of file, expected a name that ends in .npy or .csv, or -")


def _npy_blocks(values: NDArray[Any]) -> Iterator[bytes]:
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    yield npy_header(values)
    yield values.tobytes()


def csv_blocks(
    values: NDArray[Any], class_names: Sequence[str] | None, *, delimiter: str = ",", header: bool = True
) -> Iterator[bytes]:
    """The CSV text in pieces, for `write_rows`. Checks first, so that nothing is written where a name is missing."""
    if class_names:
        if values.ndim == 2:
            _check_names(values.shape[1] == len(class_names), values, class_names)
        if values.ndim == 2 and header:
            names = (f"class_{name}" if is_number(name) else name for name in class_names)
            yield (delimiter.join(_quote(name) for name in names) + "\n").encode()
        if values.ndim == 1:
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


def write_blocks(path: str | os.PathLike[str], blocks: Iterable[bytes]) -> None:
    """Write pieces of text or data: `-` to standard output, at once; else a file is replaced in one step."""
    if os.fspath(path) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.writelines(blocks)
        sys.stdout.buffer.flush()
        return
    _replace(path, blocks)


def _replace(path: str | os.PathLike[str], blocks: Iterable[bytes]) -> None:
    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        try:
            with open(target, "wb") as device:  # a device or pipe; a file renamed over it would destroy it
                _write_all(device, blocks)
        except OSError as error:
            if error.filename is None:
                raise type(error)(error.errno, error.strerror, os.fspath(path)) from error
            raise
    else:
        with replacing(path) as file:
            _write_all(file, blocks)


def _write_all(file: IO[bytes], blocks: Iterable[bytes]) -> None:
    for block in blocks:
        file.write(block)
