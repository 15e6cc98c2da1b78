"""Where a table begins in a text: what stands above its first row, and what its columns are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edge_runtime.errors import InputError
from edge_runtime.files.arff import arff_head, is_arff
from edge_runtime.files.bounded import printable
from edge_runtime.files.cells import rows_of, split_lines
from edge_runtime.files.dialect import (
    DELIMITERS,
    SPREADSHEET_ERRORS,
    Dialect,
    is_missing,
    sniff_delimiter,
    sniff_numbers,
)
from edge_runtime.files.header import counts, is_far_from, is_header

MAX_LINE = 1 << 24  # bytes: a million columns of 16; a longer line is not a table
_COMMENT_MARKS = ("#", "%")
_ERROR_CELL = re.compile(rf"(?:{'|'.join(map(re.escape, SPREADSHEET_ERRORS))})(?=[\s,;|\"]|\Z)", re.IGNORECASE)
_POINT_EITHER = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")
_SHORT_WHOLE = re.compile(r"[-+]?\d{1,3}")
_SEP_LINE = re.compile(r'"?sep=([,;|:/ \t])"?[ \t]*', re.IGNORECASE)
_EITHER = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")  # thousands or decimals
_SAMPLE = 1 << 16  # bytes that are looked at, and at least _LEAST_LINES lines
_LEAST_LINES = 5


@dataclass(frozen=True)
class Layout:
    """dialect: how cells are spelled. width: cells in a row. names: one a column, or () without a header.

    skipped: lines of the text before the first row, `comments` of them comments. example: the line of a row of this
    width. has_comments: whether lines that begin with # or % can be comments. first_is_text: whether the first column
    holds texts. notes: what was noticed.
    """

    dialect: Dialect
    width: int
    names: tuple[str, ...]
    skipped: int
    comments: int
    example: int
    has_comments: bool
    first_is_text: bool
    notes: tuple[str, ...]

    def is_empty_row(self, line: str) -> bool:
        """Whether a line of blanks is a row of empty cells, which tabs separate."""
        return self.dialect.delimiter == "\t" and 0 < line.count("\t") == self.width - 1

    def is_comment(self, line: str) -> bool:
        """Whether a line below the first row is none of the table's."""
        if not (self.has_comments and looks_like_comment(line)):
            return False
        cells = next(iter(split_lines([line], self.dialect.delimiter)), [])
        return len(cells) != self.width or not self._may_be_cell(cells[0].strip())

    def _may_be_cell(self, cell: str) -> bool:
        """Whether a cell such as #N/A or #3 may begin a row: a mark before a blank or a number takes the row out."""
        if self.first_is_text:
            return cell not in _COMMENT_MARKS
        rest = cell.lstrip("".join(_COMMENT_MARKS))
        is_word = rest[:1] not in ("", " ", "\t") and self.dialect.number(rest) is None
        return is_missing(cell) or (is_word and self.width > 1)


def find_layout(content: bytes | bytearray, encoding: str, what: str, expected: Sequence[str] = ()) -> Layout | None:
    """The layout of the table in a text, whose lines end in \\n; None if it has no rows.

    expected: names of columns that a model takes: a first row that holds them all is the header, whatever follows.
    Raises InputError where nothing decides between two readings, and for a line over MAX_LINE.
    """
    end = 0
    while end < len(content):
        end = _sample_end(content, 16 * end or _SAMPLE, what)
        layout = _layout_of(content, end, encoding, what, expected)
        if layout is not None:
            return layout
    return None


def _sample_end(content: bytes | bytearray, size: int, what: str) -> int:
    end = content.find(b"\n", size) + 1 or len(content)
    while content.count(b"\n", 0, end) < _LEAST_LINES and end < min(len(content), MAX_LINE):
        end = content.find(b"\n", end) + 1 or len(content)
    if len(content) > MAX_LINE and content.find(b"\n", 0, MAX_LINE) < 0:
        raise InputError(f"{what}: row 1: over {MAX_LINE:,} bytes long; is this a CSV file?")
    return end


