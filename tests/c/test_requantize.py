"""Requantization in C, by floats and by integers, beside the arithmetic that the runtime defines."""

import ctypes

import numpy as np
import pytest

from tests.c.compilers import WARNINGS, compiler
from tests.c.requantizer import answers, build_library, cases, requantized

# The product in float32 is an exact tie, or just beside one, and more exact arithmetic rounds it otherwise.
FUSED_IS_WRONG = [(21142, "0x1.c30566p-8", 146), (1016984, "0x1.c7bbp-14", 110), (2831827, "0x1.b4eefp-15", 148)]
FLAGS = {
    "O0": ("-O0", "-std=c99"),
    "O2": ("-O2", "-std=c99"),
    "native": ("-O3", "-march=native", "-std=gnu99"),  # gnu99 allows a multiplication and an addition to be fused
}


def library(name, flags, folder):
    return build_library(compiler(name), folder, *FLAGS[flags], *WARNINGS)


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_a_million_accumulators_have_numpys_bits(name, flags, tmp_path):
    """Of every size, beside ties and on them, by floats and by integers."""
    first, count = 1_000_000, 1_000_000 if flags == "O2" else 100_000
    found = answers(library(name, flags, tmp_path), first, count)
    for form, values in found.items():
        np.testing.assert_array_equal(values, requantized(cases(first, count)), form)


@pytest.mark.parametrize(("accumulator", "multiplier", "expected"), FUSED_IS_WRONG)
@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_a_multiplication_is_not_fused_with_the_addition_that_rounds(name, accumulator, multiplier, expected, tmp_path):
    """One rounding less gives the neighbouring integer here, and compilers fuse where the language lets them."""
    made = library(name, "native", tmp_path)
    for form in (made.steps_by_floats, made.steps_by_integers):
        arguments = (accumulator, ctypes.c_float(float.fromhex(multiplier)), -255, 255)
        assert form(*arguments) == expected


def test_the_cases_tell_wrong_roundings_from_right_ones():
    """Exact products, halves away from zero and halves upwards differ on thousands of a million cases."""
    found = cases(0, 1_000_000)
    right = requantized(found)
    exact = found.accumulator * found.multiplier.astype(np.float64)
    single = (found.accumulator.astype(np.float32) * found.multiplier).astype(np.float64)
    wrong = {
        "exact": np.rint(exact),
        "away": np.sign(single) * np.floor(np.abs(single) + 0.5),
        "up": np.floor(single + 0.5),
    }
    for name, value in wrong.items():
        differing = np.clip(value, found.low, found.high) + 255 - found.high != right
        assert differing.sum() > 1000, name
