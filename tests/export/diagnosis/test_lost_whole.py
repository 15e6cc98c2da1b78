"""A class of few rows and an output of many are nothing in a sum, and are named."""

from __future__ import annotations

import numpy as np
import pytest

from export.diagnosis.lost_whole import lost_classes, lost_outputs, named

EXACT = np.random.default_rng(1).normal(size=(200, 150)).astype(np.float32)
NAMES = [f"output {at}" for at in range(150)]


def test_a_class_of_which_all_decisions_are_others():
    """Of two rows or more; with its name, if it has one. One that keeps a row is not lost."""
    before, after = np.array([0, 0, 1, 1, 2, 3, 3]), np.array([0, 1, 0, 0, 0, 3, 3])
    assert lost_classes(before, after, ()) == ("class 1 (all 2 rows)",)
    assert lost_classes(before, after, ["cat", "dog", "cow", "pig"]) == ("class 1 'dog' (all 2 rows)",)


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(("factor", "text"), [(0, "output 7 (the same for all rows)"), (-1, "output 7 (-6.0 dB by")])
def test_an_output_of_which_nothing_is_left(apart, factor, text):
    """Always the same, or with an error as large as itself."""
    found = EXACT.copy()
    found[:, 7] *= factor
    (lost,) = lost_outputs(EXACT, found, NAMES, apart=apart)
    assert lost.startswith(text)


def test_an_output_that_hardly_varies_is_lost_only_if_it_is_a_quantity_of_its_own():
    """The edge of an image is part of one signal."""
    exact = EXACT.copy()
    exact[:, 7] *= np.float32(0.01)
    found = exact.copy()
    found[:, 7] = 0
    assert lost_outputs(exact, found, NAMES, apart=False) == ()
    assert len(lost_outputs(exact, found, NAMES, apart=True)) == 1


def test_a_network_that_is_lost_as_a_whole_loses_no_single_outputs():
    """Nor does one whose outputs do not vary."""
    assert lost_outputs(EXACT, -EXACT, NAMES, apart=True) == ()
    assert lost_outputs(EXACT * 0, EXACT, NAMES, apart=True) == ()


def test_many_are_counted():
    """Three are named."""
    assert named(["a", "b"]) == "a, b"
    assert named(list("abcdefg")) == "a, b, c and 4 more"
