"""Cutting a data set into parts for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import InputError
from edge_runtime.files import shortened
from trainer.data.dataset import Dataset
from trainer.data.shares import drawn, shuffled


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
    labels = dataset.y if dataset.is_classification else None
    order = shuffled(count, seed)
    rest, test_rows = drawn(order, n_test, None if labels is None else labels[order])
    train_rows, validation_rows = drawn(rest, n_validation, None if labels is None else labels[rest])
    return Split(
        dataset.take(train_rows),
        dataset.take(validation_rows),
        dataset.take(test_rows) if dataset.test is None else dataset.test,
    )


def _share(count: int, fraction: float) -> int:
    return max(1, round(count * fraction)) if fraction > 0 else 0
