"""Weights are rounded so that a layer's outputs stay where they were, and its bias takes what is left on the mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.quantization.rounding import Moments, compensated, corrected_bias, moments, refitted


def correlated_rows(seed: int, n_in: int, count: int = 500) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, n_in)) @ generator.normal(size=(n_in, n_in)) + generator.normal(size=n_in)


def nearest(weight: np.ndarray, scale: np.ndarray, limit: int) -> np.ndarray:
    return np.clip(np.rint(weight / scale), -limit, limit)


def output_error(x: np.ndarray, wanted: np.ndarray, found: np.ndarray) -> float:
    return float(np.square((x - x.mean(axis=0)) @ (found - wanted)).mean())


@given(
    seed=st.integers(0, 10_000), n_in=st.integers(1, 90), n_out=st.integers(1, 5), limit=st.sampled_from([3, 7, 127])
)
@settings(max_examples=60, deadline=None)
def test_steps_are_whole_numbers_within_the_limit(seed, n_in, n_out, limit):
    """Whatever the inputs are, weights become whole numbers in -limit..limit."""
    weight = np.random.default_rng(seed).normal(size=(n_in, n_out))
    scale = np.abs(weight).max(axis=0) / limit
    steps = compensated(weight, scale, np.cov(correlated_rows(seed, n_in).T, bias=True).reshape(n_in, n_in), limit)
    assert np.array_equal(steps, np.rint(steps))
    assert np.abs(steps).max() <= limit


@given(seed=st.integers(0, 10_000), n_in=st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_inputs_that_do_not_move_together_are_rounded_to_the_nearest(seed, n_in):
    """With a diagonal matrix of moments no weight can make good what another leaves."""
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(n_in, 3))
    scale = np.abs(weight).max(axis=0) / 7
    diagonal = np.diag(generator.uniform(0, 5, n_in))
    assert np.array_equal(compensated(weight, scale, diagonal, 7), nearest(weight, scale, 7))


def test_outputs_are_closer_than_with_the_nearest_steps():
    """On correlated inputs the error of the outputs is at most two thirds of that of rounding to the nearest."""
    for seed in range(20):
        x = correlated_rows(seed, 40)
        weight = np.random.default_rng(seed + 100).normal(size=(40, 8))
        scale = np.abs(weight).max(axis=0) / 7
        steps = compensated(weight, scale, np.cov(x.T, bias=True), 7)
        before = output_error(x, weight, nearest(weight, scale, 7) * scale)
        assert output_error(x, weight, steps * scale) < before * 2 / 3


def test_blocks_change_nothing():
    """More inputs than a block holds give what one input after another gives, in plain loops."""
    x = correlated_rows(3, 150)
    covariance = np.cov(x.T, bias=True)
    weight = np.random.default_rng(4).normal(size=(150, 2))
    scale = np.abs(weight).max(axis=0) / 7
    assert np.array_equal(compensated(weight, scale, covariance, 7), one_by_one(weight, scale, covariance, 7))


def one_by_one(weight, scale, covariance, limit):
    """The definition: fix the weight of the largest moment, move the others to the least squares solution, repeat."""
    damped = covariance + 0.01 * np.mean(np.diag(covariance)) * np.eye(len(covariance))
    order = np.argsort(-np.diag(covariance), kind="stable")
    steps, left = np.empty_like(weight), weight.copy()
    for position, at in enumerate(order):
        rest = order[position + 1 :]
        steps[at] = nearest(left[at], scale, limit)
        error = left[at] - steps[at] * scale
        if len(rest):
            left[rest] += np.outer(np.linalg.solve(damped[np.ix_(rest, rest)], damped[rest, at]), error)
    return steps


def test_an_input_that_never_moves_is_rounded_to_the_nearest():
    """A constant input has no moment; a layer whose inputs are all constant is rounded like any other."""
    weight = np.random.default_rng(0).normal(size=(6, 3))
    scale = np.abs(weight).max(axis=0) / 127
    assert np.array_equal(compensated(weight, scale, np.zeros((6, 6)), 127), nearest(weight, scale, 127))


def test_weights_stay_where_quantization_takes_nothing():
    """Exact inputs need no other weights: not a bit changes."""
    x = correlated_rows(1, 12)
    weight = np.random.default_rng(2).normal(size=(12, 4)).astype(np.float32)
    seen = moments(x, x, x @ weight)
    assert np.array_equal(refitted(weight, seen), weight.astype(np.float64))


def test_refitted_weights_make_good_what_the_layers_before_lost():
    """Inputs that lost a tenth of one feature's variation get weights that bring the outputs back."""
    x = correlated_rows(5, 10)
    lossy = x.copy()
    lossy[:, 0] *= 0.9
    weight = np.random.default_rng(6).normal(size=(10, 3))
    found = refitted(weight, moments(lossy, x, x @ weight))
    lost = np.square((lossy - lossy.mean(axis=0)) @ weight - (x - x.mean(axis=0)) @ weight).mean()
    left = np.square((lossy - lossy.mean(axis=0)) @ found - (x - x.mean(axis=0)) @ weight).mean()
    assert left < 0.05 * lost


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_mean_of_each_output_is_that_of_the_float_layer(seed):
    """With the corrected bias, rounded weights and quantized inputs have the mean of the float layer, to 1e-9."""
    x = correlated_rows(seed, 9)
    lossy = np.rint(x * 4) / 4
    weight = np.random.default_rng(seed).normal(size=(9, 5))
    bias = np.arange(5.0)
    seen = moments(lossy, x, x @ weight + bias)
    rounded = np.rint(weight * 8) / 8
    means = (lossy @ rounded + corrected_bias(rounded, seen)).mean(axis=0)
    assert np.allclose(means, (x @ weight + bias).mean(axis=0), rtol=0, atol=1e-9)


def test_moments_are_those_of_the_definition():
    """mean, covariance and cross are what NumPy's own functions give."""
    x = correlated_rows(8, 4)
    lossy = np.rint(x)
    seen = moments(lossy, x, x @ np.ones((4, 2)))
    assert isinstance(seen, Moments)
    joint = np.cov(lossy.T, (x - lossy).T, bias=True)
    assert np.allclose(seen.covariance, joint[:4, :4])
    assert np.allclose(seen.cross, joint[:4, 4:])
    assert np.allclose(seen.mean, lossy.mean(axis=0))
    assert np.allclose(seen.target, (x @ np.ones((4, 2))).mean(axis=0))


@pytest.mark.parametrize("seed", range(3))
def test_few_rows_are_not_learned_by_heart(seed):
    """Of fewer rows than inputs the refit adds less than a third to the error on others; barely damped it adds more."""
    rng = np.random.default_rng(seed)
    basis, weight = rng.normal(size=(8, 60)), rng.normal(size=(60, 5))
    seen, others = (rng.normal(size=(k, 8)) @ basis + 0.3 * rng.normal(size=(k, 60)) for k in (40, 2000))

    def lossy(x):
        return np.round(2 * x) / 2

    def error(used):
        return np.square(lossy(others) @ used - others @ weight).mean()

    found = refitted(weight, moments(lossy(seen), seen, seen @ weight, about_means=False))
    assert error(found) < 1.33 * error(weight)
