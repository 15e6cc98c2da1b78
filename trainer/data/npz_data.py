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
from edge_runtime.schema import Column, Schema, numbered
from trainer.data.dataset import Dataset
from trainer.data.labels import (
    Target,
    checked_names,
    decide_target,
    encode_labels,
    label_doubts,
    one_hot_classes,
    unicode_texts,
)
from trainer.data.reading import Reading
from trainer.data.tables import offset_of

_TEXTS = ("class_names", "feature_names", "source")


def load_npz(
    path: str | os.PathLike[str],
    what: str,
    target: Target,
    max_bytes: int,
    for_training: bool,
    schema: Schema | None = None,
) -> Dataset:
    """The data set in an `.npz`, with its own test part if it has one. what: names it in messages.

    for_training: labels are needed, but for an autoencoder. schema: of a model, whose offsets are subtracted; else a
    column that float32 cannot tell apart gets one. Raises InputError, naming array and row; OSError.
    """
    arrays, names = _read(path, target, max_bytes, for_training)
    has_labels = target != "autoencoder" and names.y in arrays
    is_tested = names.x_test in arrays and (names.y_test in arrays or not has_labels)
    raw = {name: _rows(arrays, name, what) for name in ((names.x, names.x_test) if is_tested else (names.x,))}
    first, last = raw[names.x], list(raw.values())[-1]
    if first.shape[1] != last.shape[1]:
        raise InputError(f"{what}: '{names.x}' has rows of {first.shape[1]:,}, '{names.x_test}' of {last.shape[1]:,}")
    common = _common(arrays, path, what, first)
    schema = schema or common["schema"]
    xs = [
        to_float32(rows if schema is None else schema.subtract(rows), f"{what}: array '{name}'", max_bytes=max_bytes)
        for name, rows in raw.items()
    ]
    if not has_labels:
        ys: list[NDArray[Any]] = xs if target == "autoencoder" else [np.empty((len(x), 0), np.float32) for x in xs]
        sets = [Dataset(x, y, **common, reading=_reading(common, len(x))) for x, y in zip(xs, ys, strict=True)]
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


def _rows(arrays: dict[str, NDArray[Any]], name: str, what: str) -> NDArray[Any]:
    array = arrays[name][:, np.newaxis] if arrays[name].ndim == 1 else arrays[name]
    return as_rows(array, f"{what}: array '{name}'")


def _common(
    arrays: dict[str, NDArray[Any]], path: str | os.PathLike[str], what: str, x: NDArray[Any]
) -> dict[str, Any]:
    """What the parts of a data set share."""
    source = arrays.get("source")
    text = unicode_texts(source.reshape(-1), what)[0] if source is not None and source.size == 1 else describe(path)
    features = _texts(arrays, "feature_names", what) or ()
    if features and len(features) != x.shape[1]:
        raise InputError(f"{what}: {len(features)} feature_names for {x.shape[1]:,} columns of x; give one each")
    return {"name": Path(path).stem, "source": text, "feature_names": features, "schema": _schema(x, features)}


def _schema(x: NDArray[Any], features: tuple[str, ...]) -> Schema | None:
    """What is to be remembered of the columns: their names, and offsets of numbers that float32 cannot tell apart."""
    offsets = [0.0] * x.shape[1]
    if x.dtype.kind in "iuf" and x.dtype.itemsize >= 8:
        offsets = [offset_of(column[np.isfinite(column)]) for column in x.astype(np.float64, copy=False).T]
    if not features and not any(offsets):
        return None
    names = features or tuple(map(numbered, range(len(offsets))))
    columns = tuple(Column(name, offset=offset) for name, offset in zip(names, offsets, strict=True))
    return Schema(columns, table_width=0 if features else len(offsets))


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
    one_hot = one_hot_classes(labels, target)
    if one_hot is not None:
        count, labels = labels.shape[1], one_hot
        if given is not None and len(given) != count:
            raise InputError(f"{named}: one of {count:,} columns is 1 in each row, but class_names has {len(given):,}")
        given = given or tuple(map(str, range(count)))
    y, classes = encode_labels(labels, target, given, where, named, for_training=for_training)
    if labels.dtype.kind == "U" and labels.ndim == 1:
        reason = decide_target(unicode_texts(labels, named), target, given)[1]
    else:
        reason = decide_target(labels, target, given)[1]
    if one_hot is not None:
        reason = f"one column of 0 and 1 for each of {count:,} classes (--target regression takes them as values)"
    read = replace(
        _reading(common, 0),
        label=(names.y,),
        label_reason="an array of the file",
        task_reason=reason,
        warnings=tuple(label_doubts(y[: len(xs[0])], classes)) if for_training else (),
    )
    return [
        Dataset(x, part, classes, reading=replace(read, rows=len(x)), **common)
        for x, part in zip(xs, np.split(y, [len(xs[0])]) if len(xs) > 1 else [y], strict=True)
    ]


def _reading(common: dict[str, Any], rows: int) -> Reading:
    schema: Schema | None = common["schema"]
    columns = () if schema is None else schema.columns
    return Reading(rows=rows, offsets=tuple(column.name for column in columns if column.offset))


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
