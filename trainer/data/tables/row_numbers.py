"""Columns that name or count the rows and say nothing about them: indices, ids, names of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files import Table
from trainer.data.tables.choices import as_option, column, missing_in

_SAMPLE = 300
_FEWEST = 20  # rows that count 1, 2, 3 without a name that says so
_ID_NAME = re.compile(
    r"(?:.*[ _.\-])?(?:id|idx|index|uuid|guid)|unnamed: ?\d+|row(?:[ _.\-]?(?:nr|no|num|number|names?))?", re.IGNORECASE
)
_CAMEL_ID = re.compile(r".*[a-z](?:Id|ID)")


def row_numbers(table: Table, places: Sequence[int], what: str) -> dict[int, str]:
    """The columns among `places` that name the rows, and how that was seen.

    Raises InputError for an index that has no name: whether the header lacks a name, or the column is none, is for the
    file's owner to say.
    """
    found = {}
    for place in places:
        seen = _seen(table, place)
        if seen and table.names and not table.names[place].strip() and not _are_row_names(table, place):
            raise InputError(
                f"{what}: {column(table, place)} has no name and {seen}, as the index that pandas or R writes beside "
                f"a table: leave it out with --drop {as_option(table, place)}, or write the file without an index"
            )
        if seen:
            found[place] = seen
    return found


def is_id_name(table: Table, place: int) -> bool:
    """Whether a column is called as ids and indices are, or has no name in a header."""
    name = table.names[place].strip() if table.names else ""
    return bool(table.names) and (not name or bool(_ID_NAME.fullmatch(name) or _CAMEL_ID.fullmatch(name)))


def id_doubts(table: Table, places: Sequence[int]) -> list[str]:
    """Columns that are learned from although each row has another whole number there, a line each."""
    return [
        f"{column(table, place)} holds another whole number in each row, as an id does: the model learns from it "
        f"unless --drop {as_option(table, place)}"
        for place in places
        if len(table.numbers) >= _FEWEST and place not in table.texts and _all_different(table, place)
    ]


def _seen(table: Table, place: int) -> str:
    """How a column names the rows, or ""."""
    says_so = is_id_name(table, place)
    if _counts(table, place) and (says_so or len(table.numbers) >= _FEWEST):
        return "counts the rows"
    if says_so and _all_different(table, place):
        return "has another value in each row"
    return ""


def _are_row_names(table: Table, place: int) -> bool:
    """Whether the header has no cell for the column: then it is none of the table's."""
    return place == 0 and any("names of rows" in note for note in table.notes)


def _counts(table: Table, place: int) -> bool:
    values = table.numbers[:, place]
    if place in table.texts or values[0] not in (0, 1) or len(values) < 2:
        return False
    return bool((values == np.arange(len(values)) + values[0]).all())


def _all_different(table: Table, place: int) -> bool:
    """Whether each row has another whole number, or another text."""
    if len(table.numbers) < 2 or missing_in(table, place).any():
        return False
    if place in table.texts:
        return len(set(table.texts[place])) == len(table.numbers)
    values = table.numbers[:, place]
    if len(set(values[:_SAMPLE].tolist())) < min(_SAMPLE, len(values)):
        return False  # pixels are known by a few rows
    return bool((values == np.floor(values)).all() and len(np.unique(values)) == len(values))
