"""Are the rows standardized alike in both networks? Where they are not, no layer is to blame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.model import Model, Standardization
from export.diagnosis.findings import Finding
from export.diagnosis.pairs import SideBySide
from export.quantization import sqnr_db

INPUT = "input"
LEAST_ALIKE_DB = 60.0  # float32 rounds a thousand times finer, int8 feels no difference that is smaller


def standardized_otherwise(model: Model, beside: SideBySide) -> list[Finding]:
    """What differs, of the feature that differs most; nothing if the first layers get the same to `LEAST_ALIKE_DB`."""
    exact, found = beside.exact_input, beside.small_input
    if np.array_equal(exact, found) or sqnr_db(exact, found) >= LEAST_ALIKE_DB:
        return []
    worst = _furthest(exact, found)
    ours, theirs = (_steps(steps, worst) for steps in (model.preprocessing, beside.small.preprocessing))
    text = f"the small model standardizes input {worst} {theirs}, the float model {ours}"
    return [Finding(INPUT, "standardization", text)]


def _furthest(exact: NDArray[np.float32], found: NDArray[np.float32]) -> int:
    with np.errstate(over="ignore", invalid="ignore"):
        return int(np.nan_to_num(np.square(found.astype(np.float64) - exact).sum(axis=0), nan=np.inf).argmax())


def _steps(steps: Standardization | None, feature: int) -> str:
    if steps is None:
        return "not at all"
    mean, factor = (values[feature if values.size > 1 else 0] for values in (steps.mean, steps.inv_std))
    return f"as (x - {mean:.4g}) * {factor:.4g}"
