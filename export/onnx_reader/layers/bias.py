"""A bias that a file adds to quantized values, as whole numbers that an int8 layer can add.

It is put on the product's grid, input scale x weight scale, as `export.quantization.quantizer` does it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.reference import SUM_ERROR
from export.onnx_reader.nodes import Unsupported

_EXACT = 2.0**-20  # parts of a stored integer that its way through float32 may have cost


class Bias(NamedTuple):
    """steps: int32 (n_out,). slack: float64 (n_out,), how far the sum may be from the file's, in real units."""

    steps: Array
    slack: Array

    def with_float_sums(self, unit: Array, reach: Array) -> Bias:
        """For a file that adds up real values: its sums round, in any order, by `bounds.SUM_ERROR` of their reach."""
        return Bias(self.steps, self.slack + SUM_ERROR * (reach + np.abs(self.steps)) * np.abs(unit))


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
    rounding = 4 * 2.0**-24 * (reach + np.abs(steps))
    slack = np.where(is_in_whole_steps(shift, unit), 0.0, (off + rounding) * np.abs(unit))
    return Bias(whole.astype(np.int32), slack)


def is_in_whole_steps(shift: Array, unit: Array) -> bool:
    """Whether all of a bias are whole steps of `unit`, but for what their way through float32 cost."""
    steps = np.broadcast_to(shift, np.broadcast_shapes(np.shape(shift), np.shape(unit))) / unit.astype(np.float64)
    whole = np.rint(steps)
    return bool((np.abs(steps - whole) <= 1e-3 + np.abs(whole) * _EXACT).all())
