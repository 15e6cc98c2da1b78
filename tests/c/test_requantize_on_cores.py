"""Requantization on emulated microcontrollers: the checksum of a million answers is NumPy's, on every core."""

import zlib

import pytest

from tests.c.firmware import CORES, build, emulate
from tests.c.requantizer import FORMS, PROGRAMS, cases, requantized, write_form

COUNT = 1_000_000


@pytest.fixture(scope="module")
def expected():
    return zlib.crc32(requantized(cases(0, COUNT)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CORES)
def test_a_million_accumulators_have_numpys_checksum(name, form, expected, tmp_path):
    """By a floating-point unit, by a library of software floats, and by integers: each core can be told to do either.

    gnu99 lets gcc fuse multiplications with additions, which these cores have an instruction for.
    """
    write_form("one", tmp_path)
    flags = ("-O2", "-std=gnu99", f"-DONE_FLOAT_UNIT={FORMS[form]}", "-I", tmp_path)
    core = CORES[name]
    firmware = build(core, [PROGRAMS / "requantize_firmware.c"], tmp_path / "firmware.elf", *flags)
    assert emulate(core, firmware, COUNT) == {"crc": expected}
