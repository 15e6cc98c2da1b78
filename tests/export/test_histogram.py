import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.histogram import HALF, Histogram

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
