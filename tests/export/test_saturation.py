import itertools

import numpy as np
import pytest

from export.saturation import is_pair_safe


def avx2_sums(q: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """VPMADDUBSW: neighbouring uint8 x int8 products added with int16 saturation; then summed exactly."""
    n_in, n_out = weight.shape
    padded = np.zeros((n_in + n_in % 2, n_out), np.int64)
    padded[:n_in] = weight
    values = np.zeros(len(padded), np.int64)
    values[:n_in] = q
    pairs = (padded * values[:, None]).reshape(-1, 2, n_out).sum(axis=1)
    return np.clip(pairs, -32768, 32767).sum(axis=0)


@pytest.mark.parametrize(
    "pair", [(64, 64), (127, 1), (127, 2), (65, 63), (65, 64), (-64, -64), (-64, -65), (-127, 127)]
)
def test_the_rule_is_tight(pair):
    """A pair is called safe exactly when no two uint8 inputs make the 16-bit sum saturate."""
    weight = np.array(pair, np.int8)[:, None]
    extremes = [np.array(q) for q in itertools.product((0, 255), repeat=2)]
    exact = all((avx2_sums(q, weight) == q @ weight.astype(np.int64)).all() for q in extremes)
    assert is_pair_safe(weight) == exact


@pytest.mark.parametrize("seed", range(20))
def test_safe_weights_never_saturate_on_any_input(seed):
    """Random inputs on random safe matrices: the 16-bit sums are the exact ones."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-64, 65, (int(rng.integers(1, 40)), 3)).astype(np.int8)
    assert is_pair_safe(weight)
    for _ in range(20):
        q = rng.integers(0, 256, len(weight))
        assert (avx2_sums(q, weight) == q @ weight.astype(np.int64)).all()


def test_a_last_weight_without_a_neighbour_is_safe():
    """An odd row pairs with nothing."""
    assert is_pair_safe(np.array([[0], [0], [127]], np.int8))
