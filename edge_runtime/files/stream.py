"""Tables from a source that may never end, such as a sensor: each row as soon as its line is there.

How the table is spelled, and what its columns are called, is decided when the first row has come, from it and the lines
above it (a row of numbers that count 0, 1, 2 waits for the next one: it may be a header). Memory does not grow with the
stream: a piece is what has come since the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from edge_runtime.errors import InputError
from edge_runtime.files.blocks import Source
from edge_runtime.files.cells import split_lines
from edge_runtime.files.dialect import sniff_numbers
from edge_runtime.files.encoding import as_text
from edge_runtime.files.header import may_be_names
from edge_runtime.files.layout import MAX_LINE, Layout, find_layout, looks_like_comment
from edge_runtime.files.not_data import refuse_not_data
from edge_runtime.files.table import Table, body_of, body_table

_LONGEST_START = 1 << 20  # bytes of comments above the first row, and of rows of empty cells
_MOST_TITLES = 100  # lines above the first row, comments apart
_LONGEST_OPEN = 1 << 17  # bytes that wait for the end of a quoted cell, as in Python's csv


def tables_of(
    read: Callable[[], bytes], what: str, *, columns: int = 1, expected: Sequence[str] = ()
) -> Iterator[Table]:
    """The rows of a stream of text, in pieces of one or more; each note comes once. what: names it in messages.

    read: gives the bytes that have come, at least one, or none at the end. columns: how many there must be at least;
    lines above the first one that has them can be titles. expected: as in `read_table`. Raises InputError, naming the
    row, for what `read_table` refuses, once the rows before it were given.
    """
    reader = _Reader(what, columns, expected)
    for lines, is_end in _whole_lines(read, what):
        yield from reader.take(lines, is_end)


def _whole_lines(read: Callable[[], bytes], what: str) -> Iterator[tuple[bytes, bool]]:
    """What has come, up to the end of a line and of a quoted cell; and whether it is the last."""
    waiting, ends_in_return, is_end = b"", False, False
    while not is_end:
        chunk = read()
        is_end = not chunk
        if ends_in_return and chunk.startswith(b"\n"):  # the other half of a line's end that was answered already
            chunk = chunk[1:]
        waiting += chunk
        end = len(waiting) if is_end else max(waiting.rfind(b"\n"), waiting.rfind(b"\r")) + 1
        is_open = waiting.count(b'"', 0, end) % 2 == 1 and end <= _LONGEST_OPEN
        if len(waiting) - end > MAX_LINE:
            raise InputError(f"{what}: a line of over {MAX_LINE:,} bytes; is this a table?")
        if is_end or (end and not is_open):
            lines, waiting = waiting[:end], waiting[end:]
            ends_in_return = lines.endswith(b"\r")
            yield lines, is_end


class _Reader:
    """Turns lines into tables, by the layout that the first of them have."""

    def __init__(self, what: str, columns: int, expected: Sequence[str]) -> None:
        self._what, self._columns, self._expected = what, columns, expected
        self._layout: Layout | None = None
        self._start = b""  # lines above the first row
        self._held = b""  # rows of empty cells, which are left out if nothing follows
        self._titles = 0  # lines above the first row, comments apart
        self._line = 1  # the number of the next line
        self._width: int | None = None
        self._has_points = False
        self._said: set[str] = set()

    def take(self, lines: bytes, is_end: bool) -> Iterator[Table]:
        """The tables in these lines, if any."""
        notes: tuple[str, ...] = ()
        if self._layout is None:
            self._start += lines
            lines = self._start
            self._layout = self._found_layout(lines, is_end)
            if self._layout is None:
                return
            self._start, notes = b"", self._layout.notes
            layout = self._layout
            self._layout = replace(layout, skipped=0, comments=0, notes=())
        else:
            layout, lines = self._layout, self._held + lines
        text = as_text(lines, self._what)
        source, more = body_of(text, layout, self._what)
        source = source._replace(first_line=self._line + layout.skipped)
        self._held = b"" if is_end else bytes(text.content[source.stop :])
        if len(self._held) > _LONGEST_START:
            self._held, source = b"", source._replace(stop=len(text.content))
        self._line += text.content.count(b"\n", 0, source.stop)
        said = [*text.notes, *notes, *(more if is_end else ())]
        for part in self._parts(source):
            yield from self._tables(part, said)

    def _parts(self, source: Source) -> Iterator[Source]:
        """The rows, one by one until the spelling of numbers is settled: as if they had come so."""
        start, line = source.start, source.first_line
        while start < source.stop:
            end = source.stop if self._is_spelling_settled(source, start) else _row_end(source, start)
            part = source._replace(start=start, stop=end, first_line=line)
            self._settle_numbers(bytes(part.content[start:end]).decode(part.encoding))
            yield part
            line += part.content.count(b"\n", start, end)
            start = end

    def _is_spelling_settled(self, source: Source, start: int) -> bool:
        is_separator = self._layout is not None and self._layout.dialect.delimiter == ","
        return self._has_points or is_separator or source.content.find(b",", start, source.stop) < 0

    def _tables(self, source: Source, notes: list[str]) -> Iterator[Table]:
        try:
            tables = [self._table(source, notes)]
        except InputError:
            rows = list(_single_rows(source))
            if len(rows) == 1:
                raise
            for row in rows:  # answer those before the broken one
                yield from self._fresh(self._table(row, notes))
            return
        yield from self._fresh(tables[0])

    def _table(self, source: Source, notes: list[str]) -> Table | None:
        if self._layout is None:
            return None
        table = body_table(source, self._layout, notes, width=self._width)
        if table is not None:
            self._width = table.numbers.shape[1]
        return table

    def _fresh(self, table: Table | None) -> Iterator[Table]:
        """The table with those of its notes that were not said."""
        if table is not None:
            notes = tuple(note for note in table.notes if note not in self._said)
            self._said |= set(notes)
            yield replace(table, notes=notes)

    def _found_layout(self, lines: bytes, is_end: bool) -> Layout | None:
        """The layout of the first lines, or None if more are needed to tell."""
        titles = sum(
            bool(line.strip()) and not looks_like_comment(line.decode("latin-1")) for line in lines.splitlines()
        )
        is_end = is_end or len(lines) > _LONGEST_START or titles > _MOST_TITLES
        if not is_end and titles == self._titles:  # nothing but comments has come
            return None
        self._titles = titles
        refuse_not_data(lines, self._what)
        text = as_text(lines, self._what)
        layout = find_layout(text.content, text.encoding, self._what, self._expected)
        rows: list[str] = []
        if layout is not None:
            body = text.content.decode(text.encoding).split("\n")[layout.skipped :]
            rows = [line for line in body if line.strip() and not layout.is_comment(line)]
            rows = rows[next((place for place, line in enumerate(rows) if _has_value(line, layout)), len(rows)) :]
        if layout is not None and rows and (is_end or _is_settled(layout, rows, self._columns)):
            return self._spelled_as_first(layout, body[: body.index(rows[0]) + 1], text.content, text.encoding)
        if is_end:
            found = "only a header" if layout is not None and layout.names else "no rows"
            raise InputError(f"{self._what}: {found}, expected at least one row of numbers")
        return None

    def _spelled_as_first(self, layout: Layout, body: list[str], content: bytes | bytearray, encoding: str) -> Layout:
        """The layout with the numbers of its first row, whatever else has come: answers are the same for slow rows."""
        if layout.dialect.delimiter == ",":
            return layout
        lines = content.decode(encoding).split("\n")[: layout.skipped + len(body)]
        first = "\n".join(line for line in lines if not looks_like_comment(line))
        dialect = sniff_numbers(first, None, layout.dialect.delimiter, self._what)
        notes = [note for note in layout.notes if note != layout.dialect.described()]
        return replace(layout, dialect=dialect, notes=tuple(filter(None, [dialect.described(), *notes])))

    def _settle_numbers(self, text: str) -> None:
        """The first number with a comma, in a stream without decimal points, says what commas are."""
        layout = self._layout
        if layout is None or self._has_points or layout.dialect.delimiter == "," or "," not in text:
            self._has_points |= "." in text
            return
        dialect = sniff_numbers(text, None, layout.dialect.delimiter, self._what)
        if dialect != layout.dialect:
            self._layout = replace(layout, dialect=dialect)
            self._has_points = True


def _row_end(source: Source, start: int) -> int:
    """Where the line at `start` ends, or that of the end of its quoted cell."""
    end, is_open = start, True
    while is_open and end < source.stop:
        end = source.content.find(b"\n", end, source.stop) + 1 or source.stop
        is_open = source.content.count(b'"', start, end) % 2 == 1
    return end


def _has_value(line: str, layout: Layout) -> bool:
    """Whether a line is more than blanks and empty cells."""
    return bool(line.replace(layout.dialect.delimiter, " ").strip(' "'))


def _is_settled(layout: Layout, rows: list[str], columns: int) -> bool:
    """Whether what follows can change nothing: there are columns enough, and no single row that may be a header."""
    cells = next(iter(split_lines(rows[:1], layout.dialect.delimiter)), [])
    may_be_header = not layout.names and len(rows) == 1 and may_be_names(cells, layout.dialect)
    return layout.width >= columns and not may_be_header


def _single_rows(source: Source) -> Iterator[Source]:
    """Each line by itself, or as many as a quoted cell takes."""
    line, waiting = source.first_line, b""
    for content in source.content[source.start : source.stop].splitlines(keepends=True):
        waiting += content
        if waiting.count(b'"') % 2 == 0:
            if waiting.strip():
                yield source._replace(content=waiting, start=0, stop=len(waiting), first_line=line)
            line += waiting.count(b"\n")
            waiting = b""
    if waiting:
        yield source._replace(content=waiting, start=0, stop=len(waiting), first_line=line)
