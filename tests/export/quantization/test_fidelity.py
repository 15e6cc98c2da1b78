import math

import numpy as np
import pytest

from export.quantization.fidelity import even_db, even_error, finite, sqnr_db, squared_error, varies

SIGNAL = np.random.default_rng(0).normal(size=(500, 3))
NOISE = np.random.default_rng(1).normal(size=(500, 3))


@pytest.mark.parametrize("share", [1.0, 0.1, 0.01])
def test_decibels_are_twenty_times_the_logarithm_of_the_ratio(share):
    """Of two normal signals: 0 dB where they are as large as each other, 20 dB for each factor of ten."""
    assert sqnr_db(SIGNAL, SIGNAL + share * NOISE) == pytest.approx(-20 * math.log10(share), abs=0.3)


def test_the_definition_is_the_stated_one():
    """Sums over all outputs, of the signal without the mean of each output."""
    found = SIGNAL + 0.1 * NOISE
    centered = SIGNAL - SIGNAL.mean(axis=0)
    assert sqnr_db(SIGNAL, found) == pytest.approx(
        10 * math.log10(np.sum(centered**2) / np.sum((found - SIGNAL) ** 2)), abs=1e-9
    )


@pytest.mark.parametrize("offset", [1e6, -1e6, np.array([0.0, 1e3, -1e6])])
def test_an_offset_of_the_outputs_hides_no_noise(offset):
    """What an output always is carries no signal, whether all outputs have it or one of them."""
    found = SIGNAL + 0.1 * NOISE
    assert sqnr_db(SIGNAL + offset, found + offset) == pytest.approx(sqnr_db(SIGNAL, found), abs=1e-6)


def test_an_offset_of_what_was_found_is_noise():
    """A bias that was rounded badly is an error like any other."""
    assert sqnr_db(SIGNAL, SIGNAL + 1.0) == pytest.approx(0.0, abs=0.5)


def test_float32_values_are_summed_in_float64():
    """Differences far below float32's resolution of the sums are found."""
    reference = np.float32([[1000], [1001], [1002]])
    assert sqnr_db(reference, np.nextafter(reference, np.float32(0))) == pytest.approx(
        10 * math.log10(2 / (3 * 2.0**-28)), abs=0.01
    )


@pytest.mark.parametrize(
    ("reference", "found", "expected"),
    [
        (SIGNAL, SIGNAL, math.inf),
        (SIGNAL * 0 + 0.1, SIGNAL * 0 + 0.1, math.inf),
        (SIGNAL * 0 + 0.1, SIGNAL * 0 + 0.2, -math.inf),
        (SIGNAL[:1], SIGNAL[:1] + 1e-9, -math.inf),
        (SIGNAL, np.where(SIGNAL > 2, np.nan, SIGNAL), -math.inf),
        (SIGNAL, np.where(SIGNAL > 2, np.inf, SIGNAL), -math.inf),
        (np.where(SIGNAL > 2, np.inf, SIGNAL), np.where(SIGNAL > 2, -np.inf, SIGNAL), -math.inf),
        (np.where(SIGNAL > 2, np.nan, SIGNAL), np.where(SIGNAL > 2, np.nan, SIGNAL), math.inf),
        (np.where(SIGNAL > 2, np.inf, SIGNAL), np.where(SIGNAL > 2, np.inf, SIGNAL), math.inf),
    ],
)
def test_ends_are_infinite(reference, found, expected):
    """inf where nothing differs; -inf where nothing varies and something differs, and for NaN or inf on one side."""
    assert sqnr_db(reference, found) == expected


def test_values_that_are_infinite_on_both_sides_leave_the_others_to_be_judged():
    """A row that overflows in both networks is no error, and no signal."""
    reference, found = SIGNAL.copy(), SIGNAL + 0.1 * NOISE
    reference[3, 1] = found[3, 1] = np.inf
    assert sqnr_db(reference, found) == pytest.approx(20.0, abs=0.3)
    assert squared_error(reference, found) == pytest.approx(0.01 * 1500, rel=0.1)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_decibels_have_no_unit(unit):
    """A signal below 1 is a signal."""
    found = SIGNAL + 0.1 * NOISE
    assert sqnr_db(SIGNAL * unit, found * unit) == pytest.approx(sqnr_db(SIGNAL, found), abs=1e-6)


def test_outputs_that_are_each_constant_carry_no_signal():
    """Whatever the rounding of their means."""
    reference = np.tile([0.1, 0.7, 1e6 / 3], (1000, 1))
    assert sqnr_db(reference, reference + 1e-3) == -math.inf


def test_an_output_that_is_never_finite_leaves_the_others_to_be_judged():
    """It has no mean; the decibels are those of the other outputs."""
    reference, found = SIGNAL.copy(), SIGNAL + 0.1 * NOISE
    reference[:, 1] = found[:, 1] = np.nan
    assert sqnr_db(reference, found) == pytest.approx(sqnr_db(reference[:, [0, 2]], found[:, [0, 2]]), abs=1e-9)


def test_an_error_beside_nan_is_infinite():
    """Not NaN, which no comparison of methods could order."""
    assert squared_error(SIGNAL[:2], np.full((2, 3), np.nan)) == math.inf
    assert squared_error(np.full((2, 3), np.inf), SIGNAL[:2]) == math.inf


@pytest.mark.parametrize(("value", "expected"), [(1.5, 1.5), (math.inf, None), (-math.inf, None), (0.0, 0.0)])
def test_json_has_no_infinity(value, expected):
    """Its readers would refuse it."""
    assert finite(value) == expected


def test_each_output_counts_alike_in_an_even_error():
    """Whatever the units: one of three that is lost gives a third, and a third of noise is 4.8 dB."""
    reference = SIGNAL * np.array([1000.0, 0.01, 20.0])
    lost = reference.copy()
    lost[:, 1] = reference[:, 1].mean()
    assert even_error(reference, lost) == pytest.approx(1 / 3)
    assert even_db(reference, lost) == pytest.approx(10 * math.log10(3))
    assert sqnr_db(reference, lost) > 90
    assert even_error(reference * 7, lost * 7) == pytest.approx(even_error(reference, lost))
    assert even_db(SIGNAL[:, :1], SIGNAL[:, :1] + NOISE[:, :1]) == pytest.approx(
        sqnr_db(SIGNAL[:, :1], SIGNAL[:, :1] + NOISE[:, :1])
    )
    assert even_db(reference, reference) == math.inf


def test_an_output_that_does_not_vary_is_no_measure():
    """What float32 rounds of a constant is no signal: its error counts beside the variation of the others."""
    reference = np.float32(np.c_[SIGNAL[:, 0], np.full(500, 5.0)])
    reference[3, 1] = np.nextafter(np.float32(5), np.float32(6))
    found = reference + np.float32([0, 0.1])
    assert not varies(reference[:, 1])
    assert even_error(reference, found) == pytest.approx(
        5.0 / np.sum((SIGNAL[:, 0] - SIGNAL[:, 0].mean()) ** 2) / 2, rel=1e-3
    )
    still = np.ones((4, 2))
    assert even_error(still, still + 1) == 8
    assert even_db(still, still + 1) == -math.inf
    assert even_db(reference, np.full_like(reference, np.nan)) == -math.inf
