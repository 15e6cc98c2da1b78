"""Data to learn from: read it, check it, and cut it into parts for training, validation and test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files import DATA_MAX_BYTES, describe, is_table_name, printable
from edge_runtime.schema import Schema
from trainer.data import (
    Choices,
    Columns,
    Dataset,
    Split,
    Target,
    as_known_classes,
    as_names,
    idx_files,
    is_class_folder,
    is_idx_folder,
    load_alike,
    load_idx,
    load_npz,
    load_table,
    split,
    table_files,
)
from trainer.scores import named_normal

__all__ = ["BUNDLED", "Dataset", "Split", "files_of", "for_autoencoder", "load_another", "load_dataset", "split"]

BUNDLED = {"digits": Path(__file__).with_name("digits.npz")}  # where they come from: digits.md


def load_dataset(
    spec: str | os.PathLike[str],
    *,
    target: Target = "auto",
    max_bytes: int = DATA_MAX_BYTES,
    for_training: bool = True,
    label: Columns = None,
    drop: Columns = (),
    features: Columns = (),
    one_hot: Columns = (),
    missing: str = "refuse",
) -> Dataset:
    """Read a data set.

    spec: a bundled set's name (`digits`); an `.npz` with `x` and `y`, or what other libraries call them (optional:
    `class_names`, `feature_names`); a table of text (`.csv` and its like); a folder of IDX files (MNIST layout, or
    .gz); or a folder of tables, a file for each class.
    target: "class", "regression", "auto" (as the labels are, see `decide_target`), or "autoencoder": y is x; there
    labels are not needed, and none is learned from.
    max_bytes: cap on each file, on what it unpacks to and on x, each.
    for_training: False takes an `.npz` without `y` too, y being float32 (n, 0), and labels that are all the same.
    label, drop, features, one_hot, missing: the columns of a table; see `Choices`. Without a label it is found by its
    name, or is the last column; `dataset.reading` says which, and why.
    Raises InputError, naming row and column where it can, for anything wrong in the data; OSError if unreadable.
    """
    choices = Choices.of(target=target, missing=missing, label=label, drop=drop, features=features, one_hot=one_hot)
    name = os.fspath(spec)
    if name not in BUNDLED and _is_table(name):
        return load_table(Path(name), choices, max_bytes, for_training)
    if missing != "refuse":
        raise InputError(
            f"{describe(name)}: --missing {missing} is for tables; arrays must be whole, so that it has no effect: "
            "leave it out"
        )
    if choices.given():
        raise InputError(
            f"{describe(name)}: {', '.join(choices.given())} is for columns of a table; arrays are taken whole"
        )
    if name in BUNDLED:
        return replace(load_npz(BUNDLED[name], name, target, max_bytes, for_training), name=name)
    path = Path(name)
    if "\0" not in name and path.is_dir():
        _refuse_no_data(path)
        return load_idx(path, target, max_bytes, for_training)
    if path.suffix.lower() == ".npz":
        return load_npz(path, describe(name), target, max_bytes, for_training)
    found = "unknown data" if "\0" not in name and path.exists() else "no such file or folder"
    raise InputError(
        f"{describe(name)}: {found}; expected the name of a bundled set ({', '.join(BUNDLED)}), "
        "a file that ends in .npz or .csv, or a folder of IDX files or of a table for each class"
    )


def load_another(
    spec: str | os.PathLike[str],
    *,
    schema: Schema | None,
    target: Target,
    class_names: Sequence[str] = (),
    max_bytes: int = DATA_MAX_BYTES,
    needs_labels: bool = True,
    label: Columns = None,
    for_tuning: bool = False,
) -> Dataset:
    """Data beside those that a model was trained on: read by its schema, with labels as it knows them.

    schema: of the model; None reads the data by themselves. target: "class", "regression" or "autoencoder", as the
    model was trained. class_names: those of the model; y are indices into them. needs_labels: False gives y of float32
    (n, 0) where labels are missing; where they are needed, a test part of the data's own is what is meant. label: the
    column of a table, if the schema does not say it. for_tuning: labels may be missing, as with needs_labels False, but
    those that are there must be the model's: `fine_tune` would learn something else without them.
    Raises InputError, naming row and column, where they do not fit; OSError.
    """
    name, needs_labels = os.fspath(spec), needs_labels and not for_tuning
    if schema is not None and name not in BUNDLED and _is_table(name):
        return load_alike(
            Path(name), schema, target, class_names, as_names(label),
            max_bytes=max_bytes, needs_labels=needs_labels, for_tuning=for_tuning,
        )  # fmt: skip
    wanted: Target = "class" if class_names and target == "auto" else target
    if schema is not None and schema.offsets is not None and Path(name).suffix.lower() == ".npz":
        data = load_npz(name, describe(name), wanted, max_bytes, False, schema)
    else:
        columns = label if _is_table(name) else None
        data = load_dataset(spec, target=wanted, max_bytes=max_bytes, for_training=False, label=columns)
    if needs_labels and data.n_out == 0:
        raise InputError(f"{describe(name)}: no labels in it; give them as 'y'")
    if needs_labels and data.test is not None:
        notes = (*data.reading.notes, "the rows are those of its own test part")
        data = replace(data.test, reading=replace(data.test.reading, notes=notes))
    if not data.is_classification or not class_names:
        return data
    return _with_known_classes(data, tuple(class_names), describe(name))


def _with_known_classes(data: Dataset, class_names: tuple[str, ...], what: str) -> Dataset:
    """Data and their test part with y as indices into the classes of a model, by name or as the indices themselves."""
    if data.class_names == class_names:
        return data
    names: Sequence[str] = data.class_names
    if not set(names) & set(class_names) and all(text.isdecimal() and int(text) < len(class_names) for text in names):
        names = [class_names[int(text)] for text in names]  # indices, where the classes have names of their own
    known = as_known_classes(
        data.y, names, class_names, lambda row: f"{what}: row {row} (counted from 0)", data.reading.label
    )
    test = None if data.test is None else _with_known_classes(data.test, class_names, f"{what}: its test part")
    return replace(data, y=known, class_names=class_names, test=test)


def for_autoencoder(data: Dataset) -> Dataset:
    """Data with labels as an autoencoder takes them: y is x; rows of another class than one called normal are left out.

    See `named_normal` for the names. What was left out stands in the notes.
    """
    normal = named_normal(data.class_names) if data.is_classification else None
    if normal is not None:
        left_out = int(np.count_nonzero(data.y != normal))
        notes = data.reading.notes
        if left_out:
            notes += (f"{left_out:,} rows left out, whose label is not '{data.class_names[normal]}'",)
        reading = replace(data.reading, notes=notes)
        data = replace(data.take(np.flatnonzero(data.y == normal)), reading=reading)
    return replace(data, y=data.x, class_names=())


def _refuse_no_data(folder: Path) -> None:
    """Say what a folder should hold, where it holds neither IDX files nor a table for each class."""
    if is_idx_folder(folder):
        return
    expected = "train-images-idx3-ubyte, train-labels-idx1-ubyte (or .gz)"
    expected += ", or a table for each class, two at least, named after it (walk.csv, run.csv)"
    tables = table_files(folder)
    if len(tables) == 1:
        found = f"a single table, '{printable(tables[0].name, 60)}': give that file itself, or one for each class"
        raise InputError(f"{describe(folder)}: {found}; expected {expected}")
    inside = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if inside:
        found = f"{len(inside):,} folders ({', '.join(printable(repr(name), 40) for name in inside[:3])}"
        found += ", ...)" if len(inside) > 3 else ")"
        found += ", which are not looked into: join the files of each into one table beside the others"
        raise InputError(f"{describe(folder)}: no data files, but {found}; expected {expected}")
    raise InputError(f"{describe(folder)}: no IDX files in it, expected {expected}")


def _is_table(name: str) -> bool:
    return is_table_name(name) or ("\0" not in name and is_class_folder(Path(name)))


def files_of(spec: str | os.PathLike[str]) -> list[Path]:
    """The files that `load_dataset` reads for `spec`, whether they are there or not."""
    path = BUNDLED.get(os.fspath(spec), Path(spec))
    if not os.path.isdir(path):
        return [path]
    return table_files(path) if is_class_folder(path) else idx_files(path)
