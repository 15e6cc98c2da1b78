"""From labels as people write them (numbers, texts) to what a network learns: class indices or regression targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import is_number, printable
from edge_runtime.numerics import first_not_finite, first_place
from trainer.data.target_units import float32_steps

Target = Literal["auto", "class", "regression", "autoencoder"]
TARGETS = ("auto", "class", "regression", "autoencoder")
Where = Callable[[int], str]  # names the row with this index, for messages: "data.csv: row 7"
_MAX_NAME = 256
_EXACT = 1 << 53  # float64 holds every whole number up to here
_MANY_CLASSES = 20  # above it, classes of less than two rows each are taken for a mistake: numbers of rows, or names
_FEW_CLASSES = 5  # different whole numbers that are classes whatever they are
_MOST_COUNTED = 100  # whole numbers without gaps, from 0 or 1 on, that are classes if they repeat
_OFTEN = 5  # rows of each of them
_FEWEST_COUNTED = 20  # labels that count 1, 2, 3 without being meant to
_MOST_TARGETS = 1 << 28  # 1 GiB


def encode_labels(
    labels: NDArray[Any] | list[str],
    target: Target,
    class_names: Sequence[str] | None,
    where: Where,
    what: str,
    *,
    for_training: bool = True,
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """What a network learns from `labels`: (int64 (n,) class indices, names) or (float32 (n, k) targets, ()),
    float64 where float32 would lose what varies.

    labels: n texts, or numbers (n,) or (n, k). "auto": as `decide_target` says. The classes are the distinct labels,
    sorted, named by their text; with class_names the labels are their indices.
    Raises InputError, naming row or `what`, for labels that do not fit the target and, `for_training`, for fewer than
    two classes, for hundreds of classes that hardly repeat, and for more rows x classes than `_MOST_TARGETS`.
    """
    indices, names = _encoded(labels, target, class_names, where, what)
    if for_training and indices.dtype == np.int64:
        _check_classes(indices, len(names), what)
    return indices, names


def _encoded(
    labels: NDArray[Any] | list[str], target: Target, class_names: Sequence[str] | None, where: Where, what: str
) -> tuple[NDArray[Any], tuple[str, ...]]:
    if not isinstance(labels, list):
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if (
            labels.dtype.kind not in "biufU"
            or labels.ndim not in (1, 2)
            or (labels.dtype.kind == "U" and labels.ndim > 1)
        ):
            raise InputError(
                f"{what}: labels are {labels.dtype} {labels.shape}, expected numbers or text of shape (n,)"
            )
        if labels.dtype.kind == "U":
            labels = unicode_texts(labels, what)
    target, _ = decide_target(labels, target, class_names)
    if target == "regression":
        return _regression_targets(labels, where, what), ()
    if not isinstance(labels, list):
        return _number_classes(labels, class_names, where, what)
    for row, text in enumerate(labels):
        if not text.strip():
            raise InputError(f"{where(row)}: the label is missing; fill it in or drop the row")
    names = checked_names(sorted(set(labels)) if class_names is None else class_names, what)
    index = {name: number for number, name in enumerate(names)}
    unknown = next((row for row, text in enumerate(labels) if text not in index), None)
    if unknown is not None:
        raise InputError(f"{where(unknown)}: label {printable(repr(labels[unknown]), 40)} is not in class_names")
    return np.array([index[text] for text in labels], np.int64), names


def decide_target(
    labels: NDArray[Any] | list[str], target: Target, class_names: Sequence[str] | None = None
) -> tuple[Target, str]:
    """Whether labels are classes or targets, and why, in a few words that name the option that changes it.

    "auto": texts and truth values are classes, and whatever class_names name; so are whole numbers (n,) that are at
    most 5, or 20 that are each there twice on average, or that count from 0 or 1 on without a gap, up to 20, or to 100
    with 5 rows each. All else is regression.
    """
    if target != "auto":
        return target, "as --target says"
    if class_names is not None:
        return "class", "class_names name them"
    if isinstance(labels, list) or labels.dtype.kind in "Ub":
        return "class", f"{len(set(labels) if isinstance(labels, list) else np.unique(labels)):,} different texts"
    if labels.ndim != 1 and labels.shape[1:] != (1,):
        return "regression", f"{labels.shape[1]:,} targets a row"
    if not _are_whole(labels.reshape(len(labels))):
        return "regression", "numbers with decimals"
    count = len(np.unique(labels))
    if _are_class_numbers(labels.reshape(-1)):
        return "class", f"{count:,} different whole numbers (--target regression takes them as values)"
    return "regression", f"{count:,} different whole numbers, many for classes (--target class makes them classes)"


def _are_class_numbers(labels: NDArray[Any]) -> bool:
    distinct, repeats = np.unique(labels, return_counts=True)
    count, rows = len(distinct), len(labels)
    if count <= _FEW_CLASSES or not np.isfinite(distinct).all():
        return True  # what is not finite is refused as a class, by row
    without_gap = distinct[0] in (0, 1) and int(distinct[-1]) - int(distinct[0]) + 1 == count
    if count <= _MANY_CLASSES:
        return bool(without_gap or 2 * count <= rows)
    return bool(without_gap and count <= _MOST_COUNTED and repeats.min() >= _OFTEN)  # counts of things have rare ends


def label_doubts(y: NDArray[Any], class_names: Sequence[str]) -> list[str]:
    """What may be wrong with labels that can be learned, a line each. y: as `encode_labels` gives them."""
    if y.dtype != np.int64:
        values = y[:, 0] if y.shape[1] == 1 else np.empty(0)
        if len(values) >= _FEWEST_COUNTED and np.array_equal(values, np.arange(len(values)) + values[0]):
            return [f"the label counts the rows, from {values[0]:g} on: is it an index?"]
        if len(y) > 1 and y.shape[1] and (still := (y == y[0]).all(axis=0)).any():
            which = "" if y.shape[1] == 1 else f" in target {int(still.argmax()) + 1} of {y.shape[1]}"
            return [f"the label is constant{which}: {y[0, still.argmax()]:.6g} in all {len(y):,} rows"]
        return []
    single = [class_names[index] for index in np.flatnonzero(np.bincount(y) == 1).tolist()]
    if not single:
        return []
    names = ", ".join(printable(repr(name), 40) for name in single[:3]) + (", ..." if len(single) > 3 else "")
    have = "has a single row" if len(single) == 1 else "have a single row each"
    return [f"{len(single):,} of {len(class_names):,} classes {have} ({names}): learned or tested, never both"]


def class_indices(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Labels (n,) as indices into `classes`, which are sorted, int64 (n,). Raises InputError for another label."""
    indices = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
    is_strange = classes[indices] != labels
    if is_strange.any():
        some = ", ".join(map(str, classes[:9])) + (", ..." if len(classes) > 9 else "")
        raise InputError(f"y holds label {labels[is_strange][0]}, expected one of {some}")
    return indices


