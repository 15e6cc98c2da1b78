"""From a table and what its user says about it to rows, labels and the schema that reads further tables alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Array
from edge_runtime.errors import InputError
from edge_runtime.files import DATA_MAX_BYTES, Table
from edge_runtime.schema import Schema, cell_texts
from trainer.data.labels import Target, checked_names
from trainer.data.reading import Reading
from trainer.data.tables.choices import (
    Choices,
    as_option,
    column,
    first_line,
    missing_in,
    name_of,
    places_of,
    taken_for_missing,
)
from trainer.data.tables.feature_columns import as_column, one_hot_places
from trainer.data.tables.label_column import LabelColumn, find_label
from trainer.data.tables.row_numbers import id_doubts, is_id_name, row_numbers

_UNIT = re.compile(r"[\[(]\s*([^\])]{1,12}?)\s*[\])]\s*$")


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is learned from a table.

    x: float32 (n, n_in). labels: n texts, or numbers (n,) or (n, k); None for an autoencoder. classes: their names if
    the labels stand in one column for each class, and labels are then the indices. kept: the rows of the table that are
    in x, int64 (n,). schema: reads further tables in the same way. reading: what was decided.
    """

    x: NDArray[np.float32]
    labels: Array | list[str] | None
    classes: tuple[str, ...] | None
    kept: NDArray[np.int64]
    schema: Schema
    reading: Reading


TAKEN = "was taken for missing"  # in the note of a label whose rows were left out for their texts


class _Decided(NamedTuple):
    """Columns of a table, from 0. left_out: with the reason. doubtful: features that nobody asked for by name."""

    label: LabelColumn
    features: list[int]
    one_hot: list[int]
    left_out: dict[int, str]
    doubtful: list[int]


def choose(table: Table, choices: Choices, what: str, *, max_bytes: int = DATA_MAX_BYTES) -> Chosen:
    """Which columns are learned, and from which. max_bytes: cap on x.

    Raises InputError, naming the column, its rows and what helps.
    """
    decided = _decide(table, choices, what)
    places = decided.label.places
    used = _rows_used(table, decided.features, decided.label, choices, what)
    schema = _schema(table, decided, choices.missing, used, what)
    rows = table if used.all() else _taken(table, used)
    read = schema.read(rows, what, max_bytes=max_bytes)
    labels, classes = None, None
    if choices.target != "autoencoder":
        labels, classes = label_cells(rows, places, choices.target)
    reading = _reading(table, decided, schema, rows)
    return Chosen(read.x, labels, classes, np.flatnonzero(used), schema, reading)


def _decide(table: Table, choices: Choices, what: str) -> _Decided:
    """The parts that the columns have."""
    dropped = places_of(table, choices.drop, "drop", what)
    wanted = places_of(table, choices.features, "features", what)
    rest = [place for place in range(table.numbers.shape[1]) if place not in dropped]
    left_out = _without_values(table, rest)
    rest = [place for place in rest if place not in left_out]
    counting = row_numbers(table, [place for place in rest if place not in wanted], what)
    candidates = [place for place in rest if place not in counting]
    if len(candidates) < 2:  # a curve over 1, 2, 3, ... is learned from its numbers
        candidates = [place for place in rest if place not in counting or not is_id_name(table, place)]
    label = find_label(table, choices, [place for place in candidates if place not in wanted], what)
    features = [place for place in wanted or candidates if place not in label.places]
    _check_choice(table, features, label.places, dropped, what)
    left_out |= {place: counting[place] for place in counting if place not in (*features, *label.places)}
    doubtful = [place for place in features if place not in wanted]
    return _Decided(label, features, one_hot_places(table, features, choices, what), left_out, doubtful)


def _schema(table: Table, decided: _Decided, missing: str, used: NDArray[np.bool_], what: str) -> Schema:
    fills = missing == "mean"
    columns = [as_column(table, place, place in decided.one_hot, fills, used, what) for place in decided.features]
    targets = tuple(name_of(table, place) for place in decided.label.places)
    width = 0 if any(table.names) else table.numbers.shape[1]
    return Schema(tuple(columns), targets, missing, _units(targets), width)


def _reading(table: Table, decided: _Decided, schema: Schema, rows: Table) -> Reading:
    """What is told of it. rows: those of the table that are learned from."""
    return Reading(
        label=schema.targets,
        label_reason=decided.label.reason,
        left_out=tuple((name_of(table, place), why) for place, why in sorted(decided.left_out.items())),
        one_hot=tuple(name_of(table, place) for place in decided.one_hot),
        offsets=tuple(part.name for part in schema.columns if part.offset),
        rows=len(table.numbers),
        dropped=len(table.numbers) - len(rows.numbers),
        filled=0 if rows.missing is None else int(rows.missing[:, decided.features].sum()),
        notes=(*table.notes, *_dropped_texts(table, decided, len(rows.numbers))),
        warnings=tuple(filter(None, [decided.label.doubt, *id_doubts(table, decided.doubtful)])),
    )


