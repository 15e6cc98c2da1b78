import numpy as np
import pytest

from edge_runtime import QuantizedDense, QuantParams
from edge_runtime.numerics import accumulate
from export.c_writer.packing import folded_bias, packed_nibbles, packed_weight


def read_back(packed, n_in, n_out):
    """The weights out of their packed order, one by one, as the C code walks through them."""
    weight, place = np.zeros((n_in, n_out), np.int8), 0
    for first in range(0, n_out - n_out % 4, 4):
        for block in range(0, n_in - n_in % 4, 4):
            for row in range(4):
                for column in range(4):
                    weight[block + column, first + row] = packed[place]
                    place += 1
        for column in range(n_in - n_in % 4, n_in):
            for row in range(4):
                weight[column, first + row] = packed[place]
                place += 1
    for row in range(n_out - n_out % 4, n_out):
        for column in range(n_in):
            weight[column, row] = packed[place]
            place += 1
    assert place == len(packed) == n_in * n_out
    return weight


@pytest.mark.parametrize("n_in", [1, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("n_out", [1, 3, 4, 6, 8])
def test_packing_moves_weights_and_adds_none(n_in, n_out):
    """Every weight has one place, and there is no padding."""
    weight = np.random.default_rng(n_in).integers(-127, 128, (n_in, n_out)).astype(np.int8)
    np.testing.assert_array_equal(read_back(packed_weight(weight), n_in, n_out), weight)


@pytest.mark.parametrize("zero_point", [0, 3, 128, 255])
def test_a_folded_bias_gives_the_same_sums(zero_point):
    """Modulo 2^32, at the ends of int32 as well."""
    rng = np.random.default_rng(zero_point)
    weight = rng.integers(-127, 128, (40, 3)).astype(np.int8)
    bias = np.array([0, 2_146_000_000, -2_146_000_000], np.int32)
    one, grid = np.ones(3, np.float32), QuantParams(1.0, zero_point)
    layer = QuantizedDense("a", weight, bias, one, grid, None, "linear")
    codes = rng.integers(0, 256, (50, 40)).astype(np.uint8)
    sums = codes.astype(np.int64) @ weight.astype(np.int64) + folded_bias(layer)
    np.testing.assert_array_equal(sums.astype(np.uint32).view(np.int32), accumulate(codes, zero_point, weight, bias))


def read_nibbles(packed, n_in, n_out):
    """4-bit weights out of their packed order, as the C code walks through them."""
    weight, place = np.zeros((n_in, n_out), np.int8), 0
    for first in range(0, n_out - n_out % 4, 4):
        for block in range(0, n_in - n_in % 4, 4):
            for pair in (0, 2):
                for column in range(4):
                    weight[block + column, first + pair] = packed[place] % 16
                    weight[block + column, first + pair + 1] = packed[place] // 16
                    place += 1
        for column in range(n_in - n_in % 4, n_in):
            for pair in (0, 2):
                weight[column, first + pair] = packed[place] % 16
                weight[column, first + pair + 1] = packed[place] // 16
                place += 1
    for row in range(n_out - n_out % 4, n_out):
        for column in range(n_in):
            weight[column, row] = packed[place + column // 2] // 16 ** (column % 2) % 16
        place += (n_in + 1) // 2
    assert place == len(packed)
    return weight - 8


@pytest.mark.parametrize("n_in", [1, 2, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("n_out", [1, 2, 3, 4, 6, 8, 11])
def test_two_weights_of_4_bits_are_a_byte(n_in, n_out):
    """Every weight has one half, and no more than half a byte is lost for each output that is left over."""
    weight = np.random.default_rng(n_in).integers(-8, 8, (n_in, n_out)).astype(np.int8)
    packed = packed_nibbles(weight)
    assert len(packed) == n_out // 4 * 2 * n_in + n_out % 4 * ((n_in + 1) // 2)
    np.testing.assert_array_equal(read_nibbles(packed, n_in, n_out), weight)
