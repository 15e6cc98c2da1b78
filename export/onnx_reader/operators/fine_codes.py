"""Codes of 9 to 16 bits, as `export.onnx_writer` spells them out with operators that opset 13 has.

Put on a grid: x / scale, not below its lowest and not above its highest step, Round, + zero point, Cast to uint16.
Multiplied: the code's two bytes, each by MatMulInteger, and 256 times the first product added to the second.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.numerics import FEWEST_BITS, MOST_BITS, QuantParams
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.steps import (
    Affine,
    Byte,
    Chain,
    Dequantize,
    Function,
    Linear,
    Lookup,
    Quantize,
    Step,
    composed,
)
from export.onnx_reader.values import Const, Flow, Handler, Value, common_base, flow_of

KIND = "uint16"
_BYTE = 256


def rounded(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Round, of which only a grid can be made."""
    flow = flow_of(inputs[0]).require_real()
    return [flow.with_step(Function(lambda x, nudge=0.0: np.rint(x), None, node, rounds=True))]


def on_grid(flow: Flow) -> Flow | None:
    """The flow that is cast to uint16 as codes, if its last steps put values on a grid of 9 to 16 bits; else None."""
    links = flow.chain.links_after(None)
    steps = [link.step for link in links]
    first = len(steps) - 2
    while first > 0 and isinstance(steps[first], Function):
        first -= 1
    grid = _grid(steps[first], steps[first + 1 : -1], steps[-1]) if first >= 0 else None
    base = links[first].parent
    return None if grid is None or base is None else replace(flow, chain=base.then(Quantize(grid, KIND)), kind=KIND)


def _grid(scaled: Step | None, clipped: list[Step | None], shifted: Step | None) -> QuantParams | None:
    """Of the steps of a division, of what cuts and rounds, and of the addition of a zero point; None for others."""
    is_affine = isinstance(scaled, Affine) and isinstance(shifted, Affine) and scaled.is_uniform and shifted.is_uniform
    rounds = clipped[-1] if len(clipped) > 1 else None
    if not is_affine or not isinstance(rounds, Function) or rounds.node.operator != "Round":
        return None
    assert isinstance(scaled, Affine)
    assert isinstance(shifted, Affine)
    zero_point = float(shifted.shift)
    low, high = (float(end) for end in composed(clipped, np.array([-np.inf, np.inf])))
    bits = int(high + zero_point).bit_length() if np.isfinite([low, high]).all() else 0
    probes = np.linspace(low, high, 999) if bits else np.zeros(0)
    is_grid = (
        FEWEST_BITS < bits <= MOST_BITS
        and (low, high) == (-zero_point, 2.0**bits - 1 - zero_point)
        and shifted.scale == 1
        and scaled.shift == 0
        and scaled.scale > 0
        and np.array_equal(composed(clipped, probes), np.rint(probes))
    )
    return QuantParams(float(np.float32(1 / scaled.scale)), int(zero_point), bits) if is_grid else None


def is_table(table: Array, index: Step | None) -> bool:
    """Whether a constant has an entry for each code of a grid of 8 to 16 bits, and one of the two more than 8."""
    if not isinstance(index, Quantize) or index.kind not in ("uint8", KIND):
        return False
    is_fine = index.kind == KIND or table.dtype == np.uint16
    return is_fine and table.shape == (index.grid.top + 1,) and table.dtype in (np.uint8, np.uint16)


def byte(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The high or the low byte of codes: Div and Mod by 256, of a Cast to a wider integer."""
    flow, divisor = flow_of(inputs[0]), inputs[1]
    if not has_codes(flow) or not isinstance(divisor, Const) or divisor.array.size != 1 or divisor.array != _BYTE:
        raise Unsupported("it takes what a division leaves over; expected codes of 9 to 16 bits, and 256")
    return [flow.with_step(Byte(node.operator == "Div"))]


def has_codes(value: Value) -> bool:
    """Whether a value is codes of more than 8 bits, cast to wider integers or not."""
    is_integer = isinstance(value, Flow) and value.kind in (KIND, "int32", "int64", "uint32")
    return is_integer and isinstance(step := value.chain.step, Quantize | Lookup) and step.kind == KIND  # type: ignore[union-attr]


def sum_of_bytes(flows: list[Flow]) -> Flow | None:
    """The product of codes with weights, out of the products of their bytes; None for what is none."""
    base = common_base(flows)
    high, low = sorted((flow.chain.links_after(base) for flow in flows), key=len, reverse=True)
    of_high, of_low = _product(high[:3]), _product(low)
    times = high[3].step if len(high) == 4 else None
    is_times_byte = isinstance(times, Affine) and bool((times.scale == _BYTE).all() and (times.shift == 0).all())
    if of_high is None or of_low is None or not is_times_byte:
        return None
    if (of_high.is_high, of_low.is_high) != (True, False) or not np.array_equal(of_high.weight, of_low.weight):
        return None
    zero_point = _BYTE * of_high.zero_point + of_low.zero_point
    chain = base.then(Dequantize(QuantParams(1.0, zero_point, _bits(base, zero_point))))
    chain = chain.then(of_low.step, low[-1].width)
    chain.origin = low[-1].origin
    return replace(flows[0], chain=chain)


class _Product(NamedTuple):
    """Of one byte of codes with weights (n_in, n_out)."""

    is_high: bool
    zero_point: int
    weight: Array
    step: Linear


def _product(links: list[Chain]) -> _Product | None:
    steps = [link.step for link in links]
    if [type(step) for step in steps] != [Byte, Dequantize, Linear]:
        return None
    part, read, product = steps
    assert isinstance(part, Byte)
    assert isinstance(read, Dequantize)
    assert isinstance(product, Linear)
    return _Product(part.is_high, read.grid.zero_point, product.weight, product)


def _bits(base: Chain, zero_point: int) -> int:
    """Of codes: what they were put on, or the fewest that hold a table's entries and the zero point."""
    if isinstance(base.step, Quantize):
        return base.step.grid.bits
    assert isinstance(base.step, Lookup)
    return max(FEWEST_BITS + 1, int(base.step.table.max()).bit_length(), zero_point.bit_length())


HANDLERS: dict[str, Handler] = {"Round": rounded, "Mod": byte}
