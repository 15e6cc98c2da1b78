"""Lines of text cut into cells, as quotes and separators say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import printable

_RUN = re.compile(" +")


def split_lines(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """The cells of each row, however badly it is quoted: a first look."""
    return [cells for _, cells in rows_of(enumerate(lines), delimiter, "", strict=False)]


def rows_of(
    lines: Iterable[tuple[int, str]], delimiter: str, what: str, *, strict: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row; a quoted cell may go on in the next lines.

    strict: whether to raise InputError for a quote that is left open, or does not end its cell; else no more rows come.
    """
    import csv

    lines = iter(lines)
    following = (_prepared(line, delimiter) for _, line in lines)
    for number, line in lines:
        line = _prepared(line, delimiter)
        if '"' not in line:
            yield number, _RUN.split(line[:-1]) if delimiter == " " else line[:-1].split(delimiter)
            continue
        quoted = csv.reader(chain([line], following), delimiter=delimiter, strict=strict, skipinitialspace=True)
        try:
            yield number, next(quoted)
        except csv.Error as error:
            if not strict:
                return
            raise InputError(f"{what}: row {number}: {printable(error, 80)}; close each quote") from error


def _prepared(line: str, delimiter: str) -> str:
    return line.replace("\t", " ").strip(" ") + "\n" if delimiter == " " else line + "\n"
