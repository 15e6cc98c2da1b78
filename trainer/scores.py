"""How good answers are, by the names that every command uses: accuracy and its kin, R^2 and its kin, and errors of
reconstruction with the threshold above which a row is called strange.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Array

# Names of the class that is not strange, and those that say so beside a single other class.
NORMAL_NAMES, NORMAL_OF_TWO = ("normal", "ok", "good", "healthy", "inlier"), ("0", "false", "no")

_MOST_CONFUSED = 256  # classes that are counted two by two


@dataclass(frozen=True)
class ClassScores:
    """Of a classifier on rows whose classes are known.

    accuracy: share of right answers. balanced_accuracy: mean over the classes that occur of the share of their rows
    that is found (recall). counts: rows of each class, int64 (n_classes,). confusion: counts, true class x answer,
    int64 (n_classes, n_classes); None for more than 256 classes.
    """

    rows: int
    accuracy: float
    balanced_accuracy: float
    counts: NDArray[np.int64]
    confusion: NDArray[np.int64] | None
    class_names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the score that stands for all."""
        return "accuracy"

    @property
    def value(self) -> float:
        """The score that stands for all."""
        return self.accuracy

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "rows": self.rows,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "class_names": list(self.class_names),
            "confusion": None if self.confusion is None else self.confusion.tolist(),
        }


@dataclass(frozen=True)
class ValueScores:
    """Of a regression on rows whose targets are known.

    r2: mean over the outputs of 1 - squared error / squared deviation from their mean: 1 is perfect, 0 as good as the
    mean. rmse, mae: of each output, float (k,), in the units of its target.
    """

    rows: int
    r2: float
    rmse: tuple[float, ...]
    mae: tuple[float, ...]
    targets: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the score that stands for all."""
        return "R^2"

    @property
    def value(self) -> float:
        """The score that stands for all."""
        return self.r2

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        rmse, mae = list(self.rmse), list(self.mae)
        return {"rows": self.rows, "r2": self.r2, "rmse": rmse, "mae": mae, "targets": list(self.targets)}


def class_scores(truth: Array, predicted: Array, class_names: Sequence[str]) -> ClassScores:
    """truth, predicted: class indices, int (n,) with n at least 1. class_names: of all classes."""
    count = max(len(class_names), int(max(truth.max(), predicted.max())) + 1)
    right = truth == predicted
    counts, found = np.bincount(truth, minlength=count), np.bincount(truth[right], minlength=count)
    recall = found[counts > 0] / counts[counts > 0]
    confusion = None
    if count <= _MOST_CONFUSED:
        confusion = np.bincount(truth * count + predicted, minlength=count * count).reshape(count, count)
    return ClassScores(len(truth), float(right.mean()), float(recall.mean()), counts, confusion, tuple(class_names))


def value_scores(truth: Array, predicted: Array, targets: Sequence[str] = ()) -> ValueScores:
    """truth, predicted: float (n, k) with n at least 1; computed in float64. An output that never varies counts 0."""
    wanted = np.asarray(truth, np.float64).reshape(len(truth), -1)
    error = np.asarray(predicted, np.float64).reshape(wanted.shape) - wanted
    squared = np.square(error).sum(axis=0)
    varies = wanted.max(axis=0) > wanted.min(axis=0)
    spread = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
    r2 = float(np.mean(np.where(varies, 1 - squared / np.where(varies, spread, 1), 0)))
    rmse, mae = np.sqrt(squared / len(wanted)), np.abs(error).mean(axis=0)
    return ValueScores(len(wanted), r2, tuple(rmse.tolist()), tuple(mae.tolist()), tuple(targets))


def scores_of(truth: Array, predicted: Array, names: Sequence[str]) -> ClassScores | ValueScores:
    """Of classes, if truth is int (n,), else of values. names: of the classes, or of the targets."""
    if truth.dtype.kind in "iu":
        return class_scores(truth, predicted, names)
    return value_scores(truth, predicted, names)


def chance_doubts(scores: ClassScores | ValueScores) -> list[str]:
    """What must not be missed: answers no better than one answer to all rows, in a line.

    For classes it is the class that most of these rows have, as far as they are of more than one.
    """
    if isinstance(scores, ValueScores):
        if scores.r2 > 0:
            return []
        return [f"R^2 {scores.r2:.4f} of {scores.rows:,} rows is no better than always answering their mean (0)"]
    share = float(scores.counts.max() / scores.rows)
    if scores.accuracy > share or np.count_nonzero(scores.counts) < 2:
        return []
    most = int(scores.counts.argmax())
    name = scores.class_names[most] if most < len(scores.class_names) else str(most)
    return [
        f"accuracy {scores.accuracy:.4f} of {scores.rows:,} rows is no better than always answering their most "
        f"frequent class, '{name}' ({share:.4f})"
    ]


def worse_doubts(truth: Array, before: Array, after: Array) -> list[str]:
    """That answers `after` are worse than those `before` on the same rows, by more than chance makes of equal ones.

    truth: classes int (n,), or values (n, k) with answers like it. Looks at the rows in pairs: of classes at right
    answers that were lost and won (McNemar 1947), of values at differences of squared errors, each output's in parts of
    its spread; what lies beyond two standard deviations is named, in a line.
    """
    is_class = truth.dtype.kind in "iu"
    if is_class:
        lost = (before == truth).astype(np.float64) - (after == truth)
    else:
        lost = _errors(truth, after) - _errors(truth, before)
    sigma = float(np.sqrt(np.square(lost).sum() if is_class else len(lost) * lost.var()))
    if lost.sum() <= 2 * sigma:
        return []
    old, new = (scores_of(truth, answers, ()) for answers in (before, after))
    return [
        f"{new.name} on {len(truth):,} test rows is {new.value:.4f}, before it was {old.value:.4f}: worse by "
        f"{lost.sum() / sigma:.1f} standard deviations, more than the 2 that chance makes of equal ones"
    ]


def _errors(truth: Array, answers: Array) -> NDArray[np.float64]:
    """Of each row, float64 (n,): the mean over outputs of squared errors in parts of the output's variance."""
    wanted = np.asarray(truth, np.float64).reshape(len(truth), -1)
    variance = wanted.var(axis=0)
    squared = np.square(np.asarray(answers, np.float64).reshape(wanted.shape) - wanted)
    return np.mean(squared / np.where(variance > 0, variance, 1), axis=1)


