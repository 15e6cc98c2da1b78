"""A schema as the text of a model's metadata, JSON that says what differs from the usual."""

from __future__ import annotations

import re
from typing import Any

from edge_runtime.schema.column import Column

_COUNTED = re.compile(r"(.*?)(0|[1-9][0-9]{0,8})", re.DOTALL)  # a name that ends in a number


def packed(columns: tuple[Column, ...]) -> list[Any]:
    """The columns as JSON: a name alone as a text; names that count, such as p0 to p783, as [text, first, how many]."""
    items: list[Any] = []
    for column in columns:
        if column != Column(column.name):
            items.append(_entry(column))
            continue
        match = _COUNTED.fullmatch(column.name)
        if match and items and isinstance(items[-1], list):
            text, first, count = items[-1]
            if (match[1], int(match[2])) == (text, first + count):
                items[-1][2] += 1
                continue
        items.append([match[1], int(match[2]), 1] if match else column.name)
    return [f"{item[0]}{item[1]}" if isinstance(item, list) and item[2] == 1 else item for item in items]


def _entry(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name}
    entry |= {"categories": list(column.categories)} if column.categories else {}
    entry |= {"offset": column.offset} if column.offset else {}
    return entry | ({"fill": column.fill} if column.fill is not None else {})


def fields_in(entry: dict[str, Any], most_inputs: int) -> dict[str, Any]:
    """The fields of a schema. Raises ValueError and its like for anything else than `packed` columns and texts."""
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
    return {
        "columns": tuple(columns),
        "targets": _texts(entry.get("targets", [])),
        "missing": _typed(entry.get("missing", "refuse"), str),
        "units": _texts(entry.get("units", [])),
        "table_width": _table_width(_typed(entry.get("table_width", 0), int), columns),
    }


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
