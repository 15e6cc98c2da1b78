"""Reading CSV text that anybody may have written: numbers in columns, and optionally a label in the last one.

One line is one row. Commas, semicolons or tabs separate; the first line may be a header. Memory: at most about 16 times
the file (2 bytes such as `1,` become one text on the way), for a usual table of numbers 3 times.
"""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import is_number, printable
from edge_runtime.numerics import first_not_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LINE = 1 << 24  # characters: a million columns of 16; a longer line is not a table
_BLOCK = 1 << 16  # numbers that are held in float64 before they are checked and kept as float32
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, eq=False)
class CsvTable:
    """values: float32 (n, columns). header: names of all columns, or empty. labels: n texts, or None if not asked for.

    line_numbers: int64 (n,), counted from 1, for messages.
    """

    values: NDArray[np.float32]
    header: tuple[str, ...]
    labels: list[str] | None
    line_numbers: NDArray[np.int64]


def read_csv(
    content: bytes | bytearray,
    what: str,
    *,
    n_in: int | None = None,
    last_is_label: bool = False,
    allow_nonfinite: bool = False,
) -> CsvTable:
    """The table in the bytes of a CSV file (UTF-8, with or without a byte order mark).

    n_in: the number of value columns to insist on. Raises InputError, naming row (its line, from 1) and column, for
    anything but rows of equally many numbers, numbers beyond float32's range, and NaN or inf unless allowed.
    """
    rows = _rows(content, what)
    header: tuple[str, ...] = ()
    builder: _Builder | None = None
    for line, cells in rows:
        if builder is None:
            _check_width(len(cells), n_in, last_is_label, f"{what}: row {line}")
            builder = _Builder(what, line, len(cells), last_is_label, allow_nonfinite)
            if _is_header(cells[:-1] if last_is_label else cells):
                header = tuple(cell.strip() for cell in cells)
                continue
        builder.add(line, cells)
    if builder is None or not builder.line_numbers:
        found = "only a header" if header else "no rows"
        raise InputError(f"{what}: {found}, expected at least one row of numbers")
    return builder.finish(header)


class _Builder:
    """Collects rows: checked float32 values in blocks, label texts and line numbers."""

    def __init__(self, what: str, first_line: int, width: int, last_is_label: bool, allow_nonfinite: bool) -> None:
        self.what, self.first_line, self.width = what, first_line, width
        self.columns = width - last_is_label
        self.allow_nonfinite = allow_nonfinite
        self.line_numbers = array("q")
        self._labels: list[str] | None = [] if last_is_label else None
        self._known: dict[str, str] = {}  # so that a million equal labels are one text
        self._block = array("d")
        self._values = bytearray()

    def add(self, line: int, cells: list[str]) -> None:
        if len(cells) != self.width:
            raise InputError(
                f"{self.what}: row {line} has {len(cells):,} columns, "
                f"expected {self.width:,} as in row {self.first_line}"
            )
        if self._labels is not None:
            label = cells.pop().strip()
            self._labels.append(self._known.setdefault(label, label))
        before = len(self._block)
        try:
            self._block.extend(map(float, cells))
        except ValueError:
            del self._block[before:]
        if len(self._block) - before != self.columns or "_" in "".join(cells):
            self._refuse(line, cells)
        self.line_numbers.append(line)
        if len(self._block) >= _BLOCK:
            self._flush()

    def finish(self, header: tuple[str, ...]) -> CsvTable:
        self._flush()
        values = np.frombuffer(self._values, np.float32).reshape(len(self.line_numbers), self.columns)
        return CsvTable(values, header, self._labels, np.frombuffer(self.line_numbers, np.int64))

    def _flush(self) -> None:
        exact = np.frombuffer(self._block, np.float64).reshape(-1, self.columns)
        with np.errstate(over="ignore"):
            values = exact.astype(np.float32)
        bad = first_not_finite(values, exact, allow_nonfinite=self.allow_nonfinite)
        if bad is not None:
            line = self.line_numbers[len(self.line_numbers) - len(exact) + bad.place[0]]
            where = f"{self.what}: row {line}, column {bad.place[1] + 1}"
            raise InputError(f"{where}: {bad.found} {bad.problem}; mend or drop the row")
        self._values += values.tobytes()
        self._block = array("d")

    def _refuse(self, line: int, cells: list[str]) -> None:
        column = next(index for index, cell in enumerate(cells, 1) if not is_number(cell))
        cell = cells[column - 1].strip()
        where = f"{self.what}: row {line}, column {column}"
        if not cell:
            raise InputError(f"{where}: empty, expected a number; fill in or drop the row")
        advice = "write numbers with a decimal point" if "," in cell else "mend or drop the row"
        raise InputError(f"{where}: {printable(repr(cell), 40)} is not a number; {advice}")


def _rows(content: bytes | bytearray, what: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers, from 1, and cells of the lines that are not blank."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{what}: looks like UTF-16 text, expected UTF-8; save it as 'CSV UTF-8'")
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline=None)
    delimiter = ""
    line_number = 0
    while True:
        try:
            line = text.readline(MAX_LINE + 1)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{what}: not UTF-8 text after row {line_number} ({error.reason}); save it as UTF-8"
            ) from error
        if not line:
            return
        line_number += 1
        where = f"{what}: row {line_number}"
        if len(line) > MAX_LINE:
            raise InputError(f"{where}: over {MAX_LINE:,} characters long; is this a CSV file?")
        if "\0" in line:
            raise InputError(f"{where}: holds a NUL character; is this a CSV file?")
        line = line.rstrip("\n")
        if not line.strip():
            continue
        delimiter = delimiter or _delimiter(line)
        yield line_number, _cells(line, delimiter, where)


def _cells(line: str, delimiter: str, where: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    import csv

    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
    except (csv.Error, StopIteration) as error:
        raise InputError(f"{where}: {printable(error, 80)}; close each quote on its line") from error


def _delimiter(line: str) -> str:
    """Tab, else semicolon, else comma: a line with semicolons may hold decimal commas (refused by name later)."""
    bare = _QUOTED.sub("", line)
    return next((mark for mark in "\t;" if mark in bare), ",")


def _is_header(cells: list[str]) -> bool:
    """A header has some text and no numbers; a row with both is damaged, and must be reported, not skipped."""
    return any(cell.strip() for cell in cells) and not any(is_number(cell) for cell in cells)


def _check_width(width: int, n_in: int | None, last_is_label: bool, where: str) -> None:
    if last_is_label and width < 2:
        raise InputError(f"{where} has 1 column, expected features and, in the last column, a label")
    if n_in is None or width - last_is_label == n_in:
        return
    advice = "; is the last one a label? drop it" if width == n_in + 1 else "; give one column per feature"
    raise InputError(f"{where}: {width:,} columns, the model takes {n_in:,}{advice}")
