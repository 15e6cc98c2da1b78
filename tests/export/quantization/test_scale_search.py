"""Scales of 4-bit weights: closer outputs than with the scale that holds every weight."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from export.quantization.rounding import Compensation
from export.quantization.scale_search import ScaleSearch

LOW, HIGH = -8, 7


def network(seed: int, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights with long tails, (n_in, n_out), and the covariance of inputs that move together."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(300, n_in)) @ generator.normal(size=(n_in, n_in))
    return generator.standard_t(4, (n_in, n_out)), np.cov(x.T, bias=True).reshape(n_in, n_in)


def holding(weight: np.ndarray) -> np.ndarray:
    """The scales that hold every weight."""
    return np.maximum(weight.max(axis=0) / HIGH, weight.min(axis=0) / LOW)


def searched(weight: np.ndarray, covariance: np.ndarray, least: float = 0.0) -> ScaleSearch:
    search = ScaleSearch(weight, holding(weight), np.full(weight.shape[1], least), covariance, LOW, HIGH)
    search.run()
    return search


@given(seed=st.integers(0, 10_000), n_in=st.integers(1, 40), n_out=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_no_output_is_further_away_than_with_the_scale_that_holds_all(seed, n_in, n_out):
    """Whole numbers in -8..7, by which each output's error is at most what the plain scale leaves; twice the same."""
    weight, covariance = network(seed, n_in, n_out)
    search = searched(weight, covariance)
    compensation, scale = Compensation(covariance), holding(weight)
    plain = compensation.rounded(weight, scale, HIGH, low=LOW)
    before = compensation.squared_errors(weight - plain * scale)
    after = compensation.squared_errors(weight - search.steps * search.scale)
    assert (after <= before * (1 + 1e-12)).all()
    assert np.array_equal(search.steps, np.rint(search.steps))
    assert search.steps.min() >= LOW
    assert search.steps.max() <= HIGH
    again = searched(weight, covariance)
    assert np.array_equal(again.steps, search.steps)
    assert np.array_equal(again.scale, search.scale)


def test_the_steps_are_those_of_the_scale():
    """Each output's weights, rounded with the scale that was found for it, are the steps that were found."""
    weight, covariance = network(3, 50, 7)
    search = searched(weight, covariance)
    assert np.array_equal(search.steps, Compensation(covariance).rounded(weight, search.scale, HIGH, low=LOW))
    assert len(set((search.scale / holding(weight)).round(6))) > 3


def test_long_tails_are_clipped_for_the_others_good():
    """Of 64 inputs with long-tailed weights: less than nine tenths of the error, on every seed."""
    for seed in range(20):
        weight, covariance = network(seed, 64, 16)
        compensation, scale = Compensation(covariance), holding(weight)
        plain = compensation.rounded(weight, scale, HIGH, low=LOW)
        before = compensation.squared_errors(weight - plain * scale).sum()
        search = searched(weight, covariance)
        assert compensation.squared_errors(weight - search.steps * search.scale).sum() < 0.9 * before


def test_no_scale_is_below_the_least():
    """What a bias needs to stay within int32 is kept, also where smaller steps would be closer."""
    weight, covariance = network(5, 30, 4)
    least = 0.95 * holding(weight).max()
    assert searched(weight, covariance, least).scale[holding(weight).argmax()] >= least


def test_outputs_without_weights_keep_their_scale():
    """Zeros stay zeros."""
    _, covariance = network(6, 9, 1)
    search = ScaleSearch(np.zeros((9, 2)), np.ones(2), np.zeros(2), covariance, LOW, HIGH)
    search.run()
    assert search.scale.tolist() == [1.0, 1.0]
    assert not search.steps.any()
