"""One column of a table that a model reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_runtime.errors import ModelError
from edge_runtime.schema.names import quoted


@dataclass(frozen=True)
class Column:
    """One column that a model reads.

    name: as in the header. categories: the texts of a one-hot column, in the order of its inputs; () for numbers.
    offset: is subtracted in float64, so that float32 keeps what varies. fill: what takes the place of a missing cell
    where the schema's rule is "mean": a number, or a category.
    """

    name: str
    categories: tuple[str, ...] = ()
    offset: float = 0.0
    fill: float | str | None = None

    def __post_init__(self) -> None:
        if len(set(self.categories)) < len(self.categories) or (self.categories and self.offset):
            raise ModelError(f"column {quoted(self.name)}: a category twice, or categories beside an offset")
        allowed = self.fill in self.categories if self.categories else not isinstance(self.fill, str)
        if self.fill is not None and not allowed:
            raise ModelError(f"column {quoted(self.name)}: fill {self.fill!r:.40} is no value of the column")
        numbers = [self.offset, *([] if isinstance(self.fill, str) or self.fill is None else [self.fill])]
        if not all(map(math.isfinite, numbers)):
            raise ModelError(f"column {quoted(self.name)}: offset and fill are {numbers}, expected finite numbers")

    @property
    def width(self) -> int:
        """Inputs of the model that the column gives."""
        return len(self.categories) or 1
