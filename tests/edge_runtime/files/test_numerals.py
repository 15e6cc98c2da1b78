import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.files.numerals import Bytes, parse_numerals


def parsed(cells, decimal="."):
    """(values, known) of cells that commas separate, or semicolons if the comma is the decimal mark."""
    separator = ";" if decimal == "," else ","
    text = (separator.join(cells) + "\n").encode()
    bytes_ = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero((bytes_ == ord(separator)) | (bytes_ == 10))
    starts = np.concatenate([[0], ends[:-1] + 1])
    return parse_numerals(Bytes(bytes_), starts, ends, ord(decimal))


def same(values, cells):
    np.testing.assert_array_equal(
        np.asarray(values).view(np.uint64), np.array([float(cell) for cell in cells]).view(np.uint64)
    )


SPELLINGS = ["{!r}", "{:.18e}", "{:.6f}", "{:.17g}", "{:+.3f}", "{:.0f}.", "{:E}"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e15, 1e15), st.sampled_from(SPELLINGS)), min_size=1, max_size=40))
def test_numbers_are_rounded_as_python_rounds_them(given):
    """To the last bit, in each usual spelling, whatever stands beside them."""
    cells = [spelling.format(value) for value, spelling in given]
    values, known = parsed(cells)
    same(values[known], [cell for cell, is_known in zip(cells, known, strict=True) if is_known])


def test_usual_numbers_are_all_known():
    """Whole numbers, decimals of float32 and float64 and what savetxt writes need no second look."""
    draw = np.random.default_rng(1).normal(size=5000)
    for spelling in ("{:.0f}", "{:.6f}", "{!r}", "{:.18e}"):
        cells = [spelling.format(value) for value in (draw * 1000).tolist()]
        values, known = parsed(cells)
        assert known.all()
        same(values, cells)
    cells = [str(value) for value in draw.astype(np.float32)]
    assert parsed(cells).known.mean() > 0.99


def test_ties_and_ends_of_the_range():
    """Halfway values, 2^53 and beyond, 19 digits, many zeros: right, or left for another look."""
    cells = ["9007199254740993", "9007199254740992.5", "9999999999999999999", "18446744073709551616", "0", "-0", "-0.0",
             "0.00000000000000000000001", "1e22", "1e23", "5e-324", "1.7976931348623157e308", "0.1", "2.5", ".5", "3.",
             "00012", "123456789012345678", "0.30000000000000004", "1e-05", "1e400"]  # fmt: skip
    values, known = parsed(cells)
    same(values[known], [cell for cell, is_known in zip(cells, known, strict=True) if is_known])


@pytest.mark.parametrize(
    "cell",
    ["", "-", "+", ".", "-.", "1.2.3", "1e", "e5", "--1", "1-", "a", "1a", "nan", "inf", "1 ", " 1", "1e+", "0x10",
     "1_0", "1e1e1", "é", "/", ":", "1:2", "1;2", "\x7f", "1e5.5", "1.e", "٣"],
)  # fmt: skip
def test_what_is_no_plain_number_is_not_known(cell):
    """Alone, and between numbers of several lengths."""
    for cells in ([cell], ["12", cell, "3.25"], ["1e5", cell, "-123456789.5"]):
        values, known = parsed(cells)
        place = cells.index(cell)
        assert not known[place]
        same(np.delete(values, place), cells[:place] + cells[place + 1 :])


def test_a_decimal_comma_is_read_as_a_point_is():
    """The mark is whichever byte is given; the other one is none of a number."""
    values, known = parsed(["1,5", "-0,25", "7", "1.5"], ",")
    assert values[:3].tolist() == [1.5, -0.25, 7]
    assert known.tolist() == [True, True, True, False]
