"""The rows of a text, block by block: cut by NumPy where lines are plain, row by row where they are not.

A block holds whole lines, some hundred thousand bytes, so that memory does not grow with the file. Its cells are places
in its bytes; only texts become Python objects. What NumPy does not cut (separators or line ends in quotes, comments and
blank lines between rows, rows of unequal width) is read by `cells.rows_of`, which knows what to say of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Union

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files.cells import rows_of
from edge_runtime.files.dialect import Dialect, is_missing
from edge_runtime.files.layout import MAX_LINE, Layout
from edge_runtime.files.numerals import Bytes, parse_numerals

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 18  # bytes: what NumPy makes of them stays in the processor's cache
_CELLS = 1 << 16  # that are read at once, should a block be one long line
_MOST_QUOTED = 1 << 17  # bytes of a quoted cell, as in Python's csv
_MOST_REMEMBERED = 1 << 12
_TAB, _NEWLINE, _BLANK, _QUOTE = b'\t\n "'
_BLANK_LINE = re.compile(rb"(?:\A|\n)[ \t]+\n")
_COMMENT_LINE = re.compile(rb"(?:\A|\n)[ \t]*[#%]")


Places = Union[slice, "NDArray[np.int64]"]


class Cells(NamedTuple):
    """What cells say, in arrays of one shape.

    values: float64, NaN if missing or text. missing, text: bool, or None if none is.
    """

    values: NDArray[np.float64]
    missing: NDArray[np.bool_] | None
    text: NDArray[np.bool_] | None


class CellReader:
    """Reads cells one by one, and those that it saw before from a list."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._seen: dict[str, tuple[float, bool, bool]] = {}
        self._shared: dict[str, str] = {}

    def read(self, cells: Sequence[str]) -> Cells:
        """The values of some cells, arrays (n,)."""
        different = set(cells)
        known = {cell: self._seen.get(cell) or self._read(cell) for cell in different}
        if all(text for _, _, text in known.values()):  # as in a column of labels
            return Cells(np.full(len(cells), np.nan), None, np.ones(len(cells), np.bool_))
        found = np.array([known[cell] for cell in cells]).reshape(-1, 3)
        return Cells(found[:, 0], found[:, 1].astype(np.bool_), found[:, 2].astype(np.bool_))

    def shared(self, cells: Sequence[str]) -> list[str]:
        """The cells without blanks around them, equal ones being one text: a million labels take little memory."""
        if len(self._shared) > _MOST_REMEMBERED:
            self._shared.clear()
        shared = self._shared
        for cell in set(cells).difference(shared):
            shared[cell] = cell.strip()
        return [shared[cell] for cell in cells]

    def _read(self, cell: str) -> tuple[float, bool, bool]:
        value = None if is_missing(cell) else self._dialect.number(cell)
        found = (np.nan, is_missing(cell), not is_missing(cell)) if value is None else (value, value != value, False)
        if len(self._seen) < _MOST_REMEMBERED:
            self._seen[cell] = found
        return found


class RowBlock(Protocol):
    """Some rows of a table. line_numbers: int64 (n,)."""

    line_numbers: NDArray[np.int64]

    def read(self, columns: Places, reader: CellReader) -> Cells:
        """The cells of these columns, each array (n, columns)."""

    def column(self, index: int) -> list[str]:
        """The cells of one column as text, with blanks around them or not."""


class Source(NamedTuple):
    """content: lines that end in \\n, the last one too or not; encoding: of its texts. start, stop: the bytes that hold
    rows. first_line: the number of the line at `start`. what: names it in messages."""

    content: bytes | bytearray
    encoding: str
    start: int
    stop: int
    first_line: int
    what: str


def blocks_of(source: Source, layout: Layout, comments: list[int]) -> Iterator[RowBlock]:
    """The rows of a text in blocks. comments: gets the numbers of the lines that are left out.

    Raises InputError, naming the row, for rows of another width, quotes left open, and lines longer than MAX_LINE.
    """
    start, line = source.start, source.first_line
    while start < source.stop:
        end = _end(source, start, line)
        content = bytes(memoryview(source.content)[start:end])
        content = content if content.endswith(b"\n") else content + b"\n"
        block = _plain(content, source, layout, line) or _quoted(content, source, layout, line, comments)
        if len(block.line_numbers):
            yield block
        start, line = end, line + content.count(b"\n")


