"""What a caller gives as the rows of a model: arrays by their place, tables by the names of their columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.files import Table
from edge_runtime.numerics import as_numbers, frame_cells, frame_names, frame_numbers, is_frame
from edge_runtime.schema import Column, Schema

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from edge_runtime.model import Model


def as_inputs(model: Model, x: ArrayLike, what: str = "input") -> NDArray[Any]:
    """`x` as an array of real numbers, as `as_numbers` gives it; a frame as the model's schema reads a table.

    A row of a frame, whose cells have names, is read as a frame of it alone, and stays one row (n_in,).
    Columns in another order are put in the model's, those that it does not know are left out, categories and offsets
    are applied. Without a schema a frame's columns are taken by their place. Raises InputError, by the column's name,
    for one that is missing, for cells without a value, and for text where numbers are expected.
    """
    if is_named_row(x):
        schema = Schema.of(model)
        is_read = schema is not None and len(schema.columns) > 1
        row: Any = x
        return as_inputs(model, row.to_frame().T, what)[0] if is_read else as_numbers(x, what)
    schema = Schema.of(model) if is_frame(x) else None
    return as_numbers(x, what) if schema is None else frame_inputs(schema, x, what)


def is_named_row(x: Any) -> bool:
    """Whether `x` is a row of a frame as pandas gives it: one dimension, each cell under a text."""
    if isinstance(x, (np.ndarray, np.generic, list, tuple, str)) or not hasattr(x, "to_frame"):
        return False
    labels = list(getattr(x, "index", ())) if getattr(x, "ndim", 0) == 1 else []
    return bool(labels) and all(isinstance(label, str) for label in labels)


def frame_inputs(schema: Schema, x: Any, what: str = "input") -> NDArray[Any]:
    """The rows of a frame as a schema reads them, (rows, n_in): every row, or InputError, by the column's name.

    Numbers keep their type where nothing is done to them; else they are float32.
    """
    is_plain = all(column == Column(column.name) for column in schema.columns)
    if is_plain and schema.missing != "mean" and not schema.table_width:
        return frame_numbers(x, what, schema.feature_names)
    if schema.missing == "drop":  # whoever asks for outputs counts on one for each row
        schema = replace(schema, missing="refuse")
    return schema.read(frame_table(x, what), what).x


def frame_table(x: Any, what: str = "input") -> Table:
    """All cells of a frame, as those of a file: numbers, texts and missing ones. Rows are counted from 0.

    Raises InputError for names that are there twice, or are no texts beside others that are.
    """
    names, columns = frame_names(x, what), frame_cells(x)
    missing = np.zeros((len(x), len(columns)), bool)
    numbers = np.full((len(x), len(columns)), np.nan)
    texts = {}
    for place, (cells, gaps, values) in enumerate(columns):
        missing[:, place], numbers[:, place] = gaps, values
        if cells.dtype.kind not in "fiub" and np.isnan(values[~gaps]).any():
            texts[place] = ["" if gap else str(cell) for gap, cell in zip(gaps, cells.tolist(), strict=True)]
    return Table(names, numbers, texts, missing if missing.any() else None, np.arange(len(x)), ())
