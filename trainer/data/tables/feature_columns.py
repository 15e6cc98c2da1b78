"""Which columns of a table are learned from, and what is done to them: texts, missing cells, offsets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import Table
from edge_runtime.schema import Column, cell_texts, listed, quoted
from trainer.data.tables.choices import Choices, as_option, column, first_line, missing_in, name_of, places_of

_AUTO_CATEGORIES = 50  # different texts at most that `one_hot="auto"` makes inputs of
_MOST_CATEGORIES = 1000
_FEW_ROWS = 3  # so many that are wrong can be mended by hand
_DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T].*)?|\s*\d{1,2}:\d{2}(?::\d{2}.*)?|\d{8}T\d{6}Z?")
_ROUNDING = 2.0**-24  # of float32, relative
_WORST_ROUNDING = 1e-3  # of a column's standard deviation


def one_hot_places(table: Table, places: Sequence[int], choices: Choices, what: str) -> list[int]:
    """The columns that become an input for each of their texts. Raises InputError for a text column that does not."""
    named = [name for name in choices.one_hot if name != "auto" or "auto" in (text.strip() for text in table.names)]
    chosen = [place for place in places_of(table, named, "one_hot", what) if place in places]
    is_auto = len(named) < len(choices.one_hot)
    texts = [place for place in places if place in table.texts and place not in chosen]
    refused = [place for place in texts if not is_auto or _why_no_categories(table, place) is not None]
    if refused:
        _refuse_text(table, refused[0], len(refused) - 1, what)
    return chosen + texts


def categories_of(table: Table, place: int, what: str) -> tuple[str, ...]:
    """The different texts of a column, sorted. Raises InputError where they are too many to be inputs each."""
    found = sorted({text for text in cell_texts(table, place) if text})
    if len(found) > _MOST_CATEGORIES or (len(found) > 2 and len(found) == len(table.numbers)):
        raise InputError(
            f"{what}: {column(table, place)} holds {len(found):,} different values in {len(table.numbers):,} rows, too "
            f"many for an input each (at most {_MOST_CATEGORIES:,}, and fewer than rows); leave it out with "
            f"--drop {as_option(table, place)}"
        )
    return tuple(found)


def as_column(table: Table, place: int, is_one_hot: bool, fills: bool, rows: NDArray[np.bool_], what: str) -> Column:
    """What the schema says of a column. fills: missing cells. rows: bool (n,), those that are learned from."""
    name = name_of(table, place)
    if is_one_hot:
        texts = cell_texts(table, place)
        known = [text for text, used in zip(texts, rows.tolist(), strict=True) if text and used]
        most = max(sorted(set(known)), key=known.count) if fills and known else None
        return Column(name, categories_of(table, place, what), fill=most)
    values = table.numbers[:, place]
    if table.missing is not None or not rows.all():
        values = values[rows & ~missing_in(table, place)]
    finite = values[np.isfinite(values)]
    return Column(name, offset=offset_of(finite), fill=float(np.mean(finite)) if fills and len(finite) else None)


def offset_of(values: NDArray[np.float64]) -> float:
    """What float64 subtracts so that float32 keeps what varies: a short number near the mean; 0 where it keeps it."""
    if not len(values):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std, largest = float(values.mean()), float(values.std()), float(np.abs(values).max())
    if not 0 < std < np.inf or largest * _ROUNDING <= _WORST_ROUNDING * std:
        return 0.0
    digits = int(-np.floor(np.log10(std)))
    return float(round(mean, digits))


def _why_no_categories(table: Table, place: int) -> str | None:
    """Why the texts of a column are no categories; None if they may be."""
    texts = [text for text in cell_texts(table, place) if text]
    distinct = len(set(texts))
    if 2 * sum(_DATE.fullmatch(text) is not None for text in texts) > len(texts):
        return "dates or times"
    if distinct == len(texts) > 2:
        return "another text in each row, as names and ids"
    if distinct > _AUTO_CATEGORIES or 2 * distinct > len(texts):
        return f"{distinct:,} different texts"
    return None


def _refuse_text(table: Table, place: int, others: int, what: str) -> NoReturn:
    """Say what a column of texts holds, in how many rows, and which option helps. others: columns like it."""
    is_text = np.isnan(table.numbers[:, place]) & ~missing_in(table, place)
    count, total, line = int(is_text.sum()), len(is_text), first_line(table, is_text)
    first = table.texts[place][int(is_text.argmax())].strip()
    if count <= _FEW_ROWS and 2 * count < total:
        rows = f"row {line}" if count == 1 else f"row {line}, and {count - 1} more"
        raise InputError(
            f"{what}: {rows}, {column(table, place)}: {quoted(first)} is not a number, as the other rows have; mend or "
            f"drop the row{'s' if count > 1 else ''}"
        )
    amount = "every row" if count == total else f"{count:,} of {total:,} rows"
    where = f"{what}: {column(table, place)} holds text in {amount} (the first, in row {line}: {quoted(first)})"
    drop = f"--drop {as_option(table, place)}"
    found = _why_no_categories(table, place)
    if found == "dates or times":
        advice = f"dates or times: leave the column out with {drop}, or write it as a number, such as seconds"
    elif found is not None:
        advice = f"{found}: leave the column out with {drop}"
    else:
        texts = sorted({text for text in cell_texts(table, place) if text})
        advice = (
            f"--one-hot {as_option(table, place)} makes an input of each of its {len(texts)} texts ({listed(texts)}), "
            f"{drop} leaves it out; if it is the label, --label {as_option(table, place)}"
        )
    if others:
        advice += f"; {others:,} other column{'s hold' if others > 1 else ' holds'} text too: --one-hot auto"
    raise InputError(f"{where}; {advice}")
