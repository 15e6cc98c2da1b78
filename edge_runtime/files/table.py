"""Reading a table from text that anybody may have written: numbers, texts and missing cells in named columns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import DATA_MAX_BYTES
from edge_runtime.files.cells import rows_of
from edge_runtime.files.dialect import is_missing
from edge_runtime.files.encoding import as_text
from edge_runtime.files.layout import Layout, find_layout, is_comment
from edge_runtime.files.not_data import refuse_not_data

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat")

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Table:
    """The cells of a file, as they are written there; arrays are read-only.

    names: one a column, "" if it has none; () if the file has no header. numbers: float64 (n, columns), NaN if a cell
    is missing or text. texts: column (from 0) -> all its n cells as text, for columns with a cell that is neither a
    number nor missing. missing: bool (n, columns), or None if no cell is missing (empty, or ?, NA, N/A, NaN, null, None
    or -, in any case). line_numbers: int64 (n,), the file's lines, from 1. notes: what was noticed, a line each.
    """

    names: tuple[str, ...]
    numbers: NDArray[np.float64]
    texts: Mapping[int, list[str]]
    missing: NDArray[np.bool_] | None
    line_numbers: NDArray[np.int64]
    notes: tuple[str, ...]


def is_table_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends as tables of text do: TABLE_SUFFIXES, each plain or packed (.csv.gz)."""
    return os.fspath(path).lower().removesuffix(".gz").endswith(TABLE_SUFFIXES)


def read_table(content: bytes | bytearray, what: str, *, max_bytes: int = DATA_MAX_BYTES) -> Table:
    """The table in the bytes of a text file, plain or packed by gzip. what: names it in messages.

    max_bytes: cap on what gzip unpacks to. Raises InputError, naming the row (its line, from 1), for rows of unequal
    width and for what is no table; numbers may be infinite.
    """
    refuse_not_data(content, what)
    text = as_text(content, what, max_bytes=max_bytes)
    refuse_not_data(text.content, what)
    lines = text.content.decode(text.encoding)
    layout = find_layout(lines, what)
    if layout is None:
        raise InputError(f"{what}: no rows, expected a table of numbers")
    rows, comments = _rows(lines, layout, what)
    if not rows:
        raise InputError(f"{what}: only a header, expected at least one row below it")
    return _table(rows, layout, [*text.notes, *layout.notes, *comments])


def _rows(text: str, layout: Layout, what: str) -> tuple[list[tuple[int, list[str]]], list[str]]:
    comments = 0

    def lines() -> Iterator[tuple[int, str]]:
        nonlocal comments
        for number, line in enumerate(text.split("\n"), 1):
            if layout.has_comments and is_comment(line):
                comments += 1
            elif number > layout.skipped and line.strip():
                yield number, line

    rows: list[tuple[int, list[str]]] = []
    for number, cells in rows_of(lines(), layout.dialect.delimiter, what):
        if len(cells) != layout.width:
            raise InputError(
                f"{what}: row {number} has {len(cells):,} columns, expected {layout.width:,} as in the rows beside it"
            )
        rows.append((number, [cell.strip() for cell in cells]))
    blank = 0
    while rows and not any(rows[-1][1]):
        rows.pop()
        blank += 1
    notes = [f"{comments} comment line{'s' if comments > 1 else ''} left out"] if comments else []
    notes += [f"{blank} line{'s' if blank > 1 else ''} of empty cells at the end left out"] if blank else []
    return rows, notes


def _table(rows: list[tuple[int, list[str]]], layout: Layout, notes: list[str]) -> Table:
    names, width = layout.names, layout.width
    while width > 1 and not any(cells[width - 1] for _, cells in rows) and not (names and names[width - 1]):
        width -= 1
        names = names[:width]
    if width < layout.width:
        left_out = layout.width - width
        notes.append("an empty last column left out" if left_out == 1 else f"{left_out} empty last columns left out")
    numbers = np.full((len(rows), width), np.nan)
    missing = np.zeros((len(rows), width), np.bool_)
    texts: dict[int, list[str]] = {}
    for column in range(width):
        cells = [row[column] for _, row in rows]
        values = [layout.dialect.number(cell) for cell in cells]
        missing[:, column] = [is_missing(cell) or value != value for cell, value in zip(cells, values, strict=True)]
        if any(value is None and not is_missing(cell) for cell, value in zip(cells, values, strict=True)):
            texts[column] = cells
        numbers[:, column] = [np.nan if value is None else value for value in values]
    line_numbers = np.array([number for number, _ in rows], np.int64)
    for array in (numbers, missing, line_numbers):
        array.setflags(write=False)
    return Table(names, numbers, texts, missing if missing.any() else None, line_numbers, tuple(notes))
