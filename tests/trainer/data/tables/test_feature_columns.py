"""Texts, dates, categories, offsets: what a column gives, or why it is refused and what helps."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.schema import Column
from tests.trainer.tables import table
from trainer.data.tables.choices import Choices
from trainer.data.tables.feature_columns import as_column, categories_of, one_hot_places

N = 30
SEX = ["M", "F", "I"] * 10
NUMBERS = list(np.random.default_rng(0).normal(size=N))


def places(names, *columns, one_hot=()):
    data = table(names, *columns)
    return one_hot_places(data, range(len(columns)), Choices(one_hot=one_hot), "d.csv")


def said(names, *columns, one_hot=()):
    with pytest.raises(InputError) as caught:
        places(names, *columns, one_hot=one_hot)
    return str(caught.value)


def test_texts_become_inputs_where_that_is_asked_for():
    """By name, of numbers too, or all that have few texts."""
    assert places("u sex", NUMBERS, SEX, one_hot=("sex",)) == [1]
    assert places("u sex", NUMBERS, SEX, one_hot=("auto",)) == [1]
    assert places("code sex", [1, 2] * 15, SEX, one_hot=("code", "auto")) == [0, 1]
    assert places("auto sex", SEX, SEX, one_hot=("auto", "sex")) == [0, 1]  # a column of that name
    assert places("u v", NUMBERS, NUMBERS) == []


def test_a_column_of_texts_is_refused_with_what_helps():
    """Its number and name, how many rows, the first of them, the texts, and three ways on."""
    text = said("u sex", NUMBERS, SEX)
    assert text == (
        "d.csv: column 2 'sex' holds text in every row (the first, in row 2: 'M'); --one-hot sex makes an input of "
        "each of its 3 texts ('F', 'I', 'M'), --drop sex leaves it out; if it is the label, --label sex"
    )
    assert said("sex u kind", SEX, NUMBERS, SEX).endswith("--label sex; 1 other column holds text too: --one-hot auto")
    assert "holds text in 10 of 30 rows (the first, in row 2: 'M')" in said("sex", ["M", 1, 2] * 10)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (
            [f"2024-05-{day:02d}" for day in range(1, 31)],
            "dates or times: leave the column out with --drop t, or",
        ),
        (["03.05.2024 10:11"] * 15 + ["04.05.2024 10:12"] * 15, "dates or times"),
        ([f"{hour}:30:00" for hour in range(10, 20)] * 3, "dates or times"),
        ([f"name {number}" for number in range(N)], "another text in each row, as names and ids: leave"),
        ([f"name {number // 2}" for number in range(N - 1)] + ["x"], "different texts: leave the column out"),
    ],
)
@pytest.mark.parametrize("one_hot", [(), ("auto",)])
def test_dates_and_ids_are_refused_with_what_to_do(texts, why, one_hot):
    """Not even `auto` makes inputs of them."""
    assert why in said("t", texts, one_hot=one_hot)


def test_a_few_texts_among_numbers_are_named_by_their_row():
    """Then the rows are to be mended, and not the column."""
    text = said("u", [*NUMBERS[:7], "err", *NUMBERS[8:]])
    assert text == "d.csv: row 9, column 1 'u': 'err' is not a number, as the other rows have; mend or drop the row"
    text = said("u", ["a", "b", "c", *NUMBERS[3:]])
    assert "row 2, and 2 more, column 1 'u': 'a' is not a number" in text


def test_categories_are_the_different_texts_sorted():
    """Numbers by their value, missing cells apart; too many are refused."""
    assert categories_of(table("c", ["b", None, "a", "b"]), 0, "d") == ("a", "b")
    assert categories_of(table("c", [10, 9, 9, None]), 0, "d") == ("10", "9")
    with pytest.raises(InputError, match="column 1 'c' holds 30 different values in 30 rows, too many"):
        categories_of(table("c", np.arange(30)), 0, "d")


def made(values, one_hot=False, fills=False, rows=None):
    used = np.ones(len(values), bool) if rows is None else np.array(rows)
    return as_column(table("c", values), 0, one_hot, fills, used, "d")


def test_missing_cells_are_filled_with_the_mean_or_the_most_frequent_text():
    """Of the rows that are learned from."""
    assert made([1, None, 3], fills=True) == Column("c", fill=2.0)
    assert made([1, None, 3], fills=True, rows=[True, True, False]) == Column("c", fill=1.0)
    assert made(["b", "a", "b", None], one_hot=True, fills=True) == Column("c", ("a", "b"), fill="b")
    assert made(["b", "a", None, None], one_hot=True, fills=True).fill == "a"  # of two as frequent the first in order
    assert made([1, 2, 3]) == Column("c")


@pytest.mark.parametrize(
    ("values", "offset"),
    [
        (1e6 + 0.05 * np.linspace(-1, 1, 9), 1e6),
        (1_714_730_000_000_000 + np.arange(9) * 100_000, 1_714_730_000_400_000),
        (1e6 + np.linspace(-300, 300, 9), 0),  # float32 keeps three digits more than is needed
        ([7.0] * 9, 0),
        ([1e300, -1e300], 0),
        (-1e9 + np.arange(9), -1e9 + 4),
    ],
)
def test_what_float32_cannot_tell_apart_gets_an_offset(values, offset):
    """A short number near the mean, if rounding costs a thousandth of the spread; constants, wide ranges get none."""
    found = made(list(values)).offset
    assert found == offset
    if offset:
        exact = np.array(values) - found
        assert np.abs(exact.astype(np.float32) - exact).max() < 1e-4 * np.std(values)
