"""Accumulators and multipliers on which ways of requantizing differ, the same in NumPy and in C; NumPy's answers.

A case is made from its number alone, so that a microcontroller makes a million of them without any memory.
"""

from __future__ import annotations

import ctypes
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_runtime.numerics import FLOAT32_EXACT
from edge_runtime.numerics.quantization import saturate, scale_accumulator
from export.c_writer import write_c
from tests.adversarial import adversarial_model
from tests.c.compilers import compile_c

PROGRAMS = Path(__file__).parent / "programs"
FORMS = {"floats": 1, "integers": 0}  # by the value of the exported macro NAME_FLOAT_UNIT
_STEPS = """#include "name.c"

static int32_t name_steps(int32_t sum, float multiplier, int32_t low, int32_t high)
{
#if NAME_FLOAT_UNIT
    return name_round((float)sum * multiplier, (float)low, (float)high);
#else
    return name_requantize(sum, multiplier, low, high);
#endif
}
"""


class Cases(NamedTuple):
    """Arrays of one length: int32 accumulators, float32 multipliers, int64 limits of the centered result."""

    accumulator: np.ndarray
    multiplier: np.ndarray
    low: np.ndarray
    high: np.ndarray


def write_form(name, folder) -> None:
    """`NAME_form.h`: the text of an exported file, and NAME_steps, which requantizes as the layers in it do.

    The sums of its network can be larger than what float32 holds exactly, as those of the cases are.
    """
    model = adversarial_model(10, (1200, 2, 1))
    assert model.layers[0].certificate > FLOAT32_EXACT
    write_c(model, folder, name, logits=True)
    text = _STEPS.replace("NAME", name.upper()).replace("name", name)
    (folder / f"{name}_form.h").write_text(text, encoding="utf-8")


def build_library(command, folder, *flags) -> ctypes.CDLL:
    """programs/requantize_both.c around the text of an export, as a library that a compiler's command made."""
    for name in FORMS:
        write_form(name, folder)
    out = folder / "requantize.so"
    compile_c(command, [PROGRAMS / "requantize_both.c"], out, "-shared", "-fPIC", "-I", folder, *flags)
    return ctypes.CDLL(str(out))


def answers(library, first, count) -> dict[str, np.ndarray]:
    """What each form answers to the cases of `cases(first, count)`, uint8."""
    found = {name: np.empty(count, np.uint8) for name in FORMS}
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in found.values()]
    library.answers(ctypes.c_uint32(first), ctypes.c_uint32(count), *pointers)
    return found


def cases(first, count) -> Cases:
    """The cases number first to first + count - 1; see programs/requantize_cases.h."""
    number = np.arange(first, first + count, dtype=np.uint64).astype(np.uint32)
    kind = number & 3
    a, b, c = (_scrambled(number * np.uint32(3) + np.uint32(k)) for k in range(3))
    mantissa = np.where(kind == 2, b & 0x400000, b & 0x7FFFFF).astype(np.uint32)
    shift = (np.where(kind == 3, 37, 23) + (b >> 23) % np.where(kind == 3, 8, 22)).astype(np.uint32)
    magnitude = np.select([kind == 0, kind == 3], [(a >> 1) >> (c & 31), (((a >> 1) & 0x7FFFFF00) | 0x80) >> (c & 7)],
                          _beside_ties(a, mantissa, shift))  # fmt: skip
    zero_point = (c >> 24).astype(np.int64)
    return Cases(
        np.where((c >> 8) & 1, -magnitude.astype(np.int64), magnitude).astype(np.int32),
        _float(mantissa, 150 - shift),
        np.where((c >> 12) & 1, 0, -zero_point),
        255 - zero_point,
    )


def _scrambled(x):
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _beside_ties(a, mantissa, shift):
    """Magnitudes whose product with (2^23 + mantissa) / 2^shift is about half a step from an integer below 512."""
    half_steps = (2 * (a & 0x1FF) + 1).astype(np.uint64)
    magnitude = (half_steps << (shift - 1).astype(np.uint64)) // (mantissa.astype(np.uint64) + 0x800000)
    magnitude += (a >> 9) % 3
    return magnitude - (magnitude > 0)


def _float(mantissa, exponent):
    return ((exponent.astype(np.uint32) << 23) | (mantissa & 0x7FFFFF)).astype(np.uint32).view(np.float32)


def requantized(found: Cases) -> np.ndarray:
    """The uint8 answers of the arithmetic that the runtime defines, each with its own zero point, 255 - high."""
    value = scale_accumulator(found.accumulator, found.multiplier)
    value = np.maximum(value, np.where(found.low == 0, np.float32(0), np.float32(-np.inf)))
    answers = np.empty(len(value), np.uint8)
    order = np.argsort(found.high, kind="stable")
    ends = np.searchsorted(found.high[order], np.arange(257))
    for high, (start, end) in enumerate(pairwise(ends)):
        at = order[start:end]
        answers[at] = saturate(value[at], 255 - high)
    return answers
