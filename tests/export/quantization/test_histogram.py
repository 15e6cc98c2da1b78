import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.quantization.histogram import HALF, Histogram

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def histogram_of(batches):
    found = Histogram()
    for batch in batches:
        found.add(np.array(batch, np.float32))
    return found


@given(values=st.lists(FLOATS, min_size=1, max_size=60), cut=st.integers(0, 60))
def test_order_and_cut_change_nothing(values, cut):
    """Merging bins when the range grows gives exactly the counts of a range that was wide enough from the start."""
    whole = histogram_of([values])
    parts = histogram_of([values[cut:][::-1], values[:cut]])
    assert (whole.exponent, whole.low, whole.high, whole.total) == (parts.exponent, parts.low, parts.high, parts.total)
    np.testing.assert_array_equal(whole.counts, parts.counts)


@given(values=st.lists(FLOATS, min_size=1, max_size=60))
def test_every_value_is_counted_within_a_bin_of_its_place(values):
    """The counts add up, the extremes are exact, and sorted values lie within a bin's width of their centers."""
    found = histogram_of([values])
    centers, counts = found.filled()
    assert counts.sum() == found.total == len(values)
    assert (found.low, found.high) == (min(values), max(values))
    assert np.abs(np.repeat(centers, counts) - np.sort(values)).max() <= found.width


@pytest.mark.parametrize("largest", [1.0, 0.75, 1e-30, 1e30, 2.0**20])
def test_the_range_is_at_most_twice_the_largest_value(largest):
    """At least half of the bins on each side serve the values that occur."""
    found = histogram_of([[largest, -largest]])
    assert largest <= found.width * HALF <= 2 * largest


def test_nothing_seen_is_the_range_of_zero():
    """And empty batches add nothing."""
    found = histogram_of([[], []])
    assert (found.low, found.high, found.total) == (0.0, 0.0, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_any_number_type_is_counted_alike(dtype):
    """Values that all of them hold give the same histogram."""
    values = np.array([[-3, 0], [1, 2000]])
    found, expected = Histogram(), histogram_of([values])
    found.add(values.astype(dtype))
    assert (found.exponent, found.low, found.high) == (expected.exponent, expected.low, expected.high)
    np.testing.assert_array_equal(found.counts, expected.counts)


def test_zeros_do_not_widen_the_bins():
    """Values of 1e-30 that come after them are told apart."""
    found = histogram_of([[0.0, 0.0], [1e-30, 2e-30]])
    assert found.width < 1e-33
    assert len(found.filled()[0]) == 3


def test_centers_stay_between_the_extremes():
    """The outermost bins are cut there, so that a range made of them holds nothing that never occurred."""
    found = histogram_of([[0.70001, -0.30001, 0.1]])
    centers, _ = found.filled()
    assert (centers[0], centers[-1]) == (pytest.approx(found.low, abs=found.width), pytest.approx(found.high))
    for values in ([0.7, 0.1], [-0.7, -0.1], [1.0, -1.0], [0.999, -0.999]):
        found = histogram_of([values])
        centers, _ = found.filled()
        assert found.low <= centers.min()
        assert centers.max() <= found.high


@pytest.mark.parametrize("steps", [[1.0, 1.5, 3.0, 700.0], [1e-40, 1e30], [3.0, -5.0, 9.0, -17.0]])
def test_a_range_that_grows_step_by_step_keeps_every_value(steps):
    """One batch after the other, the counts are those of all values at once."""
    grown, whole = histogram_of([[step] for step in steps]), histogram_of([steps])
    assert grown.exponent == whole.exponent
    np.testing.assert_array_equal(grown.counts, whole.counts)
    assert grown.counts.sum() == len(steps)
