from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Elementwise, LayerNorm
from edge_runtime.reference import stage_bound, stage_values
from tests.networks import random_elementwise, random_layer_norm, random_rows


def nothing(rows):
    return np.zeros(rows.shape)


def spelled_as_moments(layer, x):
    """mean(x^2) - mean^2 in float32 and in the features' order, as onnxruntime's own kernel takes the variance."""
    n = np.float32(layer.n_in)
    mean = np.add.accumulate(x, axis=-1)[:, -1:] / n
    square = np.add.accumulate(x * x, axis=-1)[:, -1:] / n
    deviation = np.sqrt(square - (mean * mean if layer.centered else 0) + np.float32(layer.epsilon))
    return (x - (mean if layer.centered else 0)) / deviation * layer.gamma + layer.beta


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("n", [2, 3, 96, 1000])
@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0])
def test_float64_and_other_spellings_stay_within_the_bound(n, centered, offset):
    """In any order of the sums and by another formula of the variance; the bound is stated for both."""
    for seed in range(10):
        layer = random_layer_norm(n, seed, centered=centered)
        rows = random_rows(50, n, seed) + np.float32(offset)
        ours, bound = stage_values(layer, rows), stage_bound(layer, rows, nothing(rows))
        assert np.isfinite(bound).mean() > 0.8  # a row of nearly equal values has no bound
        assert (np.abs(ours - stage_values(layer, rows.astype(np.float64))) <= bound).all()
        with np.errstate(invalid="ignore"):
            others = spelled_as_moments(layer, rows)
        known = np.isfinite(others)  # a variance below 0 is no number: two values that are nearly the same
        assert known.mean() > 0.9
        assert (np.abs(ours - others)[known] <= bound[known]).all()
        turned = replace(layer, gamma=layer.gamma[::-1], beta=layer.beta[::-1])
        assert (np.abs(ours - stage_values(turned, rows[:, ::-1])[:, ::-1]) <= bound).all()


def test_the_bound_of_a_normalization_is_near_what_the_sums_round():
    """Of 96 values around 0 a few hundred units in the last place: a wrong gamma, beta or epsilon breaks it."""
    layer, rows = random_layer_norm(96), random_rows(50, 96)
    bound = stage_bound(layer, rows, nothing(rows))
    assert np.median(bound) < 1000 * 2.0**-24
    exact = stage_values(layer, rows)
    for key, change in (("gamma", 1e-3), ("beta", 1e-3), ("epsilon", 2e-3)):
        value = np.float32(getattr(layer, key) + change)
        other = replace(layer, **{key: float(value) if key == "epsilon" else value})
        assert (np.abs(stage_values(other, rows) - exact) > bound).any(axis=1).all(), key
    other = replace(layer, centered=False)
    assert (np.abs(stage_values(other, rows) - exact) > bound).any(axis=1).all()
    shuffled = replace(layer, gamma=np.roll(layer.gamma, 1))
    assert (np.abs(stage_values(shuffled, rows) - exact) > bound).any(axis=1).all()


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.1])
def test_a_difference_on_the_way_in_is_carried(centered, size):
    """Whatever two engines make of rows that differ by so much lies within the bound, for each kind of stage."""
    rng = np.random.default_rng(0)
    for seed in range(20):
        for layer in (random_layer_norm(12, seed, centered=centered), random_elementwise(12, seed)):
            rows = random_rows(40, 12, seed) * 3
            entered = rng.uniform(0, size, rows.shape)
            moved = (rows + rng.uniform(-1, 1, rows.shape) * entered).astype(np.float32)
            entered = np.maximum(entered, np.abs(moved.astype(np.float64) - rows))
            bound = stage_bound(layer, rows, entered)
            assert (np.abs(stage_values(layer, moved).astype(float) - stage_values(layer, rows)) <= bound).all()


def test_an_elementwise_stage_allows_nothing_for_the_same_input():
    """Its five operations round alike on every engine."""
    layer, rows = random_elementwise(7), random_rows(9, 7)
    assert not stage_bound(layer, rows, nothing(rows)).any()


def test_what_cannot_be_bounded_is_infinite():
    """A row without any deviation and no epsilon, a square beyond float32, NaN: no number is wrong there."""
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    layer = LayerNorm("n", ones, zeros, 0.0, "linear")
    rows = np.float32([[1, 1, 1], [1e20, 0, -1e20], [np.nan, 1, 2], [np.inf, 1, 2], [1, 2, 4]])
    found = stage_bound(layer, rows, nothing(rows))
    assert np.isposinf(found[:4]).all()
    assert np.isfinite(found[4]).all()
    steep = Elementwise("e", ones * 2, ones, "linear", slope=-ones * 3)
    found = stage_bound(steep, rows[4:], np.full((1, 3), 0.5))
    assert ((found >= 3.0) & (found < 3.0001)).all()


