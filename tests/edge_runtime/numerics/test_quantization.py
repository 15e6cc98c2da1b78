import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import InputError, ModelError, QuantParams
from edge_runtime.numerics.quantization import (
    CHUNK,
    accumulate,
    certificate,
    dequantize,
    dynamic_grid,
    quantize,
    quantize_on,
    quantize_symmetric,
    saturate,
    scale_accumulator,
)

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
@pytest.mark.parametrize(("largest", "dtype"), [(1, np.int8), (127, np.int8), (255, np.int16)])
def test_the_certificate_is_exact_however_many_rows_are_added_up(shape, largest, dtype):
    """The sum of magnitudes in Python's own integers, with every weight at its limit too."""
    rng = np.random.default_rng(shape[0])
    for weight in (np.full(shape, -largest, dtype), rng.integers(-largest, largest + 1, shape).astype(dtype)):
        bias = rng.integers(-(10**9), 10**9, shape[1]).astype(np.int32)
        expected = (np.abs(weight.astype(object)).sum(axis=0) * 250 + np.abs(bias.astype(object))).max()
        assert certificate(weight, bias, 5) == expected


@pytest.mark.parametrize("scale", [float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max), 1.0])
@pytest.mark.parametrize("zero_point", [0, 255])
def test_the_ends_of_what_a_grid_may_be_are_grids(scale, zero_point):
    """The smallest normal and the largest float32 number, and zero points at both ends."""
    grid = QuantParams(scale, zero_point)
    assert (grid.scale, grid.zero_point) == (scale, zero_point)


def test_a_grid_reaches_from_its_lowest_to_its_highest_point():
    """low and high are the real values of 0 and of 255."""
    grid = QuantParams(0.5, 55)
    assert (grid.low, grid.high) == (-27.5, 100.0)
    assert dequantize(np.array([0, 55, 255], np.uint8), grid).tolist() == [-27.5, 0, 100]


def test_every_result_has_its_dtype():
    """uint8 codes, float32 reals and int32 sums, whatever goes in: another program reads them by their width."""
    grid, q = QuantParams(1.0, 3), np.array([[0, 255]], np.uint8)
    assert quantize(np.array([1.0]), grid).dtype == np.uint8
    assert saturate(np.float32([1.0]), 3).dtype == np.uint8
    assert dequantize(q, grid).dtype == np.float32
    assert scale_accumulator(np.array([3], np.int32), np.float32([0.5])).dtype == np.float32
    assert scale_accumulator(np.array([3.0]), np.float32([0.5])).dtype == np.float32
    found = accumulate(q, 3, np.ones((2, 1), np.int8), np.zeros(1, np.int32))
    assert found.dtype == np.int32
    assert found.tolist() == [[249]]


def test_doubles_are_rounded_to_float32_before_they_are_divided():
    """A double just below a tie is a tie as float32, and rounds to the even neighbour."""
    x = np.array([2.5 + 1e-12, 0.5 + 1e-12])
    assert quantize(x, QuantParams(1.0, 0)).tolist() == [2, 0]


def test_the_ends_of_a_grid_are_cut_after_the_zero_point_was_counted():
    """With zero point 200 the grid holds -200 to 55; what lies half a step beyond is at its end."""
    assert saturate(np.float32([-200.4, -201, 55.4, 56, -0.5, -1.5]), 200).tolist() == [0, 0, 255, 255, 200, 198]


def test_a_multiplier_meets_the_rounded_sum():
    """2^24 + 1 becomes 2^24 as float32, before it is multiplied: doubles would give another value."""
    assert scale_accumulator(np.array([2**24 + 1], np.int64), np.float32([3])).tolist() == [3 * 2**24]
    assert scale_accumulator(np.array([2.0**24 + 1]), np.float32([3])).tolist() == [3 * 2**24]


@pytest.mark.parametrize("zero_point", [0, 1, 128, 254, 255])
def test_sums_beyond_two_to_the_24_are_exact(zero_point):
    """700 inputs and weights near their limits: sums that float32 would round, odd ones among them."""
    rng = np.random.default_rng(zero_point)
    q = rng.integers(200, 256, (20, 700)).astype(np.uint8) if zero_point < 128 else np.zeros((20, 700), np.uint8)
    q[:, 0] = rng.integers(0, 256, 20)
    weight = rng.integers(125, 128, (700, 6)).astype(np.int8)
    bias = rng.integers(-9, 9, 6).astype(np.int32)
    expected = (q.astype(np.int64) - zero_point) @ weight.astype(np.int64) + bias
    found = accumulate(q, zero_point, weight, bias)
    if zero_point != 128:
        assert np.abs(expected).max() > 2**24
    assert (found == expected).all()
    assert (expected.astype(np.float32) != expected).any() or zero_point == 128


