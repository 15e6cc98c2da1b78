"""What a library may be compiled for: the instructions that this process finds, which need not be the compiler's.

`-march=native` would ask the compiler, which may run on another processor than the process that it compiles for: one
that is emulated, for example. So the flags name the instructions, and a library's key holds the flags.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from edge_runtime.numerics import cpu_features

_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")


class Processor(NamedTuple):
    """A kind of processor. features: what NumPy calls the instructions that it must have. flags: for the compiler."""

    name: str
    features: tuple[str, ...]
    flags: tuple[str, ...]


_PROCESSORS = {
    "x86_64": (
        Processor(
            "avx512-vnni",
            ("AVX2", "FMA3", "F16C", "AVX512F", "AVX512BW", "AVX512DQ", "AVX512VL", "AVX512VNNI"),
            (*_AVX512, "-mavx512vnni"),
        ),
        Processor("avx512", ("AVX2", "FMA3", "F16C", "AVX512F", "AVX512BW", "AVX512DQ", "AVX512VL"), _AVX512),
        Processor("avx2", ("AVX2", "FMA3", "F16C"), _AVX2),
    ),
    "aarch64": (Processor("dot-products", ("ASIMDDP",), ("-march=armv8.2-a+dotprod",)),),
}


def machine() -> str:
    """The family of this processor: "x86_64", "aarch64", or what the system calls others."""
    name = os.uname().machine.lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def processors() -> list[Processor]:
    """What this process can run, the quickest first; the last is any processor of the family."""
    found = cpu_features()
    return [processor for processor in _PROCESSORS.get(machine(), ()) if found.issuperset(processor.features)] + [
        Processor("any", (), ())
    ]
