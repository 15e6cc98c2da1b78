"""A bias that a file adds to quantized values, as whole numbers that an int8 layer can add.

Where the bias follows a product directly, it is put on the product's grid, input scale x weight scale, as
`export.quantization.quantizer` does it. Where the file rounds the product first, and adds the bias to codes, a layer
without sums does the same: its weights are a diagonal of whole numbers k of -127..127, and its bias is the nearest
whole number of k-th parts of a step. There are 256 codes only, so for each output a k is looked for that gives the
file's own result for every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.numerics import QMAX, WEIGHT_MAX, Activation, QuantParams
from edge_runtime.reference import SUM_ERROR
from export.onnx_reader.nodes import Unsupported
from export.onnx_reader.steps import Affine

_EXACT = 2.0**-20  # parts of a stored integer that its way through float32 may have cost
_NEAR_A_TIE = 1e-4  # steps: closer to a tie, engines that multiply in another order round a code differently


class Bias(NamedTuple):
    """steps: int32 (n_out,). slack: float64 (n_out,), how far the sum may be from the file's, in real units."""

    steps: Array
    slack: Array

    def with_float_sums(self, unit: Array, reach: Array) -> Bias:
        """For a file that adds up real values: its sums round, in any order, by `bounds.SUM_ERROR` of their reach."""
        return Bias(self.steps, self.slack + SUM_ERROR * (reach + np.abs(self.steps)) * np.abs(unit))


class Diagonal(NamedTuple):
    """A layer of one weight for each output. weight: int32 (n,), not 0. bias and slack as in `Bias`."""

    weight: Array
    bias: Array
    slack: Array


def on_accumulator_grid(shift: Array, unit: Array, reach: Array | float) -> Bias:
    """The bias in whole steps of `unit`, float32 (n_out,). Raises Unsupported where it leaves int32.

    reach: the largest sum, in steps; where one bias is no whole number, the file adds all of them to real values, and
    its float32 additions round too.
    """
    steps = np.broadcast_to(shift, unit.shape) / unit.astype(np.float64)
    whole = np.rint(steps)
    off = np.abs(steps - whole)
    if not (np.abs(whole) < 2.0**31).all():
        worst = int(np.argmax(np.abs(whole)))
        raise Unsupported(
            f"the bias of output {worst} is {steps[worst]:.4g} steps of its products, expected int32 numbers; keep "
            "this layer in floating point"
        )
    is_exact = off <= 1e-3 + np.abs(whole) * _EXACT
    rounding = 4 * 2.0**-24 * (reach + np.abs(steps))
    slack = np.where(is_exact.all(), 0.0, (off + rounding) * np.abs(unit))
    return Bias(whole.astype(np.int32), slack)


@dataclass(frozen=True)
class Rounding:
    """What happens to the values of the 256 codes of `before`: an activation, and the grid `output` if there is one."""

    before: QuantParams
    activation: Activation
    output: QuantParams | None

    @property
    def codes(self) -> Array:
        """All codes, the zero point taken off, float64 (256,)."""
        return np.arange(QMAX + 1, dtype=np.float64) - self.before.zero_point

    def __call__(self, values: Array) -> Array:
        """values: float64 (256, n). The codes that they become, or the values themselves."""
        if self.output is None:
            return values
        steps = self.activation(values) / self.output.scale
        return np.clip(np.rint(steps) + self.output.zero_point, 0, QMAX)

    def is_clear(self, values: Array) -> Any:
        """Whether all values of an output are far enough from ties that every engine rounds them alike, bool (n,)."""
        assert self.output is not None
        steps = self.activation(values) / self.output.scale
        is_tie = np.abs(np.abs(steps - np.rint(steps)) - 0.5) < _NEAR_A_TIE
        place = steps + self.output.zero_point
        return np.logical_not((is_tie & (place > -1) & (place < QMAX + 1)).any(axis=0))


def diagonal(after: Affine, step: float, width: int, rounding: Rounding) -> Diagonal:
    """Weights and a bias that do to codes, worth `step` each, what the file does. Raises Unsupported.

    after: what the file computes of the real values, before the rounding. Multiply what comes out by step * after.scale
    / weight. slack is 0 where every code's result is the file's own.
    """
    unit = np.float32(step) * np.broadcast_to(after.scale, (width,)).astype(np.float32)
    shift = np.broadcast_to(after.shift, (width,)).astype(np.float64)
    plain = on_accumulator_grid(shift, unit, QMAX)
    best = Diagonal(np.ones(width, np.int32), plain.steps, plain.slack)
    if not plain.slack.any():
        return best
    exact = rounding.codes[:, None] * unit.astype(np.float64) + shift
    wanted, is_open = rounding(exact), plain.slack > 0
    for factor in range(WEIGHT_MAX, 0, -1):
        finer = on_accumulator_grid(shift, unit / np.float32(factor), QMAX * factor)
        found = (rounding.codes[:, None] * factor + finer.steps) * (unit.astype(np.float64) / factor)
        same = is_open & (rounding(found) == wanted).all(axis=0)
        closer = same if rounding.output is not None else is_open & (finer.slack < best.slack)
        chosen = closer | (is_open & (factor == WEIGHT_MAX))
        best.weight[chosen], best.bias[chosen], best.slack[chosen] = factor, finer.steps[chosen], finer.slack[chosen]
        if rounding.output is not None:
            best.slack[same & rounding.is_clear(exact)] = 0.0
            is_open &= ~same
        if not is_open.any():
            break
    return best
