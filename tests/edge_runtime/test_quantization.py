import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import ModelError, QuantParams
from edge_runtime.quantization import accumulate, certificate, dequantize, quantize, saturate, scale_accumulator

TIES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 126.5, 127.5, 1e9, -1e9, np.inf, -np.inf, np.nan], np.float32)


def test_ties_go_to_the_even_neighbour_and_the_zero_point_is_added_after_rounding():
    """2.5 rounds to 2 whatever the zero point; adding 3 first would make it 6 (5.5 rounds to 6), not 5."""
    assert quantize(np.float32([2.5, 0.5, 1.5]), QuantParams(1.0, 3)).tolist() == [5, 3, 5]


def test_out_of_range_saturates_and_nan_becomes_the_minimum():
    """Nothing wraps: infinities end at the grid's ends, NaN at 0."""
    assert quantize(TIES, QuantParams(1.0, 3))[-5:].tolist() == [255, 0, 255, 0, 0]


def test_quantize_divides_in_float32():
    """x / s and x * (1 / s) differ here by one step; the division is what ONNX says."""
    x, scale = _where_division_matters()
    by_division = np.rint(x / scale)
    assert (by_division != np.rint(x * (np.float32(1) / scale))).all()
    assert (quantize(x, QuantParams(float(scale), 0)) == by_division).all()


def _where_division_matters():
    scale = np.float32(0.1)
    x = (np.arange(0, 255, dtype=np.float32) + np.float32(0.5)) * scale
    x = np.concatenate([x, np.nextafter(x, np.float32(1e9)), np.nextafter(x, np.float32(0))])
    return x[np.rint(x / scale) != np.rint(x * (np.float32(1) / scale))], scale


def test_the_product_with_the_multiplier_is_one_float32_multiplication():
    """float64 would give 145.5000..., which rounds to 146 or 145 differently: the known case 21142 * 0x1.c30566p-8."""
    multiplier = np.float32(float.fromhex("0x1.c30566p-8"))
    scaled = scale_accumulator(np.array([21142], np.int32), np.array([multiplier]))
    assert saturate(scaled, 0).tolist() == [146]
    assert np.rint(21142 * np.float64(multiplier)) == 145


@given(
    zero_point=st.integers(0, 255),
    exponent=st.integers(-20, 20),
    points=st.lists(st.integers(0, 255), min_size=1, max_size=50),
)
def test_grid_points_survive_a_round_trip(zero_point, exponent, points):
    """Every point of a dyadic grid dequantizes to a real value that quantizes back to it."""
    grid = QuantParams(2.0**exponent, zero_point)
    q = np.array(points, np.uint8)
    assert (quantize(dequantize(q, grid), grid) == q).all()


@pytest.mark.parametrize("seed", range(20))
def test_round_trip_error_is_at_most_half_a_step(seed):
    """A value inside the grid's range moves by at most half a step."""
    rng = np.random.default_rng(seed)
    grid = QuantParams(float(np.float32(rng.uniform(1e-6, 1e3))), int(rng.integers(0, 256)))
    x = rng.uniform(grid.low, grid.high, 1000).astype(np.float32)
    assert np.abs(dequantize(quantize(x, grid), grid) - x).max() <= grid.scale / 2 * (1 + 1e-5)


@pytest.mark.parametrize("k", [1, 2, 3, 64, 785])
def test_accumulators_are_the_exact_integer_sums(k):
    """The float64 product gives what Python's own integers give."""
    rng = np.random.default_rng(k)
    q, weight = rng.integers(0, 256, (4, k)).astype(np.uint8), rng.integers(-127, 128, (k, 3)).astype(np.int8)
    bias = rng.integers(-(2**20), 2**20, 3).astype(np.int32)
    expected = (q.astype(object) - 77) @ weight.astype(object) + bias.astype(object)
    assert (accumulate(q, 77, weight, bias) == expected.astype(np.int64)).all()


def test_the_certificate_is_reached_by_the_worst_input_and_never_passed():
    """The bound is tight: the input that pushes every product the same way reaches it exactly."""
    rng = np.random.default_rng(5)
    weight, bias = rng.integers(-127, 128, (50, 4)).astype(np.int8), rng.integers(-1000, 1000, 4).astype(np.int32)
    bound = certificate(weight, bias, 0)
    reached = 0
    for column in range(4):
        for sign in (1, -1):
            q = np.where(sign * weight[:, column] > 0, 255, 0).astype(np.uint8)[None]
            reached = max(reached, int(np.abs(accumulate(q, 0, weight, bias))[0, column]))
    assert reached <= bound
    one_sided = np.abs(weight)
    assert accumulate(np.full((1, 50), 255, np.uint8), 0, one_sided, np.abs(bias)).max() == bound


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e-45, 0.1])
def test_a_scale_that_is_not_a_positive_normal_float32_is_refused(scale):
    """0.1 is no float32 number: a grid must mean the same in every program that reads it."""
    with pytest.raises(ModelError, match="scale"):
        QuantParams(scale, 0)


@pytest.mark.parametrize("zero_point", [-1, 256, 1.5])
def test_a_zero_point_off_the_grid_is_refused(zero_point):
    """Zero points are whole numbers from 0 to 255."""
    with pytest.raises(ModelError, match="zero_point"):
        QuantParams(1.0, zero_point)


@pytest.mark.parametrize("shape", [(1, 1), (256, 3), (257, 1), (5000, 7), (300, 5000), (20_000, 2)])
@pytest.mark.parametrize("largest", [1, 127])
def test_the_certificate_is_exact_however_many_rows_are_added_up(shape, largest):
    """The sum of magnitudes in Python's own integers, with every weight at its limit too."""
    rng = np.random.default_rng(shape[0])
    for weight in (np.full(shape, -largest, np.int8), rng.integers(-largest, largest + 1, shape).astype(np.int8)):
        bias = rng.integers(-(10**9), 10**9, shape[1]).astype(np.int32)
        expected = (np.abs(weight.astype(object)).sum(axis=0) * 250 + np.abs(bias.astype(object))).max()
        assert certificate(weight, bias, 5) == expected
