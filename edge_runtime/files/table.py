"""Reading a table from text that anybody may have written: numbers, texts and missing cells in named columns.

Memory beside the file: 8 bytes a cell and a row, a byte more a cell if any is missing, and some 10 MB for the block at
work; in a column of texts 8 bytes a row and about 60 for each different text: 25 times the file at most. Line ends of
two bytes, gzip and UTF-16 take the file once or twice more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files.blocks import CellReader, Cells, RowBlock, Source, blocks_of
from edge_runtime.files.bounded import DATA_MAX_BYTES, printable
from edge_runtime.files.dialect import Dialect, is_missing
from edge_runtime.files.encoding import Text, as_text, unpacked
from edge_runtime.files.layout import Layout, find_layout
from edge_runtime.files.not_data import refuse_not_data

_LONGEST_TAIL = 1 << 20  # bytes of empty lines that are seen at the end
_KEPT = 1 << 24
_COUNTED = 1 << 18

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Table:
    """The cells of a file, as they are written there; arrays are read-only.

    names: one a column, "" if it has none; () if the file has no header. numbers: float64 (n, columns), NaN if a cell
    is missing or text. texts: column (from 0) -> all its n cells as text, for columns with a cell that is neither a
    number nor missing. missing: bool (n, columns), or None if no cell is missing (empty, or ?, NA, N/A, NaN, null,
    None, - or a spreadsheet's error such as #N/A, in any case). line_numbers: int64 (n,), the file's lines, from 1.
    notes: what was noticed, a line each.
    """

    names: tuple[str, ...]
    numbers: NDArray[np.float64]
    texts: Mapping[int, list[str]]
    missing: NDArray[np.bool_] | None
    line_numbers: NDArray[np.int64]
    notes: tuple[str, ...]

    def part(self, first: int, last: int) -> Table:
        """The rows from `first` up to `last`, without the notes."""
        rows = slice(first, last)
        texts = {column: cells[rows] for column, cells in self.texts.items()}
        missing = None if self.missing is None else self.missing[rows]
        return Table(self.names, self.numbers[rows], texts, missing, self.line_numbers[rows], ())


def read_table(
    content: bytes | bytearray, what: str, *, max_bytes: int = DATA_MAX_BYTES, expected: Sequence[str] = ()
) -> Table:
    """The table in the bytes of a text file, plain or packed by gzip. what: names it in messages.

    max_bytes: cap on what gzip unpacks to. expected: names of columns; a first row with all of them is the header.
    Raises InputError, naming the row (its line, from 1), for rows of unequal width, for a second header and for what is
    no table; numbers may be infinite.
    """
    content = unpacked(content, what, max_bytes)
    refuse_not_data(content, what)
    text = as_text(content, what)
    layout = find_layout(text.content, text.encoding, what, expected)
    if layout is None:
        raise InputError(f"{what}: no rows, expected a table of numbers")
    source, notes = body_of(text, layout, what)
    table = body_table(source, layout, [*text.notes, *layout.notes, *notes])
    if table is None:
        found = "only a header" if layout.names else "no rows"
        raise InputError(f"{what}: {found}, expected at least one row of numbers")
    return table


def body_table(source: Source, layout: Layout, notes: Sequence[str], *, width: int | None = None) -> Table | None:
    """The rows of a source as a table, or None if it has none. notes: what is to be said of it already.

    width: columns to keep, those behind them being empty; None: all but empty last ones without a name. Raises
    InputError as `read_table` does.
    """
    if source.stop - source.start > _KEPT:
        np.empty(_KEPT, np.uint8)  # glibc's malloc takes freed memory of this size as its measure for what it keeps:
        # else each array of each block would be given back and taken anew, a page fault for each of its pages
    builder = _Builder(source, layout)
    for block in blocks_of(source, layout, builder.comments):
        builder.add(block)
    return builder.finish(list(notes), width)


def body_of(text: Text, layout: Layout, what: str) -> tuple[Source, list[str]]:
    """The part of a text that holds rows, and what is to be said of the rest."""
    content, start = text.content, 0
    for _ in range(layout.skipped):
        start = content.find(b"\n", start) + 1 or len(content)
    tail = content[max(start, len(content) - _LONGEST_TAIL) :]
    filled = len(tail.rstrip(b" \t\n" + layout.dialect.delimiter.encode()))
    empty = tail[tail.find(b"\n", filled) + 1 or len(tail) :] if filled else tail
    lines = sum(bool(line.strip()) for line in empty.split(b"\n"))
    notes = [f"{counted(lines, 'line')} of empty cells at the end left out"] if lines else []
    return Source(content, text.encoding, start, len(content) - len(empty), layout.skipped + 1, what), notes


class _Builder:
    """Takes blocks of rows and gives a table."""

    def __init__(self, source: Source, layout: Layout) -> None:
        self._source, self._layout = source, layout
        most = min(_count_lines(source), (source.stop - source.start) // layout.width + 1)
        self._numbers = np.empty((most, layout.width))  # of which the system gives only what is written to
        self._missing: NDArray[np.bool_] | None = None
        self._line_numbers = np.empty(most, np.int64)
        self._texts: dict[int, list[str]] = {}
        self._text_from: dict[int, int] = {}  # the rows that were read before a column was known to hold texts
        self._columns: slice | NDArray[np.int64] = slice(0, layout.width)  # those of numbers alone, up to now
        self._reader = CellReader(layout.dialect)
        self._count = 0
        self.comments: list[int] = []

    def add(self, block: RowBlock) -> None:
        """Append the rows of a block."""
        first, self._count = self._count, self._count + len(block.line_numbers)
        self._line_numbers[first : self._count] = block.line_numbers
        if len(self._texts) < self._layout.width:
            self._add_numbers(block.read(self._columns, self._reader), first)
        for column, texts in self._texts.items():
            cells = self._reader.shared(block.column(column))
            texts += cells
            self._place(self._reader.read(cells), first, column)

    def _add_numbers(self, cells: Cells, first: int) -> None:
        self._place(cells, first, self._columns)
        if cells.text is None or not cells.text.any():
            return
        every = np.arange(self._layout.width)
        for column in every[self._columns][cells.text.any(axis=0)].tolist():
            self._texts[column], self._text_from[column] = [], first
        self._columns = _as_slice(np.setdiff1d(every, list(self._texts)))

    def _place(self, cells: Cells, first: int, columns: Any) -> None:
        self._numbers[first : self._count, columns] = cells.values
        if cells.missing is not None and cells.missing.any():
            if self._missing is None:
                self._missing = np.zeros(self._numbers.shape, np.bool_)
            self._missing[first : self._count, columns] = cells.missing

    def _read_again(self) -> None:
        """Put in front the texts of columns that held numbers in the first rows."""
        texts: dict[int, list[str]] = {column: [] for column, first in self._text_from.items() if first}
        most = max((self._text_from[column] for column in texts), default=0)
        row = 0
        for block in blocks_of(self._source, self._layout, []) if most else ():
            if row >= most:
                break
            for column, cells in texts.items():
                if row < self._text_from[column]:
                    cells += self._reader.shared(block.column(column))
            row += len(block.line_numbers)
        self._texts |= {column: cells + self._texts[column] for column, cells in texts.items()}

    def finish(self, notes: list[str], width: int | None) -> Table | None:
        """The table of all rows, None if there are none. Raises InputError for a number in another spelling."""
        if not self._count:
            return None
        self._read_again()
        comments = len(self.comments) + self._layout.comments
        notes += [f"{counted(comments, 'comment line')} left out"] if comments else []
        filled = self._filled_width()
        if width is not None and filled > width:
            raise InputError(
                f"{self._source.what}: row {self._line_numbers[0]}: column {filled} has a value and was empty before; "
                "name it in a header"
            )
        left_out = 0 if width is not None else self._layout.width - filled
        width = filled if width is None else width
        notes += [f"{counted(left_out, 'empty last column')} left out"] if left_out else []
        numbers = self._numbers[: self._count, :width]
        missing = None if self._missing is None else self._missing[: self._count, :width]
        missing = missing if missing is not None and missing.any() else None
        for array in (numbers, missing, self._line_numbers):
            if array is not None:
                array.setflags(write=False)
        table = Table(
            self._layout.names[:width], numbers, self._texts, missing, self._line_numbers[: self._count], tuple(notes)
        )
        _refuse_second_header(table, self._layout.dialect, self._source.what)
        _refuse_other_spelling(table, self._layout.dialect, self._source.what)
        return table

    def _filled_width(self) -> int:
        """The number of columns without those at the right that have neither a name nor a value."""
        width, names = self._layout.width, self._layout.names
        if self._missing is None:
            return width
        while width > 1 and not (names and names[width - 1]) and self._missing[: self._count, width - 1].all():
            width -= 1
        return width


def _as_slice(columns: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """The same columns; as a slice, which copies faster, if they stand side by side."""
    first, count = int(columns.min(initial=0)), len(columns)
    return slice(first, first + count) if count and columns[-1] - first == count - 1 else columns


def _count_lines(source: Source) -> int:
    content = np.frombuffer(source.content, np.uint8)
    starts = range(source.start, source.stop, _COUNTED)
    return 1 + sum(int(np.count_nonzero(content[start : min(start + _COUNTED, source.stop)] == 10)) for start in starts)


def _refuse_second_header(table: Table, dialect: Dialect, what: str) -> None:
    """Raise InputError for a row that is the header once more, as in logs that were joined."""
    named = [column for column, name in enumerate(table.names) if dialect.number(name) is None and not is_missing(name)]
    if not named or not all(column in table.texts for column in named):
        return
    first = table.texts[named[0]]
    for row in (row for row, text in enumerate(first) if text.strip() == table.names[named[0]]):
        if all(table.texts[column][row].strip() == table.names[column] for column in named):
            raise InputError(f"{what}: row {table.line_numbers[row]}: the header again; take the line out")


def _refuse_other_spelling(table: Table, dialect: Dialect, what: str) -> None:
    """Raise InputError for a text among numbers that is a number as another file would spell it."""
    for column, texts in table.texts.items():
        values = table.numbers[:, column]
        if 2 * np.count_nonzero(np.isnan(values)) > len(values):
            continue
        for row in np.flatnonzero(np.isnan(values)).tolist():
            if dialect.is_other_spelling(texts[row]):
                mark = "comma" if dialect.decimal == "," else "point"
                raise InputError(
                    f"{what}: row {table.line_numbers[row]}, column {column + 1}: {printable(repr(texts[row]), 40)} is "
                    f"no number here, where others have a decimal {mark}; write all of them alike"
                )


def counted(count: int, name: str) -> str:
    """ "1 line", "2 lines"."""
    return f"{count:,} {name}" + ("" if count == 1 else "s")
