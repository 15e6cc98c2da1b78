"""Which instructions the processor has, as NumPy found them when it was imported. NumPy does not make this public."""

from __future__ import annotations

import functools
import importlib


@functools.cache
def cpu_features() -> frozenset[str]:
    """NumPy's names of the instructions that this process can use: "AVX2", "ASIMDDP". Empty if NumPy does not tell."""
    for home in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):  # NumPy 2, NumPy 1
        try:
            features = importlib.import_module(home).__cpu_features__
        except (ImportError, AttributeError):
            continue
        return frozenset(name for name, is_there in features.items() if is_there)
    return frozenset()