def one_hot_classes(labels: NDArray[Any], target: Target) -> NDArray[np.int64] | None:
    """The class of each row of (n, k) zeros with a single 1 a row, int64 (n,); None for others, and for regression."""
    is_table = labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "biuf"
    if target not in ("auto", "class") or not is_table or not len(labels):
        return None
    is_one = labels == 1
    if not (is_one | (labels == 0)).all() or not (is_one.sum(axis=1) == 1).all():
        return None
    return is_one.argmax(axis=1).astype(np.int64)


def unicode_texts(array: NDArray[Any], what: str) -> list[str]:
    """The texts in a fixed-width unicode (n,) array. Raises InputError for another kind or shape."""
    if array.dtype.kind != "U" or array.ndim != 1:
        raise InputError(f"{what}: {array.dtype} {array.shape}, expected fixed-width unicode text of shape (n,)")
    return [str(text) for text in array.tolist()]


def checked_names(names: Sequence[str], what: str) -> tuple[str, ...]:
    """Names that are safe to print and tell apart. InputError for an empty, long, unprintable or repeated one."""
    for name in names:
        if not name.strip() or not name.isprintable() or len(name) > _MAX_NAME:
            raise InputError(
                f"{what}: name {printable(repr(name), 40)}, expected 1 to {_MAX_NAME} printable characters; rename it"
            )
    if len(set(names)) != len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise InputError(f"{what}: name {printable(repr(twice), 40)} appears twice; rename one")
    return tuple(names)


