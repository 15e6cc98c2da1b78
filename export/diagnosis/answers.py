"""How a network answers: the decisions or values of its logits beside the float network's, and beside labels."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.model import Model
from edge_runtime.numerics import Activation
from edge_runtime.schema import Schema, quoted
from export.diagnosis.label_worth import labels_doubt
from export.diagnosis.lost_whole import lost_classes, lost_outputs
from export.quantization import (
    counts_alike,
    decisions,
    even_db,
    even_error,
    finite,
    has_targets_apart,
    is_classifier,
    sqnr_db,
    squared_error,
    worst_output,
)


@dataclass(frozen=True)
class WorstOutput:
    """The output of several targets that suffers most: by R^2 where that is known, else in decibels.

    name: "output 1 'strain'", as the model's schema calls it. sqnr_db: by itself. r2_before, r2: of the float network
    and of this one, None without labels.
    """

    name: str
    sqnr_db: float
    r2_before: float | None = None
    r2: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "sqnr_db": finite(self.sqnr_db)}


@dataclass(frozen=True)
class Answers:
    """Of one network on some rows.

    sqnr_db: signal to noise of the logits beside the float network's (dB). changed: rows with another decision than the
    float network's; None for a network that decides nothing. right: rows with the right class; rmse, r2: root of the
    mean squared error and the mean of R^2 over the outputs; None without labels of that kind. even_db: of outputs that
    have units of their own, decibels in which each counts alike. worst: of several targets, the one that suffers most.
    gone: classes and outputs of which nothing is left, in words.
    """

    rows: int
    sqnr_db: float
    changed: int | None = None
    right: int | None = None
    rmse: float | None = None
    r2: float | None = None
    even_db: float | None = None
    worst: WorstOutput | None = None
    gone: tuple[str, ...] = ()

    @property
    def judged_db(self) -> float:
        """The decibels to judge by: outputs with units of their own count alike."""
        return self.sqnr_db if self.even_db is None else self.even_db

    @property
    def accuracy(self) -> float | None:
        """The share of right classes."""
        return None if self.right is None else self.right / self.rows

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        even = None if self.even_db is None else finite(self.even_db)
        worst = None if self.worst is None else self.worst.as_dict()
        found = {
            **vars(self),
            "sqnr_db": finite(self.sqnr_db),
            "even_db": even,
            "worst": worst,
            "gone": list(self.gone),
        }
        return {**found, "accuracy": self.accuracy}


class Judge:
    """Judges logits of networks that answer the same rows as the float `model`.

    exact: its logits, (n, n_out). labels: right classes, whole numbers (n,), or targets, floats (n, n_out), or None.
    outputs: what it gives behind its activation, where networks are judged by that: those that end otherwise.
    """

    def __init__(
        self,
        model: Model,
        exact: NDArray[Any],
        labels: NDArray[Any] | None = None,
        outputs: NDArray[Any] | None = None,
    ) -> None:
        self.labels = labels
        self._activation = model.final_activation if outputs is None else Activation("linear")
        self._exact = exact if outputs is None else outputs
        is_decided = is_classifier(model) if labels is None else labels.dtype.kind in "iu"
        self._decisions = decisions(exact) if is_decided else None
        self._names = _output_names(model)
        self._are_alike = counts_alike(model) and not is_decided
        self._are_targets = has_targets_apart(model) and not is_decided
        self._class_names, self._classes = model.class_names or (), max(model.n_out, 2)

    @property
    def labels_doubt(self) -> str | None:
        """Why the labels are no measure of what is lost, None if they are one, or if there are none."""
        if self.labels is None:
            return None
        return labels_doubt(self.labels, self._decisions, self.answers(self._exact).r2, self._classes)

    def without_labels(self) -> Judge:
        """One that judges by the float network alone; what is decided stays so."""
        found = copy.copy(self)
        found.labels = None
        return found

    def answers(self, logits: NDArray[Any], outputs: NDArray[Any] | None = None) -> Answers:
        """Of the network that gave these logits, (n, n_out), and outputs, if networks are judged by these."""
        values = logits if outputs is None else outputs
        decided = None if self._decisions is None else decisions(logits)
        decibels, gone = sqnr_db(self._exact, values), self._gone(values, decided)
        if decided is not None:
            right = None if self.labels is None else int(np.sum(decided == self.labels))
            return Answers(len(values), decibels, int(np.sum(decided != self._decisions)), right, gone=gone)
        rmse, r2 = (None, None) if self.labels is None else _errors(self.labels, self._activation(values))
        even = even_db(self._exact, values) if self._are_alike else None
        worst = self._worst(values) if self._are_targets else None
        return Answers(len(values), decibels, None, None, rmse, r2, even, worst, gone)

    def _gone(self, values: NDArray[Any], decided: NDArray[np.int64] | None) -> tuple[str, ...]:
        """Classes, of the rows on which the float network is right if that is known, then outputs."""
        classes: tuple[str, ...] = ()
        if self._decisions is not None and decided is not None:
            known = slice(None) if self.labels is None else self._decisions == self.labels
            classes = lost_classes(self._decisions[known], decided[known], self._class_names)
        return classes + lost_outputs(self._exact, values, self._names, apart=self._are_alike)

    def damage(self, logits: NDArray[Any]) -> float:
        """The squared error of logits; of outputs that count alike the mean of each one's own, beside its variation."""
        return (even_error if self._are_alike else squared_error)(self._exact, logits)

    def decibels(self, exact: NDArray[Any], logits: NDArray[Any]) -> float:
        """Signal to noise of logits (dB), judged as all of them are: of this layer's form, or of those inherited."""
        return (even_db if self._are_alike else sqnr_db)(exact, logits)

    def _worst(self, logits: NDArray[Any]) -> WorstOutput | None:
        """With labels the one that loses the most R^2, else the one with the least decibels; None if none varies."""
        if self.labels is None:
            at, decibels = worst_output(self._exact, logits)
            return None if at is None or decibels is None else WorstOutput(self._names[at], decibels)
        before, after = (_r2(self.labels, self._activation(values)) for values in (self._exact, logits))
        place = int(np.argmax(before - after))
        column = slice(place, place + 1)
        decibels = sqnr_db(self._exact[:, column], logits[:, column])
        return WorstOutput(self._names[place], decibels, float(before[place]), float(after[place]))


def _output_names(model: Model) -> list[str]:
    """With the names of the targets that the model was trained to give, if it says them."""
    schema = Schema.of(model)
    targets = () if schema is None or len(schema.targets) != model.n_out else schema.targets
    return [f"output {at}{f' {quoted(targets[at])}' if targets else ''}" for at in range(model.n_out)]


def _errors(targets: NDArray[Any], values: NDArray[Any]) -> tuple[float, float]:
    """RMSE over all outputs, and the mean of R^2."""
    wanted = targets.astype(np.float64).reshape(values.shape)
    squared = np.square(values.astype(np.float64) - wanted)
    return float(np.sqrt(squared.mean())), float(np.mean(_r2(targets, values)))


def _r2(targets: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    """R^2 of each output as `smallnet score` has it: one that never varies counts 0."""
    wanted = targets.astype(np.float64).reshape(values.shape)
    squared = np.square(values.astype(np.float64) - wanted).sum(axis=0)
    spread = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
    varies = np.ptp(wanted, axis=0) > 0
    return np.asarray(np.where(varies, 1 - squared / np.where(varies, spread, 1), 0))
