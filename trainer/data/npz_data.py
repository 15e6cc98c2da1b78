"""Data sets in an `.npz`: arrays of the names that people and libraries give them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import ARRAY_NAMES, ArrayNames, as_rows, describe, read_npz_arrays, to_float32
from edge_runtime.schema import Column, Schema
from trainer.data.dataset import Dataset
from trainer.data.labels import Target, checked_names, decide_target, encode_labels, label_doubts, unicode_texts
from trainer.data.reading import Reading

_TEXTS = ("class_names", "feature_names", "source")


def load_npz(path: str | os.PathLike[str], what: str, target: Target, max_bytes: int, for_training: bool) -> Dataset:
    """The data set in an `.npz`, with its own test part if it has one. what: names it in messages.

    for_training: labels are needed, but for an autoencoder. Raises InputError, naming array and row; OSError.
    """
    arrays, names = _read(path, target, max_bytes, for_training)
    has_labels = target != "autoencoder" and names.y in arrays
    xs = [_rows(arrays, names.x, what, max_bytes)]
    is_tested = names.x_test in arrays and (names.y_test in arrays or not has_labels)
    xs += [_rows(arrays, names.x_test, what, max_bytes)] if is_tested else []
    if len(xs) > 1 and xs[0].shape[1] != xs[1].shape[1]:
        raise InputError(f"{what}: '{names.x}' has rows of {xs[0].shape[1]:,}, '{names.x_test}' of {xs[1].shape[1]:,}")
    common = _common(arrays, path, what, xs[0].shape[1], target)
    if not has_labels:
        ys: list[NDArray[Any]] = xs if target == "autoencoder" else [np.empty((len(x), 0), np.float32) for x in xs]
        sets = [Dataset(x, y, **common, reading=Reading(rows=len(x))) for x, y in zip(xs, ys, strict=True)]
    else:
        sets = _labelled(arrays, names, xs, common, what, target, for_training)
    return replace(sets[0], test=sets[1]) if len(sets) > 1 else sets[0]


def _read(
    path: str | os.PathLike[str], target: Target, max_bytes: int, for_training: bool
) -> tuple[dict[str, NDArray[Any]], ArrayNames]:
    """The arrays, and what those that are meant are called."""
    every = list(dict.fromkeys([name for names in ARRAY_NAMES for name in names if name] + list(_TEXTS)))
    arrays = read_npz_arrays(path, [], every, max_bytes=max_bytes)
    needs_labels = for_training and target != "autoencoder"
    there = [names for names in ARRAY_NAMES if names.x in arrays]
    best = [names for names in there if names.y in arrays] or there or [ARRAY_NAMES[0]]
    wanted = [best[0].x, best[0].y] if needs_labels else [best[0].x]
    if any(name not in arrays for name in wanted):
        read_npz_arrays(path, wanted, [], max_bytes=max_bytes)  # says what is there
    return arrays, best[0]


def _rows(arrays: dict[str, NDArray[Any]], name: str, what: str, max_bytes: int) -> NDArray[np.float32]:
    where = f"{what}: array '{name}'"
    array = arrays[name][:, np.newaxis] if arrays[name].ndim == 1 else arrays[name]
    return to_float32(as_rows(array, where), where, max_bytes=max_bytes)


def _common(
    arrays: dict[str, NDArray[Any]], path: str | os.PathLike[str], what: str, n_in: int, target: Target
) -> dict[str, Any]:
    """What the parts of a data set share."""
    source = arrays.get("source")
    text = unicode_texts(source.reshape(-1), what)[0] if source is not None and source.size == 1 else describe(path)
    features = _texts(arrays, "feature_names", what) or ()
    if features and len(features) != n_in:
        raise InputError(f"{what}: {len(features)} feature_names for {n_in:,} columns of x; give one each")
    schema = Schema(tuple(map(Column, features))) if features else None
    return {"name": Path(path).stem, "source": text, "feature_names": features, "schema": schema}


def _labelled(
    arrays: dict[str, NDArray[Any]],
    names: ArrayNames,
    xs: list[NDArray[np.float32]],
    common: dict[str, Any],
    what: str,
    target: Target,
    for_training: bool,
) -> list[Dataset]:
    """The parts with their labels, which have one list of classes."""
    parts = [(names.x, names.y), (names.x_test, names.y_test)][: len(xs)]
    for (x_name, y_name), x in zip(parts, xs, strict=True):
        shape = arrays[y_name].shape
        if not shape or shape[0] != len(x):
            raise InputError(
                f"{what}: {x_name} has {len(x):,} rows, but {y_name} has shape {shape}; give one label a row"
            )
    labels = arrays[names.y] if len(xs) == 1 else _joined([arrays[y_name] for _, y_name in parts], names, what)

    def where(row: int) -> str:
        part = int(row >= len(xs[0]))
        which = f" of {parts[part][1]}" if len(xs) > 1 else ""
        return f"{what}: row {row - part * len(xs[0])}{which} (counted from 0)"

    given, named = _texts(arrays, "class_names", what), f"{what}: array '{names.y}'"
    y, classes = encode_labels(labels, target, given, where, named, for_training=for_training)
    if labels.dtype.kind == "U" and labels.ndim == 1:
        reason = decide_target(unicode_texts(labels, named), target, given)[1]
    else:
        reason = decide_target(labels, target, given)[1]
    read = {"label": (names.y,), "label_reason": "an array of the file", "task_reason": reason}
    doubts = tuple(label_doubts(y[: len(xs[0])], classes)) if for_training else ()
    return [
        Dataset(x, part, classes, reading=Reading(**read, rows=len(x), warnings=doubts), **common)  # type: ignore[arg-type]
        for x, part in zip(xs, np.split(y, [len(xs[0])]) if len(xs) > 1 else [y], strict=True)
    ]


def _joined(labels: list[NDArray[Any]], names: ArrayNames, what: str) -> NDArray[Any]:
    first, second = labels
    if first.shape[1:] != second.shape[1:] or (first.dtype.kind == "U") != (second.dtype.kind == "U"):
        raise InputError(
            f"{what}: '{names.y}' is {first.dtype} {first.shape}, '{names.y_test}' {second.dtype} {second.shape}; "
            "expected labels of one kind"
        )
    return np.concatenate(labels)


def _texts(arrays: dict[str, NDArray[Any]], key: str, what: str) -> tuple[str, ...] | None:
    what = f"{what}: array '{key}'"
    return checked_names(unicode_texts(arrays[key], what), what) if key in arrays else None