def _dropped_texts(table: Table, decided: _Decided, kept: int) -> list[str]:
    """A note for each label whose texts were taken for missing, where rows were left out."""
    if kept == len(table.numbers):
        return []
    written = {place: taken_for_missing(table, place, missing_in(table, place)) for place in decided.label.places}
    return [
        f"the label, {column(table, place)}: {text} {TAKEN}; a class of that name needs another, such as 'no'"
        for place, text in written.items()
        if text
    ]


def _units(names: Sequence[str]) -> tuple[str, ...]:
    """The units in names such as `temp [C]` or `power (W)`; () if there are none."""
    found = [_UNIT.search(name) for name in names]
    return tuple(match[1] if match else "" for match in found) if any(found) else ()


def _without_values(table: Table, places: Sequence[int]) -> dict[int, str]:
    if table.missing is None:
        return {}
    return {place: "is empty" for place in places if table.missing[:, place].all()}


def _check_choice(table: Table, features: list[int], label: Sequence[int], dropped: list[int], what: str) -> None:
    both = [place for place in (*features, *label) if place in dropped]
    if both:
        raise InputError(f"{what}: {column(table, both[0])} is both dropped and asked for; name it once")
    if not features:
        raise InputError(f"{what}: no column is left to learn from; expected one beside the label at least")
    for place in (*features, *label) if any(table.names) else ():
        if not table.names[place].strip():
            raise InputError(
                f"{what}: {column(table, place)} has no name in the header; name it there, or leave it out with "
                f"--drop {as_option(table, place)}"
            )
    used = {name_of(table, place) for place in (*features, *label)}
    names = [name for name in map(str.strip, table.names) if name in used]
    checked_names(names if any(table.names) else sorted(used), f"{what}: the header")


def _rows_used(table: Table, features: list[int], label: LabelColumn, choices: Choices, what: str) -> NDArray[np.bool_]:
    """The rows that are learned from. Without a label nothing is learned, so "mean" leaves such rows out too."""
    used = np.ones(len(table.numbers), np.bool_)
    if table.missing is None:
        return used
    concerned = list(label.places if choices.target != "autoencoder" else ())
    if choices.missing != "mean":
        concerned += features
    for place in concerned:
        gone = missing_in(table, place)
        if gone.any() and choices.missing == "refuse":
            _refuse_missing(table, place, place in label.places, what)
        used &= ~gone
    if not used.any():
        raise InputError(f"{what}: each row lacks a value in some column; leave out the emptiest with --drop")
    return used


def _refuse_missing(table: Table, place: int, is_label: bool, what: str) -> None:
    gone = missing_in(table, place)
    count, total = int(gone.sum()), len(gone)
    which = f"the label, {column(table, place)}," if is_label else column(table, place)
    rows = "1 row" if count == 1 else f"{count:,} of {total:,} rows"
    advice = "--missing drop leaves such rows out" + ("" if is_label else ", --missing mean fills in the column's mean")
    if 2 * count > total:
        advice += f", --drop {as_option(table, place)} leaves the column out"
    rows, written = f"{rows} in all", taken_for_missing(table, place, gone)
    if written:
        rows += f": {written} is taken for missing"
        advice += ", and a class of that name needs another, such as 'no'" if is_label else ""
    raise InputError(f"{what}: row {first_line(table, gone)}: {which} has no value there ({rows}); {advice}")


def _taken(table: Table, used: NDArray[np.bool_]) -> Table:
    """The rows that are used."""
    rows = np.flatnonzero(used)
    return replace(
        table,
        numbers=table.numbers[rows],
        texts={place: [texts[row] for row in rows] for place, texts in table.texts.items()},
        missing=None if table.missing is None else table.missing[rows],
        line_numbers=table.line_numbers[rows],
    )


def label_cells(
    table: Table, places: Sequence[int], target: Target
) -> tuple[Array | list[str], tuple[str, ...] | None]:
    """The cells of the label: n texts, or numbers (n,) or (n, k); and names of classes, or None.

    Several columns of which one in each row is 1 and the others 0 are classes of the columns' names, unless targets are
    asked for. Raises InputError for several columns with texts.
    """
    if len(places) == 1:
        place = places[0]
        return (cell_texts(table, place) if place in table.texts else _numbers(table, place)), None
    for place in places:
        if place in table.texts:
            raise InputError(
                f"--label names {len(places)} columns, of which {column(table, place)} holds text; several targets are "
                "numbers, and classes stand in one column, or in one of 0 and 1 for each"
            )
    values = table.numbers[:, list(places)]
    is_one_hot = bool(((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all())
    if is_one_hot and target in ("auto", "class"):
        return values.argmax(axis=1), tuple(name_of(table, place) for place in places)
    return values, None


def _numbers(table: Table, place: int) -> Array:
    """Whole numbers as int64, which keeps them exactly as text; others as float64."""
    values = table.numbers[:, place]
    with np.errstate(invalid="ignore"):
        whole = bool((values == np.floor(values)).all() and (np.abs(values) < 1 << 53).all())
    return values.astype(np.int64) if whole else values