def by_hand(layer, row, entered):
    """The bound of the module's docstring for one row, number by number."""
    u, n = 2.0**-24, len(row)
    x, e = [float(value) for value in row], [float(value) for value in entered]
    mean = sum(x) / n if layer.centered else 0.0
    d = [value - mean for value in x]
    square = sum(value * value for value in d) / n + layer.epsilon
    deviation = square**0.5
    moved = [e[i] + 2 * u * abs(d[i]) for i in range(n)]
    of_square = 2 * u * (n + 3) * square
    if layer.centered:
        size = sum(abs(x[i]) + e[i] for i in range(n)) / n
        moved = [value + sum(e) / n + 2 * u * (n + 1) * size for value in moved]
        of_square += 2 * u * 3 * (n + 3) * sum((abs(x[i]) + e[i]) ** 2 for i in range(n)) / n
    root = (sum(value * value for value in moved) / n) ** 0.5 + of_square / deviation + 2 * u * deviation
    found = []
    for i in range(n):
        z = abs(d[i]) / deviation
        spread = (moved[i] + z * root) / (deviation - root)
        gamma, beta = abs(float(layer.gamma[i])), abs(float(layer.beta[i]))
        found.append(gamma * spread + 2 * u * (4 * gamma * (z + spread) + beta))
    return found


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("size", [0.0, 0.01, 0.3])
def test_the_bound_of_a_normalization_is_the_stated_one(centered, size):
    """Number by number, with a large epsilon, and for what differs on the way in."""
    layer = random_layer_norm(5, 3, epsilon=0.5, centered=centered)
    rows = random_rows(4, 5) * 3
    entered = np.random.default_rng(1).uniform(0, 1, rows.shape) * size
    expected = [by_hand(layer, row, moved) for row, moved in zip(rows, entered, strict=True)]
    with np.errstate(all="raise"):
        np.testing.assert_allclose(stage_bound(layer, rows, entered), expected, rtol=1e-9)


@pytest.mark.parametrize("slope", [None, [0.5, -3.0, 1.5]])
def test_the_bound_of_a_map_is_its_scale_and_three_roundings_on_each_side(slope):
    """Times the slope where that is steeper than 1; nothing for a value that does not differ."""
    scale, shift = np.float32([2.0, -3.0, 0.1]), np.float32([-1.0, 0.3, 5.0])
    layer = Elementwise("e", scale, shift, "linear", slope=None if slope is None else np.float32(slope))
    rows, entered = np.float32([[4.0, -5.0, 6.0], [1.0, 2.0, 3.0]]), np.array([[0.5, 2e-6, 1e-7], [0.0, 0.0, 1.0]])
    size = np.abs(scale.astype(float))
    reach = size * (np.abs(rows) + entered) + np.abs(shift.astype(float))
    expected = (entered * size + 6 * 2.0**-24 * reach) * ([1.0, 3.0, 1.5] if slope else [1.0] * 3)
    expected[1, :2] = 0
    np.testing.assert_allclose(stage_bound(layer, rows, entered), expected, rtol=1e-12)


def test_engines_of_this_project_are_bound_more_narrowly():
    """Values around 1,000 that vary by 1, as pressures do: only mean(x^2) - mean^2 may lose them altogether."""
    layer, rows = random_layer_norm(64), random_rows(5, 64) + np.float32(1013)
    exact = rows.astype(np.float64)
    d = exact - exact.mean(axis=1, keepdims=True)
    exact = d / np.sqrt(np.square(d).mean(axis=1, keepdims=True) + layer.epsilon) * layer.gamma + layer.beta
    assert np.isposinf(stage_bound(layer, rows, nothing(rows))).all()
    bound = stage_bound(layer, rows, nothing(rows), in_one_pass=False)
    assert (np.abs(stage_values(layer, rows) - exact) <= bound).all()
    assert bound.max() < 0.1


def test_a_row_that_overflows_is_bounded_without_a_warning():
    """Beyond float64 too: the bound is infinite."""
    layer = random_layer_norm(3)
    with np.errstate(all="raise"):
        assert np.isposinf(stage_bound(layer, np.float32([[3e38, 1, 2]]), np.full((1, 3), 1e200))).all()


def test_what_is_not_bounded_before_a_map_is_not_after_it():
    """A scale of 0 neither makes the bound 0, which correct engines would break, nor NaN; NaN stays NaN."""
    layer = replace(random_elementwise(4), scale=np.array([0, 0, 1, 1], np.float32), slope=None)
    found = stage_bound(layer, np.ones((1, 4), np.float32), np.array([[np.inf, np.nan, np.inf, 0.0]]))
    np.testing.assert_array_equal(found, [[np.inf, np.nan, np.inf, 0.0]])
