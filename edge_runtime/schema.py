"""What the columns of a table mean to a model: names in its order, categories of texts, offsets, missing cells.

A `Schema` stands as text in `metadata["schema"]` of a model, so that it travels with the artifact and the ONNX file. A
device reads a table by it: `Schema.of(model)`, then `schema.rows(table, what)`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from edge_runtime.errors import InputError, ModelError
from edge_runtime.files import DATA_MAX_BYTES, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.files import Table
    from edge_runtime.model import Model

Array: TypeAlias = "NDArray[Any]"

KEY = "schema"  # of the metadata
LABEL_NOTE = "left out what the model predicts"
RULES = ("refuse", "drop", "mean")  # for missing cells
_BLOCK = 4096  # rows that are turned into float32 together
_SHOWN = 6  # names that a message lists
_DESCRIBED = 20  # columns that a description lists
_RULE_WORDS = {"refuse": "refused", "drop": "left out", "mean": "filled in with the mean of the training"}
_COUNTED = re.compile(r"(.*?)(0|[1-9][0-9]{0,8})", re.DOTALL)  # a name that ends in a number


class SchemaRows(NamedTuple):
    """What was read. x: float32 (n, n_in). kept: the rows of the table that x holds, int64 (n,). notes: a line each."""

    x: NDArray[np.float32]
    kept: NDArray[np.int64]
    notes: tuple[str, ...]


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

    def rows(
        self, table: Table, what: str, *, max_bytes: int = DATA_MAX_BYTES
    ) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """The rows of a table as a model takes them, float32 (n, n_in), and what was noticed, a line each.

        Columns are found by their names; without a header by their place, if their number fits. A row with a missing
        value is refused, left out or filled, as the schema's rule says. max_bytes: cap on the result.
        Raises InputError, naming column and row.
        """
        read = self.read(table, what, max_bytes=max_bytes)
        return read.x, read.notes

    def read(self, table: Table, what: str, *, max_bytes: int = DATA_MAX_BYTES) -> SchemaRows:
        """As `rows`, with the rows of the table that were kept."""
        places, notes = _places(self, table, what)
        kept, note = _kept(self, table, places, what)
        if 4 * self.n_in * len(kept) > max_bytes:
            raise InputError(
                f"{what}: {len(kept):,} rows x {self.n_in:,} inputs, over the limit of {max_bytes:,} bytes as float32; "
                "give fewer rows or columns of many texts, or raise max_bytes"
            )
        x = _filled(self, table, places, kept, what)
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
        entry: dict[str, Any] = {"columns": _packed(self.columns)}
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
            return _parsed(entry, most_inputs)
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


def numbered(place: int) -> str:
    """How a column without a name is called. place: counted from 0."""
    return f"column {place + 1}"


def number_text(value: float) -> str:
    """A number as the name of a category: 3.0, 3 and 03 are one."""
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(float(value))


def cell_texts(table: Table, place: int) -> list[str]:
    """The cells of a column as names of categories, "" where one is missing."""
    values = table.numbers[:, place]
    if place in table.texts:
        found = list(table.texts[place])
        missing = np.zeros(len(values), bool) if table.missing is None else table.missing[:, place]
        return [
            "" if gone else number_text(value) if np.isfinite(value) else text.strip()
            for text, value, gone in zip(found, values.tolist(), missing.tolist(), strict=True)
        ]
    names = {value: number_text(value) for value in np.unique(values).tolist()}
    return [names.get(value, "") for value in values.tolist()]  # NaN, a missing cell, is no key


def quoted(name: str) -> str:
    """A name in a message: in quotation marks, on one line, of limited length."""
    return printable(f"'{name}'", 60)


def listed(names: Iterable[str]) -> str:
    """Some names in a message."""
    names = list(names)
    more = [f"and {len(names) - _SHOWN + 1:,} more"] if len(names) > _SHOWN else []
    return ", ".join([*(quoted(name) for name in (names[: _SHOWN - 1] if more else names)), *more])


# by name


def _places(schema: Schema, table: Table, what: str) -> tuple[list[int], list[str]]:
    """Where each column of the schema stands in the table."""
    names = [name.strip() for name in table.names]
    wanted = [column.name for column in schema.columns]
    if not set(wanted) & set(names) and (not names or schema.table_width or _only_count(names)):
        notes = ["the columns were taken by their place, not by the header"] if names else []
        return _by_position(schema, table.numbers.shape[1], what), notes
    _refuse_lacking(schema, names, what)
    for name in wanted:
        if names.count(name) > 1:
            raise InputError(f"{what}: column {quoted(name)} is there {names.count(name)} times; rename one")
    places = [names.index(name) for name in wanted]
    return places, _order_notes(schema, names, places)


def _order_notes(schema: Schema, names: list[str], places: list[int]) -> list[str]:
    notes = ["the columns were put in the model's order"] if places != sorted(places) else []
    extra = [names[place] or numbered(place) for place in range(len(names)) if place not in set(places)]
    known = [name for name in extra if name in schema.targets]
    others = [name for name in extra if name not in schema.targets]
    notes += [f"{LABEL_NOTE}: {listed(known)}"] if known else []
    return notes + ([f"left out columns that the model does not know: {listed(others)}"] if others else [])


def _refuse_lacking(schema: Schema, names: list[str], what: str) -> None:
    lacking = [column.name for column in schema.columns if column.name not in names]
    if not lacking:
        return
    alike = {name.casefold(): name for name in names if name}
    similar = [alike[name.casefold()] for name in lacking if name.casefold() in alike]
    advice = f"rename {listed(similar)}" if similar else "give each column that the model takes, by its name"
    raise InputError(
        f"{what}: no column {listed(lacking)}; the file has {listed(name for name in names if name) or 'no names'}, "
        f"the model takes {listed(column.name for column in schema.columns)}; {advice}"
    )


def _by_position(schema: Schema, width: int, what: str) -> list[int]:
    count = len(schema.columns)
    if width == count:
        return list(range(count))
    if width == schema.table_width:
        return [int(column.name.removeprefix("column ")) - 1 for column in schema.columns]
    advice = "is one of them the label? drop it, or give" if width == count + len(schema.targets) else "give"
    raise InputError(
        f"{what}: {width:,} columns without names, the model takes {count:,} "
        f"({listed(column.name for column in schema.columns)}); {advice} a header with their names"
    )


def _only_count(names: list[str]) -> bool:
    """Whether a header only counts the columns, as pandas does where there are no names."""
    return any(names == [str(first + place) for place in range(len(names))] for first in (0, 1))


# cells


def _kept(schema: Schema, table: Table, places: list[int], what: str) -> tuple[NDArray[np.int64], list[str]]:
    """The rows that are read, by the rule for missing cells."""
    everything = np.arange(len(table.numbers))
    missing = None if table.missing is None else table.missing[:, places]
    if missing is None or not missing.any():
        return everything, []
    if schema.missing == "drop":
        gone: NDArray[np.bool_] = np.any(missing, axis=1)
        if gone.all():
            raise InputError(f"{what}: every row lacks a value, expected one with all; fill them in")
        first = table.line_numbers[gone.argmax()]
        return everything[~gone], [
            f"{int(gone.sum()):,} of {len(gone):,} rows left out, which lack a value (the first is row {first})"
        ]
    unfilled = np.array([schema.missing == "refuse" or column.fill is None for column in schema.columns])
    refused = missing & unfilled
    if refused.any():
        _refuse_missing(schema, table, refused, what)
    return everything, [f"{int(missing.sum()):,} missing values filled in with the mean of the training"]


def _refuse_missing(schema: Schema, table: Table, refused: Array, what: str) -> None:
    place = int(refused.any(axis=0).argmax())
    rows = refused[:, place]
    raise InputError(
        f"{what}: column {quoted(schema.columns[place].name)} has no value in {int(rows.sum()):,} of {len(rows):,} "
        f"rows (the first is row {table.line_numbers[rows.argmax()]}), and the model was trained without such rows; "
        "fill them in or leave the rows out, or train with --missing mean"
    )


def _filled(schema: Schema, table: Table, places: list[int], kept: NDArray[np.int64], what: str) -> NDArray[np.float32]:
    ends = np.cumsum([column.width for column in schema.columns])
    starts = ends - [column.width for column in schema.columns]
    x = np.zeros((len(kept), int(ends[-1])), np.float32)
    plain = [index for index, column in enumerate(schema.columns) if not column.categories]
    _fill_numbers(schema, table, x, np.array(plain, np.int64), np.array(places)[plain], starts[plain], kept, what)
    for index, column in enumerate(schema.columns):
        if column.categories:
            codes = _codes(column, table, places[index], kept, what)
            x[np.arange(len(kept)), starts[index] + codes] = 1
    return x


def _fill_numbers(
    schema: Schema,
    table: Table,
    x: NDArray[np.float32],
    plain: NDArray[np.int64],
    places: Array,
    to: Array,
    kept: NDArray[np.int64],
    what: str,
) -> None:
    """Write the columns of numbers into x, block by block."""
    columns = [schema.columns[index] for index in plain]
    offsets = np.array([column.offset for column in columns])
    fill = np.array([0.0 if column.fill is None else column.fill for column in columns], np.float64)
    for start in range(0, len(kept) if len(plain) else 0, _BLOCK):
        rows = kept[start : start + _BLOCK]
        values = _cut(table.numbers, rows, places)
        if table.missing is not None:
            values = np.where(_cut(table.missing, rows, places), fill, values)
        with np.errstate(over="ignore", invalid="ignore"):
            values = (values - offsets if offsets.any() else values).astype(np.float32)
        bad = ~np.isfinite(values)
        if bad.any():
            row, column = divmod(int(bad.argmax()), len(plain))
            _refuse_cell(table, int(rows[row]), int(places[column]), columns[column].name, what)
        x[start : start + _BLOCK, _span(to)] = values


def _cut(array: Array, rows: Array, places: Array) -> Array:
    """These rows and columns; those that lie beside one another as a view, which saves the time of a copy."""
    return array[_span(rows)][:, _span(places)]


def _span(indices: Array) -> slice | Array:
    """Indices that count by 1 as a slice; others as they are."""
    counts = indices[-1] - indices[0] == len(indices) - 1 and bool((np.diff(indices) == 1).all())
    return slice(int(indices[0]), int(indices[-1]) + 1) if counts else indices


def _refuse_cell(table: Table, row: int, place: int, name: str, what: str) -> None:
    """A cell of a column of numbers that is none, or not within float32's range."""
    where = f"{what}: row {table.line_numbers[row]}, column {quoted(name)}"
    value = table.numbers[row, place]
    if np.isnan(value) and place in table.texts:
        count = int(np.isnan(table.numbers[:, place]).sum())
        if table.missing is not None:
            count -= int(table.missing[:, place].sum())
        raise InputError(
            f"{where}: {quoted(table.texts[place][row].strip())} is not a number ({count:,} of {len(table.numbers):,} "
            "rows of the column are text); the model takes numbers there, as in its training"
        )
    problem = "is beyond float32's range" if np.isfinite(value) else "is not a finite number"
    raise InputError(f"{where}: {value} {problem}; mend or drop the row")


