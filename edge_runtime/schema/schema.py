"""What the columns of a table mean to a model: names in its order, categories of texts, offsets, missing cells.

A `Schema` stands as text in `metadata["schema"]` of a model, so that it travels with the artifact and the ONNX file. A
device reads a table by it: `Schema.of(model)`, then `schema.read(table, what)`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.errors import InputError, ModelError
from edge_runtime.files import DATA_MAX_BYTES, printable
from edge_runtime.schema.cells import inputs_of, rows_kept
from edge_runtime.schema.column import Column
from edge_runtime.schema.names import listed
from edge_runtime.schema.places import places_in
from edge_runtime.schema.text import fields_in, packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.files import Table
    from edge_runtime.model import Model

KEY = "schema"  # of the metadata
RULES = ("refuse", "drop", "mean")  # for missing cells
_DESCRIBED = 20  # columns that a description lists
_RULE_WORDS = {"refuse": "refused", "drop": "left out", "mean": "filled in with the mean of the training"}


class SchemaRows(NamedTuple):
    """What was read. x: float32 (n, n_in). kept: the rows of the table that x holds, int64 (n,). notes: a line each."""

    x: NDArray[np.float32]
    kept: NDArray[np.int64]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Schema:
    """The columns that a model reads, in the order of its inputs. Raises ModelError for what makes no sense.

    targets: names of the columns that it was trained to give. missing: what is done with a row in which a column has no
    value: "refuse", "drop" it, or fill in the column's "mean". units: of the targets, one each, or (). table_width:
    columns of the training table if it had no header (its columns are then called "column 1", "column 2", ...), else 0.

    Where a column has an offset, arrays given to an engine are differences from it (`subtract`).
    """

    columns: tuple[Column, ...]
    targets: tuple[str, ...] = ()
    missing: str = "refuse"
    units: tuple[str, ...] = ()
    table_width: int = 0

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(set(names)) < len(names):
            raise ModelError("a schema needs columns of different names")
        if self.missing not in RULES:
            raise ModelError(f"a schema's rule for missing cells is {self.missing!r:.40}, expected {', '.join(RULES)}")
        if self.units and len(self.units) != len(self.targets):
            raise ModelError(f"a schema has {len(self.units)} units for {len(self.targets)} targets")

    @staticmethod
    def of(model: Model) -> Schema | None:
        """The schema of a model, or None if it has none. Raises ModelError if it does not fit the model."""
        text = model.metadata.get(KEY)
        schema = None if text is None else Schema.parse(text, most_inputs=model.n_in)
        if schema is not None and schema.n_in != model.n_in:
            raise ModelError(
                f"metadata['{KEY}'] describes {schema.n_in:,} inputs, the model takes {model.n_in:,}; "
                "take the entry out, or train again"
            )
        return schema

    @property
    def n_in(self) -> int:
        """Inputs of the model."""
        return sum(column.width for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called."""
        return tuple(column.name for column in self.columns)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name for each input: the column's, or `column=category`."""
        return tuple(
            f"{column.name}={category}" if column.categories else column.name
            for column in self.columns
            for category in (column.categories or ("",))
        )

    @property
    def offsets(self) -> NDArray[np.float64] | None:
        """What is subtracted from each input, float64 (n_in,), or None if nothing is."""
        if not any(column.offset for column in self.columns):
            return None
        return np.repeat([column.offset for column in self.columns], [column.width for column in self.columns])

    def subtract(self, array: Array) -> Array:
        """An array (n, n_in) of raw values as differences from the offsets, taken in float64; as it is without any."""
        offsets = self.offsets
        return array if offsets is None or array.shape[-1:] != offsets.shape else array - offsets

    def read(self, table: Table, what: str, *, max_bytes: int = DATA_MAX_BYTES) -> SchemaRows:
        """The rows of a table as a model takes them.

        Columns are found by their names; without a header by their place, if their number fits. A row with a missing
        value is refused, left out or filled, as the schema's rule says. max_bytes: cap on the result.
        Raises InputError, naming column and row.
        """
        places, notes = places_in(self, table, what)
        kept, note = rows_kept(self, table, places, what)
        if 4 * self.n_in * len(kept) > max_bytes:
            raise InputError(
                f"{what}: {len(kept):,} rows x {self.n_in:,} inputs, over the limit of {max_bytes:,} bytes as float32; "
                "give fewer rows or columns of many texts, or raise max_bytes"
            )
        x = inputs_of(self, table, places, kept, what)
        return SchemaRows(x, kept, (*notes, *note))

    def described(self) -> tuple[str, ...]:
        """What a table must hold, a line each, for whoever has the model and not its data."""
        shown = [_described(column) for column in self.columns[:_DESCRIBED]]
        more = f", and {len(self.columns) - _DESCRIBED:,} more" if len(self.columns) > _DESCRIBED else ""
        lines = [f"columns: {', '.join(shown)}{more}"]
        units = self.units or ("",) * len(self.targets)
        named = [name if unit in name else f"{name} [{unit}]" for name, unit in zip(self.targets, units, strict=True)]
        lines += [f"predicts: {', '.join(named[:_DESCRIBED])}"] if named else []
        lines.append(f"a row that lacks a value is {_RULE_WORDS[self.missing]}")
        if self.offsets is not None:
            lines.append(
                "arrays are differences from these offsets; those of a table are taken in float64 as it is read"
            )
        return tuple(lines)

    def text(self) -> str:
        """As JSON, for `metadata["schema"]`. `Schema.parse` reads it back."""
        entry: dict[str, Any] = {"columns": packed(self.columns)}
        entry |= {"targets": list(self.targets)} if self.targets else {}
        entry |= {"missing": self.missing} if self.missing != "refuse" else {}
        entry |= {"units": list(self.units)} if any(self.units) else {}
        entry |= {"table_width": self.table_width} if self.table_width else {}
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @staticmethod
    def parse(text: str, *, most_inputs: int = 1 << 20) -> Schema | None:
        """The schema in a text; None for a text that is something else. Raises ModelError if it is damaged.

        most_inputs: a few letters may stand for many columns, so that their number is bounded before they are made.
        """
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(entry, dict) or "columns" not in entry:
            return None
        try:
            return Schema(**fields_in(entry, most_inputs))
        except ModelError:
            raise
        except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
            raise ModelError(
                f"metadata['{KEY}'] is no description of columns ({printable(error, 80)}); take the entry out"
            ) from error


def _described(column: Column) -> str:
    if column.categories:
        return f"{column.name} (one of {listed(column.categories)})"
    return f"{column.name} (minus {column.offset!r})" if column.offset else column.name
