"""A float bias becomes whole steps of its products, and what that costs is known."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.reference.bounds import SUM_ERROR
from export.onnx_reader.layers.bias import Bias, on_accumulator_grid
from export.onnx_reader.nodes import Unsupported

UNIT = np.float32([0.5, 0.25])


def test_a_bias_of_whole_steps_costs_nothing():
    """Exact steps, or as near to them as float32 keeps them."""
    found = on_accumulator_grid(np.array([3.0, -2.0]), UNIT, 1000)
    np.testing.assert_array_equal(found.steps, [6, -8])
    assert found.steps.dtype == np.int32
    assert not found.slack.any()
    large = on_accumulator_grid(np.float64([2**20, 1]) * (1 + 2.0**-23), UNIT, 0)
    np.testing.assert_array_equal(large.steps, [2**21, 4])
    assert not large.slack.any()


def test_one_bias_between_steps_makes_all_sums_round():
    """The file adds all of them to real values: each may be off by its own distance and its sum's roundings."""
    found = on_accumulator_grid(np.array([3.1, -2.0]), UNIT, 1000)
    np.testing.assert_array_equal(found.steps, [6, -8])
    steps = np.array([6.2, -8.0])
    expected = (np.array([0.2, 0]) + 4 * 2.0**-24 * (1000 + np.abs(steps))) * UNIT
    np.testing.assert_allclose(found.slack, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("steps", "fits"), [(2**31 - 1, True), (2**31, False), (-(2**31) + 1, True), (-(2**31), False)]
)
def test_a_bias_beyond_int32_is_refused(steps, fits):
    """Up to its last number, and the output is named."""
    shift = np.array([1.0, steps])
    if fits:
        assert on_accumulator_grid(shift, np.ones(2, np.float32), 0).steps[1] == steps
    else:
        with pytest.raises(Unsupported, match=r"the bias of output 1 is .* steps of its products, expected int32"):
            on_accumulator_grid(shift, np.ones(2, np.float32), 0)


def test_sums_of_real_values_are_allowed_their_rounding():
    """SUM_ERROR of the largest sum, with its bias, in real units."""
    bias = Bias(np.int32([6, -8]), np.array([0.5, 0.0]))
    found = bias.with_float_sums(np.float32([0.5, -0.25]), np.array([100.0, 200.0]))
    np.testing.assert_array_equal(found.steps, bias.steps)
    np.testing.assert_allclose(found.slack, [0.5 + SUM_ERROR * 106 * 0.5, SUM_ERROR * 208 * 0.25], rtol=1e-12)
