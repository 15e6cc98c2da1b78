"""Data to learn from: read it, check it, and cut it into parts for training, validation and test."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import DATA_MAX_BYTES, as_rows, describe, read_file, read_npz_arrays, shortened, to_float32
from trainer.data import (
    Target,
    checked_names,
    encode_labels,
    idx_files,
    parse_labels,
    read_idx_folder,
    unicode_texts,
)

BUNDLED = {"digits": Path(__file__).with_name("digits.npz")}  # where they come from: digits.md


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows and what they mean. Arrays are read-only; x holds raw values, never scaled.

    x: float32 (n, n_in). y: class indices int64 (n,), or regression targets float32 (n, k). class_names: the name of
    each index, () for regression. name: short. source: where the data comes from. feature_names: n_in names, or ().
    test: the rows that whoever made the data set put aside for the test, or None; they are not in x.
    Raises InputError where the parts do not fit together.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    class_names: tuple[str, ...] = ()
    name: str = "data"
    source: str = ""
    feature_names: tuple[str, ...] = ()
    test: Dataset | None = None

    def __post_init__(self) -> None:
        for key in ("x", "y"):
            array = getattr(self, key).view()
            array.setflags(write=False)
            object.__setattr__(self, key, array)
        if self.x.dtype != np.float32 or self.x.ndim != 2:
            raise InputError(f"{self.name}: x is {self.x.dtype} {self.x.shape}, expected float32 (n, n_in)")
        if (self.y.dtype, self.y.ndim) not in ((np.dtype(np.int64), 1), (np.dtype(np.float32), 2)):
            raise InputError(f"{self.name}: y is {self.y.dtype} {self.y.shape}, expected int64 (n,) or float32 (n, k)")
        if len(self.x) != len(self.y):
            raise InputError(f"{self.name}: {len(self.x):,} rows in x but {len(self.y):,} in y; give one label a row")
        if self.feature_names and len(self.feature_names) != self.n_in:
            raise InputError(f"{self.name}: {len(self.feature_names)} feature names for {self.n_in} columns")

    def __len__(self) -> int:
        """The number of rows in x."""
        return len(self.x)

    @property
    def n_in(self) -> int:
        """Values in a row."""
        return int(self.x.shape[1])

    @property
    def is_classification(self) -> bool:
        """Whether y holds class indices (and not regression targets)."""
        return self.y.ndim == 1

    @property
    def n_out(self) -> int:
        """Outputs that a network for this data needs: classes, or targets a row."""
        return len(self.class_names) if self.is_classification else int(self.y.shape[1])

    def __repr__(self) -> str:
        """What it holds, in one line."""
        outputs = "classes" if self.is_classification else "targets"
        test = "" if self.test is None else f", and {len(self.test):,} rows for the test"
        name = shortened(self.name, 60)
        return f"Dataset({name!r}, {len(self):,} rows, {self.n_in:,} features, {self.n_out:,} {outputs}{test})"

    def take(self, rows: NDArray[np.int64]) -> Dataset:
        """These rows, in this order, without the test part."""
        return replace(self, x=self.x[rows], y=self.y[rows], test=None)


@dataclass(frozen=True, eq=False)
class Split:
    """Three parts of a data set; no row is in two of them."""

    train: Dataset
    validation: Dataset
    test: Dataset

    def __repr__(self) -> str:
        """Its parts, in one line."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        sizes = ", ".join(f"{name} {len(part):,}" for name, part in parts.items())
        return f"Split({shortened(self.train.name, 60)!r}: {sizes} rows)"