def _layout_of(
    content: bytes | bytearray,
    end: int,
    encoding: str,
    what: str,
    expected: Sequence[str],
) -> Layout | None:
    sample = content[:end].decode(encoding)
    if is_arff(sample):
        return _arff_layout(sample, what)
    numbered = [(number, line) for number, line in enumerate(sample.split("\n"), 1) if line.strip()]
    given = _SEP_LINE.fullmatch(numbered[0][1]) if numbered else None
    numbered = numbered[1:] if given else numbered
    comments = _comments(numbered)
    marked = {number for number, _ in comments}
    lines = [line for line in numbered if line[0] not in marked]
    delimiter = given[1] if given else sniff_delimiter([line for _, line in lines])
    if delimiter == "\t":  # a line of tabs is no blank one
        tabs = [
            (number, line) for number, line in enumerate(sample.split("\n"), 1) if "\t" in line and not line.strip()
        ]
        lines = sorted([*lines, *tabs])
    every = list(rows_of(lines, delimiter, what, strict=False))
    rows = [row for row in every if any(cell.strip() for cell in row[1])]
    if not rows:
        return None
    text = "\n".join(line for _, line in lines)
    dialect = sniff_numbers(text, lambda: content.decode(encoding), delimiter, what)
    width, example = _width(rows)
    rows, other = _with_own_separator(rows, lines, width, dialect)
    titles = _titles(rows, width, dialect)
    title_line = rows[titles - 1][0] if titles else 0
    rows = rows[titles:]
    above_rows = [line for line in comments if line[0] < rows[0][0]]
    names, body, more = _names(rows, width, dialect, above_rows, expected, what)
    skipped = lines[-1][0] if body == len(rows) else _skipped(every, rows, body, 0 if titles else width)
    above = titles + sum(number <= skipped and not any(map(str.strip, cells)) for number, cells in every)
    notes = [
        dialect.described(),
        *_both_readings(rows, width, dialect),
        other,
        f"{_lines(above)} above the table left out" if above else "",
    ]
    layout = Layout(
        dialect=dialect,
        width=max(width, len(names)),
        names=names,
        skipped=skipped,
        comments=sum(number <= skipped for number, _ in comments),
        example=example,
        has_comments=len(comments) < len(numbered),
        first_is_text=any(dialect.number(cells[0]) is None and not is_missing(cells[0]) for _, cells in rows[body:]),
        notes=tuple(filter(None, [*notes, *more, _thousands_doubt(rows[body:], width, names, dialect)])),
    )
    return _from_marked_row(layout, comments, rows[body - 1][0] if body else title_line, has_header=body > 0)


def _both_readings(rows: Sequence[tuple[int, list[str]]], width: int, dialect: Dialect) -> list[str]:
    """What to say of columns such as 1.234 alone, where others have a decimal comma: thousands, or decimals."""
    notes = []
    for index in range(width if (dialect.decimal, dialect.thousands) == (",", ".") else 0):
        column = [cells[index].strip() for _, cells in rows if len(cells) == width]
        known = [cell for cell in column if not is_missing(cell) and dialect.number(cell) is not None]
        if known and all(_EITHER.fullmatch(cell) for cell in known):
            whole = known[0].replace(".", "")
            notes.append(f"column {index + 1}: {known[0]!r} read as {whole}, points between thousands, not as decimals")
    return notes


def _with_own_separator(
    rows: list[tuple[int, list[str]]], lines: Sequence[tuple[int, str]], width: int, dialect: Dialect
) -> tuple[list[tuple[int, list[str]]], str]:
    """The rows, the first of them cut at a mark of its own if that makes it a header; and what to say of that."""
    number, first = rows[0]
    below = [cells for _, cells in rows[1:] if len(cells) == width]
    if len(first) == width or len(rows) < 2 or len(rows[1][1]) != width or is_header(rows[1][1], below[1:], dialect):
        return rows, ""
    line = next(line for other, line in lines if other == number)
    for mark in DELIMITERS[:-1]:  # words between blanks are a title
        cells = [cell.strip() for cell in next(iter(split_lines([line], mark)), [])]
        is_named = all(cell and dialect.number(cell) is None for cell in cells)
        if mark != dialect.delimiter and len(cells) == width and is_named and is_header(cells, below, dialect):
            names = {"\t": "tab"}
            found = (
                f"row {number} ({_start(cells)}) read as the header, whose separator is {names.get(mark, repr(mark))}"
            )
            return [(number, cells), *rows[1:]], found
    return rows, ""


