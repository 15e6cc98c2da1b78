"""The cells of a table as a model's inputs: numbers, categories, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.errors import InputError
from edge_runtime.schema.column import Column
from edge_runtime.schema.names import listed, quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.files import Table
    from edge_runtime.schema.schema import Schema

_BLOCK = 4096  # rows that are turned into float32 together


def number_text(value: float) -> str:
    """A number as the name of a category: 3.0, 3 and 03 are one."""
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(float(value))


def cell_texts(table: Table, place: int) -> list[str]:
    """The cells of a column as names of categories, "" where one is missing."""
    values = table.numbers[:, place]
    if place in table.texts:
        found = list(table.texts[place])
        missing = np.zeros(len(values), bool) if table.missing is None else table.missing[:, place]
        return [
            "" if gone else number_text(value) if np.isfinite(value) else text.strip()
            for text, value, gone in zip(found, values.tolist(), missing.tolist(), strict=True)
        ]
    names = {value: number_text(value) for value in np.unique(values).tolist()}
    return [names.get(value, "") for value in values.tolist()]  # NaN, a missing cell, is no key


def rows_kept(schema: Schema, table: Table, places: list[int], what: str) -> tuple[NDArray[np.int64], list[str]]:
    """The rows that are read, by the rule for missing cells."""
    everything = np.arange(len(table.numbers))
    missing = None if table.missing is None else table.missing[:, places]
    if missing is None or not missing.any():
        return everything, []
    if schema.missing == "drop":
        gone: NDArray[np.bool_] = np.any(missing, axis=1)
        if gone.all():
            raise InputError(f"{what}: every row lacks a value, expected one with all; fill them in")
        first = table.line_numbers[gone.argmax()]
        return everything[~gone], [
            f"{int(gone.sum()):,} of {len(gone):,} rows left out, which lack a value (the first is row {first})"
        ]
    unfilled = np.array([schema.missing == "refuse" or column.fill is None for column in schema.columns])
    refused = missing & unfilled
    if refused.any():
        _refuse_missing(schema, table, refused, what)
    return everything, [f"{int(missing.sum()):,} missing values filled in with the mean of the training"]


def _refuse_missing(schema: Schema, table: Table, refused: Array, what: str) -> None:
    place = int(refused.any(axis=0).argmax())
    rows = refused[:, place]
    raise InputError(
        f"{what}: column {quoted(schema.columns[place].name)} has no value in {int(rows.sum()):,} of {len(rows):,} "
        f"rows (the first is row {table.line_numbers[rows.argmax()]}), and the model was trained without such rows; "
        "fill them in or leave the rows out, or train with --missing mean"
    )


def inputs_of(
    schema: Schema, table: Table, places: list[int], kept: NDArray[np.int64], what: str
) -> NDArray[np.float32]:
    """The kept rows as a model takes them, float32 (n, n_in). places: where each column of the schema stands."""
    ends = np.cumsum([column.width for column in schema.columns])
    starts = ends - [column.width for column in schema.columns]
    x = np.zeros((len(kept), int(ends[-1])), np.float32)
    plain = [index for index, column in enumerate(schema.columns) if not column.categories]
    _fill_numbers(schema, table, x, np.array(plain, np.int64), np.array(places)[plain], starts[plain], kept, what)
    for index, column in enumerate(schema.columns):
        if column.categories:
            codes = _codes(column, table, places[index], kept, what)
            x[np.arange(len(kept)), starts[index] + codes] = 1
    return x


def _fill_numbers(
    schema: Schema,
    table: Table,
    x: NDArray[np.float32],
    plain: NDArray[np.int64],
    places: Array,
    to: Array,
    kept: NDArray[np.int64],
    what: str,
) -> None:
    """Write the columns of numbers into x, block by block."""
    columns = [schema.columns[index] for index in plain]
    offsets = np.array([column.offset for column in columns])
    fill = np.array([0.0 if column.fill is None else column.fill for column in columns], np.float64)
    for start in range(0, len(kept) if len(plain) else 0, _BLOCK):
        rows = kept[start : start + _BLOCK]
        values = _cut(table.numbers, rows, places)
        if table.missing is not None:
            values = np.where(_cut(table.missing, rows, places), fill, values)
        with np.errstate(over="ignore", invalid="ignore"):
            values = (values - offsets if offsets.any() else values).astype(np.float32)
        bad = ~np.isfinite(values)
        if bad.any():
            row, column = divmod(int(bad.argmax()), len(plain))
            _refuse_cell(table, int(rows[row]), int(places[column]), columns[column].name, what)
        x[start : start + _BLOCK, _span(to)] = values


def _cut(array: Array, rows: Array, places: Array) -> Array:
    """These rows and columns; those that lie beside one another as a view, which saves the time of a copy."""
    return array[_span(rows)][:, _span(places)]


def _span(indices: Array) -> slice | Array:
    """Indices that count by 1 as a slice; others as they are."""
    counts = indices[-1] - indices[0] == len(indices) - 1 and bool((np.diff(indices) == 1).all())
    return slice(int(indices[0]), int(indices[-1]) + 1) if counts else indices


def _refuse_cell(table: Table, row: int, place: int, name: str, what: str) -> None:
    """A cell of a column of numbers that is none, or not within float32's range."""
    where = f"{what}: row {table.line_numbers[row]}, column {quoted(name)}"
    value = table.numbers[row, place]
    if np.isnan(value) and place in table.texts:
        count = int(np.isnan(table.numbers[:, place]).sum())
        if table.missing is not None:
            count -= int(table.missing[:, place].sum())
        raise InputError(
            f"{where}: {quoted(table.texts[place][row].strip())} is not a number ({count:,} of {len(table.numbers):,} "
            "rows of the column are text); the model takes numbers there, as in its training"
        )
    problem = "is beyond float32's range" if np.isfinite(value) else "is not a finite number"
    raise InputError(f"{where}: {value} {problem}; mend or drop the row")


def _codes(column: Column, table: Table, place: int, kept: NDArray[np.int64], what: str) -> NDArray[np.int64]:
    """The category of each row that is kept, as its index."""
    index = {category: number for number, category in enumerate(column.categories)}
    index.setdefault("", -1 if column.fill is None else index[str(column.fill)])
    texts = cell_texts(table, place)
    codes = np.array([index.get(texts[row], -1) for row in kept], np.int64)
    unknown = codes < 0
    if unknown.any():
        row = int(kept[unknown.argmax()])
        raise InputError(
            f"{what}: row {table.line_numbers[row]}, column {quoted(column.name)}: {quoted(texts[row])} is not one of "
            f"{listed(column.categories)}, which the model knows ({int(unknown.sum()):,} of {len(codes):,} rows); "
            "mend them, or train again with such rows"
        )
    return codes