def load_dataset(
    spec: str | os.PathLike[str],
    *,
    target: Target = "auto",
    max_bytes: int = DATA_MAX_BYTES,
    for_training: bool = True,
) -> Dataset:
    """Read a data set.

    spec: a bundled set's name (`digits`); an `.npz` with `x` and `y` (optional: `class_names`, `feature_names`); a
    `.csv` with the label in its last column and an optional header; or a folder of IDX files (MNIST layout, or .gz).
    target: "class", "regression", "auto" (classes for texts and whole numbers, else regression), or "autoencoder":
    y is x; there labels are not needed, and every column of a CSV is a feature.
    max_bytes: cap on each file, on what it unpacks to and on x, each.
    for_training: False takes an `.npz` without `y` too, y being float32 (n, 0), and labels that are all the same.
    Raises InputError, naming row and column where it can, for anything wrong in the data; OSError if unreadable.
    """
    if target not in ("auto", "class", "regression", "autoencoder"):
        raise InputError(f"target {target!r}, expected auto, class, regression or autoencoder")
    name = os.fspath(spec)
    if name in BUNDLED:
        return replace(_load_npz(BUNDLED[name], name, target, max_bytes, for_training), name=name)
    path = Path(name)
    if "\0" not in name and path.is_dir():
        return _load_idx(path, target, max_bytes, for_training)
    if path.suffix.lower() == ".npz":
        return _load_npz(path, describe(name), target, max_bytes, for_training)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _load_csv(path, target, max_bytes, for_training)
    found = "unknown data" if "\0" not in name and path.exists() else "no such file or folder"
    raise InputError(
        f"{describe(name)}: {found}; expected the name of a bundled set ({', '.join(BUNDLED)}), "
        "a file that ends in .npz or .csv, or a folder of IDX files"
    )


def files_of(spec: str | os.PathLike[str]) -> list[Path]:
    """The files that `load_dataset` reads for `spec`, whether they are there or not."""
    path = BUNDLED.get(os.fspath(spec), Path(spec))
    return idx_files(path) if os.path.isdir(path) else [path]


def split(dataset: Dataset, *, test: float = 0.2, validation: float = 0.1, seed: int = 0) -> Split:
    """Cut a data set into three, each row in exactly one part, in an order shuffled by `seed`.

    test, validation: shares of all rows; 0 gives a part without rows. Where the data set has a test part of its own,
    that is the test, and `test` is not used. Classes keep their shares in each part, to within a row or two. The same
    seed gives the same parts on every NumPy version. Raises InputError for shares or a seed that make no sense, and
    for too few rows.
    """
    if not (0 <= test < 1 and 0 <= validation < 1 and test + validation < 1):
        raise InputError(f"test share {test}, validation share {validation}; expected 0 or more, together below 1")
    if not 0 <= seed < 1 << 128:
        raise InputError(f"seed {seed}, expected 0 or more")
    count = len(dataset)
    n_test = 0 if dataset.test is not None else _share(count, test)
    n_validation = _share(count, validation)
    if n_test + n_validation >= count:
        raise InputError(f"{dataset.name}: {count} rows are too few for three parts; add rows or lower the shares")
    # Raw output of the generator, because NumPy keeps that the same between versions and permutation() not.
    order = np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").astype(np.int64)
    rest, test_rows = _draw(order, dataset, n_test)
    train_rows, validation_rows = _draw(rest, dataset, n_validation)
    return Split(
        dataset.take(train_rows),
        dataset.take(validation_rows),
        dataset.take(test_rows) if dataset.test is None else dataset.test,
    )


def _share(count: int, fraction: float) -> int:
    return max(1, round(count * fraction)) if fraction > 0 else 0


