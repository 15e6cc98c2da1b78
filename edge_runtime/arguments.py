"""What callers may give as settings: one check for each kind, which says what was found and what was expected.

The type is looked at before the value is compared or asked for its truth, which an array, a matrix or a date answers
with errors of its own.
"""

from __future__ import annotations

import math
import numbers
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import Any

from edge_runtime.errors import InputError, ModelError, QuantizationError, SmallnetError

_TEXTS = (str, bytes, bytearray, memoryview)


def shown(value: object, length: int = 80) -> str:
    """What was found, as a message says it: on one line, cut to `length` letters; its type where it has none."""
    try:
        text = repr(value)
    except Exception:  # a whole number of more digits than Python writes, or whatever somebody's class raises
        text = f"a {type(value).__name__}"
    return " ".join(text.split())[:length]


class Checks:
    """The checks of arguments, which raise the error of the door that they stand at: `raised`, with one line."""

    def __init__(self, raised: type[SmallnetError]) -> None:
        self.raised = raised

    def refusal(self, name: str, value: object, expected: str) -> SmallnetError:
        """What to raise for an argument that is not what is expected."""
        return self.raised(f"{name} is {shown(value)}, expected {expected}")

    def flag(self, name: str, value: Any) -> bool:
        """`value` as a bool; refused is anything but True and False: "no" would count as yes."""
        numpy_bool = getattr(sys.modules.get("numpy"), "bool_", bool)  # not imported here: a command's help needs none
        if not isinstance(value, (bool, numpy_bool)):
            raise self.refusal(name, value, "True or False")
        return bool(value)

    def choice(self, name: str, value: Any, choices: Collection[str]) -> str:
        """`value`, which is one of the texts."""
        if not isinstance(value, str) or value not in choices:
            raise self.refusal(name, value, f"one of {', '.join(choices)}")
        return value

    def whole(self, name: str, value: Any, low: int, high: int | None = None, unit: str = "") -> int:
        """`value` as an int in [low, high]; refused are others, True, False and 1.0. unit: " of bytes"."""
        is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not is_whole or value < low or (high is not None and value > high):
            limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
            raise self.refusal(name, value, f"a whole number {unit or limits}")
        return int(value)

    def number(
        self,
        name: str,
        value: Any,
        *,
        low: float | None = None,
        above: float | None = None,
        below: float | None = None,
    ) -> float:
        """`value` as a finite float with low <= value, above < value, value < below."""
        is_real = isinstance(value, numbers.Real) and not isinstance(value, bool) and _is_finite(value)
        fits = is_real and (low is None or value >= low)
        fits = fits and (above is None or value > above) and (below is None or value < below)
        if not fits:
            limits = [("at least", low), ("above", above), ("below", below)]
            stated = " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)
            raise self.refusal(name, value, f"a finite number {stated}".rstrip())
        return float(value)

    def items(self, name: str, value: Any, expected: str, *, is_kept: bool = False) -> tuple[Any, ...]:
        """What a list, a tuple, an array or another iterable holds, in its order. expected: a list of what.

        Refused are texts, which would be taken letter by letter, sets and mappings, which are no lists, and what cannot
        be gone through. is_kept: the value itself is kept and gone through again, which an iterator cannot be.
        """
        refused = (*_TEXTS, Set, Mapping, *((Iterator,) if is_kept else ()))
        if isinstance(value, Iterable) and not isinstance(value, refused):
            try:
                return tuple(value)
            except Exception:  # arrays without an axis and sparse matrices look as if they had items
                pass
        raise self.refusal(name, value, expected)

    def mapping(self, name: str, value: Any, expected: str) -> dict[Any, Any]:
        """A mapping as a dictionary of its own. expected: a mapping of what."""
        if not isinstance(value, Mapping):
            raise self.refusal(name, value, expected)
        return dict(value)

    def instance(self, name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> None:
        """Refuse what is neither None nor of that type. expected: an example of one."""
        if value is not None and not isinstance(value, kind):
            raise self.refusal(name, value, f"{expected}, or None")

    def function(self, name: str, value: Any, expected: str) -> None:
        """Refuse what is neither None nor can be called. expected: a function of what."""
        if value is not None and not callable(value):
            raise self.refusal(name, value, f"{expected}, or None")

    def path(self, name: str, value: Any, expected: str = "the path of a file") -> None:
        """Refuse what is no path: None, a number, bytes."""
        if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
            raise self.refusal(name, value, expected)


def _is_finite(value: numbers.Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


INPUT_CHECKS, MODEL_CHECKS = Checks(InputError), Checks(ModelError)
QUANTIZATION_CHECKS = Checks(QuantizationError)
