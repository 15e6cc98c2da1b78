"""What a user says about the columns of a table: which is the label, which are left out, which are texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import Table
from edge_runtime.schema import RULES, listed, numbered, quoted
from trainer.data.labels import TARGETS, Target

ColumnName = str | int
Columns = ColumnName | Sequence[ColumnName] | None
COLUMN_FIELDS = ("label", "drop", "features", "one_hot")


@dataclass(frozen=True)
class Choices:
    """How a table is read. Columns are given by name or by number, from 1, from the end with a minus.

    label: the column, or the columns, that are learned. drop: columns to leave out. features: the only ones to learn
    from. one_hot: columns of texts that become an input for each text; "auto": all that have few of them.
    missing: what is done with a row that lacks a value: "refuse" (the default, because rows that vanish or are made up
    are for their owner to decide), "drop" it, or fill in the column's "mean". target: see `load_dataset`.
    Raises InputError for another rule or target.
    """

    label: tuple[ColumnName, ...] = ()
    drop: tuple[ColumnName, ...] = ()
    features: tuple[ColumnName, ...] = ()
    one_hot: tuple[ColumnName, ...] = ()
    missing: str = "refuse"
    target: Target = "auto"

    def __post_init__(self) -> None:
        for field in COLUMN_FIELDS:
            object.__setattr__(self, field, as_names(getattr(self, field), field))
        if self.missing not in RULES:
            raise InputError(f"missing {self.missing!r:.40}, expected {', '.join(RULES)}")
        if self.target not in TARGETS:
            raise InputError(f"target {self.target!r:.40}, expected {', '.join(TARGETS)}")

    @classmethod
    def of(cls, *, missing: str, target: Target, **columns: Columns) -> Choices:
        """As people write them: one name or number, several, or None."""
        return cls(missing=missing, target=target, **{field: as_names(columns[field], field) for field in columns})

    def given(self) -> tuple[str, ...]:
        """The options that name columns, for those that cannot take them."""
        return tuple(option(field) for field in COLUMN_FIELDS if getattr(self, field))


def as_names(value: Any, field: str = "label") -> tuple[ColumnName, ...]:
    """One name or number of a column, several or None, as a tuple. Raises InputError for anything else."""
    items = () if value is None else tuple(value) if isinstance(value, (list, tuple)) else (value,)
    for item in items:
        if not isinstance(item, (str, int, np.integer)) or isinstance(item, bool):
            raise InputError(f"{field} is {value!r:.80}, expected names of columns, or their numbers from 1")
    return tuple(item if isinstance(item, str) else int(item) for item in items)


def option(field: str) -> str:
    """How a field of `Choices` is called on the command line."""
    return "--" + field.replace("_", "-")


def places_of(table: Table, names: Iterable[Any], field: str, what: str) -> list[int]:
    """The columns that are named, from 0, in the order given. Raises InputError for one that is not there."""
    places = [place for name in names for place in _places(table, name, field, what)]
    return list(dict.fromkeys(places))


def _places(table: Table, name: ColumnName, field: str, what: str) -> list[int]:
    known = [text.strip() for text in table.names]
    count = table.numbers.shape[1]
    text = str(name).strip()
    if isinstance(name, str) and text and text in known:
        return [place for place, other in enumerate(known) if other == text]
    number = _whole(text)
    if number is not None and 1 <= abs(number) <= count:
        return [number - 1 if number > 0 else count + number]
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 1 and all(parts):
        return [place for part in parts for place in _places(table, part, field, what)]
    _refuse(table, text, number, field, what)


def _refuse(table: Table, text: str, number: int | None, field: str, what: str) -> NoReturn:
    names = [name.strip() for name in table.names]
    similar = [name for name in names if name and name.casefold() == text.casefold()]
    if similar:
        advice = f"is {quoted(similar[0])} meant?"
    elif number == 0:
        advice = "columns are counted from 1"
    elif not any(names):
        advice = f"the table has no header: give a number from 1 to {table.numbers.shape[1]:,}"
    else:
        advice = f"expected one of {listed(name for name in names if name)}"
    raise InputError(f"{what}: {option(field)} names column {quoted(text)}, which is not there; {advice}")


def _whole(text: str) -> int | None:
    digits = text[1:] if text[:1] == "-" else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def name_of(table: Table, place: int) -> str:
    """A column's name; without one, its number."""
    return (table.names[place].strip() if table.names else "") or numbered(place)


def column(table: Table, place: int) -> str:
    """A column in a message: its number, and its name if it has one."""
    name = table.names[place].strip() if table.names else ""
    return f"{numbered(place)} {quoted(name)}" if name else numbered(place)


def as_option(table: Table, place: int) -> str:
    """A column as the value of an option: as a shell takes it."""
    name = table.names[place].strip() if table.names else ""
    plain = name and all(char.isalnum() or char in "_.-" for char in name) and not name.startswith("-")
    if not plain or sum(other.strip() == name for other in table.names) > 1:
        return str(place + 1)
    return name


def missing_in(table: Table, place: int) -> NDArray[np.bool_]:
    """bool (n,): where the column has no value."""
    return np.zeros(len(table.numbers), bool) if table.missing is None else table.missing[:, place]


def taken_for_missing(table: Table, place: int, gone: NDArray[np.bool_]) -> str:
    """The texts of a column that count as no value, with their rows: "'None' in 231 rows"; "" for empty cells alone.

    gone: bool (n,), the rows to look at. A column of numbers does not keep its texts.
    """
    cells = table.texts.get(place)
    if cells is None:
        return ""
    counts = Counter(text for row in np.flatnonzero(gone).tolist() if (text := cells[row].strip()))
    return ", ".join(
        f"{quoted(text)} in {count:,} row{'s' if count > 1 else ''}" for text, count in counts.most_common(3)
    )


def first_line(table: Table, rows: NDArray[np.bool_]) -> int:
    """The line of the first of these rows, bool (n,)."""
    return int(table.line_numbers[rows.argmax()])
