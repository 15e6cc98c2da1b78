"""A float bias becomes whole steps of its products, and what that costs is known."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.numerics.activations import Activation
from edge_runtime.numerics.quantization import QuantParams
from edge_runtime.reference.bounds import SUM_ERROR
from export.onnx_reader.layers.bias import Bias, Rounding, diagonal, on_accumulator_grid
from export.onnx_reader.nodes import Unsupported
from export.onnx_reader.steps import Affine

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


TENTH = float(np.float32(0.1))
BEFORE, AFTER = QuantParams(TENTH, 120), QuantParams(float(np.float32(0.07)), 99)


def test_rounding_stays_on_its_grid():
    """Codes of 0..255, rounded half to even; values themselves if there is no grid."""
    rounding = Rounding(BEFORE, Activation.of("linear"), QuantParams(1.0, 10))
    np.testing.assert_array_equal(rounding(np.array([0.5, 1.5, -1e9, 1e9, -10.0, 245.0])), [10, 12, 0, 255, 0, 255])
    assert (rounding.codes[0], rounding.codes[-1]) == (-120, 135)
    values = np.array([0.3])
    assert Rounding(BEFORE, Activation.of("linear"), None)(values) is values


@pytest.mark.parametrize(
    ("value", "is_clear"),
    [(0.5, False), (0.50005, False), (0.5002, True), (0.0, True), (-10.5, False), (-11.5, True), (245.5, False),
     (246.5, True)],
)  # fmt: skip
def test_ties_count_on_the_grid_and_a_half_beyond(value, is_clear):
    """Near a tie, engines that multiply in another order round differently, but for values that saturate."""
    rounding = Rounding(BEFORE, Activation.of("linear"), QuantParams(1.0, 10))
    assert bool(rounding.is_clear(np.full((256, 1), value))[0]) == is_clear


@pytest.mark.parametrize("output", [AFTER, None], ids=["rounded", "real"])
def test_a_diagonal_does_to_codes_what_the_file_does(output):
    """For each of 256 codes, with weights of 1..127 and a bias of whole numbers; what is left over is its slack."""
    rng = np.random.default_rng(3)
    after = Affine(rng.normal(size=40) + 2, rng.normal(size=40))
    rounding = Rounding(BEFORE, Activation.of("linear"), output)
    found = diagonal(after, BEFORE.scale, 40, rounding)
    unit = np.float32(BEFORE.scale) * after.scale.astype(np.float32)
    exact = rounding.codes[:, None] * unit.astype(np.float64) + after.shift
    ours = (rounding.codes[:, None] * found.weight + found.bias) * (unit.astype(np.float64) / found.weight)
    assert ((found.weight >= 1) & (found.weight <= 127)).all()
    assert (np.abs(ours - exact) <= np.abs(unit) / 2 / found.weight + 1e-9).all()
    if output is None:
        assert (found.weight > 1).any()
        assert (np.abs(ours - exact) <= found.slack + 1e-12).all()
    else:
        is_sure = found.slack == 0
        assert is_sure.sum() > 30
        np.testing.assert_array_equal(rounding(ours)[:, is_sure], rounding(exact)[:, is_sure])


def test_the_first_weight_that_rounds_alike_is_kept():
    """Looked for from 127 down; a coarser one that rounds alike too does not take its place."""
    after = Affine(np.array([1.0, 1.0]), np.array([0.05 * 0.1, 0.0]))
    found = diagonal(after, TENTH, 2, Rounding(QuantParams(TENTH, 0), Activation.of("linear"), QuantParams(TENTH, 0)))
    assert found.weight[0] == 127


def test_the_finest_weight_is_kept_if_none_rounds_alike():
    """Half of the 127th part of a step is none of its parts, and a grid of thousandths shows it."""
    fine = QuantParams(float(np.float32(TENTH / 1000)), 0)
    after = Affine(np.array([1.0]), np.array([TENTH * 0.00385]))
    found = diagonal(after, TENTH, 1, Rounding(QuantParams(TENTH, 0), Activation.of("linear"), fine))
    assert found.weight[0] == 127
    assert found.slack[0] > 0


def test_whole_steps_need_no_weights():
    """A bias of whole steps is added to the codes as they are."""
    found = diagonal(
        Affine(np.array(1.0), np.array([0.2, -0.3])), TENTH, 2, Rounding(BEFORE, Activation.of("linear"), AFTER)
    )
    np.testing.assert_array_equal(found.weight, [1, 1])
    np.testing.assert_array_equal(found.bias, [2, -3])
    assert not found.slack.any()
