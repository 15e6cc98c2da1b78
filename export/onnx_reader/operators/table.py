"""Which function reads which operator: one list of all. An operator has one handler; a second one is an error here.

A handler takes the node, what its inputs are, and the budget, and gives what its outputs are. A new operator is a line
in the table of the file that its handler stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from export.onnx_reader.operators import (
    activations,
    classifiers,
    constants,
    dense,
    elementwise,
    quantized,
    selecting,
    shapes,
    softmax,
)
from export.onnx_reader.values import Handler

Key: TypeAlias = tuple[str, str]  # domain, operator

_TABLES: tuple[tuple[str, Mapping[str, Handler]], ...] = (
    ("", activations.HANDLERS),
    ("", classifiers.HANDLERS),
    ("", constants.HANDLERS),
    ("", dense.HANDLERS),
    ("", elementwise.HANDLERS),
    ("", quantized.HANDLERS),
    ("", selecting.HANDLERS),
    ("", shapes.HANDLERS),
    ("", softmax.HANDLERS),
    ("ai.onnx.ml", classifiers.ML_HANDLERS),
    ("ai.onnx.ml", dense.ML_HANDLERS),
    ("com.microsoft", activations.MICROSOFT_HANDLERS),
    ("com.microsoft", dense.MICROSOFT_HANDLERS),
    ("com.microsoft", quantized.MICROSOFT_HANDLERS),
)


def joined(tables: Iterable[tuple[str, Mapping[str, Handler]]]) -> dict[Key, Handler]:
    """All handlers by domain and operator. Raises ValueError for a second one for the same operator."""
    found: dict[Key, Handler] = {}
    for domain, handlers in tables:
        for operator, handler in handlers.items():
            if (domain, operator) in found:
                before = found[domain, operator].__module__
                raise ValueError(f"{operator} is read by {handler.__module__} and by {before}; expected one of them")
            found[domain, operator] = handler
    return found


HANDLERS = joined(_TABLES)
TAKE_ROW_NUMBERS = frozenset(softmax.HANDLERS)  # operators that may have one number for each row among their inputs
