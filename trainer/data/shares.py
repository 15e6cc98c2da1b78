"""Shares of rows that are drawn by a seed, in which each class has its own share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Array


def shuffled(rows: int, seed: int) -> NDArray[np.int64]:
    """The numbers from 0 to rows - 1 in the order of a seed, the same with every version of NumPy."""
    # raw output of the generator, because NumPy keeps that the same between versions and permutation() not
    return np.argsort(np.random.PCG64(seed).random_raw(rows), kind="stable").astype(np.int64)


def drawn(
    rows: NDArray[np.int64], count: int, labels: Array | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that stay and `count` drawn ones, each in their order.

    labels: class indices, one for each of `rows`; each class then gives its share, to within a row or two.
    """
    position = np.arange(len(rows))
    is_drawn = (position + 1) * count // len(rows) > position * count // len(rows)
    if labels is not None:  # sorted by class, every so-manyth is drawn
        by_class = np.argsort(labels, kind="stable")
        is_drawn[by_class] = is_drawn.copy()
    return rows[~is_drawn], rows[is_drawn]
