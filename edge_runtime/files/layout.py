"""Where a table begins in a text: what stands above its first row, and what its columns are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import printable
from edge_runtime.files.cells import rows_of, split_lines
from edge_runtime.files.dialect import Dialect, sniff_delimiter, sniff_numbers
from edge_runtime.files.header import is_header

COMMENT_MARKS = ("#", "%")
_SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_SAMPLE = 1 << 16


@dataclass(frozen=True)
class Layout:
    """dialect: how cells are spelled. width: cells in a row. names: one a column, or () without a header.

    skipped: lines of the text before the first row. has_comments: whether lines that begin with # or % are none of the
    table's. notes: what was noticed.
    """

    dialect: Dialect
    width: int
    names: tuple[str, ...]
    skipped: int
    has_comments: bool
    notes: tuple[str, ...]


def find_layout(text: str, what: str) -> Layout | None:
    """The layout of the table in `text`, or None if it has no rows. Raises InputError where nothing decides."""
    sample = text if len(text) <= _SAMPLE else text[: text.rfind("\n", 0, _SAMPLE) + 1 or _SAMPLE]
    numbered = [(number, line) for number, line in enumerate(sample.split("\n"), 1) if line.strip()]
    notes: list[str] = []
    given = _SEP_LINE.fullmatch(numbered[0][1]) if numbered else None
    if given:
        numbered = numbered[1:]
    comments = [line for line in numbered if is_comment(line[1])]
    has_comments = len(comments) < len(numbered)
    if has_comments:
        numbered = [line for line in numbered if not is_comment(line[1])]
    if not numbered:
        return None
    delimiter = given[1] if given else sniff_delimiter([line for _, line in numbered])
    dialect = sniff_numbers("\n".join(line for _, line in numbered), text, delimiter, what)
    notes += filter(None, [dialect.described()])
    rows = [row for row in rows_of(numbered, delimiter, what) if any(cell.strip() for cell in row[1])]
    if not rows:
        return None
    width = _width(rows)
    titles = _titles(rows, width, dialect)
    notes += [f"{_lines(titles)} above the table left out"] if titles else []
    rows = rows[titles:]
    header = _header(rows, width, dialect, what)
    if header is not None:
        names, note = header
        skipped = rows[0][0]
        below = [cells for _, cells in rows[1:]]
        if len(rows) > 2 and _is_units(rows[1][1], below[1:], dialect):
            skipped = rows[1][0]
            notes.append(f"row {skipped} ({printable(', '.join(rows[1][1]), 40)}) left out: units, or a second header")
    else:
        skipped = rows[0][0] - 1
        before = [line for number, line in comments if number < rows[0][0]] if has_comments else []
        names, note = _commented_names(before, width, dialect)
    notes += [note] if note else []
    return Layout(dialect, max(width, len(names)), names, skipped, has_comments, tuple(notes))


def is_comment(line: str) -> bool:
    """Whether a line begins as comments do."""
    return line.lstrip().startswith(COMMENT_MARKS)


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"


def _width(rows: Sequence[tuple[int, list[str]]]) -> int:
    return Counter(len(cells) for _, cells in rows).most_common(1)[0][0]


def _titles(rows: Sequence[tuple[int, list[str]]], width: int, dialect: Dialect) -> int:
    """How many rows at the top are titles: texts in a few cells, above a table that has more."""
    count = 0
    for _, cells in rows:
        filled = [cell for cell in cells if cell.strip()]
        if len(filled) > max(1, width // 2) or width < 2 or count == len(rows) - 1:
            break
        if any(dialect.number(cell) is not None for cell in filled[:1]) or len(filled) == width - 1:
            break
        count += 1
    return count


def _header(
    rows: Sequence[tuple[int, list[str]]], width: int, dialect: Dialect, what: str
) -> tuple[tuple[str, ...], str] | None:
    """The names in the first row and what to say of them, or None if it is no header."""
    first = [cell.strip() for cell in rows[0][1]]
    below = [cells for _, cells in rows[1:] if len(cells) == width]
    if len(first) == width + 1 and not first[-1]:  # a separator at the end of the header alone
        first.pop()
    if len(first) == width:
        if not is_header(first, below, dialect):
            return None
        is_text = any(dialect.number(cell) is None for cell in first)
        return tuple(first), "" if is_text else f"row {rows[0][0]} ({', '.join(first[:3])}, ...) read as the header"
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


def _are_row_names(cells: Sequence[str], dialect: Dialect) -> bool:
    values = [dialect.number(cell) for cell in cells]
    return len(set(cells)) == len(cells) and all(value is None or value.is_integer() for value in values)


def _is_units(cells: Sequence[str], below: Sequence[Sequence[str]], dialect: Dialect) -> bool:
    return all(dialect.number(cell) is None for cell in cells) and is_header(cells, below, dialect)


def _commented_names(comments: Sequence[str], width: int, dialect: Dialect) -> tuple[tuple[str, ...], str]:
    """The names in the last comment above the rows (as numpy.savetxt writes them), if it has one for each column."""
    if comments and width > 1:
        text = comments[-1].strip().lstrip("".join(COMMENT_MARKS)).strip()
        for cells in split_lines([text], dialect.delimiter):
            names = tuple(cell.strip() for cell in cells)
            if len(names) == width and len(set(names)) == width and all(dialect.number(name) is None for name in names):
                return names, f"the columns' names are those of the comment '{printable(text, 60)}'"
    return (), ""
