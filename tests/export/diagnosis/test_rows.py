"""Which rows are looked at: bounded in number, spread over all, apart from those that calibrate."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime import InputError
from export.diagnosis.rows import rows_for
from export.quantization import rows_that_fit
from tests.networks import random_model, random_rows

MODEL = random_model([6, 5, 3], ["relu", "softmax"])


def test_each_fifth_is_judged_where_no_others_calibrate():
    """With its label; the others calibrate."""
    rows = random_rows(100, 6)
    found = rows_for(MODEL, rows, np.arange(100) % 3, None)
    np.testing.assert_array_equal(found.judged, rows[2::5])
    np.testing.assert_array_equal(found.labels, (np.arange(100) % 3)[2::5])
    np.testing.assert_array_equal(found.calibration, np.delete(rows, np.arange(2, 100, 5), axis=0))


def test_no_more_are_looked_at_than_memory_allows():
    """Of a wide network few, spread over all."""
    wide = random_model([8, 30_000, 3], ["relu", "softmax"])
    assert rows_that_fit(wide) == 279
    rows = np.repeat(np.arange(1000, dtype=np.float32)[:, None], 8, axis=1)
    found = rows_for(wide, rows, None, rows[:50])
    assert len(found.judged) == 279
    assert found.judged[[0, -1], 0].tolist() == [0, 999]
    assert len(found.calibration) == 50
    assert found.of == 1000


def test_rows_that_are_all_the_same_are_refused():
    """Of a single one it is said that some are held out, and what gives more."""
    with pytest.raises(InputError, match="the 30 rows to look at are all the same: no output varies"):
        rows_for(MODEL, np.ones((30, 6), np.float32), None, random_rows(20, 6))
    with pytest.raises(InputError, match=r"a single row is looked at, .* a fifth or so is held out .* --all-rows"):
        rows_for(MODEL, random_rows(1, 6), None, random_rows(20, 6))


def test_rows_that_calibrate_and_judge_are_counted_and_said():
    """Where they are most of those that judge; a few that are alike are none."""
    rows, others = random_rows(100, 6), random_rows(100, 6, 9)
    (note,) = rows_for(MODEL, rows, None, np.concatenate([others, rows[:51]])).notes
    assert note.startswith("51 of the 100 rows that judge calibrate too: ")
    assert note.endswith("; give --calibrate other rows")
    assert rows_for(MODEL, rows, None, rows[:50]).shared == 50
    assert rows_for(MODEL, rows, None, rows[:50]).notes == rows_for(MODEL, rows, None, None).notes == ()
    assert rows_for(MODEL, rows[:19], None, None).shared == 19
