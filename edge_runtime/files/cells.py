"""Lines of text cut into cells, as quotes and separators say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import printable


def split_lines(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """The cells of each row, however badly it is quoted: a first look."""
    if not any('"' in line for line in lines):
        return [line.split() if delimiter == " " else line.split(delimiter) for line in lines]
    import csv

    try:
        return list(csv.reader(map(_prepared(delimiter), lines), delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        return []


def rows_of(lines: Iterable[tuple[int, str]], delimiter: str, what: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row; a quoted cell may go on in the next lines. Raises InputError for a quote left open."""
    import csv

    numbers: list[int] = []

    def feed() -> Iterator[str]:
        for number, line in lines:
            numbers.append(number)
            yield prepare(line) + "\n"

    prepare = _prepared(delimiter)
    reader = csv.reader(feed(), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            yield numbers[0], cells
            numbers.clear()
    except csv.Error as error:
        where = f"{what}: row {numbers[0] if numbers else 1}"
        raise InputError(f"{where}: {printable(error, 80)}; close each quote") from error


def _prepared(delimiter: str) -> Callable[[str], str]:
    if delimiter == " ":
        return lambda line: line.replace("\t", " ").strip(" ")
    return lambda line: line
