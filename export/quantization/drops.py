"""How much worse a smaller network may answer than the float one, and how much worse it does: one figure, by a metric.

accuracy  percentage points of the rows: right classes lost; without labels, decisions that are not the float network's.
rmse      percent by which the root mean squared error grows against the targets.
sqnr      decibels of signal to quantization noise, at the outputs, below what float16 weights give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.arguments import QUANTIZATION_CHECKS
from edge_runtime.errors import QuantizationError
from edge_runtime.model import Model
from export.quantization.doubts import is_classifier
from export.quantization.fidelity import sqnr_db

METRICS = {"accuracy": "points", "rmse": "percent", "sqnr": "dB"}  # and their units
_LARGEST = {"accuracy": 100.0, "rmse": math.inf, "sqnr": math.inf}
_MOST_DB = 144.0  # of float32 itself, whose numbers have 24 bits: no reference is better
_NOTHING = 1e-9  # what the rounding of a figure may add to it


@dataclass(frozen=True)
class AllowedDrop:
    """What a user allows: at most so much of a metric, a key of METRICS, in its unit."""

    metric: str
    most: float

    def __post_init__(self) -> None:
        QUANTIZATION_CHECKS.choice("metric", self.metric, METRICS)
        below = _LARGEST[self.metric]
        most = QUANTIZATION_CHECKS.number("max_drop", self.most, low=0.0, below=below if math.isfinite(below) else None)
        object.__setattr__(self, "most", most)

    @property
    def unit(self) -> str:
        """Of the figures."""
        return METRICS[self.metric]

    def allows(self, drop: float) -> bool:
        """Whether it is no more; of what is not a number nothing is allowed."""
        return drop <= self.most + _NOTHING

    def text(self, drop: float) -> str:
        """A figure with its unit: "0.28 points"."""
        return f"{drop:.2f} {self.unit}" if math.isfinite(drop) else "all is lost"


def metric_for(model: Model, labels: NDArray[Any] | None) -> str:
    """That these rows can be judged by: accuracy of a classifier, rmse if there are targets, else sqnr."""
    if labels is not None:
        return "accuracy" if labels.dtype.kind in "iu" else "rmse"
    return "accuracy" if is_classifier(model) else "sqnr"


class DropJudge:
    """Measures how much worse outputs are than the float `model`'s, on rows (n, n_in).

    labels: classes (n,) or targets (n, n_out), or None. half: the outputs of the model with float16 weights, which sqnr
    needs. Raises QuantizationError where the metric cannot be had of these rows.
    """

    def __init__(
        self,
        model: Model,
        exact: NDArray[np.float32],
        labels: NDArray[Any] | None,
        allowed: AllowedDrop,
        half: NDArray[np.float32] | None = None,
    ) -> None:
        _check_labels(model, labels, allowed.metric)
        self.allowed, self.rows = allowed, len(exact)
        self._model, self._exact, self._labels = model, exact, labels
        self._half_db = _MOST_DB if half is None else min(_MOST_DB, sqnr_db(exact, half))

    @property
    def described(self) -> str:
        """What is measured, and on what: "accuracy on 180 rows"."""
        what = {"accuracy": "accuracy", "rmse": "rmse", "sqnr": "sqnr below float16's"}[self.allowed.metric]
        if self.allowed.metric == "accuracy" and self._labels is None:
            what = "decisions changed"
        return f"{what} on {self.rows:,} rows"

    def drop(self, outputs: NDArray[np.float32]) -> float:
        """In the unit of the metric; inf for outputs that are not finite. Below 0: better than the float network."""
        if not np.isfinite(outputs).all():
            return math.inf
        if self.allowed.metric == "accuracy":
            return 100.0 * self._lost(outputs) / self.rows
        if self.allowed.metric == "rmse":
            return self._grown(outputs)
        decibels = sqnr_db(self._exact, outputs)
        return 0.0 if decibels == math.inf else max(0.0, self._half_db - decibels)

    def is_within(self, outputs: NDArray[np.float32]) -> bool:
        """Whether the drop is allowed on rows that a choice is made on, with what chance may have made better.

        Of so many changed decisions, some are lost and others won: the difference is uncertain by their root.
        """
        drop = self.drop(outputs)
        if self.allowed.metric == "accuracy" and math.isfinite(drop):
            changed = int(np.sum(self._decided(outputs) != self._decided(self._exact)))
            drop += 100.0 * math.sqrt(changed) / self.rows
        return self.allowed.allows(drop)

    def noise(self, outputs: NDArray[np.float32]) -> float:
        """-sqnr in dB: tells networks apart that lose as many decisions; inf where nothing is left."""
        return -sqnr_db(self._exact, outputs)

    def _lost(self, outputs: NDArray[np.float32]) -> int:
        found, exact = self._decided(outputs), self._decided(self._exact)
        if self._labels is None:
            return int(np.sum(found != exact))
        return int(np.sum(exact == self._labels)) - int(np.sum(found == self._labels))

    def _grown(self, outputs: NDArray[np.float32]) -> float:
        before, after = (_rmse(values, self._labels) for values in (self._exact, outputs))
        if before == 0.0:
            return 0.0 if after == 0.0 else math.inf
        return 100.0 * (after / before - 1.0)

    def _decided(self, outputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of each row; of one output whether it is above a sigmoid's middle, or above 0."""
        if outputs.shape[1] > 1:
            return outputs.argmax(axis=1)
        return np.asarray(outputs[:, 0] > (0.5 if self._model.final_activation.name == "sigmoid" else 0.0), np.int64)


def _rmse(outputs: NDArray[np.float32], targets: NDArray[Any] | None) -> float:
    assert targets is not None
    return float(np.sqrt(np.mean(np.square(outputs.astype(np.float64) - targets))))


def _check_labels(model: Model, labels: NDArray[Any] | None, metric: str) -> None:
    """Raise QuantizationError where the labels are not of the metric's kind."""
    if metric == "rmse" and (labels is None or labels.dtype.kind != "f"):
        found = "no labels" if labels is None else "classes"
        raise QuantizationError(f"metric 'rmse' found {found}, expected targets, floats (n, {model.n_out}); try 'sqnr'")
    if metric == "accuracy" and (not is_classifier(model) if labels is None else labels.dtype.kind == "f"):
        found, others = ("values", "'rmse' or 'sqnr'") if labels is not None else ("values and no labels", "'sqnr'")
        raise QuantizationError(f"metric 'accuracy' found {found}, expected classes; try {others}")