def _draw(rows: NDArray[np.int64], dataset: Dataset, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that stay and `count` drawn ones. Sorted by class, every so-manyth is drawn: a class gives its share."""
    position = np.arange(len(rows))
    drawn = (position + 1) * count // len(rows) > position * count // len(rows)
    if dataset.is_classification:
        by_class = np.argsort(dataset.y[rows], kind="stable")
        drawn[by_class] = drawn.copy()
    return rows[~drawn], rows[drawn]


def _load_npz(path: Path, what: str, target: Target, max_bytes: int, for_training: bool) -> Dataset:
    required = ["x", "y"] if for_training and target != "autoencoder" else ["x"]
    optional = ["class_names", "feature_names", "source", *(["y"] if target != "autoencoder" else [])]
    optional = [name for name in optional if name not in required]
    arrays = read_npz_arrays(path, required, optional, max_bytes=max_bytes)
    x = arrays["x"][:, np.newaxis] if arrays["x"].ndim == 1 else arrays["x"]
    x = to_float32(as_rows(x, f"{what}: array 'x'"), f"{what}: array 'x'", max_bytes=max_bytes)
    features = _texts(arrays, "feature_names", what) or ()
    source = arrays.get("source")
    text = unicode_texts(source.reshape(-1), what)[0] if source is not None and source.size == 1 else describe(path)
    if target == "autoencoder":
        return Dataset(x, x, (), path.stem, text, features)
    if "y" not in arrays:
        return Dataset(x, np.empty((len(x), 0), np.float32), (), path.stem, text, features)
    labels = arrays["y"]
    if labels.ndim == 0 or len(labels) != len(x):
        raise InputError(f"{what}: x has {len(x):,} rows, but y has shape {labels.shape}; give one label a row")

    def where(row: int) -> str:
        return f"{what}: row {row} (counted from 0)"

    given, named = _texts(arrays, "class_names", what), f"{what}: array 'y'"
    y, names = encode_labels(labels, target, given, where, named, for_training=for_training)
    return Dataset(x, y, names, path.stem, text, features)


def _texts(arrays: dict[str, NDArray[Any]], key: str, what: str) -> tuple[str, ...] | None:
    what = f"{what}: array '{key}'"
    return checked_names(unicode_texts(arrays[key], what), what) if key in arrays else None


def _load_csv(path: Path, target: Target, max_bytes: int, for_training: bool) -> Dataset:
    from edge_runtime.files import read_csv

    what = describe(path)
    table = read_csv(read_file(path, max_bytes=max_bytes), what, last_is_label=target != "autoencoder")
    columns = table.values.shape[1]
    features = checked_names(table.header[:columns], f"{what}: row 1") if table.header else ()
    if table.labels is None:
        return Dataset(table.values, table.values, (), path.stem, what, features)

    def where(row: int) -> str:
        return f"{what}: row {table.line_numbers[row]}"

    labels = parse_labels(table.labels, where)
    y, names = encode_labels(labels, target, None, where, f"{what}: last column", for_training=for_training)
    return Dataset(table.values, y, names, path.stem, what, features)


def _load_idx(folder: Path, target: Target, max_bytes: int, for_training: bool) -> Dataset:
    what = describe(folder)
    parts = read_idx_folder(folder, max_bytes=max_bytes)
    sizes = [math.prod(images.shape[1:]) for images, _ in parts.values()]
    if len(set(sizes)) > 1:
        raise InputError(f"{what}: train images have {sizes[0]:,} pixels, test images {sizes[1]:,}; expected the same")
    xs = {
        part: to_float32(as_rows(images, f"{what}: {part} images"), f"{what}: {part} images", max_bytes=max_bytes)
        for part, (images, _) in parts.items()
    }
    if target == "autoencoder":
        sets = [Dataset(x, x, (), folder.name, what) for x in xs.values()]
    else:
        labels = np.concatenate([labels for _, labels in parts.values()])  # one list of classes for both parts

        def where(row: int) -> str:
            first = next(iter(xs))
            inside = row < len(xs[first])
            part, row = (first, row) if inside else ("test", row - len(xs[first]))
            return f"{what}: {part} row {row} (counted from 0)"

        y, names = encode_labels(labels, target, None, where, f"{what}: labels", for_training=for_training)
        ends = np.cumsum([len(x) for x in xs.values()])[:-1]
        sets = [
            Dataset(x, part, names, folder.name, what) for x, part in zip(xs.values(), np.split(y, ends), strict=True)
        ]
    return replace(sets[0], test=sets[1]) if len(sets) > 1 else sets[0]
