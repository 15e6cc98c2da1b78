import numpy as np
import pytest

from edge_runtime import QuantizationError
from export.calibration import BLOCK, calibrate
from tests.networks import random_model, random_rows

MODEL = random_model([6, 5, 2], ["relu", "linear"], standardize=True)


def test_ranges_are_the_extremes_of_each_tensor_widened_to_zero():
    """The input's range is taken after standardization; a ReLU's starts at 0."""
    rows = random_rows(300, 6)
    ranges = calibrate(MODEL, rows)
    standardized = MODEL.preprocessing(rows)
    assert ranges["input"].low == pytest.approx(float(standardized.min()))
    assert ranges["input"].high == pytest.approx(float(standardized.max()))
    assert ranges["dense0.output"].low == 0.0
    assert ranges["dense0.preactivation"].low < 0.0


def test_the_order_and_the_blocks_of_the_rows_do_not_matter():
    """Any order, repeated rows, and a length that is no multiple of the block: the same ranges."""
    rows = random_rows(2 * BLOCK + 7, 6)
    again = np.concatenate([rows[::-1], rows[:3]])
    first, second = calibrate(MODEL, rows), calibrate(MODEL, again)
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].low == pytest.approx(second[name].low, rel=1e-5)
        assert first[name].high == pytest.approx(second[name].high, rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 6)), "empty"),
        (np.zeros((3, 5)), r"shape \(3, 5\), expected \(n, 6\)"),
        (np.zeros(6), "expected"),
        (np.array([["a"] * 6]), "real numbers"),
        (np.array([[0.0] * 6, [0, 0, np.nan, 0, 0, 0]]), "row 1, feature 2 is nan; 1 values"),
        (np.full((1, 6), 1e300), "inf"),
    ],
)
def test_rows_that_cannot_calibrate_are_refused_with_the_place(rows, message):
    """A bad calibration set gives an error, never a quietly wrong grid."""
    with pytest.raises(QuantizationError, match=message):
        calibrate(MODEL, rows)


def test_an_overflow_inside_the_network_is_named():
    """Finite rows that make a layer overflow are refused with the tensor's name."""
    model = random_model([2, 2, 2], ["linear", "linear"], weight_scale=1e38)
    with pytest.raises(QuantizationError, match=r"'dense\d\.preactivation' becomes NaN or inf"):
        calibrate(model, np.full((1, 2), 1e10))
