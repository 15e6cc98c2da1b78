"""What NumPy does not make public: its clip as a ufunc (and which instructions it found, see `numerics`).

`np.clip` is a Python function around the ufunc. On the machines measured the ufunc takes a quarter of a microsecond on
a small float32 array, `np.clip` 1.4, and `np.maximum` 1.2 on some processors. NaN stays NaN. Each has a way without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_runtime.numerics import cpu_features


def _clip_by_two(x: Any, low: Any, high: Any, out: Any) -> Any:
    """The same values by two public ufuncs."""
    return np.minimum(np.maximum(x, low, out=out), high, out=out)


def _find() -> Callable[[Any, Any, Any, Any], Any]:
    for home in ("numpy._core.umath", "numpy.core.umath"):  # NumPy 2, NumPy 1
        try:
            found = getattr(importlib.import_module(home), "clip", None)
        except ImportError:
            continue
        if isinstance(found, np.ufunc):
            return found
    return _clip_by_two


clip_ufunc = _find()


def has_avx512() -> bool:
    """Whether NumPy found AVX-512 (the subset of Skylake servers). False where NumPy does not tell."""
    return "AVX512_SKX" in cpu_features()
