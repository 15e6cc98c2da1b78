"""Columns that number or name the rows are left out, refused or doubted, by name."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import InputError
from tests.trainer.tables import table
from trainer.data.tables.row_numbers import id_doubts, row_numbers

N = 30
FLOATS = np.random.default_rng(0).normal(size=N)
SHUFFLED = np.random.default_rng(1).permutation(N) + 100
NAMES = [f"row{number}" for number in range(N)]


def seen(names, *columns, **options):
    data = table(names, *columns, **options)
    return row_numbers(data, range(data.numbers.shape[1]), "d.csv")


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_counts_the_rows_is_one_of_their_numbers(first):
    """From 0 or from 1, whatever it is called; in a table of few rows if its name says so."""
    assert seen("u v", np.arange(N) + first, FLOATS) == {0: "counts the rows"}
    assert seen("", np.arange(N) + first, FLOATS) == {0: "counts the rows"}
    assert seen("u v", np.arange(5) + first, FLOATS[:5]) == {}
    assert seen("id v", np.arange(5) + first, FLOATS[:5]) == {0: "counts the rows"}


@pytest.mark.parametrize("numbers", [np.arange(N) + 2, np.arange(N)[::-1], np.arange(N) * 2, FLOATS, np.arange(N) // 2])
def test_other_numbers_count_nothing(numbers):
    """They begin elsewhere, or do not go on by 1."""
    assert seen("u v", numbers, FLOATS) == {}


@pytest.mark.parametrize("name", ["id", "ID", "Id", "index", "uuid", "PassengerId", "sample_id", "row", "Unnamed:_0"])
@pytest.mark.parametrize("values", [SHUFFLED, NAMES])
def test_a_name_of_ids_with_another_value_in_each_row_is_one(name, values):
    """Numbers and texts; not if a value repeats, or one is missing."""
    data = table(name, values)
    data = type(data)((name.replace("_0", " 0"),), data.numbers, data.texts, None, data.line_numbers, ())
    assert row_numbers(data, [0], "d.csv") == {0: "has another value in each row"}
    assert seen(name, [values[0], *values[:-1]]) == {}
    assert seen(name, [None, *values[:-1]]) == {}


@pytest.mark.parametrize("name", ["humid", "grid", "width", "rowing", "idle"])
def test_other_names_are_none_of_ids(name):
    """A part of a word says nothing."""
    assert seen(name, SHUFFLED) == {}


def test_an_index_without_a_name_is_refused():
    """Whether the header lacks a name or the column is none is for the owner to say; both ways out are named."""
    with pytest.raises(InputError, match=r"column 1 has no name and counts the rows, as the index .*--drop 1, or"):
        seen("_ v", np.arange(N), FLOATS)
    with pytest.raises(InputError, match="column 2 has no name and has another value in each row"):
        seen("u _", FLOATS, NAMES)
    assert seen("_ v", FLOATS, FLOATS) == {}


def test_names_of_rows_that_the_reader_saw_are_left_out():
    """R's write.table: the header has no cell for them."""
    notes = ("the first column has no name: names of rows, as R writes them",)
    assert seen("_ v", np.arange(N) + 1, FLOATS, notes=notes) == {0: "counts the rows"}


def test_whole_numbers_that_never_repeat_are_doubted():
    """They may be measured; so they are learned from, and named."""
    data = table("u serial v", FLOATS, SHUFFLED, np.arange(N) // 2)
    (doubt,) = id_doubts(data, [0, 1, 2])
    assert doubt.startswith("column 2 'serial' holds another whole number in each row")
    assert doubt.endswith("--drop serial")
