import numpy as np
import pytest

from edge_runtime.quantization import QuantParams, dequantize, quantize
from export.histogram import Histogram
from export.ranges import CANDIDATES, METHODS


def histogram_of(values):
    found = Histogram()
    found.add(np.asarray(values, np.float32))
    return found


def error(values, low, high):
    """Mean squared error of the real arithmetic on a grid from low to high."""
    scale = float(np.float32((high - low) / 255))
    grid = QuantParams(scale, int(np.clip(np.rint(-low / scale), 0, 255)))
    return np.mean((dequantize(quantize(values, grid), grid) - values) ** 2)


NORMAL = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
WITH_OUTLIER = np.append(NORMAL, np.float32(100.0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [NORMAL, np.maximum(NORMAL, 0), NORMAL + 5, NORMAL - 5, [0.0], [3.0], [-1e-30]])
def test_a_range_holds_zero_and_lies_within_what_was_seen(method, values):
    """0 must be a grid point, and nothing outside the extremes is worth a step."""
    values = np.float32(values)
    found = METHODS[method](histogram_of(values))
    assert found.low <= 0.0 <= found.high
    assert min(0.0, np.min(values)) <= found.low
    assert found.high <= max(0.0, np.max(values)) * (1 + 1e-6)


def test_minmax_is_exact():
    """The extremes themselves, not a bin's edge."""
    found = METHODS["minmax"](histogram_of(NORMAL))
    assert (found.low, found.high) == (NORMAL.min(), NORMAL.max())


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_one_outlier_does_not_set_the_range(method):
    """A single value of 100 among 200,000 normal ones is cut off by every method but minmax."""
    assert METHODS["minmax"](histogram_of(WITH_OUTLIER)).high == 100.0
    found = METHODS[method](histogram_of(WITH_OUTLIER))
    assert found.high < 80.0


def test_percentile_leaves_out_one_in_ten_thousand():
    """Half of the rest on each side."""
    found = METHODS["percentile"](histogram_of(NORMAL))
    outside = np.mean((found.low > NORMAL) | (found.high < NORMAL))
    assert outside == pytest.approx(1e-4, rel=0.3)


def test_mse_is_the_best_of_its_candidates_on_the_real_values():
    """Chosen from the histogram, but no candidate does better on the values themselves (to the bins' resolution)."""
    heavy = np.random.default_rng(1).standard_t(3, size=50_000).astype(np.float32)
    found = METHODS["mse"](histogram_of(heavy))
    errors = [error(heavy, heavy.min() * share, heavy.max() * share) for share in CANDIDATES]
    assert error(heavy, found.low, found.high) <= min(errors) * 1.02
    assert error(heavy, found.low, found.high) < 0.95 * error(heavy, heavy.min(), heavy.max())


def test_entropy_keeps_a_uniform_distribution_whole():
    """Where all values are equally likely, cutting any off loses more than finer steps gain."""
    uniform = np.random.default_rng(2).uniform(0, 1, 100_000).astype(np.float32)
    assert METHODS["entropy"](histogram_of(uniform)).high > 0.97
