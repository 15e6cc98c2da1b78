import math

import numpy as np
import pytest

from edge_runtime.numerics.quantization import QuantParams, dequantize, quantize
from export.quantization.histogram import Histogram
from export.quantization.ranges import CANDIDATES, METHODS, Range, _divergence


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


def test_percentile_of_few_values_is_the_whole_range():
    """Less than one in ten thousand cannot be left out of three."""
    found = METHODS["percentile"](histogram_of([-2.0, 1.0, 5.0]))
    assert (found.low, found.high) == (pytest.approx(-2.0, rel=1e-3), pytest.approx(5.0, rel=1e-3))


def plain_divergence(centers, counts, low, high):
    """Migacz's measure, bin by bin: outliers go to the ends, each grid point's count is spread over its filled bins."""
    scale = (high - low) / 255
    zero_point = round(-low / scale)
    kept = [(c, n) for c, n in zip(centers, counts, strict=True) if low <= c <= high]
    if not kept:
        return math.inf
    p = [float(n) for _, n in kept]
    p[0] += sum(n for c, n in zip(centers, counts, strict=True) if c < kept[0][0])
    p[-1] += sum(n for c, n in zip(centers, counts, strict=True) if c > kept[-1][0])
    groups = {}
    for place, (c, n) in enumerate(kept):
        code = min(max(round(c / scale) + zero_point, 0), 255)
        groups.setdefault(code, []).append((place, n))
    q = [0.0] * len(kept)
    for members in groups.values():
        for place, _ in members:
            q[place] = sum(n for _, n in members) / len(members)
    p, q = np.array(p) / sum(p), np.array(q) / sum(q)
    return float(np.sum(p * np.log(p / q)))


@pytest.mark.parametrize("seed", range(6))
def test_entropy_is_the_stated_divergence(seed):
    """The chosen range is the best of the candidates by a plain implementation of the measure."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=3000), rng.exponential(size=3000), rng.standard_t(3, size=3000)][seed % 3]
    found = histogram_of(values * rng.uniform(0.1, 50))
    centers, counts = found.filled()
    low, high = min(0.0, found.low), max(0.0, found.high)
    costs = [plain_divergence(centers, counts, low * share, high * share) for share in CANDIDATES]
    chosen = METHODS["entropy"](found)
    assert min(costs) < costs[0] or seed % 3 == 0
    assert plain_divergence(centers, counts, chosen.low, chosen.high) == pytest.approx(min(costs), rel=1e-9)


def test_divergence_is_the_stated_one_at_each_candidate():
    """The value itself, with edges that lie on a bin's center, and infinity where nothing is inside."""
    rng = np.random.default_rng(9)
    found = histogram_of(np.concatenate([rng.normal(size=500), [0.5, 8.0, -8.0]]))
    centers, counts = found.filled()
    for low, high in ((found.low, found.high), (centers[5], centers[-5]), (-1.0, 1.0), (0.0, 3.0), (-2.0, 0.0)):
        expected = plain_divergence(centers, counts, low, high)
        assert _divergence(centers, counts, Range(low, high)) == pytest.approx(expected, rel=1e-9)
    assert _divergence(centers[-1:], counts[-1:], Range(-1.0, 1.0)) == math.inf