def _end(source: Source, start: int, line: int) -> int:
    """Where a block of whole lines, and of whole quoted cells, ends."""
    content, stop = source.content, source.stop
    end = content.rfind(b"\n", start, min(start + _BLOCK, stop)) + 1 or _after_line(content, start + _BLOCK, stop)
    if end - start > MAX_LINE:
        raise InputError(f"{source.what}: row {line}: over {MAX_LINE:,} bytes long; is this a CSV file?")
    longest = end + _MOST_QUOTED
    is_open = content.find(b'"', start, end) >= 0 and content.count(b'"', start, end) % 2 == 1
    while is_open and end < min(stop, longest):  # the quoted cell goes on in the next line
        line_start, end = end, _after_line(content, end, stop)
        is_open ^= content.count(b'"', line_start, end) % 2 == 1
    return end


def _after_line(content: bytes | bytearray, place: int, stop: int) -> int:
    return content.find(b"\n", place, stop) + 1 or stop


# plain lines


class _PlainBlock:
    """Rows whose cells stand at content[starts:ends], int64 (n * columns,)."""

    def __init__(self, content: bytes, starts: Any, ends: Any, line: int, layout: Layout, encoding: str) -> None:
        self._content, self._starts, self._ends = content, starts, ends
        self._dialect, self._width, self._encoding = layout.dialect, layout.width, encoding
        self.line_numbers = np.arange(line, line + len(starts) // self._width)

    def read(self, columns: Places, reader: CellReader) -> Cells:
        starts, ends = (places.reshape(-1, self._width)[:, columns].ravel() for places in (self._starts, self._ends))
        parts = [
            self._read(starts[first : first + _CELLS], ends[first : first + _CELLS], reader)
            for first in range(0, len(starts), _CELLS)
        ]
        shape = (len(self.line_numbers), -1)
        if len(parts) == 1:
            return Cells(*(None if array is None else array.reshape(shape) for array in parts[0]))  # type: ignore[arg-type]
        return _joined(parts, shape)

    def column(self, index: int) -> list[str]:
        return self._texts(self._starts[index :: self._width], self._ends[index :: self._width])

    def _read(self, starts: Any, ends: Any, reader: CellReader) -> Cells:
        base = int(starts[0])
        within = np.frombuffer(self._content, np.uint8)[base : int(ends[-1]) + 1]
        values, known = parse_numerals(Bytes(within), starts - base, ends - base, ord(self._dialect.decimal))
        rest = np.flatnonzero(~known)
        if not len(rest):
            return Cells(values, None, None)
        found = reader.read(self._texts(starts[rest], ends[rest]))
        values[rest] = found.values
        return Cells(values, _spread(found.missing, rest, len(values)), _spread(found.text, rest, len(values)))

    def _texts(self, starts: Any, ends: Any) -> list[str]:
        places = zip(starts.tolist(), ends.tolist(), strict=True)
        if self._content.isascii():
            text = self._content.decode("ascii")
            return [text[start:end] for start, end in places]
        return [self._content[start:end].decode(self._encoding) for start, end in places]


def _spread(flags: NDArray[np.bool_] | None, places: Any, count: int) -> NDArray[np.bool_] | None:
    if flags is None:
        return None
    spread = np.zeros(count, np.bool_)
    spread[places] = flags
    return spread


def _joined(parts: Sequence[Cells], shape: tuple[int, int]) -> Cells:
    def flags(index: int) -> Any:
        given = [part[index] for part in parts]
        filled = [
            np.zeros(len(part.values), np.bool_) if flag is None else flag
            for flag, part in zip(given, parts, strict=True)
        ]
        return np.concatenate(filled).reshape(shape)

    return Cells(np.concatenate([part.values for part in parts]).reshape(shape), flags(1), flags(2))


def _plain(content: bytes, source: Source, layout: Layout, line: int) -> RowBlock | None:
    """The block, if each of its lines is a row and no cell needs its quotes."""
    if layout.has_comments and (b"#" in content or b"%" in content) and _COMMENT_LINE.search(content):
        return None
    delimiter = ord(layout.dialect.delimiter)
    if delimiter == _BLANK:
        content = _single_blanks(content)
    text = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero((text == delimiter) | (text == _NEWLINE))
    if len(ends) % layout.width or len(ends) < layout.width:
        return None
    line_ends = (text.take(ends) == _NEWLINE).reshape(-1, layout.width)
    if not line_ends[:, -1].all() or line_ends[:, :-1].any():
        return None
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    if layout.width == 1 and ((starts == ends).any() or _BLANK_LINE.search(content)):
        return None  # a blank line is no row; with more columns it has no place among them
    if not _trim(content, text, starts, ends, delimiter):
        return None
    return _PlainBlock(content, starts, ends, line, layout, source.encoding)


def _trim(content: bytes, text: NDArray[np.uint8], starts: Any, ends: Any, delimiter: int) -> bool:
    """Move starts and ends past blanks and quotes; False if quotes hold a separator, or quotes of their own."""
    has_blanks = b" " in content or (b"\t" in content and delimiter != _TAB)
    if has_blanks:
        _trim_blanks(text, starts, ends)
    if b'"' not in content:
        return True
    quoted = (ends - starts > 1) & (text.take(starts) == _QUOTE) & (text.take(ends - 1) == _QUOTE)
    if 2 * int(quoted.sum()) != content.count(b'"'):
        return False
    starts += quoted
    ends -= quoted
    return True


def _trim_blanks(text: NDArray[np.uint8], starts: Any, ends: Any) -> None:
    blank = (text == _BLANK) | (text == _TAB)
    while True:
        front = blank.take(starts) & (starts < ends)
        if not front.any():
            break
        starts += front
    while True:
        back = blank.take(ends - 1, mode="clip") & (starts < ends)
        if not back.any():
            break
        ends -= back


def _single_blanks(content: bytes) -> bytes:
    """`content` with one blank in the place of several, and none at the beginnings and ends of lines."""
    text = np.frombuffer(content, np.uint8).copy()
    text[text == _TAB] = _BLANK
    blank = text == _BLANK
    before = np.concatenate([[_NEWLINE], text[:-1]])
    after = np.concatenate([text[1:], [_NEWLINE]])
    text = text[~(blank & ((before == _BLANK) | (before == _NEWLINE)))]
    after = np.concatenate([text[1:], np.array([_NEWLINE], np.uint8)])
    return text[~((text == _BLANK) & (after == _NEWLINE))].tobytes()


# lines of any kind


class _QuotedBlock:
    """Rows whose cells are texts already."""

    def __init__(self, rows: Sequence[Sequence[str]], lines: Sequence[int]) -> None:
        self._rows = rows
        self.line_numbers = np.array(lines, np.int64)

    def read(self, columns: Places, reader: CellReader) -> Cells:
        places = np.arange(len(self._rows[0]))[columns].tolist()
        cells = reader.read([row[place] for row in self._rows for place in places])
        shape = (len(self._rows), -1)
        return _joined([cells], shape)

    def column(self, index: int) -> list[str]:
        return [row[index] for row in self._rows]


def _quoted(content: bytes, source: Source, layout: Layout, line: int, comments: list[int]) -> RowBlock:
    lines = _lines(content.decode(source.encoding), layout, line, comments)
    rows: list[list[str]] = []
    numbers: list[int] = []
    for number, cells in rows_of(lines, layout.dialect.delimiter, source.what):
        if len(cells) != layout.width:
            raise InputError(
                f"{source.what}: row {number} has {len(cells):,} columns, expected {layout.width:,} as in row "
                f"{layout.example}"
            )
        rows.append(cells)
        numbers.append(number)
    return _QuotedBlock(rows, numbers)


def _lines(text: str, layout: Layout, line: int, comments: list[int]) -> Iterator[tuple[int, str]]:
    """The lines that hold rows, with their numbers: no comments and no blank ones, unless they stand in quotes."""
    is_open = False
    for number, content in enumerate(text.split("\n")[:-1], line):
        if not is_open and layout.is_comment(content):
            comments.append(number)
            continue
        if is_open or content.strip() or layout.is_empty_row(content):
            yield number, content
            is_open ^= content.count('"') % 2 == 1
