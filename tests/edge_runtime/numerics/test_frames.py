"""Frames of other libraries become arrays, column by column."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.numerics import as_numbers, frame_names, frame_numbers, is_frame
from tests.frames import Frame, Missing, Series, frame_of

NUMBERS = {
    "float": [1.5, -2.0],
    "whole": np.array([3, 4], np.int16),
    "flag": [True, False],
    "boxed": np.array([True, 5], object),
    "decimal": np.array([Decimal("0.5"), Decimal(2)], object),
}


def test_columns_of_all_numbers_are_taken() -> None:
    """Floats, whole numbers, truth values, and numbers in boxes, whatever their types, side by side."""
    found = as_numbers(Frame(NUMBERS))
    assert found.tolist() == [[1.5, 3, 1, 1, 0.5], [-2, 4, 0, 5, 2]]
    assert as_numbers(Frame({"a": np.float32([1, 2])})).dtype == np.float32
    assert as_numbers(Frame({})).shape == (0, 0)


BAD: dict[str, tuple[Any, str]] = {
    "text": (["1", "x"], r"input: column 'b' holds '1' in row 0 \(counted from 0\), expected numbers; turn it into"),
    "boxed text": (np.array([1, "x"], object), "input: column 'b' holds 'x' in row 1"),
    "object": (np.array([1, [2]], object), r"input: column 'b' holds \[2\] in row 1"),
    "dates": (
        np.array(["2020-01-01", "2020-01-02"], "M8[s]"),
        r"input: column 'b' holds datetime64\[s\], expected num",
    ),
    "no date": (np.array(["2020-01-01", "NaT"], "M8[s]"), "input: column 'b' has no value in 1 of 2 rows"),
    "nan": ([1, np.nan], r"input: column 'b' has no value in 1 of 2 rows \(the first is row 1, counted from 0\); fill"),
    "none": (np.array([None, None], object), r"input: column 'b' has no value in 2 of 2 rows \(the first is row 0"),
    "NA": (np.array([True, Missing()], object), r"input: column 'b' has no value in 1 of 2 rows \(the first is row 1"),
    "masked": (np.ma.array([1, 2], mask=[True, False]), r"input: column 'b' has no value in 1 of 2 rows"),
}


@pytest.mark.parametrize("kind", BAD)
def test_other_columns_are_refused_by_name(kind: str) -> None:
    """Text, even that of numbers, dates, objects and missing cells: with the row and what to do."""
    cells, message = BAD[kind]
    with pytest.raises(InputError, match=message):
        as_numbers(Frame({"a": [1, 2], "b": cells}))


class Whole(Frame):
    """One that keeps an array of its own, as pandas does for columns of one type."""

    def __init__(self, array: Any, names: list[str]) -> None:
        super().__init__(dict(zip(names, array.T, strict=True)))
        self.array, self.dtypes = array, [array.dtype] * len(names)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array


def test_a_frame_that_is_an_array_is_taken_whole() -> None:
    """Without a copy, and by its columns where something has to be said of them or they come in another order."""
    rows = np.float32([[1, 2], [3, 4]])
    frame = Whole(rows, ["a", "b"])
    assert as_numbers(frame) is rows
    assert frame_numbers(frame, "x", ("a", "b")) is rows
    assert frame_numbers(frame, "x", ("b", "a")).tolist() == [[2, 1], [4, 3]]
    rows[1, 0] = np.nan
    with pytest.raises(InputError, match="input: column 'a' has no value in 1 of 2 rows"):
        as_numbers(frame)
    masked = Whole(np.ma.array([[1.0, 2.0]], mask=[[False, True]]), ["a", "b"])
    with pytest.raises(InputError, match="input: column 'b' has no value in 1 of 1 rows"):
        as_numbers(masked)


def test_names() -> None:
    """Texts are names; numbers that count the columns are none; a name that is there twice, or a mix, is refused."""
    assert frame_names(Frame({"a": [1], "b": [2]})) == ("a", "b")
    assert frame_names(Frame({0: [1], 1: [2]})) == frame_names(np.eye(2)) == frame_names([[1]]) == ()
    assert as_numbers(Frame({0: [1], 1: [2]})).tolist() == [[1, 2]]
    twice = Frame({"a": [1]})
    twice.columns = ["a", "a"]
    with pytest.raises(InputError, match="input has 2 columns 'a', expected one; rename them"):
        as_numbers(twice)
    with pytest.raises(InputError, match="input has columns 'a', 1, expected texts as names, or none"):
        as_numbers(Frame({"a": [1], 1: [2]}))


def test_columns_by_name() -> None:
    """In the order that is asked for, without the others, which may hold anything; one that is not there is named."""
    frame = Frame({"c": [1], "a": [2], "text": ["x"], "b": [3]})
    assert frame_numbers(frame, "x", ("a", "b", "c")).tolist() == [[2, 3, 1]]
    message = "x has no column 'd', 'e', it has 'c', 'a', 'text', 'b'; expected 'a', 'd', 'e', in any order"
    with pytest.raises(InputError, match=message):
        frame_numbers(frame, "x", ("a", "d", "e"))
    assert frame_numbers(Frame({0: [1], 1: [2]}), "x", ("a", "b")).tolist() == [[1, 2]]


def test_columns_by_the_names_of_an_exporter() -> None:
    """A frame that a pipeline was exported with is read by the inputs' names."""
    frame = Frame({"length (cm)": [1], "width": [2]})
    assert frame_numbers(frame, "x", ("width", "length__cm_")).tolist() == [[2, 1]]


def test_many_names_are_shortened() -> None:
    """A message stays readable."""
    frame = frame_of(np.ones((1, 400)), [f"c{k}" for k in range(400)])
    with pytest.raises(InputError, match=r"it has 'c0', 'c1', 'c2', 'c3', 'c4', and 395 more; expected 'z'"):
        frame_numbers(frame, "x", ("z",))


def test_what_is_no_frame() -> None:
    """Arrays, also those with named columns, lists, one column alone, and None."""
    for value in (np.eye(2), np.rec.array([(1, 2)], names="a,b"), [[1]], Series([1]), None, 3, "text"):
        assert not is_frame(value)
    assert as_numbers(Series([1, 2])).tolist() == [1, 2]
