"""What is lost whole, however small its part in sums over all: a class of few rows, an output of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantization import sqnr_db, varies

FEWEST_OF_CLASS = 2  # of a class: a single decision is a tie like any other
LEAST_VARIATION = 0.1  # of the mean of all outputs: one that varies less has no size of its own
MOST_NAMED = 3


def lost_classes(before: NDArray[np.int64], after: NDArray[np.int64], names: Sequence[str]) -> tuple[str, ...]:
    """The classes of which all decisions `before`, (n,), are others `after`; in words, with their rows."""
    found = []
    for place, count in zip(*np.unique(before, return_counts=True), strict=True):
        if count >= FEWEST_OF_CLASS and not (after[before == place] == place).any():
            name = f" '{names[place]}'" if names else ""
            found.append(f"class {place}{name} (all {count:,} rows)")
    return tuple(found)


def lost_outputs(exact: NDArray[Any], found: NDArray[Any], names: Sequence[str], *, apart: bool) -> tuple[str, ...]:
    """The outputs, columns of (n, n_out), of which nothing is left, in words; none where that is so of half of them.

    apart: whether each has a size of its own; else those that hardly vary beside the others are part of one signal.
    """
    variations = exact.astype(np.float64).var(axis=0)
    least = 0.0 if apart else LEAST_VARIATION * float(variations.mean())
    lost = []
    for at in np.flatnonzero(variations >= least).tolist():
        one, other = exact[:, [at]], found[:, [at]]
        if not varies(one[:, 0]):
            continue
        if not varies(other[:, 0]):
            lost.append(f"{names[at]} (the same for all rows)")
        elif (decibels := sqnr_db(one, other)) <= 0:
            lost.append(f"{names[at]} ({decibels:.1f} dB by itself)")
    return tuple(lost) if 2 * len(lost) < exact.shape[1] else ()


def named(lost: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = len(lost) - MOST_NAMED
    return ", ".join(lost[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
