"""Grids, biases and multipliers of int8 layers."""

import numpy as np
import pytest

from edge_runtime import QuantizationError
from edge_runtime.numerics.quantization import QuantParams
from export.quantization.int8_layers import INT4, INT8, _multiplier, _quantized_bias, grid_for, weight_scales
from export.quantization.ranges import Range
from export.quantization.recipe import QuantizationWarning


def test_a_tensor_of_zeros_has_the_grid_of_ones():
    """Scale 1 and zero point 0."""
    with pytest.warns(QuantizationWarning, match="tensor 'a' is 0 on every calibration row"):
        assert grid_for(Range(0.0, 0.0), "a") == QuantParams(1.0, 0)


@pytest.mark.parametrize(
    ("low", "high", "zero_point"),
    [(0.0, 255.0, 0), (-255.0, 0.0, 255), (-1.0, 1.0, 127), (-0.5, 254.5, 0), (-1.5, 253.5, 2), (-100.0, 155.0, 100)],
)
def test_a_grid_ends_where_its_range_ends(low, high, zero_point):
    """Scale (high - low) / 255, zero point -low / scale rounded half to even."""
    grid = grid_for(Range(low, high), "a")
    assert (grid.scale, grid.zero_point) == (np.float32((high - low) / 255), zero_point)


def test_the_smallest_scale_is_the_smallest_normal_number():
    """It is taken; half of it is refused with the tensor's name."""
    tiny = float(np.finfo(np.float32).tiny)
    assert grid_for(Range(0.0, 255 * tiny), "a").scale == tiny
    with pytest.raises(QuantizationError, match=r"tensor 'a' has the range 0\.\..*not a normal"):
        grid_for(Range(0.0, 127 * tiny), "a")


@pytest.mark.parametrize(("steps", "fits"), [(2.0**31 - 1, True), (2.0**31, False), (-(2.0**31), False)])
def test_a_bias_that_leaves_int32_is_refused(steps, fits):
    """With the bias, its place and its steps: from 2^31 on."""
    bias, step = np.array([0, np.sign(steps) * 2.0**31]), np.array([1.0, 2.0**31 / abs(steps)])
    if fits:
        assert _quantized_bias("a", bias, step)[1] == 2**31 - 1
        return
    with pytest.raises(
        QuantizationError, match=r"'a\.bias' 1 is -?2\.14748e\+09, which is .* steps of 1 and leaves int32"
    ):
        _quantized_bias("a", bias, step)


@pytest.mark.parametrize(
    ("values", "fits"), [([1.2e-38, 1.0], True), ([1.0, 1e-39], False), ([1.0, 1e39], False), ([3e38, 1.0], True)]
)
def test_multipliers_are_normal_float32_numbers(values, fits):
    """From the smallest normal number up to the largest; NumPy's own warning of an overflow is not shown."""
    if fits:
        np.testing.assert_array_equal(_multiplier("dense0", np.array(values)), np.float32(values))
        tiny = float(np.finfo(np.float32).tiny)
        assert _multiplier("dense0", np.array([tiny, tiny]))[0] == tiny
    else:
        with pytest.raises(QuantizationError, match=r"'dense0.multiplier' runs from .* \(smallest at channel \d\)"):
            _multiplier("dense0", np.array(values))


def test_four_bits_are_used_to_both_ends():
    """An output whose largest weight is negative has it at -8; of int8 it is at -127, whichever its sign."""
    weight = np.array([[4.0, -4.0, 0.0], [-2.0, 2.0, 0.0]])
    for limits, scales in ((INT4, [4 / 7, 0.5, 1.0]), (INT8, [4 / 127, 4 / 127, 1.0])):
        found = weight_scales(weight, np.zeros(3), QuantParams(1.0, 0), limits, True)
        assert found.tolist() == scales
        together = weight_scales(weight, np.zeros(3), QuantParams(1.0, 0), limits, False)
        assert together.tolist() == [max(scales[:2])] * 3
