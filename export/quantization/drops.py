"""How much worse a smaller network may answer than the float one, and how much worse it does: one figure, by a metric.

accuracy  percentage points of the rows: right classes lost; without labels, decisions that are not the float network's.
          By the values before a final activation, which may be the same for all classes once it saturates.
rmse      percent by which the root mean squared error grows against the targets: of the target where it grows most; of
          an autoencoder that of all, each in its own deviation where the model standardizes it by one.
sqnr      decibels of signal to quantization noise, at the outputs, below what float16 weights give; outputs that are
          quantities of their own count alike, whatever their units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.arguments import QUANTIZATION_CHECKS
from edge_runtime.engine import Engine
from edge_runtime.errors import InputError, QuantizationError
from edge_runtime.model import Model
from export.quantization.doubts import counts_alike, decisions, has_parts_of_own_units, has_targets_apart, is_classifier
from export.quantization.fidelity import even_db, sqnr_db, varies

METRICS = {"accuracy": "points", "rmse": "percent", "sqnr": "dB"}  # and their units
_LARGEST = {"accuracy": 100.0, "rmse": math.inf, "sqnr": math.inf}
_MOST_DB = 144.0  # of float32 itself, whose numbers have 24 bits: no reference is better
_NOTHING = 1e-5  # of any unit: what float32 kernels that round otherwise may add to a figure


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
        """A figure with its unit, in as many digits as tell it from what is allowed: "0.28 points", "1.004 percent"."""
        tells = (digits for digits in range(2, 10) if f"{drop:.{digits}f}" != f"{self.most:.{digits}f}")
        return drop_text(drop, self.unit, digits=2 if self.allows(drop) else next(tells, 2))


def drop_text(drop: float, unit: str, reserve: float = 0.0, digits: int = 2) -> str:
    """A figure with its unit; with a reserve, what chance may have made better: "0.28 +- 0.14 points"."""
    if not math.isfinite(drop):
        return "all is lost"
    figure = f"{round(drop, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.00"
    return f"{figure} +- {reserve:.2f} {unit}" if reserve else f"{figure} {unit}"


def metric_for(model: Model, labels: NDArray[Any] | None) -> str:
    """That these rows can be judged by: accuracy of a classifier, rmse if there are targets, else sqnr."""
    if labels is not None:
        return "accuracy" if labels.dtype.kind in "iu" else "rmse"
    return "accuracy" if is_classifier(model) else "sqnr"


def judged_answers(model: Model, rows: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """What a metric judges of a network on rows (n, n_in): values before a final activation for accuracy, else outputs.

    Outputs that saturate are the same for all classes, whatever `Engine.predict` decides.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return Engine(model).logits(rows) if metric == "accuracy" else Engine(model).run(rows)


