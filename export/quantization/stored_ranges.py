"""Calibration ranges that travel in a float model's metadata, so that it becomes int8 without data.

Of each tensor that a grid may be chosen for they hold the range by each method, and which method served rows kept apart
best. No row is stored: rows cost bytes, and are somebody's data. So equalization, bias correction and compensated
rounding, which look at rows, cannot be had of them. A digest of the network says whether they still are its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.artifact import network_digest
from edge_runtime.errors import QuantizationError
from edge_runtime.model import Model
from edge_runtime.numerics import FEWEST_BITS
from export.quantization.ranges import METHODS, ChosenRanges, Range

RANGES_KEY = "calibration_ranges"  # of the metadata
_DIGITS = 16  # of the digest, in hex: against mistakes, not against forgers
_ADVICE = "give calibration rows, or store ranges anew with export.with_ranges(model, rows)"


@dataclass(frozen=True)
class StoredRanges:
    """rows: that were calibrated on. method: that served best. ranges: by method and by tensor of the float network."""

    rows: int
    method: str
    ranges: Mapping[str, Mapping[str, Range]] = field(repr=False)

    @staticmethod
    def of(model: Model) -> StoredRanges | None:
        """Those in a model's metadata; None if there are none.

        Raises QuantizationError where they cannot be read, or are those of other weights.
        """
        text = model.metadata.get(RANGES_KEY)
        if text is None:
            return None
        try:
            found = _parsed(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise QuantizationError(
                f"the model's metadata '{RANGES_KEY}' cannot be read ({type(error).__name__}): {_ADVICE}"
            ) from error
        expected = digest_of_network(model)
        if found.digest != expected:
            raise QuantizationError(
                f"the calibration ranges that the model holds are those of other weights (digest {found.digest}, these "
                f"have {expected}): it was changed since; {_ADVICE}"
            )
        return found.stored

    def text(self, model: Model) -> str:
        """As the metadata of `model`, whose ranges they are, hold them."""
        names = next(iter(self.ranges.values()))
        pairs = {name: [_pair(self.ranges[method][name]) for method in self.ranges] for name in names}
        entry = {"network": digest_of_network(model), "rows": self.rows, "best": self.method}
        return json.dumps({**entry, "methods": list(self.ranges), "ranges": pairs}, separators=(",", ":"))


class HeldRanges(ChosenRanges):
    """Ranges that a model holds, in the place of those of histograms. method: a key of `stored.ranges`."""

    def __init__(self, stored: StoredRanges, method: str) -> None:
        super().__init__({}, method)
        self._stored, self._name = stored, method

    def _without_room(self, name: str, bits: int) -> Range:
        """They were chosen for 8 bits: with more almost nothing is worth cutting off."""
        method = self._name if bits <= FEWEST_BITS else "minmax"
        return self._stored.ranges.get(method, self._stored.ranges[self._name])[name]


@dataclass(frozen=True)
class _Found:
    digest: str
    stored: StoredRanges


def without_ranges(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata of a model that is no longer the one whose ranges they hold."""
    return {key: text for key, text in metadata.items() if key != RANGES_KEY}


def digest_of_network(model: Model) -> str:
    """Of all that decides what the tensors are, in every digit, as an artifact describes it."""
    return network_digest(model)[:_DIGITS]


def _pair(found: Range) -> list[float]:
    """Its ends with the nine digits that tell all float32 numbers apart."""
    return [float(f"{end:.9g}") for end in (found.low, found.high)]


def _parsed(entry: Any) -> _Found:
    """Raises ValueError, TypeError, KeyError or AttributeError for what is not as `text` writes it."""
    methods = [method for method in entry["methods"] if method in METHODS]
    ranges: dict[str, dict[str, Range]] = {method: {} for method in methods}
    for name, pairs in entry["ranges"].items():
        for method, (low, high) in zip(entry["methods"], pairs, strict=True):
            if method in ranges:
                ranges[method][name] = _checked(float(low), float(high))
    if entry["best"] not in ranges or "input" not in ranges[entry["best"]]:
        raise ValueError("no ranges of the best method")
    rows = entry["rows"]
    if type(rows) is not int or rows < 1:
        raise ValueError("no number of rows")
    return _Found(str(entry["network"]), StoredRanges(rows, entry["best"], ranges))


def _checked(low: float, high: float) -> Range:
    if not (math.isfinite(low) and math.isfinite(high) and low <= 0.0 <= high):
        raise ValueError("no range that holds 0")
    return Range(low, high)
