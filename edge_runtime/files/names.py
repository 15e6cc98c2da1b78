"""What people and libraries call tables, and the arrays of rows and labels in an `.npz`: for training and devices."""

from __future__ import annotations

import os
from typing import NamedTuple

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ".arff")


def is_table_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends as tables of text do: TABLE_SUFFIXES, each plain or packed (.csv.gz)."""
    return os.fspath(path).lower().removesuffix(".gz").endswith(TABLE_SUFFIXES)


class ArrayNames(NamedTuple):
    """What the arrays of rows and labels are called; those that the maker put aside for the test may be missing."""

    x: str
    y: str
    x_test: str = ""
    y_test: str = ""


_TEST = {"x": "x_test", "X": "X_test", "x_train": "x_test", "X_train": "X_test", "train_images": "test_images"}
_TEST |= {"y": "y_test", "Y": "Y_test", "y_train": "y_test", "Y_train": "Y_test", "train_labels": "test_labels"}
_PAIRS = (
    (("x", "X"), ("y", "Y", "labels")),
    (("x_train", "X_train", "train_images"), ("y_train", "Y_train", "train_labels")),  # Keras's mnist.npz, for one
    (("data", "images", "features"), ("target", "targets", "labels", "y")),
    (("arr_0",), ("arr_1",)),  # numpy.savez(file, x, y)
)
# The first pair that is in the file is meant; else the first rows.
ARRAY_NAMES = tuple(ArrayNames(x, y, _TEST.get(x, ""), _TEST.get(y, "")) for xs, ys in _PAIRS for x in xs for y in ys)
ROW_NAMES = tuple(dict.fromkeys(names.x for names in ARRAY_NAMES))
