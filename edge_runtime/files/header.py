"""Whether the first row of a table names its columns.

It does if it is text above numbers; if its numbers count 0, 1, 2 or 1, 2, 3 (as pandas names columns) above rows that
do not go on with the count; and if all its cells are texts that occur nowhere below, where texts repeat. Fewer than
five whole numbers count by chance, above whole numbers of their range, and so do two beside texts: those are a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edge_runtime.files.dialect import Dialect, is_missing

_FEW = 10  # rows below which texts that occur once say nothing
_MANY = 5  # numbers that do not count by chance


def is_header(first: Sequence[str], below: Sequence[Sequence[str]], dialect: Dialect) -> bool:
    """Whether `first` names the columns of the rows below it, all equally wide."""
    values = [dialect.number(cell) for cell in first]
    texts = [index for index, cell in enumerate(first) if values[index] is None and not is_missing(cell)]
    is_number_free = all(value is None or value != value for value in values)
    if not below:
        return is_number_free and bool(texts)
    columns = [[row[index].strip() for row in below] for index in range(len(first))]
    if is_number_free:
        above = [index for index in range(len(first)) if first[index].strip() not in ("", "?", "-")]
        return bool(texts) and (
            any(_stands_above_numbers(first[i], columns[i], dialect) for i in above)
            or _occurs_nowhere_below(first, columns)
        )
    return counts(values) and _is_no_row(first, values, columns, below, dialect)


def _stands_above_numbers(cell: str, column: Sequence[str], dialect: Dialect) -> bool:
    known = [other for other in column if not is_missing(other)]
    numbers = sum(dialect.number(other) is not None for other in known)
    return 0 < len(known) <= 2 * numbers and cell.strip() not in known


def _occurs_nowhere_below(first: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    names = [cell.strip() for cell in first]
    return (
        len(columns[0]) >= _FEW
        and len(set(names)) == len(names)
        and all(
            2 * len(set(column)) <= len(column) and name not in column
            for name, column in zip(names, columns, strict=True)
        )
    )


def counts(values: Sequence[float | None]) -> bool:
    """Whether the numbers in a row are 0, 1, 2 or 1, 2, 3, each in its place; None for a text."""
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    return len(known) > 1 and any(all(value == index + start for index, value in known) for start in (0, 1))


def _is_no_row(
    first: Sequence[str],
    values: Sequence[float | None],
    columns: Sequence[Sequence[str]],
    below: Sequence[Sequence[str]],
    dialect: Dialect,
) -> bool:
    """Whether a row that counts fits none of the rows below it."""
    if any(value is None and first[index].strip() in columns[index] for index, value in enumerate(values)):
        return False
    following = [dialect.number(cell) for cell in below[0]]
    known = [value for value in following if value is not None]
    if len(known) == len(following) and all(b - a == 1 for a, b in pairwise(known)):
        return False
    numbers = [[dialect.number(cell) for cell in column] for column in columns]
    counted = [index for index, value in enumerate(values) if value is not None]
    if len(counted) == 2 < len(first):
        return False
    if any(value is not None and not value.is_integer() for index in counted for value in numbers[index]):
        return True
    if len(counted) >= _MANY:
        return True
    if len(first) == 2 or len(below) < _FEW:  # among a few whole numbers any 0, 1, 2 counts
        return False
    texts = [index for index, value in enumerate(values) if value is None]
    repeating = bool(texts) and all(2 * len(set(columns[index])) <= len(below) for index in texts)
    return repeating or any(_is_outside(values[index], numbers[index]) for index in counted)


def _is_outside(value: float | None, column: Sequence[float | None]) -> bool:
    known = [other for other in column if other is not None]
    return value is not None and bool(known) and not min(known) <= value <= max(known)
