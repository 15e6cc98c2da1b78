"""What was done to a file before a network learns from it: for the lines that a command prints, and for `--json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """How a data set was read.

    label: the names of the columns that are learned. label_reason, task_reason: how label and task were decided.
    left_out: columns that are not learned from, and why. one_hot: columns that were made inputs of their texts.
    offsets: columns from which a number is subtracted. rows: of the file; dropped: of these, for a missing value;
    strange: of these, not learned from by an autoencoder because their label is not `normal`.
    notes: what was noticed in the file. warnings: what may be wrong with it, a line each.
    """

    label: tuple[str, ...] = ()
    label_reason: str = ""
    task_reason: str = ""
    left_out: tuple[tuple[str, str], ...] = ()
    one_hot: tuple[str, ...] = ()
    offsets: tuple[str, ...] = ()
    rows: int = 0
    dropped: int = 0
    filled: int = 0
    normal: str = ""
    strange: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "label": list(self.label),
            "label_reason": self.label_reason,
            "task_reason": self.task_reason,
            "left_out": dict(self.left_out),
            "one_hot": list(self.one_hot),
            "offsets": list(self.offsets),
            "rows": self.rows,
            "rows_dropped": self.dropped,
            "values_filled": self.filled,
            "normal": self.normal,
            "rows_strange": self.strange,
            "notes": list(self.notes),
        }
