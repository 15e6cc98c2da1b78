"""Tables for tests, made from cells."""

from __future__ import annotations

import numpy as np

from edge_runtime.files import Table


def table(names: str, *columns: object, notes: tuple[str, ...] = ()) -> Table:
    """Columns of numbers, texts and None for missing cells; names apart by blanks ("_" for none), "" for no header."""
    cells = [list(column) for column in columns]  # type: ignore[call-overload]
    numbers = np.full((len(cells[0]), len(cells)), np.nan)
    texts = {}
    for place, column in enumerate(cells):
        for row, cell in enumerate(column):
            if cell is not None and not isinstance(cell, str):
                numbers[row, place] = cell
        if any(isinstance(cell, str) for cell in column):
            texts[place] = ["" if cell is None else str(cell) for cell in column]
    missing = np.array([[cell is None for cell in column] for column in cells]).T
    header = tuple("" if name == "_" else name for name in names.split())
    lines = np.arange(len(numbers)) + 2
    return Table(header, numbers, texts, missing if missing.any() else None, lines, notes)
