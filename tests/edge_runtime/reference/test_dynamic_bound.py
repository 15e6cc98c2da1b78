"""The bound on int8-dynamic sums whose inputs differ a little: never passed, and narrow where nothing lies on a tie."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime import DynamicQuantizedDense
from edge_runtime.reference import trace_layer
from edge_runtime.reference.dynamic_bound import dynamic_bound


def layer(n_in=40, n_out=7, seed=0):
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.001, 0.01, n_out).astype(np.float32)
    weight = rng.integers(-127, 128, (n_in, n_out)).astype(np.int8)
    return DynamicQuantizedDense("d", weight, rng.normal(size=n_out).astype(np.float32), scale, "linear")


def sums(made, x):
    return trace_layer(made, x.astype(np.float32))["d.preactivation"].astype(np.float64)


@pytest.mark.parametrize("size", [1e-7, 1e-5, 1e-3, 0.03, 0.5, 5.0])
@pytest.mark.parametrize("kind", ["normal", "positive", "negative", "on ties", "zeros"])
def test_no_input_within_its_bound_moves_the_sums_beyond_theirs(kind, size):
    """Values and the ends of the grid moved at random and to their limits, one sign and both; with what is rounded."""
    rng = np.random.default_rng(int(size * 1e7))
    made = layer()
    x = rng.normal(size=(20, 40)).astype(np.float32)
    x = {"normal": x, "positive": np.abs(x), "negative": -np.abs(x), "on ties": np.round(x * 64) / 64 + 1 / 128,
         "zeros": x * 0}[kind].astype(np.float32)  # fmt: skip
    bound = size * rng.uniform(0, 1, x.shape) * (rng.uniform(size=x.shape) < 0.7)
    allowed, before = dynamic_bound(made, x, bound), sums(made, x)
    for move in (1.0, -1.0, *(rng.choice([-1, 1], x.shape) for _ in range(20)), rng.uniform(-1, 1, x.shape)):
        moved = (x + move * bound).astype(np.float32)
        bound_here = np.abs(moved.astype(np.float64) - x) <= bound * (1 + 1e-6) + 1e-12
        other = np.where(bound_here, moved, x)
        assert (np.abs(sums(made, other) - before) <= allowed).all()


def test_the_same_inputs_give_the_same_bits():
    """Nothing is allowed for where nothing differs; and nothing is said where anything may."""
    x = np.random.default_rng(1).normal(size=(5, 40)).astype(np.float32)
    assert not dynamic_bound(layer(), x, np.zeros(x.shape)).any()
    assert np.isposinf(dynamic_bound(layer(), x, np.full(x.shape, np.inf))).all()


def test_values_away_from_ties_keep_their_codes():
    """The last bits of 1,024 inputs move a code here and there: rows without one keep their sums."""
    made = layer(1024, 7)
    x = np.random.default_rng(2).normal(size=(200, 1024)).astype(np.float32)
    allowed = dynamic_bound(made, x, np.full(x.shape, 2e-7))
    spread = sums(made, x).std()
    assert np.median(allowed) < 1e-3 * spread
    assert allowed.max() < 0.1 * spread


@pytest.mark.parametrize("seed", range(30))
def test_a_scale_that_moves_by_its_last_bit_is_allowed_what_the_sums_are_rounded_by(seed):
    """No code moves there: all that differs is how products with another scale, and a bias, are rounded."""
    made = layer(40, 7, seed)
    x = np.random.default_rng(seed).normal(size=(20, 40)).astype(np.float32)
    other = np.where(x == x.max(), np.nextafter(x, np.float32(np.inf)), x)
    allowed = dynamic_bound(made, x, np.abs(other.astype(np.float64) - x))
    assert (np.abs(sums(made, other) - sums(made, x)) <= allowed).all()
