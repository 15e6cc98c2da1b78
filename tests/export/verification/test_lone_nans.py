"""NaN on one side of a comparison: no difference shows it, so it is counted and named."""

import numpy as np
import pytest

from export.commands.reports import report_table
from export.verification.comparison import reported, same_bits, within
from export.verification.report import Report

OURS, THEIRS = np.float32([[1, np.nan, np.nan, 4]]), np.float32([[1, 2, np.nan, 4.5]])
CHECKS = {
    "same bits": lambda ours, theirs: same_bits("default", "t", {"t": ours}, {"t": theirs}),
    "within": lambda ours, theirs: within("default", "t", ours, theirs, np.full((1, 4), 0.1)),
    "reported": lambda ours, theirs: reported("default", "t", ours, theirs),
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=list(CHECKS))
def test_nan_on_either_side_is_counted_and_named(check):
    """On ours or on theirs, and added up over blocks of rows; beside the largest difference between numbers."""
    for pair in ((OURS, THEIRS), (THEIRS, OURS)):
        found = check(*pair)
        assert (found.lone_nans, found.max_abs_error) == (1, 0.5)
        assert found.merged(found).lone_nans == 2
        text = report_table(Report("foreign", 1, (found,), 0, 0.0))
        assert "1 are NaN on one side alone" in text
    assert check(OURS, OURS).lone_nans == 0
    assert "NaN" not in report_table(Report("foreign", 1, (check(OURS, OURS),), 0, 0.0))


def test_tensors_of_integers_hold_no_nan():
    """Counting does not trip over them."""
    codes = np.arange(4, dtype=np.uint8)
    assert same_bits("default", "t", {"t": codes}, {"t": codes + 1}, 0.5).lone_nans == 0
