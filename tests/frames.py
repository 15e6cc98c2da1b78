"""Frames as pandas and polars have them, for tests without either: columns by name, and an array of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np


class Missing:
    """Like pandas' NA: not equal to anything, and never true or false."""

    def __eq__(self, other: object) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None  # type: ignore[assignment]

    def __float__(self) -> float:
        raise TypeError("not a number")


Missing.__name__ = "NAType"


class Series:
    """One column."""

    def __init__(self, cells: Any, name: str | None = None) -> None:
        self.cells, self.name = np.asanyarray(cells), name

    def __len__(self) -> int:
        return len(self.cells)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.cells if dtype is None else self.cells.astype(dtype)


class Frame:
    """Columns of any types, of one length."""

    def __init__(self, columns: dict[Any, Any]) -> None:
        self.cells = {name: Series(cells, name) for name, cells in columns.items()}
        self.columns = list(self.cells)

    def __len__(self) -> int:
        return len(next(iter(self.cells.values()), ()))

    def __getitem__(self, name: Any) -> Series:
        return self.cells[name]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([list(series.cells) for series in self.cells.values()], object).T


def frame_of(rows: Any, names: Any) -> Frame:
    """A frame of an array's columns."""
    return Frame(dict(zip(names, np.asarray(rows).T, strict=True)))
