"""What the processor can do, as NumPy found it out."""

from __future__ import annotations

import functools
import importlib


@functools.cache
def has_avx512() -> bool:
    """Whether NumPy found AVX-512 (the subset of Skylake servers). False where NumPy does not tell."""
    for home in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):  # NumPy 2, NumPy 1
        try:
            features = importlib.import_module(home).__cpu_features__
        except (ImportError, AttributeError):
            continue
        return bool(features.get("AVX512_SKX", False))
    return False
