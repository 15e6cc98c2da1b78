"""What a lower precision makes of weights and activations, by the definition of each grid."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.layers import DenseLayer
from trainer.network.precision import LoweredDense, lower_values, lower_weights, symmetric_scale

RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=(7, 5)).astype(np.float32) * np.float32([1, 10, 0.01, 0, 1e4])
DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clip_value", [1, 7, 127])
def test_a_scale_reaches_the_largest_magnitude(dtype, clip_value):
    """max |x| in clip_value steps, for each column or row; 1 where all are 0; in the values' own dtype."""
    x = np.array([[1.0, -4.0, 0.0], [-2.0, 3.0, 0.0]], dtype)
    columns, rows = symmetric_scale(x, clip_value, 0), symmetric_scale(x, clip_value, 1)
    np.testing.assert_array_equal(columns, np.array([[2, 4, clip_value]], dtype) / dtype(clip_value))
    np.testing.assert_array_equal(rows, np.array([[4], [3]], dtype) / dtype(clip_value))
    assert columns.dtype == rows.dtype == dtype
    assert symmetric_scale(np.zeros((0, 3), dtype), clip_value, 0).tolist() == [[1, 1, 1]]


def test_integers_are_rounded_half_to_even_and_symmetric():
    """0.5 becomes 0, 1.5 and 2.5 become 2; the largest magnitude is exactly clip_value, with its sign."""
    x = np.float64([[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -4.0]])
    integers, scale = lower_values(x, 4, 1)
    assert scale.tolist() == [[1.0]]
    assert integers.tolist() == [[0, 2, 2, 0, -2, -2, -4]]


@pytest.mark.parametrize("clip_value", [1, 7, 127])
@pytest.mark.parametrize("seed", range(10))
def test_integers_give_the_values_back_to_half_a_step(seed, clip_value):
    """Whole numbers within the clip value; x = integers * scale to within half a step and rounding."""
    x = np.random.default_rng(seed).normal(size=(6, 9)).astype(np.float32)
    for axis in (0, 1):
        integers, scale = lower_values(x, clip_value, axis)
        assert integers.dtype == x.dtype
        np.testing.assert_array_equal(integers, np.rint(integers))
        np.testing.assert_array_equal(np.abs(integers).max(axis=axis), clip_value)
        assert (np.abs(integers * scale - x) <= scale * 0.500001).all()


def test_a_magnitude_that_rounding_pushes_over_is_clipped():
    """The division of the largest value by its scale may end above clip_value; the integer does not."""
    x = np.nextafter(np.float32(127) * np.arange(1, 2000, dtype=np.float32)[None].T, np.float32(np.inf))
    for clip_value in (1, 3, 127):
        integers, _scale = lower_values(x, clip_value, 1)
        assert (integers == clip_value).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_float16_weights_are_the_nearest_half_and_saturate(dtype):
    """In the weights' own dtype; beyond float16's range its largest number, not infinity; theirs stay."""
    weights = np.array([[1 / 3, 65504.0, 65519.0, 65520.0, 1e30, -1e30, 1e-9]], dtype)
    before = weights.copy()
    lowered = lower_weights(weights, "float16", 127)
    assert lowered.dtype == dtype
    third = float(np.float16(1 / 3))
    assert lowered.tolist() == [[third, 65504, 65504, 65504, 65504, -65504, 0]]
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("clip_value", [1, 100, 127])
def test_int8_weights_lie_on_a_grid_of_their_column(clip_value):
    """Each column has its own scale, from its largest magnitude of either sign; a column of zeros stays."""
    before = WEIGHTS.copy()
    lowered = lower_weights(WEIGHTS, "int8", clip_value)
    integers, scale = lower_values(WEIGHTS, clip_value, 0)
    np.testing.assert_allclose(lowered, integers * scale, rtol=1e-6)
    np.testing.assert_allclose(np.abs(lowered).max(axis=0), np.abs(WEIGHTS).max(axis=0), rtol=1e-6)
    assert not lowered[:, 3].any()
    assert lowered.dtype == WEIGHTS.dtype
    np.testing.assert_array_equal(WEIGHTS, before)
    one_sided = lower_weights(np.float32([[1.0, -1.0], [2.0, -2.0]]), "int8", 2)
    assert one_sided.tolist() == [[1, -1], [2, -2]]


def test_float32_weights_are_the_very_array():
    """Nothing is copied where nothing changes."""
    assert lower_weights(WEIGHTS, "float32", 127) is WEIGHTS


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_lowered_weights_are_written_where_the_caller_says(precision):
    """Into `out`, with the same values as without; the weights themselves may be that array."""
    expected, out = lower_weights(WEIGHTS, precision, 127), np.full_like(WEIGHTS, np.nan)
    assert lower_weights(WEIGHTS, precision, 127, out) is out
    np.testing.assert_array_equal(out, expected)
    own = WEIGHTS.copy()
    lower_weights(own, precision, 127, own)
    np.testing.assert_array_equal(own, expected)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_layer_computes_with_lowered_weights(precision, dtype):
    """x @ weights + bias; in int8 also the rows on grids of their own. What the layer itself holds is not used."""
    weights, bias = WEIGHTS.astype(dtype), RNG.normal(size=5).astype(dtype)
    x = RNG.normal(size=(4, 7)).astype(dtype)
    found = LoweredDense(weights, bias, precision, 50).forward(DenseLayer(7, 5, dtype=dtype), x)
    if precision == "int8":
        (rows, row_scale), (columns, column_scale) = lower_values(x, 50, 1), lower_values(weights, 50, 0)
        expected = (rows.astype(np.float64) @ columns) * row_scale * column_scale + bias
    else:
        expected = x.astype(np.float64) @ lower_weights(weights, precision, 50) + bias
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 if dtype is np.float32 else 1e-12)


def test_sums_of_integers_are_exact():
    """127 * 127 * 200,000 is beyond what float32 adds without loss: the sum is the exact one."""
    x, weights = np.ones((1, 200_000), np.float32), np.ones((200_000, 1), np.float32)
    x[0, 0] = 0.5  # 64 of 127 steps, half to even
    found = LoweredDense(weights, np.zeros(1, np.float32), "int8").forward(DenseLayer(1, 1), x)
    assert found[0, 0] == np.float32((127 * 127 * 199_999 + 64 * 127) / (127 * 127))


def test_the_default_is_float32():
    """And 127 steps, where int8 is asked for."""
    layer = LoweredDense(WEIGHTS, np.zeros(5, np.float32))
    assert (layer.precision, layer.clip_value) == ("float32", 127)
    assert layer.weights is WEIGHTS
