"""The head of an ARFF file (Weka's): names of columns, one a line, above comma-separated rows."""

from __future__ import annotations

import re

from edge_runtime.errors import InputError

_HEAD = re.compile(r"(?:[ \t]*(?:%[^\n]*)?\n)*[ \t]*@relation\b", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"^[ \t]*@attribute[ \t]+(?:'([^'\n]*)'|\"([^\"\n]*)\"|(\S+))[ \t]+\S", re.IGNORECASE | re.MULTILINE
)
_DATA = re.compile(r"^[ \t]*@data[ \t]*$", re.IGNORECASE | re.MULTILINE)


def is_arff(text: str) -> bool:
    """Whether a text begins as ARFF files do."""
    return _HEAD.match(text) is not None


def arff_head(text: str, what: str) -> tuple[tuple[str, ...], int] | None:
    """(names, lines above the first row), or None if the head does not end in this text.

    Raises InputError for sparse rows, and for a head without attributes.
    """
    data = _DATA.search(text)
    if data is None:
        return None
    names = tuple("".join(found) for found in _ATTRIBUTE.findall(text, 0, data.start()))
    if not names:
        raise InputError(f"{what}: an ARFF file without an @attribute line; write one for each column")
    if text[data.end() :].lstrip().startswith("{"):
        raise InputError(
            f"{what}: sparse rows of ARFF, expected a value for each column; save it without them, or as CSV"
        )
    return names, text.count("\n", 0, data.end()) + 1