def _codes(column: Column, table: Table, place: int, kept: NDArray[np.int64], what: str) -> NDArray[np.int64]:
    """The category of each row that is kept, as its index."""
    index = {category: number for number, category in enumerate(column.categories)}
    index.setdefault("", -1 if column.fill is None else index[str(column.fill)])
    texts = cell_texts(table, place)
    codes = np.array([index.get(texts[row], -1) for row in kept], np.int64)
    unknown = codes < 0
    if unknown.any():
        row = int(kept[unknown.argmax()])
        raise InputError(
            f"{what}: row {table.line_numbers[row]}, column {quoted(column.name)}: {quoted(texts[row])} is not one of "
            f"{listed(column.categories)}, which the model knows ({int(unknown.sum()):,} of {len(codes):,} rows); "
            "mend them, or train again with such rows"
        )
    return codes


# as text


def _packed(columns: tuple[Column, ...]) -> list[Any]:
    """The columns as JSON: a name alone as a text; names that count, such as p0 to p783, as [text, first, how many]."""
    packed: list[Any] = []
    for column in columns:
        if column != Column(column.name):
            packed.append(_entry(column))
            continue
        match = _COUNTED.fullmatch(column.name)
        if match and packed and isinstance(packed[-1], list):
            text, first, count = packed[-1]
            if (match[1], int(match[2])) == (text, first + count):
                packed[-1][2] += 1
                continue
        packed.append([match[1], int(match[2]), 1] if match else column.name)
    return [f"{item[0]}{item[1]}" if isinstance(item, list) and item[2] == 1 else item for item in packed]


