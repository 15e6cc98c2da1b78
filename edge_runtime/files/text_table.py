"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_runtime.files.bounded import printable


def format_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Rows under headings, numbers to the right, whole ones with separators. columns: {key in a row: heading}.

    Control characters become escapes: names out of somebody's file must not command the terminal.
    """
    cells = [[_cell(row[key]) for key in columns] for row in rows]
    headings = list(columns.values())
    widths = [max(len(heading), *(len(line[i]) for line in cells), 0) for i, heading in enumerate(headings)]
    to_right = [all(_is_number(line[i]) for line in cells) for i in range(len(widths))]

    def format_line(values: list[str]) -> str:
        parts = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, to_right, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([format_line(headings), "  ".join("-" * width for width in widths), *map(format_line, cells)])


def _cell(value: Any) -> str:
    return f"{value:,}" if type(value) is int else printable(value)


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in "-+"
