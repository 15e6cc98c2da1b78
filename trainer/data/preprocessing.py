"""From what a user has (rows, labels, targets) to what training takes: checked float arrays, one-hot rows, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime import InputError
from edge_runtime.arguments import shown
from edge_runtime.array_types import Array
from edge_runtime.files import printable
from edge_runtime.inputs import frame_table
from edge_runtime.numerics import as_array, as_numbers, first_not_finite, is_frame
from trainer.config import CHECKS, check_number
from trainer.data.target_units import TargetUnits
from trainer.errors import ConfigurationError
from trainer.losses import Loss

ClassWeight = str | Mapping[int, float] | Sequence[float] | NDArray[Any] | None


def checked_rows(x: ArrayLike, n_in: int, dtype: np.dtype[Any], what: str = "x") -> Array:
    """`x` as a C-ordered (rows, n_in) array of `dtype`: the very array where it is one already, else a copy.

    One row may be given as (n_in,). Raises InputError for another shape, a dtype that is not a real number, no rows, or
    NaN or infinite values.
    """
    array = as_numbers(x, what)
    if array.ndim == 1 and array.shape == (n_in,) and n_in > 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != n_in:
        raise InputError(f"{what} has shape {array.shape}, expected (rows, {n_in})")
    if len(array) == 0:
        raise InputError(f"{what} has no rows, expected at least 1")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(array, dtype)
    check_finite(rows, what, array)
    return rows


def as_truth(y: ArrayLike, what: str = "y") -> Array:
    """Labels of any kind, or targets, as an array of at least one axis.

    Raises InputError for masked values, whose mask would be lost, for NaN and None among labels, by row, for complex
    numbers and for no array.
    """
    array = _frame_truth(y, what) if is_frame(y) else as_array(y, what)
    if array.dtype.kind == "c":
        raise InputError(f"{what} has dtype {array.dtype}, expected labels or real numbers; give {what}.real")
    if array.dtype.kind == "O" and array.ndim == 1:
        array = _plain_labels(array, what)
    if array.ndim == 0:
        raise InputError(f"{what} is {shown(y, 40)}, expected a label, or targets, for each row of x")
    if array.ndim == 1:
        check_finite(array, what)
    return array


def _frame_truth(frame: Any, what: str) -> Array:
    """Targets (rows, columns) of a frame, or the labels (rows,) in its only column."""
    table = frame_table(frame, what)
    if len(table.texts) == table.numbers.shape[1] == 1 and table.missing is None:
        return np.array(table.texts[0])
    return as_numbers(frame, what)


def _plain_labels(labels: Array, what: str) -> Array:
    """Objects have an order only among their own kind, which classes need. Numbers in boxes become an array of them."""
    kinds = ("text", str), ("numbers", (int, float, np.number, np.bool_))
    first = next((label for label in labels if label is not None), None)
    expected, types = next((pair for pair in kinds if isinstance(first, pair[1])), (type(first).__name__, type(first)))
    for row, label in enumerate(labels):
        if label is None or not isinstance(label, types):
            found = printable(repr(label), 40)
            raise InputError(f"{what} holds {found} at {row}, expected {expected}; mend the label or drop the row")
    return np.array(labels.tolist()) if expected == "numbers" else labels


def check_finite(array: Array, what: str, source: Array | None = None) -> None:
    """Raise InputError that names the first NaN or infinite value; where the sum is finite, nothing is allocated.

    source: what `array` was converted from, whose finite numbers its dtype may not hold.
    """
    with np.errstate(all="ignore"):
        if array.dtype.kind != "f" or np.isfinite(array.sum()):  # one pass; a finite sum has finite terms
            return
    bad = first_not_finite(array, source)
    if bad is not None:
        raise bad.error(what)


def one_hot(labels: ArrayLike, n_classes: int, dtype: Any = np.float32) -> Array:
    """Rows (n, n_classes) with 1 at each label and 0 elsewhere. Raises InputError for labels outside 0..n_classes-1."""
    indices = _as_labels(labels, n_classes)
    rows = np.zeros((len(indices), n_classes), dtype)
    rows[np.arange(len(indices)), indices] = 1
    return rows


@dataclass(frozen=True, eq=False)
class Targets:
    """What a batch is compared with.

    values: (rows, n_out). labels: int64 (rows,) where the rows stand for classes, else None. weight: (rows, 1) or None.
    units: of regression targets that are learned standardized; `values` are standardized then.
    """

    values: Array
    labels: NDArray[np.int64] | None
    weight: Array | None
    units: TargetUnits | None = None

    def take(self, rows: NDArray[np.int64]) -> Targets:
        """Copies of these rows, in this order."""
        labels, weight = (None if array is None else array[rows] for array in (self.labels, self.weight))
        return Targets(self.values[rows], labels, weight, self.units)

    @property
    def metric_name(self) -> str:
        """ "accuracy" where there are labels, else "mean_absolute_error"."""
        return "accuracy" if self.labels is not None else "mean_absolute_error"


def encode_targets(
    y: ArrayLike,
    rows: int,
    n_out: int,
    loss: Loss,
    dtype: np.dtype[Any],
    *,
    label_smoothing: float = 0.0,
    class_weight: ClassWeight = None,
    sample_weight: Array | None = None,
    units: TargetUnits | None = None,
    what: str = "y",
) -> Targets:
    """Labels (rows,) or target values (rows, n_out) as `Targets`.

    Whole numbers (rows,) are labels where the loss or the number of outputs makes them so; other values are targets,
    and (rows,) is taken as one column. label_smoothing e: the share e of each row is spread evenly over the classes
    (Szegedy 2016). class_weight: "balanced" (rows / (classes * count)), one number per class, or {class: number}.
    Labels of one class only are taken as they are. sample_weight: (rows,), multiplied with that of the row's class.
    units: target values are standardized by them. Raises InputError for data that do not fit, masked values among them,
    ConfigurationError for settings that do not.
    """
    array = as_truth(y, what)
    if len(array) != rows:
        raise InputError(f"{what} has shape {array.shape}, expected {rows} rows, one for each row of x")
    labels = _labels_in(array, n_out, loss, what)
    if labels is None:
        values = checked_rows(array[:, None] if array.ndim == 1 else array, n_out, dtype, what)
        _check_range(values, loss, what)
        labels = values.argmax(axis=1) if loss.fused_with == "softmax" else None
        if units is not None:
            values = units.learned(array.reshape(values.shape)).astype(dtype)
    elif n_out == 1:
        values = labels.astype(dtype)[:, None]
    else:
        values = one_hot(labels, n_out, dtype)
    if label_smoothing:
        if labels is None:
            raise ConfigurationError("label_smoothing is for class labels, found other targets; leave it at 0")
        values = values * dtype.type(1 - label_smoothing) + dtype.type(label_smoothing / max(n_out, 2))
    weight = _row_weights(labels, max(n_out, 2), class_weight, sample_weight)
    weight = None if weight is None else np.ascontiguousarray(weight[:, None], dtype)
    return Targets(values, labels, weight, units if labels is None else None)


def regression_targets(y: ArrayLike, n_out: int, loss: Loss) -> NDArray[np.float64] | None:
    """Target values (rows, n_out) in float64, or None where `y` holds labels. Raises InputError as `encode_targets`."""
    array = as_truth(y)
    if _labels_in(array, n_out, loss, "y") is not None:
        return None
    return checked_rows(array[:, None] if array.ndim == 1 else array, n_out, np.dtype(np.float64), "y")


def _labels_in(array: Array, n_out: int, loss: Loss, what: str) -> NDArray[np.int64] | None:
    """The labels that `array` holds, or None where it holds target values."""
    is_vector = array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1 and n_out > 1)
    is_label = is_vector and (n_out > 1 or loss.fused_with == "sigmoid")
    if not is_label:
        return None
    if loss.fused_with == "sigmoid" and array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        return None  # probabilities as targets
    return _as_labels(array.reshape(-1), max(n_out, 2), what)


def _as_labels(labels: ArrayLike, n_classes: int, what: str = "y") -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.dtype.kind not in "fiub" or array.ndim != 1:
        raise InputError(f"{what} has dtype {array.dtype} and shape {array.shape}, expected whole numbers (rows,)")
    check_finite(array, what)
    if array.size and (array.min() < 0 or array.max() >= n_classes):
        raise InputError(f"{what} holds labels from {array.min()} to {array.max()}, expected 0 to {n_classes - 1}")
    result = array.astype(np.int64)
    if array.dtype.kind == "f" and not np.array_equal(result, array):
        raise InputError(f"{what} holds values such as {array[result != array][0]}, expected whole numbers as labels")
    return result


def _check_range(values: Array, loss: Loss, what: str) -> None:
    if loss.fused_with is not None and (values.min() < 0 or values.max() > 1):
        raise InputError(
            f"{what} holds values from {values.min():g} to {values.max():g}, expected 0 to 1 for loss '{loss.name}'"
        )
    if loss.fused_with == "softmax":
        worst = int(np.abs(values.sum(axis=1) - 1).argmax())
        if abs(float(values[worst].sum()) - 1) > 1e-3:
            raise InputError(f"{what} row {worst} sums to {values[worst].sum():g}, expected 1 for loss '{loss.name}'")


def _row_weights(
    labels: Array | None, n_classes: int, class_weight: ClassWeight, sample_weight: Array | None
) -> Array | None:
    """The weight of each row, float64 (rows,), or None where all weigh 1."""
    if class_weight is None:
        return sample_weight
    if labels is None:
        raise ConfigurationError("class_weight is for class labels, found other targets; leave it at None")
    of_class = class_weights(labels, n_classes, class_weight)[labels]
    return of_class if sample_weight is None else of_class * sample_weight


def class_weights(labels: Array, n_classes: int, class_weight: ClassWeight) -> NDArray[np.float64]:
    """The weight of each class, (n_classes,); see `encode_targets`. Raises ConfigurationError."""
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise CHECKS.refusal("class_weight", class_weight, "'balanced' or a number per class")
        counts = np.bincount(labels, minlength=n_classes)
        return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1.0))
    if isinstance(class_weight, np.ndarray):
        class_weight = class_weight.tolist()
    if not isinstance(class_weight, (Mapping, Sequence)):
        raise CHECKS.refusal("class_weight", class_weight, "'balanced' or a number per class")
    weights = np.ones(n_classes)
    pairs = class_weight if isinstance(class_weight, Mapping) else dict(enumerate(class_weight))
    if not isinstance(class_weight, Mapping) and len(pairs) != n_classes:
        raise ConfigurationError(f"class_weight has {len(pairs)} numbers, expected {n_classes}")
    for index, value in pairs.items():
        if index not in range(n_classes):
            raise ConfigurationError(f"class_weight names class {shown(index)}, expected 0 to {n_classes - 1}")
        weights[index] = check_number(f"class_weight[{index}]", value, low=0.0)
    return weights