def _from_marked_row(layout: Layout, comments: Sequence[tuple[int, str]], above: int, *, has_header: bool) -> Layout:
    """The layout, beginning with the first line such as `#N/A,1,2` below the line `above`, if one would be skipped."""
    for number, line in comments:
        if above < number <= layout.skipped and not layout.is_comment(line):
            cells = split_lines([line], layout.dialect.delimiter)[0]
            if has_header or any(layout.dialect.number(cell) is not None for cell in cells):
                return replace(layout, skipped=number - 1, comments=sum(other < number for other, _ in comments))
    return layout


def _skipped(
    every: Sequence[tuple[int, list[str]]], rows: Sequence[tuple[int, list[str]]], body: int, width: int
) -> int:
    """The lines above the first row. A row of empty cells is one below the header, or else if it has this width.

    every: (line, cells). rows: those with a value, below the titles, of which the first `body` are the header.
    """
    if body:
        return next(number for number, _ in every if number > rows[body - 1][0]) - 1
    return next(number for number, cells in every if len(cells) == width or number >= rows[0][0]) - 1


def _arff_layout(sample: str, what: str) -> Layout | None:
    head = arff_head(sample, what)
    if head is None:
        return None
    names, skipped = head
    return Layout(Dialect(), len(names), names, skipped, 0, skipped, True, False, ())