# rows that an autoencoder finds strange


@dataclass(frozen=True)
class ErrorScores:
    """Of an autoencoder: how far its outputs are from its inputs, row by row.

    Errors are root mean squares over the features, each divided by its standard deviation in the training where the
    model knows it. quantiles: of the errors, by their share. threshold: an error above it is an alarm. alarms: the
    share of normal rows above it. auc: how well the error tells strange rows from normal ones (0.5 is chance), and
    caught: the share of strange rows above the threshold; None without labels. normal: the class that is not strange.
    """

    rows: int
    quantiles: dict[str, float]
    threshold: float
    alarms: float
    auc: float | None = None
    caught: float | None = None
    normal: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return dict(vars(self))


def reconstruction_errors(x: Array, outputs: Array, inv_std: Array | None = None) -> NDArray[np.float64]:
    """The error of each row, float64 (n,). inv_std: (n_in,) or (1,), what brings features to deviation 1."""
    difference = np.asarray(outputs, np.float64) - x
    if inv_std is not None:
        difference *= inv_std
    return np.sqrt(np.square(difference).mean(axis=1))


def threshold_for(errors: Array, false_alarms: float) -> float:
    """The smallest error of which at most the share `false_alarms` of these rows lies above."""
    above = int(np.floor(len(errors) * false_alarms + 1e-9))  # 1000 x 0.001 is 1, whatever its last bit
    return float(np.sort(errors)[max(0, len(errors) - 1 - above)])


def threshold_doubts(rows: int, false_alarms: float) -> list[str]:
    """Why a threshold may be a guess: fewer rows than one false alarm needs."""
    needed = int(np.ceil(1 / false_alarms))
    if rows >= needed:
        return []
    return [
        f"the threshold for {false_alarms:.2%} false alarms was set on {rows:,} rows, expected {needed:,} at least: "
        "set it anew on more normal rows with smallnet score --false-alarms"
    ]


def error_scores(
    errors: Array, threshold: float, labels: Array | None = None, class_names: Sequence[str] = ()
) -> ErrorScores:
    """errors: float (n,). labels: class indices, int (n,), or None; what is not of the normal class is strange."""
    quantiles = {f"{share:g}": float(np.quantile(errors, share)) for share in (0.5, 0.9, 0.99, 1.0)}
    above = errors > threshold
    if labels is None or len(np.unique(labels)) < 2:
        return ErrorScores(len(errors), quantiles, threshold, float(above.mean()))
    normal = normal_class(labels, class_names)
    strange = labels != normal
    return ErrorScores(
        len(errors), quantiles, threshold, float(above[~strange].mean()),
        auc(errors, strange), float(above[strange].mean()), class_names[normal],
    )  # fmt: skip


def normal_class(labels: Array, class_names: Sequence[str]) -> int:
    """The class that is not strange: by its name, else the most frequent one."""
    named = named_normal(class_names)
    return int(np.bincount(labels).argmax()) if named is None else named


def named_normal(class_names: Sequence[str]) -> int | None:
    """The class whose name says that it is not strange, or None."""
    known = [name.casefold() for name in class_names]
    if set(known) == {"1", "-1"}:  # as scikit-learn calls inliers and outliers
        return known.index("1")
    words = (*NORMAL_NAMES, *(NORMAL_OF_TWO if len(known) == 2 else ()))
    return next((known.index(word) for word in words if word in known), None)


def auc(values: Array, positive: Array) -> float:
    """The chance that a positive row has a larger value than another, ties counted half (Mann-Whitney U)."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[index.reshape(-1)]
    n_positive = int(np.count_nonzero(positive))
    wins = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(wins / (n_positive * (len(values) - n_positive)))