@pytest.mark.parametrize(
    ("zero_point", "reach"), [(0, 255), (1, 254), (127, 128), (128, 128), (129, 129), (200, 200), (255, 255)]
)
def test_the_certificate_counts_the_further_end_of_the_grid(zero_point, reach):
    """Of 0 and 255 the one that is further from the zero point, above the middle and below it."""
    weight, bias = np.array([[3, 0], [-7, 1]], np.int8), np.array([-5, 0], np.int32)
    assert certificate(weight, bias, zero_point) == 10 * reach + 5
    worst = np.array([[255, 0], [0, 255]] if zero_point < 128 else [[0, 255], [255, 0]], np.uint8)
    assert np.abs(accumulate(worst, zero_point, weight, bias)).max() <= 10 * reach + 5


def test_the_certificate_counts_the_lowest_bias():
    """The magnitude of -2^31 is no int32: it must not become 0 or negative."""
    assert certificate(np.zeros((3, 1), np.int8), np.array([-(2**31)], np.int32), 0) == 2**31
    assert certificate(np.zeros((3, 1), np.int8), np.zeros(1, np.int32), 0) == 0
    assert certificate(np.ones((2, 2), np.int8), np.array([-(2**31), 2**31 - 1], np.int32), 255) == 2**31 + 510


@pytest.mark.parametrize("columns", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_the_certificate_is_exact_for_layers_wider_than_it_looks_at_at_once(columns):
    """The largest sum may be in any column."""
    weight = np.ones((3, columns), np.int8)
    weight[2, -1] = -100
    assert certificate(weight, np.zeros(columns, np.int32), 0) == 102 * 255


def test_the_certificate_is_a_python_number_that_cannot_wrap():
    """A hundred thousand full weights pass 2^31."""
    found = certificate(np.full((100_000, 1), -127, np.int8), np.zeros(1, np.int32), 0)
    assert type(found) is int
    assert found == 100_000 * 127 * 255


DYNAMIC = {
    "both signs": ([-1.0, 3.0], np.float32(4.0) / np.float32(255), 64),
    "all positive": ([2.0, 5.1, 3.0], np.float32(5.1) / np.float32(255), 0),
    "all negative": ([-2.0, -5.1], np.float32(5.1) / np.float32(255), 255),
    "zeros": ([0.0, 0.0], 1.0, 0),
    "negative zero": ([-0.0], 1.0, 0),
    "one step": ([255.0, 0.0], 1.0, 0),
    "a scale that underflows": ([1e-44, 0.0], 1.0, 0),
    "the smallest scale there is": ([float(np.float32(1e-45) * 255), 0.0], np.float32(1e-45), 0),
    "the zero point on a tie": ([-0.5, 254.5], 1.0, 0),
    "the zero point on an odd tie": ([-1.5, 253.5], 1.0, 2),
    "the largest": ([3e38, 0.0], np.float32(3e38) / np.float32(255), 0),
}


@pytest.mark.parametrize(("x", "scale", "zero_point"), DYNAMIC.values(), ids=list(DYNAMIC))
def test_a_dynamic_grid_spans_the_batch_and_zero(x, scale, zero_point):
    """By hand, in float32: the range is widened to hold 0, and a range of no width has scale 1."""
    found = dynamic_grid(np.float32([x]))
    assert found == (np.float32(scale), zero_point)
    assert type(found[0]) is np.float32
    assert type(found[1]) is int


@pytest.mark.parametrize("x", [[np.nan, 1], [np.inf, 1], [-np.inf, 1], [3e38, -3e38]])
def test_what_has_no_range_has_no_dynamic_grid(x):
    """NaN, infinities, and a width beyond float32."""
    with pytest.raises(InputError, match=r"int8-dynamic layer met NaN, inf or an overflow; it takes finite values"):
        dynamic_grid(np.float32(x))


@pytest.mark.parametrize("x", [[-3.0, 1.0, 2.0, 0.3], [0.0, 5.0, 2.2], [-1.0, -9.0], [1e-44, 0.0]])
def test_quantizing_on_a_dynamic_grid_is_quantizing_on_a_stored_one(x):
    """The same division, rounding and saturation, and 0 is a point of the grid."""
    values = np.float32(x)
    scale, zero_point = dynamic_grid(values)
    found = quantize_on(values, scale, zero_point)
    assert (found == quantize(values, QuantParams(float(scale), zero_point))).all()
    assert quantize_on(np.float32([0]), scale, zero_point).tolist() == [zero_point]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_symmetric_grid_rounds_half_to_even_and_never_holds_minus_128(dtype):
    """In the values' own dtype, in place if asked; another limit is kept too."""
    x = np.array([[0.25, 0.75, 1.25, -0.25, -64.0, 200.0]], dtype)
    assert quantize_symmetric(x, dtype(0.5)).tolist() == [[0, 2, 2, 0, -127, 127]]
    assert quantize_symmetric(x, np.array([0.5], dtype), 7).tolist() == [[0, 2, 2, 0, -7, 7]]
    assert quantize_symmetric(x, dtype(0.5)).dtype == dtype
    assert quantize_symmetric(x, dtype(0.5), out=x) is x
    assert x.tolist() == [[0, 2, 2, 0, -127, 127]]