class DropJudge:
    """Measures how much worse outputs are than the float `model`'s, on rows.

    exact: the model's `judged_answers` (n, n_out), or its outputs, as an ONNX file gives them. labels: classes (n,) or
    targets (n, n_out), or None. half: `judged_answers` of the model with float16 weights, which sqnr needs. activated:
    whether the outputs are behind a final activation, which accuracy asks of a single one. Raises QuantizationError
    where the metric cannot be had of these rows, InputError where the float network gives NaN or inf.
    """

    def __init__(
        self,
        model: Model,
        exact: NDArray[np.float32],
        labels: NDArray[Any] | None,
        allowed: AllowedDrop,
        half: NDArray[np.float32] | None = None,
        *,
        activated: bool = True,
    ) -> None:
        _check_labels(model, labels, allowed.metric)
        _refuse_overflow(exact)
        self.allowed, self.rows = allowed, len(exact)
        self._exact, self._labels = exact, labels
        is_sigmoid = activated and model.n_out == 1 and model.final_activation.name == "sigmoid"
        self._middle = np.float32(0.5 if is_sigmoid else 0.0)  # of a single output
        is_apart, is_even = has_targets_apart(model), counts_alike(model)
        self._targets = model.n_out if is_apart and allowed.metric == "rmse" else 1  # that are judged each by itself
        self._decibels = even_db if is_even else sqnr_db
        self._weights = _weights(exact) if is_even else np.ones(model.n_out)
        self._scales = _deviations(model)
        self._half_db = _MOST_DB if half is None else min(_MOST_DB, self._decibels(exact, half))
        self._half_shares = 0.0 if half is None else self._shares(half)

    @property
    def described(self) -> str:
        """What is measured, and on what: "accuracy on 180 rows"."""
        rmse = "rmse of the worst output" if self._targets > 1 else "rmse"
        what = {"accuracy": "accuracy", "rmse": rmse, "sqnr": "sqnr below float16's"}[self.allowed.metric]
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
            return float(self._grown(outputs).max())
        return max(0.0, self._below_half(outputs))

    def worst_target(self, outputs: NDArray[np.float32]) -> int | None:
        """The output whose error grows most, where the drop is of one of several."""
        if self._targets == 1 or not np.isfinite(outputs).all():
            return None
        return int(self._grown(outputs).argmax())

    def reserve(self, outputs: NDArray[np.float32]) -> float:
        """How much more the drop may be on other such rows, by one standard error, in its unit.

        Of so many changed decisions, some are lost and others won: the difference is uncertain by their root. Errors
        are compared row by row, for what is hard for both networks is no difference.
        """
        drop = self.drop(outputs)
        if not math.isfinite(drop):
            return 0.0
        if self.allowed.metric == "accuracy":
            changed = int(np.sum(self._decided(outputs) != self._decided(self._exact)))
            return 100.0 * math.sqrt(changed) / self.rows
        if self.allowed.metric == "rmse":
            return float(self._grown(outputs, errors=1.0).max()) - drop
        return max(0.0, self._below_half(outputs) + self._error_of_decibels(outputs)) - drop

    def is_within(self, outputs: NDArray[np.float32]) -> bool:
        """Whether the drop is allowed on rows that a choice is made on, with what chance may have made better."""
        return self.allowed.allows(self.drop(outputs) + self.reserve(outputs))

    def noise(self, outputs: NDArray[np.float32]) -> float:
        """-sqnr in dB: tells networks apart that lose as many decisions; inf where nothing is left."""
        return -self._decibels(self._exact, outputs)

    def _lost(self, outputs: NDArray[np.float32]) -> int:
        found, exact = self._decided(outputs), self._decided(self._exact)
        if self._labels is None:
            return int(np.sum(found != exact))
        return int(np.sum(exact == self._labels)) - int(np.sum(found == self._labels))

    def _grown(self, outputs: NDArray[np.float32], errors: float = 0.0) -> NDArray[np.float64]:
        """Percent by which the error of each target grows, with so many standard errors of the difference, (targets,).

        Of a target without any error nothing may be lost.
        """
        before, after = self._squares(self._exact), self._squares(outputs)
        means = after.mean(axis=0) + errors * _standard_error(after - before)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.sqrt(means / before.mean(axis=0))
        return 100.0 * (np.where(means == before.mean(axis=0), 1.0, ratios) - 1.0)

    def _squares(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Squared errors by row and target, (n, targets); of the parts of one signal their mean."""
        assert self._labels is not None
        squares = np.square((outputs.astype(np.float64) - self._labels) * self._scales)
        return squares if self._targets == squares.shape[1] else squares.mean(axis=1, keepdims=True)

    def _below_half(self, outputs: NDArray[np.float32]) -> float:
        """Decibels that the outputs are below those of float16; less than 0 if they are above."""
        return self._half_db - self._decibels(self._exact, outputs)

    def _error_of_decibels(self, outputs: NDArray[np.float32]) -> float:
        """The standard error of what `_below_half` gives: that of the noise beside float16's, row by row."""
        return 10.0 * math.log10(1.0 + float(_standard_error(self._shares(outputs) - self._half_shares)))

    def _shares(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """The noise of each row as a multiple of the mean one, (n,); 0 where there is none."""
        with np.errstate(over="ignore", invalid="ignore"):
            noise = np.square(outputs.astype(np.float64) - self._exact) @ self._weights
            return np.asarray(noise / (noise.mean() or 1.0))

    def _decided(self, outputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of each row; of one output whether it is above the middle."""
        return decisions(outputs - self._middle if outputs.shape[1] == 1 else outputs)


def _standard_error(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the mean over the rows (n, ...); 0 of a single one, which tells nothing of others."""
    return np.asarray(values.std(axis=0, ddof=min(1, len(values) - 1)) / math.sqrt(len(values)))


def _weights(exact: NDArray[np.float32]) -> NDArray[np.float64]:
    """What makes the squares of each output (n_out,) count alike; those that do not vary count beside all others."""
    signals = np.array([output.astype(np.float64).var() if varies(output) else 0.0 for output in exact.T])
    return 1.0 / np.where(signals > 0, signals, signals.sum() or 1.0)


def _refuse_overflow(exact: NDArray[np.float32]) -> None:
    """Raise InputError where the float network itself gives what is no number."""
    bad = np.flatnonzero(~np.isfinite(exact).all(axis=1))
    if len(bad):
        raise InputError(
            f"the float network gives NaN or inf on {len(bad):,} of {len(exact):,} rows to judge a drop on, first "
            f"on row {bad[0]}: nothing can be judged there; remove these rows"
        )


def _deviations(model: Model) -> NDArray[np.float64]:
    """What gives an autoencoder's errors in parts of each input's deviation, (n_out,); ones for others."""
    if model.preprocessing is None or not has_parts_of_own_units(model):
        return np.ones(model.n_out)
    return model.preprocessing.inv_std.astype(np.float64)


def _check_labels(model: Model, labels: NDArray[Any] | None, metric: str) -> None:
    """Raise QuantizationError where the labels are not of the metric's kind."""
    if metric == "rmse" and (labels is None or labels.dtype.kind != "f"):
        found = "no labels" if labels is None else "classes"
        raise QuantizationError(f"metric 'rmse' found {found}, expected targets, floats (n, {model.n_out}); try 'sqnr'")
    if metric == "accuracy" and (not is_classifier(model) if labels is None else labels.dtype.kind == "f"):
        found, others = ("values", "'rmse' or 'sqnr'") if labels is not None else ("values and no labels", "'sqnr'")
        raise QuantizationError(f"metric 'accuracy' found {found}, expected classes; try {others}")