def _entry(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name}
    entry |= {"categories": list(column.categories)} if column.categories else {}
    entry |= {"offset": column.offset} if column.offset else {}
    return entry | ({"fill": column.fill} if column.fill is not None else {})


def _parsed(entry: dict[str, Any], most_inputs: int) -> Schema:
    columns: list[Column] = []
    width = 0
    for item in _typed(entry["columns"], list):
        count = _typed(item[2], int) if isinstance(item, list) else 1
        if count < 1 or width + count > most_inputs:
            raise ValueError(f"{width + count:,} columns, expected {most_inputs:,} at most")
        width += count
        if isinstance(item, list):
            first = _typed(item[1], int)
            columns += [Column(f"{_typed(item[0], str)}{number}") for number in range(first, first + count)]
        else:
            columns.append(_column(item))
    return Schema(
        tuple(columns),
        _texts(entry.get("targets", [])),
        _typed(entry.get("missing", "refuse"), str),
        _texts(entry.get("units", [])),
        _table_width(_typed(entry.get("table_width", 0), int), columns),
    )


def _table_width(width: int, columns: list[Column]) -> int:
    """A table without names has its columns called by their places, which are within it."""
    places = [re.fullmatch(r"column ([1-9][0-9]{0,8})", column.name) for column in columns]
    if width and not all(place and int(place[1]) <= width for place in places):
        raise ValueError(f"a table of {width} columns without names")
    return width


def _column(item: Any) -> Column:
    if isinstance(item, str):
        return Column(item)
    entry = _typed(item, dict)
    fill = entry.get("fill")
    if fill is not None and not isinstance(fill, str):
        fill = float(_typed(fill, (int, float)))
    categories = _texts(entry.get("categories", []))
    return Column(_typed(entry["name"], str), categories, float(_typed(entry.get("offset", 0.0), (int, float))), fill)


def _texts(items: Any) -> tuple[str, ...]:
    return tuple(_typed(item, str) for item in _typed(items, list))


def _typed(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"found {value!r:.40}")
    return value
