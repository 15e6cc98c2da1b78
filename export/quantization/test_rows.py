"""Choose the rows that an artifact carries to prove itself: the hardest decisions and the extremes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engine import Engine, Limits
from edge_runtime.model import Model, TestVectors

DEFAULT_ROWS = 8
MOST_CHOSEN_FROM = 1024  # that are chosen from


def with_test_vectors(model: Model, rows: NDArray[np.float32], count: int = DEFAULT_ROWS) -> Model:
    """The model with `count` of the rows and its own outputs for them stored in it. rows: float32 (n, n_in)."""
    if count == 0:
        return model.with_test_vectors(None)
    chosen = rows[choose_rows(model, rows, min(count, len(rows)))]
    return model.with_test_vectors(TestVectors(chosen, Engine(model, Limits(max_batch=len(chosen))).logits(chosen)))


def spread_places(count: int, most: int) -> NDArray[np.int64]:
    """The places of at most `most` of `count` rows, spread evenly over all, ascending."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


class Sample:
    """Rows spread evenly over a stream of any length, at most `most` of them."""

    def __init__(self, most: int = MOST_CHOSEN_FROM) -> None:
        self._most = most
        self._stride, self._seen = 1, 0
        self._kept: list[NDArray[np.float32]] = []

    def add(self, block: NDArray[np.float32]) -> None:
        """See the next rows, float32 (k, n_in)."""
        places = np.arange(self._seen, self._seen + len(block))
        self._kept.append(block[places % self._stride == 0])
        self._seen += len(block)
        while sum(map(len, self._kept)) > self._most:
            self._kept, self._stride = [np.concatenate(self._kept)[::2]], 2 * self._stride

    @property
    def rows(self) -> NDArray[np.float32]:
        """Those that are kept, (n, n_in). Needs one at least."""
        return np.concatenate(self._kept)


def choose_rows(model: Model, rows: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Indices of `count` different rows (fewer if there are fewer), ascending.

    Half are the rows whose two largest outputs are closest, where an error of one step would show as another class. The
    others are the rows with the largest and smallest output and input, then rows spread evenly over the set.
    """
    logits = Engine(model, Limits(max_batch=max(1, len(rows)))).logits(rows)
    by_margin = np.argsort(_margins(logits), kind="stable")
    extremes = [
        logits.max(1).argmax(),
        logits.min(1).argmin(),
        np.abs(rows).sum(1).argmax(),
        np.abs(rows).sum(1).argmin(),
    ]
    spread = np.linspace(0, len(rows) - 1, max(1, count // 2)).astype(np.int64)
    candidates = np.concatenate([by_margin[: count - count // 2], extremes, spread, by_margin])
    _, first_places = np.unique(candidates, return_index=True)
    return np.sort(candidates[np.sort(first_places)][:count])


def _margins(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    if logits.shape[1] == 1:
        return np.abs(logits[:, 0])
    largest_two = np.partition(logits, -2, axis=1)[:, -2:]
    return np.asarray(largest_two[:, 1] - largest_two[:, 0])
