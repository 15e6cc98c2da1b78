"""Do labels say anything of a network? Those of other rows, or of classes counted otherwise, do not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST_TO_DOUBT = 20  # rows: of fewer, right answers are as good as any
_ADVICE = "look whether labels and rows are in the same order, and whether the labels are what the model was trained on"


def labels_doubt(labels: NDArray[Any], decided: NDArray[np.int64] | None, r2: float | None, classes: int) -> str | None:
    """Why labels are no measure of what is lost: the float model itself is no better than chance on them, else None.

    labels: classes (n,) beside what was `decided`, (n,), of so many `classes`; or targets, with the R^2 on them.
    """
    if len(labels) < FEWEST_TO_DOUBT:
        return None
    if decided is None:
        found = None if r2 is None or r2 > 0 else f"has R^2 {r2:.4f} on these targets, their mean has 0"
    else:
        right, most = int(np.sum(labels == decided)), _most_by_chance(labels, decided, classes)
        found = f"is right on {right:,} of {len(labels):,} rows, chance on up to {most:,}" if right <= most else None
    if found is None:
        return None
    return f"the float model itself {found}: these labels say nothing of it and were left out; {_ADVICE}"


def _most_by_chance(labels: NDArray[Any], decided: NDArray[np.int64], classes: int) -> int:
    """Right answers if decisions and labels had nothing to do with each other, and twice the spread above.

    Where all labels are of one class, no decisions that are mostly right are chance: then all classes are as likely.
    """
    count = len(labels)
    shares = [np.bincount(values, minlength=classes) / count for values in (labels, decided)]
    share = 1 / classes if shares[0].max() == 1 else float(shares[0] @ shares[1])
    return min(count, math.floor(count * share + 2 * math.sqrt(count * share * (1 - share))))
