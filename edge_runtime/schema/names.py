"""How columns are named in what a user reads."""

from __future__ import annotations

from collections.abc import Iterable

from edge_runtime.files import printable

_SHOWN = 6  # names that a message lists


def numbered(place: int) -> str:
    """How a column without a name is called. place: counted from 0."""
    return f"column {place + 1}"


def quoted(name: str) -> str:
    """A name in a message: in quotation marks, on one line, of limited length."""
    return printable(f"'{name}'", 60)


def listed(names: Iterable[str]) -> str:
    """Some names in a message."""
    names = list(names)
    more = [f"and {len(names) - _SHOWN + 1:,} more"] if len(names) > _SHOWN else []
    return ", ".join([*(quoted(name) for name in (names[: _SHOWN - 1] if more else names)), *more])