def _number_classes(
    labels: NDArray[Any], class_names: Sequence[str] | None, where: Where, what: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if labels.ndim != 1:
        raise InputError(
            f"{what}: labels have shape {labels.shape}, expected one class a row, (n,); or ask for regression"
        )
    not_whole = first_place(~_whole(labels))
    if not_whole is not None:
        raise InputError(
            f"{where(not_whole[0])}: label {labels[not_whole]} is not a whole number below 2^53; "
            "mend it or ask for regression"
        )
    numbers: NDArray[np.int64] = labels.astype(np.int64)
    if class_names is None:
        distinct, indices = np.unique(numbers, return_inverse=True)
        names = tuple(str(number) for number in distinct.tolist())
        return indices.reshape(-1).astype(np.int64), names
    outside = first_place((numbers < 0) | (numbers >= len(class_names)))
    if outside is not None:
        raise InputError(
            f"{where(outside[0])}: label {numbers[outside]} is out of range, expected 0 to {len(class_names) - 1} "
            f"for {len(class_names)} class names"
        )
    return numbers, checked_names(class_names, what)


def _regression_targets(labels: NDArray[Any] | list[str], where: Where, what: str) -> NDArray[Any]:
    if isinstance(labels, list):
        wrong = next((row for row, text in enumerate(labels) if not is_number(text)), 0)
        raise InputError(
            f"{where(wrong)}: label {printable(repr(labels[wrong]), 40)} is not a number; mend it or ask for classes"
        )
    if labels.size == 0:
        raise InputError(f"{what}: labels have shape {labels.shape}, expected at least one number a row")
    rows = labels.reshape(len(labels), -1)
    with np.errstate(over="ignore", invalid="ignore"):
        targets: NDArray[Any] = np.ascontiguousarray(rows, np.float32)
    bad = first_not_finite(targets)
    if bad is not None:
        raise InputError(
            f"{where(bad.place[0])}: the label is NaN, inf or beyond float32's range; mend or drop the row"
        )
    exact = np.ascontiguousarray(rows, np.float64)
    return exact if float32_steps(exact)[1].any() else targets


def _check_classes(indices: NDArray[np.int64], n_classes: int, what: str) -> None:
    rows = len(indices)
    if indices.size and (indices == indices[0]).all():
        raise InputError(
            f"{what}: every row has the same label, expected at least two classes; add rows of another class"
        )
    if n_classes > _MANY_CLASSES and 2 * n_classes > rows:
        raise InputError(
            f"{what}: {n_classes:,} classes in {rows:,} rows, so they hardly repeat; expected the label in the "
            "last column (y), or ask for regression"
        )
    if rows * n_classes > _MOST_TARGETS:
        raise InputError(
            f"{what}: {rows:,} rows x {n_classes:,} classes, expected {_MOST_TARGETS:,} at most, which a training "
            "holds as float32 targets; use fewer rows or classes"
        )


def _are_whole(labels: NDArray[Any]) -> bool:
    """Whether labels are classes: NaN and inf count as whole, so that they are refused as labels, by row."""
    if labels.ndim != 1 or labels.dtype.kind != "f":
        return labels.ndim == 1
    return bool((_whole(labels) | ~np.isfinite(labels)).all())


def _whole(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Where labels are whole numbers that int64 and float64 hold exactly."""
    with np.errstate(invalid="ignore", over="ignore"):  # in float16 the limit is inf, and every number is inside
        inside = (labels > -_EXACT) & (labels < _EXACT) if labels.dtype.kind != "b" else np.ones(labels.shape, np.bool_)
        whole: NDArray[np.bool_] = inside & (labels == np.floor(labels)) if labels.dtype.kind == "f" else inside
    return whole