def _comments(numbered: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """The lines that begin as comments do: those above all others, and the rest unless most lines begin so."""
    marked = [line for line in numbered if looks_like_comment(line[1])]
    top = next((place for place, line in enumerate(numbered) if not looks_like_comment(line[1])), len(numbered))
    return marked[:top] if 2 * (len(marked) - top) > len(numbered) - top else marked


def looks_like_comment(line: str) -> bool:
    """Whether a line begins with # or %, and not with a cell that a spreadsheet could not compute, such as #N/A."""
    line = line.lstrip()
    return line.startswith(_COMMENT_MARKS) and _ERROR_CELL.match(line) is None


def _names(
    rows: Sequence[tuple[int, list[str]]],
    width: int,
    dialect: Dialect,
    comments: Sequence[tuple[int, str]],
    expected: Sequence[str],
    what: str,
) -> tuple[tuple[str, ...], int, list[str]]:
    """The columns' names, how many rows hold them, and what is to be said of them."""
    header = _header(rows, width, dialect, expected, what)
    if header is None:
        names, note = _commented_names([line for _, line in comments], width, dialect)
        return names, 0, [note, _doubt(rows, names, dialect)]
    names, note = header
    is_repeated = len(rows) > 1 and [cell.strip() for cell in rows[1][1]] == list(names)  # which is to be refused
    if (
        len(rows) > 2
        and not is_repeated
        and _is_units(rows[1][1], [cells for _, cells in rows[2:] if len(cells) == width], dialect)
    ):
        number, cells = rows[1]
        text = printable(", ".join(cells), 40)
        return names, 2, [note, f"row {number} ({text}) left out: units, or a second header"]
    return names, 1, [note]


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"


def _width(rows: Sequence[tuple[int, list[str]]]) -> tuple[int, int]:
    """The number of cells that most rows have (of two, the larger), and the line of the first of these."""
    counted = Counter(len(cells) for _, cells in rows)
    width = max(counted, key=lambda width: (counted[width], width))
    return width, next(number for number, cells in rows if len(cells) == width)


def _titles(rows: Sequence[tuple[int, list[str]]], width: int, dialect: Dialect) -> int:
    """How many rows at the top are titles: texts in a few cells, above a table that has more."""
    count = 0
    for (_, cells), (_, following) in pairwise(rows):
        filled = [cell for cell in cells if cell.strip()]
        if width < 2 or len(filled) > max(1, width // 2) or dialect.number(filled[0]) is not None:
            break
        if len(filled) == width - 1 and any(dialect.number(cell) is not None for cell in following):
            break  # names without one for the first column, as R writes them
        count += 1
    return count


def _header(
    rows: Sequence[tuple[int, list[str]]],
    width: int,
    dialect: Dialect,
    expected: Sequence[str],
    what: str,
) -> tuple[tuple[str, ...], str] | None:
    """The names in the first row and what to say of them, or None if it is no header."""
    first = [cell.strip() for cell in rows[0][1]]
    below = [cells for _, cells in rows[1:] if len(cells) == width]
    if len(first) == width + 1 and not first[-1]:  # a separator at the end of the header alone
        first.pop()
    if len(first) == width:
        if not (_holds(first, expected, dialect) or is_header(first, below, dialect)):
            return None
        is_text = all(dialect.number(cell) is None for cell in first)
        return tuple(first), "" if is_text else f"row {rows[0][0]} ({_start(first)}) read as the header"
    if len(first) == width - 1 and below and all(dialect.number(cell) is None for cell in first):
        if all(not cells[-1].strip() for cells in below):  # a separator at the end of the rows alone
            return (*first, ""), ""
        if width == 2 and dialect.delimiter == ",":
            raise InputError(
                f"{what}: one name ({printable(first[0], 40)}) above rows such as {printable(','.join(below[0]), 40)}: "
                "a decimal comma, or two columns? write a decimal point, or name both"
            )
        if _are_row_names([cells[0].strip() for cells in below], dialect):
            return ("", *first), "the first column has no name: names of rows, as R writes them"
    return None


def _holds(first: Sequence[str], expected: Sequence[str], dialect: Dialect) -> bool:
    """Whether a row holds all the names that are expected; names that are numbers alone may be values."""
    return set(expected) <= set(first) and any(dialect.number(name) is None for name in expected)


def _thousands_doubt(rows: Sequence[tuple[int, list[str]]], width: int, names: Sequence[str], dialect: Dialect) -> str:
    """What to say of the first column of short whole numbers and of points before three digits, as in 950 and 1.234."""
    cells = [[cell.strip() for cell in cells] for _, cells in rows if len(cells) == width]
    if dialect.delimiter != ";" or dialect.decimal != ".":
        return ""
    for index, column in enumerate(zip(*cells, strict=True)):
        known = [cell for cell in column if not is_missing(cell)]
        pointed = [cell for cell in known if _POINT_EITHER.fullmatch(cell)]
        rest = [cell for cell in known if _SHORT_WHOLE.fullmatch(cell)]
        if pointed and rest and len(pointed) + len(rest) == len(known):
            name = printable(f"'{names[index]}'", 40) if names and names[index] else str(index + 1)
            return (
                f"column {name}: {pointed[0]} read with a decimal point, not as {pointed[0].replace('.', '')} with a "
                "point between thousands; a decimal comma elsewhere, such as 1,5, decides for thousands"
            )
    return ""


def _doubt(rows: Sequence[tuple[int, list[str]]], names: Sequence[str], dialect: Dialect) -> str:
    """What to say of a first row that was read as one of numbers, but counts as names may or is unlike the others."""
    number, cells = rows[0]
    if names:
        return ""
    if counts([dialect.number(cell) for cell in cells]):
        return f"row {number} ({_start(cells)}) read as a row, not as a header"
    if is_far_from(cells, [below for _, below in rows[1:] if len(below) == len(cells)], dialect):
        return f"row {number} ({_start(cells)}) is unlike the others: is it a header? read as a row"
    return ""


def _start(cells: Sequence[str]) -> str:
    return printable(", ".join(cell.strip() for cell in cells[:3]), 40) + (", ..." if len(cells) > 3 else "")


def _are_row_names(cells: Sequence[str], dialect: Dialect) -> bool:
    values = [dialect.number(cell) for cell in cells]
    return len(set(cells)) == len(cells) and all(value is None or value.is_integer() for value in values)


def _is_units(cells: Sequence[str], below: Sequence[Sequence[str]], dialect: Dialect) -> bool:
    width = len(below[0]) if below else 0
    return (
        len(cells) == width and all(dialect.number(cell) is None for cell in cells) and is_header(cells, below, dialect)
    )


def _commented_names(comments: Sequence[str], width: int, dialect: Dialect) -> tuple[tuple[str, ...], str]:
    """The names in the last comment above the rows (as numpy.savetxt writes them), if it has one for each column."""
    if comments and width > 1:
        text = comments[-1].strip().lstrip("".join(_COMMENT_MARKS)).strip()
        for cells in split_lines([text], dialect.delimiter):
            names = tuple(cell.strip() for cell in cells)
            if len(names) == width and len(set(names)) == width and all(dialect.number(name) is None for name in names):
                return names, f"the columns' names are those of the comment '{printable(text, 60)}'"
    return (), ""
