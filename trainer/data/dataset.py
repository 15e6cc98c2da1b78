"""Rows and what they mean: the value that is split, learned from and judged on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import shortened
from edge_runtime.schema import Schema
from trainer.data.reading import Reading


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows and what they mean. Arrays are read-only; x holds raw values, less the schema's offsets, never scaled.

    x: float32 (n, n_in). y: class indices int64 (n,), or regression targets (n, k), float32, or float64 where float32
    would lose what varies. class_names: the name of each index, () for regression. name: short. source: where the data
    comes from. feature_names: n_in names, or (). test: the rows that whoever made the data set put aside for the test,
    or None; they are not in x. schema: how further tables are read alike, or None for arrays. reading: how it was read,
    and why so.
    Raises InputError where the parts do not fit together.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    class_names: tuple[str, ...] = ()
    name: str = "data"
    source: str = ""
    feature_names: tuple[str, ...] = ()
    test: Dataset | None = None
    schema: Schema | None = None
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        for key in ("x", "y"):
            array = getattr(self, key).view()
            array.setflags(write=False)
            object.__setattr__(self, key, array)
        if self.x.dtype != np.float32 or self.x.ndim != 2:
            raise InputError(f"{self.name}: x is {self.x.dtype} {self.x.shape}, expected float32 (n, n_in)")
        if (self.y.dtype.name, self.y.ndim) not in (("int64", 1), ("float32", 2), ("float64", 2)):
            raise InputError(
                f"{self.name}: y is {self.y.dtype} {self.y.shape}, expected int64 (n,), or float32 or float64 (n, k)"
            )
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

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed when it was read, a line each; what may be wrong comes first."""
        return (*self.reading.warnings, *self.reading.notes)

    def __repr__(self) -> str:
        """What it holds, in one line."""
        outputs = "classes" if self.is_classification else "targets"
        test = "" if self.test is None else f", and {len(self.test):,} rows for the test"
        name = shortened(self.name, 60)
        return f"Dataset({name!r}, {len(self):,} rows, {self.n_in:,} features, {self.n_out:,} {outputs}{test})"

    def take(self, rows: NDArray[np.int64]) -> Dataset:
        """These rows, in this order, without the test part."""
        return replace(self, x=self.x[rows], y=self.y[rows], test=None)
