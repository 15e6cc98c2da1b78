"""How a network answers: the decisions or values of its logits beside the float network's, and beside labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.model import Model
from export.quantization import decisions, finite, is_classifier, sqnr_db


@dataclass(frozen=True)
class Answers:
    """Of one network on some rows.

    sqnr_db: signal to noise of the logits beside the float network's (dB). changed: rows with another decision than the
    float network's; None for a network that decides nothing. right: rows with the right class; rmse, r2: root of the
    mean squared error and the mean of R^2 over the outputs; None without labels of that kind.
    """

    rows: int
    sqnr_db: float
    changed: int | None = None
    right: int | None = None
    rmse: float | None = None
    r2: float | None = None

    @property
    def accuracy(self) -> float | None:
        """The share of right classes."""
        return None if self.right is None else self.right / self.rows

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "sqnr_db": finite(self.sqnr_db), "accuracy": self.accuracy}


class Judge:
    """Judges logits of networks that answer the same rows as the float `model`.

    exact: its logits, (n, n_out). labels: right classes, whole numbers (n,), or targets, floats (n, n_out), or None.
    """

    def __init__(self, model: Model, exact: NDArray[Any], labels: NDArray[Any] | None = None) -> None:
        self.labels = labels
        self._activation, self._exact = model.final_activation, exact
        is_decided = is_classifier(model) if labels is None else labels.dtype.kind in "iu"
        self._decisions = decisions(exact) if is_decided else None

    def answers(self, logits: NDArray[Any]) -> Answers:
        """Of the network that gave these logits, (n, n_out)."""
        decibels = sqnr_db(self._exact, logits)
        if self._decisions is not None:
            found = decisions(logits)
            right = None if self.labels is None else int(np.sum(found == self.labels))
            return Answers(len(logits), decibels, int(np.sum(found != self._decisions)), right)
        if self.labels is None:
            return Answers(len(logits), decibels)
        return Answers(len(logits), decibels, None, None, *_errors(self.labels, self._activation(logits)))


def _errors(targets: NDArray[Any], values: NDArray[Any]) -> tuple[float, float]:
    """RMSE over all outputs, and R^2 as `smallnet score` has it: an output that never varies counts 0."""
    wanted = targets.astype(np.float64).reshape(values.shape)
    squared = np.square(values.astype(np.float64) - wanted).sum(axis=0)
    spread = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
    varies = np.ptp(wanted, axis=0) > 0
    r2 = np.mean(np.where(varies, 1 - squared / np.where(varies, spread, 1), 0))
    return float(np.sqrt(squared.sum() / wanted.size)), float(r2)
