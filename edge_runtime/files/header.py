"""Whether the first row of a table names its columns.

It does if it is text above numbers; if its numbers count 0, 1, 2 or 1, 2, 3 (as pandas names columns) above rows that
do not go on with the count; and if all its cells are texts that occur nowhere below, where texts repeat. Fewer than
five whole numbers count by chance, above whole numbers of their range, and so do two beside texts: those are a row.
Whole numbers by any other step (wavelengths, years) name columns above decimals that do not go on so: five of them, or
three that lie outside most columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

from edge_runtime.files.dialect import Dialect, is_missing

_WITH_UNIT = re.compile(r"[-+]?(?:[$€£¥] ?[\d.,]*\d|[\d.,]*\d ?(?:[%‰$€£¥]|° ?[CF]?))")  # 45.1%, $1,200.00, 20.3 °C
_FEW = 10  # rows below which texts that occur once say nothing
_MANY = 5  # numbers that do not count by chance
_FAR = 20  # times the range of a column: no cell of the same kind


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
            any(_stands_above_numbers(first[i], _once(first, i, below), dialect) for i in above)
            or _occurs_nowhere_below(first, columns)
        )
    if counts(values):
        return _is_no_row(first, values, columns, below, dialect)
    return _steps_above_decimals(first, values, columns, dialect)


def may_be_names(first: Sequence[str], dialect: Dialect) -> bool:
    """Whether a row of numbers may be a header, as the rows below it say: they count, or grow by one step."""
    values = [dialect.number(cell) for cell in first]
    known = [cell.strip() for cell, value in zip(first, values, strict=True) if value is not None]
    return counts(values) or (
        all(cell.isdecimal() for cell in known) and _steps([value for value in values if value is not None])
    )


def is_far_from(first: Sequence[str], below: Sequence[Sequence[str]], dialect: Dialect) -> bool:
    """Whether most numbers of a row are beyond 20 times the range of their columns in the rows below, all as wide."""
    if len(below) < _MANY:
        return False
    values = [dialect.number(cell) for cell in first]
    known = [index for index, value in enumerate(values) if value is not None]
    columns = [[dialect.number(row[index]) for row in below] for index in known]
    far = [_is_outside(values[index], column, _FAR) for index, column in zip(known, columns, strict=True)]
    return 2 * sum(far) > len(first)


def _steps_above_decimals(
    first: Sequence[str], values: Sequence[float | None], columns: Sequence[Sequence[str]], dialect: Dialect
) -> bool:
    """Whether whole numbers grow by one step, above decimals that do not."""
    counted = [index for index, value in enumerate(values) if value is not None]
    if not all(first[index].strip().isdecimal() for index in counted) or not _steps([values[i] for i in counted]):
        return False
    if any(value is None and first[index].strip() in columns[index] for index, value in enumerate(values)):
        return False
    numbers = [[dialect.number(cell) for cell in columns[index]] for index in counted]
    if _steps([column[0] for column in numbers]):
        return False
    decimals = sum(any(value is not None and not value.is_integer() for value in column) for column in numbers)
    outside = sum(_is_outside(values[index], column) for index, column in zip(counted, numbers, strict=True))
    return 2 * decimals > len(counted) and (len(counted) >= _MANY or 2 * outside > len(counted))


def _steps(values: Sequence[float | None]) -> bool:
    """Whether three numbers or more grow by one step."""
    known = [value for value in values if value is not None]
    steps = {b - a for a, b in pairwise(known)}
    return 2 < len(known) == len(values) and len(steps) == 1 and steps.pop() > 0


def _once(first: Sequence[str], index: int, below: Sequence[Sequence[str]]) -> list[str]:
    """A column below without repetitions of the whole first row, as logs have that are joined with their headers."""
    names = [cell.strip() for cell in first]
    is_plain = len(set(names)) == len(names) > 1
    return [row[index].strip() for row in below if not (is_plain and [cell.strip() for cell in row] == names)]


def _stands_above_numbers(cell: str, column: Sequence[str], dialect: Dialect) -> bool:
    known = [other for other in column if not is_missing(other)]
    numbers = sum(dialect.number(other) is not None or _WITH_UNIT.fullmatch(other) is not None for other in known)
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


def _is_outside(value: float | None, column: Sequence[float | None], times: int = 0) -> bool:
    """Whether a number lies outside a column by more than so many times its range; a constant column has none."""
    known = [other for other in column if other is not None and isfinite(other)]
    if value is None or not known:
        return False
    low, high = min(known), max(known)
    margin = times * (high - low)
    return not low - margin <= value <= high + margin and (not times or margin > 0)
