"""4-bit integers, two to a byte."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.numerics import CHUNK, Nibbles, pack

MATRICES = arrays.arrays(np.int8, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.integers(-8, 7))


@given(MATRICES)
def test_what_is_packed_comes_back_in_half_the_bytes(values):
    """Every matrix of -8..7, of an odd number of rows too, whatever dtype it is unpacked to."""
    packed = pack(values)
    assert packed.packed.nbytes == (len(values) + 1) // 2 * values.shape[1]
    for dtype in (np.int8, np.float32, np.float64):
        back = packed.unpacked(dtype)
        assert back.dtype == dtype
        assert np.array_equal(back, values)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (513, 300), (40_001, 3), (3, 40_000), (1, 70_000)])
def test_parts_are_all_the_rows_in_order(shape):
    """Of few values each, also where one row is many: together the matrix, as an unpacking into floats gives it."""
    values = np.random.default_rng(0).integers(-8, 8, shape).astype(np.int8)
    parts = list(pack(values).parts())
    assert np.array_equal(np.concatenate(parts), values)
    assert all(part.size <= CHUNK or len(part) <= 2 for part in parts)
    assert np.array_equal(pack(values).unpacked(np.float64), values)


@pytest.mark.parametrize(("low", "high", "byte"), [(0, 0, 0x00), (1, 0, 0x01), (-1, 7, 0x7F), (-8, -8, 0x88)])
def test_where_each_number_stands(low, high, byte):
    """The first of two rows in the low half of the byte, as two's complement: the file format says so."""
    assert pack(np.array([[low], [high]], np.int8)).packed.tolist() == [[byte]]
    assert Nibbles(np.array([[byte]], np.uint8), 2).unpacked().tolist() == [[low], [high]]
