"""Frames as the rows of a model."""

from __future__ import annotations

import numpy as np

from edge_runtime.inputs import as_inputs, frame_table
from edge_runtime.schema import Column, Schema
from tests.frames import Frame, frame_of
from tests.networks import random_model


def test_frames_are_read_by_the_schema_of_the_model() -> None:
    """By name where there is one, by place where there is none; arrays as they are."""
    plain = random_model([2, 1], ["linear"])
    rows, frame = np.float32([[1, 2]]), frame_of([[2, 1]], ["b", "a"])
    named = type(plain)(plain.layers, metadata={"schema": Schema((Column("a"), Column("b"))).text()})
    assert as_inputs(named, rows) is rows
    assert as_inputs(named, frame).tolist() == [[1, 2]]
    assert as_inputs(plain, frame).tolist() == [[2, 1]]
    assert as_inputs(named, Frame({0: [1], 1: [2]})).tolist() == [[1, 2]]


def test_all_cells_of_a_frame() -> None:
    """As a schema reads a table: numbers, texts of columns that hold some, missing cells, rows counted from 0."""
    table = frame_table(
        Frame({"n": [1, 2.5], "t": np.array(["x", None], object), "m": [np.nan, 3], "k": np.array([7, 8], object)})
    )
    assert (table.names, table.texts) == (("n", "t", "m", "k"), {1: ["x", ""]})
    np.testing.assert_equal(table.numbers, [[1, np.nan, np.nan, 7], [2.5, np.nan, 3, 8]])
    assert table.missing is not None
    assert table.missing.tolist() == [[False, False, True, False], [False, True, False, False]]
    assert table.line_numbers.tolist() == [0, 1]
    assert frame_table(Frame({"n": [1]})).missing is None


class _Row:
    """What pandas gives for one row of a frame: cells with names."""

    ndim = 1

    def __init__(self, cells: dict[str, float]) -> None:
        self.index, self.T = list(cells), Frame({name: [cell] for name, cell in cells.items()})

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        return np.array([np.asarray(self.T[name])[0] for name in self.index])

    def to_frame(self) -> _Row:
        return self


def test_a_row_of_a_frame_is_read_by_its_names() -> None:
    """As a frame of that row alone, of the shape of one row; without a schema by place."""
    plain = random_model([2, 1], ["linear"])
    named = type(plain)(plain.layers, metadata={"schema": Schema((Column("a"), Column("b"))).text()})
    row = _Row({"b": 2.0, "more": 9.0, "a": 1.0})
    assert as_inputs(named, row).tolist() == [1, 2]
    assert as_inputs(plain, _Row({"b": 2.0, "a": 1.0})).tolist() == [2, 1]
