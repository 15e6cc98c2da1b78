"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_runtime.files.bounded import printable, shortened

_LEAST = 8  # letters that stay of a text that is cut


def format_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, width: int | None = None) -> str:
    """Rows under headings, numbers to the right, whole ones with separators. columns: {key in a row: heading}.

    width: letters that a line may have, None for any number; long texts are cut in their middle to keep it, as far as
    they can be. Control characters become escapes: names out of somebody's file must not command the terminal.
    """
    cells = [[_cell(row[key]) for key in columns] for row in rows]
    headings = list(columns.values())
    widths = [max(len(heading), *(len(line[i]) for line in cells), 0) for i, heading in enumerate(headings)]
    to_right = [all(_is_number(line[i]) for line in cells) for i in range(len(widths))]
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        over = sum(widths) + 2 * (len(widths) - 1) - width
        most = {i: widths[i] - max(_LEAST, len(headings[i])) for i in range(len(widths)) if not to_right[i]}
        longest = max(most, key=lambda i: widths[i] if most[i] > 0 else 0, default=None)
        if longest is None or most[longest] <= 0:
            break
        widths[longest] -= min(over, most[longest])

    def format_line(values: list[str]) -> str:
        texts = [shortened(value, max(size, 5)) for value, size in zip(values, widths, strict=True)]
        parts = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(texts, widths, to_right, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([format_line(headings), "  ".join("-" * width for width in widths), *map(format_line, cells)])


def fit_table(
    rows: Sequence[Mapping[str, Any]], width: int | None, columns: Mapping[str, str], *narrower: Mapping[str, str]
) -> str:
    """The first of several tables of the same rows whose lines have at most `width` letters; else the last, cut."""
    for choice in (columns, *narrower):
        text = format_table(rows, choice)
        if width is None or max(map(len, text.splitlines())) <= width:
            return text
    return format_table(rows, (columns, *narrower)[-1], width=width)


def _cell(value: Any) -> str:
    return f"{value:,}" if type(value) is int else printable(value)


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in "-+"
