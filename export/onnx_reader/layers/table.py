"""The table of a function between two grids, and what another engine's table may hold in its place.

Engines compute exp, tanh and erf differently in the last places, and onnxruntime's sigmoid is off by up to 1.7e-7
whatever its value, so that an entry may be rounded the other way. How far each function may be off is
`edge_runtime.reference.implementation_error`; tests/export/onnx_writer/test_activations.py holds onnxruntime to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Array
from edge_runtime.numerics import QMAX, Activation, QuantParams, dequantize, quantize
from export.onnx_reader.steps import Affine, Function, off_by

Part = Affine | Activation | Function


class CodeTable(NamedTuple):
    """entries: the function in float32. low, high: what correct engines may round it to. uint8 (256,) each."""

    entries: NDArray[np.uint8]
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]

    def ties(self) -> set[tuple[int, int]]:
        """Codes and what else their entries may be: a neighbour of the entry, or an end where that is further away."""
        found = set()
        for code in np.flatnonzero(self.low != self.high):
            low, entry, high = (int(each[code]) for each in (self.low, self.entries, self.high))
            others = {low, high, max(low, entry - 1), min(high, entry + 1)} - {entry}
            found |= {(int(code), other) for other in others}
        return found


def table_of(parts: Sequence[Part], before: QuantParams, after: QuantParams) -> CodeTable:
    """All 256 codes on `before` through functions of one number, onto `after`."""
    values = dequantize(np.arange(QMAX + 1, dtype=np.uint8), before)
    low = high = values.astype(np.float64)
    for part in parts:
        low, high = _image(part, (low, values.astype(np.float64), high))
        values = _value(part, values, 0.0).astype(np.float32)
    return CodeTable(*(quantize(each, after) for each in (values, low, high)))


def _image(part: Part, inputs: Sequence[Array]) -> tuple[Array, Array]:
    """The lowest and the highest value of `part` on nearby inputs, and as far beside them as an engine may be off."""
    found = [_value(part, x, nudge) for x in inputs for nudge in (-1.0, 0.0, 1.0)]
    return np.fmin.reduce(found), np.fmax.reduce(found)


def _value(part: Part, x: Array, nudge: float) -> Array:
    """The function, off by `nudge` times what it may be off by."""
    return off_by(nudge, part, x, part(x)) if isinstance(part, Activation) else part(x, nudge)
