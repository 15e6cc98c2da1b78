"""Columns are named by name or number; what is not there is refused, with what is."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import InputError
from tests.trainer.tables import table
from trainer.data.tables.choices import Choices, as_option, column, name_of, places_of

T = table("ax ay 3 a,b label", [1.0], [2.0], [3.0], [4.0], ["x"])


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (["ay"], [1]),
        ([2], [1]),
        (["2"], [1]),
        (["3"], [2]),  # a name before a number
        ([-1, "-2"], [4, 3]),
        (["a,b"], [3]),  # a name before a list
        (["ax,ay, label"], [0, 1, 4]),
        (["ay", 2, "ax"], [1, 0]),
    ],
)
def test_columns_are_found_by_name_and_by_number(names, places):
    """From 1, from the end with a minus; several apart by commas; each once, in the order given."""
    assert places_of(T, names, "drop", "d.csv") == places


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("AX", r"d.csv: --one-hot names column 'AX', which is not there; is 'ax' meant\?"),
        ("foo", "expected one of 'ax', 'ay', '3', 'a,b', 'label'"),
        ("0", "columns are counted from 1"),
        (0, "columns are counted from 1"),
        ("6", "expected one of"),
        ("", "expected one of"),
        ("ax,foo", "column 'foo'"),
        ("9" * 30, "expected one of"),
    ],
)
def test_what_is_not_there_is_refused(name, message):
    """With the option, the name, and what may have been meant."""
    with pytest.raises(InputError, match=message) as caught:
        places_of(T, [name], "one_hot", "d.csv")
    assert str(caught.value).isprintable()
    with pytest.raises(InputError, match="the table has no header: give a number from 1 to 2"):
        places_of(table("", [1], [2]), ["ax"], "drop", "d.csv")


def test_columns_are_called_so_that_they_are_found_again():
    """By number and name in messages; in advice as a shell takes it."""
    odd = table("ax _ b;c ax -d", [1], [2], [3], [4], [5])
    assert [column(odd, place) for place in (0, 1)] == ["column 1 'ax'", "column 2"]
    assert [name_of(odd, place) for place in (0, 1)] == ["ax", "column 2"]
    assert [as_option(odd, place) for place in range(5)] == ["1", "2", "3", "4", "5"]
    assert as_option(T, 1) == "ay"


def test_one_name_or_several_are_taken():
    """As Python's callers write them; NumPy's numbers too."""
    given = Choices.of(missing="refuse", target="auto", label="y", drop=None, features=[1, "b"], one_hot=np.int64(2))
    assert (given.label, given.drop, given.features, given.one_hot) == (("y",), (), (1, "b"), (2,))
    assert given.given() == ("--label", "--features", "--one-hot")


@pytest.mark.parametrize(
    ("field", "value"), [("missing", "zero"), ("target", "x"), ("label", 1.5), ("drop", [None]), ("features", True)]
)
def test_choices_that_make_no_sense_are_refused(field, value):
    """When they are made."""
    with pytest.raises(InputError, match=field):
        Choices.of(**{"missing": "refuse", "target": "auto", field: value})
