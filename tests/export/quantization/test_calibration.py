import itertools

import numpy as np
import pytest

from edge_runtime import QuantizationError
from export.quantization.calibration import BLOCK, blocks, calibrate
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows

MODEL = random_model([6, 5, 2], ["relu", "linear"], standardize=True)


def same(first, second):
    """Whether two calibrations saw exactly the same."""
    assert first.keys() == second.keys()
    return all(
        (a.exponent, a.low, a.high, a.total) == (b.exponent, b.low, b.high, b.total) and (a.counts == b.counts).all()
        for a, b in zip(first.values(), second.values(), strict=True)
    )


def test_each_tensor_is_seen_the_input_after_standardization():
    """Extremes are exact; a ReLU's output starts at 0."""
    rows = random_rows(300, 6)
    seen = calibrate(MODEL, rows).histograms
    standardized = MODEL.preprocessing(rows)
    assert seen.keys() == {"input", "dense0.preactivation", "dense0.output", "dense1.preactivation", "dense1.output"}
    assert (seen["input"].low, seen["input"].high) == (standardized.min(), standardized.max())
    assert seen["input"].total == standardized.size
    assert seen["dense0.output"].low == 0.0


@pytest.mark.parametrize("sizes", [[1] * 607, [100, 507], [0, 606, 1], [300, 0, 7, 300]])
def test_the_cut_into_batches_does_not_matter(sizes):
    """One array, single rows, a generator of uneven batches: the very same histograms, bin for bin."""
    rows = random_rows(607, 6)
    ends = np.cumsum([0, *sizes])
    batches = (rows[start:end] for start, end in itertools.pairwise(ends))
    assert same(calibrate(MODEL, rows).histograms, calibrate(MODEL, batches).histograms)


def test_held_out_rows_are_kept_apart_until_they_are_included():
    """Each fifth row; afterwards all rows are counted."""
    rows = random_rows(2 * BLOCK + 3, 6)
    seen = calibrate(MODEL, rows, hold_out=True)
    np.testing.assert_array_equal(seen.held_out, rows[4::5])
    assert seen.histograms["input"].total == 6 * (len(rows) - len(seen.held_out))
    np.testing.assert_array_equal(seen.followed, np.delete(rows, np.s_[4::5], axis=0))
    seen.include_held_out(MODEL)
    assert seen.histograms["input"].total == 6 * len(rows)
    np.testing.assert_array_equal(seen.followed, rows)


def test_memory_does_not_grow_with_the_rows():
    """A stream of 200,000 rows leaves histograms of a fixed size and at most 1,024 + one block of held-out rows."""
    model = random_model([2, 1], ["linear"])
    seen = calibrate(model, (random_rows(10_000, 2, seed) for seed in range(20)), hold_out=True)
    assert seen.rows == 200_000
    assert len(seen.held_out) <= 1024 + BLOCK
    assert sum(histogram.counts.nbytes for histogram in seen.histograms.values()) == 3 * 8192 * 8


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 6)), "empty"),
        ([], "empty"),
        (np.zeros((3, 5)), r"shape \(3, 5\), expected \(n, 6\)"),
        (np.zeros(6), "expected"),
        (np.array([["a"] * 6]), "real numbers"),
        (np.array([[0.0] * 6, [0, 0, np.nan, 0, 0, 0]]), "row 1, feature 2 is nan; 1 values"),
        (np.full((1, 6), 1e300), "inf"),
        ([np.zeros((7, 6)), np.full((1, 6), np.inf)], "row 7, feature 0 is inf"),
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


def test_blocks_are_always_of_the_same_size():
    """Whatever the batches: float sums depend on the batch. float32, in order."""
    rows = random_rows(2 * BLOCK + 95, 6).astype(np.float64)
    for batches in (rows, list(rows), iter(np.array_split(rows, 607)), np.array_split(rows, 3), [rows[:BLOCK], rows]):
        expected = np.concatenate([rows[:BLOCK], rows]) if isinstance(batches, list) and len(batches) == 2 else rows
        found = list(blocks(MODEL, batches))
        assert [len(block) for block in found[:-1]] == [BLOCK] * (len(found) - 1)
        assert 0 < len(found[-1]) <= BLOCK
        assert {block.dtype for block in found} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(np.concatenate(found), expected.astype(np.float32))


def test_a_list_may_hold_one_row_or_many():
    """A list of rows is what people type; it calibrates as the array does."""
    rows = random_rows(3, 6)
    for count in (1, 3):
        assert same(
            calibrate(MODEL, [row.tolist() for row in rows[:count]]).histograms,
            calibrate(MODEL, rows[:count]).histograms,
        )


def test_at_most_a_thousand_rows_are_held_out():
    """1,024 of them, once twenty blocks have given theirs."""
    seen = calibrate(random_model([2, 1], ["linear"]), random_rows(8000, 2), hold_out=True)
    assert len(seen.held_out) == 1024
    assert seen.rows == 8000


def test_the_place_of_a_bad_row_counts_all_batches():
    """Of the third batch: the rows of both before it are counted."""
    batches = [np.zeros((5, 6)), np.zeros((7, 6)), np.full((1, 6), np.nan)]
    with pytest.raises(QuantizationError, match=r"^calibration row 12, feature 0 is nan; 6 values"):
        calibrate(MODEL, batches)
    with pytest.raises(QuantizationError, match=r"^calibration set"):
        calibrate(MODEL, np.array([["a"] * 6]))


def test_the_rows_of_an_overflow_are_named():
    """By the block that they are in, first to last."""
    model = random_model([2, 2], ["linear"], weight_scale=1e38)
    rows = np.zeros((BLOCK + 10, 2))
    rows[-1] = 1e10
    with pytest.raises(QuantizationError, match=r"on calibration rows 256\.\.265; the network overflows"):
        calibrate(model, rows)


@pytest.mark.parametrize("precision", ["int8", "int4", "int8-a16", "int8-dynamic"])
def test_a_layer_in_integers_already_is_named(precision):
    """With its precision, and what to start from."""
    small = quantize(MODEL, random_rows(50, 6), precision)
    with pytest.raises(QuantizationError, match=f"^layer 'dense0' is {precision} already; start from the float32 "):
        calibrate(small, random_rows(5, 6))


def test_rows_and_batches_are_told_apart_by_their_axes():
    """Nested lists of rows, of batches, and of batches of one row; tuples of arrays."""
    rows = random_rows(7, 6)
    expected = calibrate(MODEL, rows).histograms
    nested = rows.tolist()
    for given in (nested, [nested], [nested[:1], nested[1:]], [[row] for row in nested], [rows[:3], rows[3:]]):
        assert same(calibrate(MODEL, given).histograms, expected)
    assert same(calibrate(MODEL, (rows[:3], rows[3:])).histograms, expected)
    with pytest.raises(QuantizationError, match=r"empty|expected \(n, 6\)"):
        calibrate(MODEL, [[]])


def test_a_sparse_matrix_is_one_batch():
    """It is refused by its type, not taken for a stream of rows."""

    class Sparse:
        dtype, shape, ndim = np.dtype(float), (7, 6), 2

        def toarray(self):
            """The dense array."""
            return random_rows(7, 6)

    with pytest.raises(QuantizationError, match="calibration set has dtype object, expected real numbers"):
        calibrate(MODEL, Sparse())
