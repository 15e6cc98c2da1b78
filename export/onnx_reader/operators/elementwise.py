"""Operators that work place by place on flows: arithmetic with constants, activations, and branches that meet again.

Arithmetic with constants becomes an `Affine` step. Branches that left one tensor and meet again, as in x * sigmoid(x),
become one `Function` of that tensor; `export.onnx_reader.layers.functions` finds out which activation it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.affine import sum_of
from export.onnx_reader.operators.constants import ELEMENTWISE, elementwise_function, settled
from export.onnx_reader.operators.fine_codes import byte, has_codes, sum_of_bytes
from export.onnx_reader.operators.row_values import centered, row_values, uses_means
from export.onnx_reader.steps import (
    Affine,
    Bend,
    Chain,
    Dequantize,
    DynamicScale,
    Function,
    Lookup,
    OfOneNumber,
    Quantize,
    Step,
    composed,
    off_by,
)
from export.onnx_reader.values import Const, DynamicGrid, Flow, Handler, RowValues, Value, common_base

_MOST_OPERATORS = 200  # mish spelled out takes six; more could take exponential time to evaluate
_CUTTING = ("Div", "Pow")  # whole numbers stay whole under them
# of activations that are spelled out: 1 / sqrt(2), sqrt(2), sqrt(2 / pi), 2 sqrt(2 / pi); of gelu_tanh; of quick gelu
_KNOWN_CONSTANTS = (0.5**0.5, 2.0**0.5, (2 / math.pi) ** 0.5, 2 * (2 / math.pi) ** 0.5, 0.044715, 1.702)
_SUMS = ("Add", "Sub", "Sum", "Mean")
_LINEAR = ("Add", "Sub", "Mul", "Div", "Sum", "Neg")


def arithmetic(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Any operator of `ELEMENTWISE`, on a flow and constants, or on flows that meet again."""
    given: list[Value] = [value for value in inputs if value is not None]
    if all(isinstance(value, Const) for value in given):
        raise Unsupported("it has no input that is made of the model's input")
    elementwise_function(node, len(given))  # refuses another number of operands
    if any(isinstance(value, DynamicGrid) for value in given):
        return [_with_dynamic_scale(node, given)]
    if any(isinstance(value, RowValues) for value in given):
        return [row_values(node, given, budget)]
    for value in given:
        if not isinstance(value, Flow | Const):
            raise Unsupported("it computes with class labels, or with one number for each row")
        if isinstance(value, Const) and value.array.dtype == object:
            raise Unsupported("it computes with texts")
    if node.operator == "Div" and has_codes(given[0]):
        return byte(node, given, budget)
    flows = [value.require_real() for value in given if isinstance(value, Flow)]
    if node.operator == "Add" and len(flows) == 2 and (total := sum_of_bytes(flows)) is not None:
        return [total]
    if len(flows) > 1 and any(isinstance(settled(flow), Flow) for flow in flows):
        given = list(map(settled, given))
        flows = [value for value in given if isinstance(value, Flow)]
    if node.operator in _CUTTING and any(not flow.kind.startswith("float") for flow in flows):
        raise Unsupported(f"it computes with {flows[0].kind} numbers, which cuts; expected a Cast to float first")
    if len(flows) == 1 and node.operator in _LINEAR:
        return [_affine(node, given, flows[0], budget)]
    if len(flows) == len(given) and node.operator in _SUMS:
        signs = [1.0, -1.0] if node.operator == "Sub" else [1.0] * len(flows)
        total = (centered(*flows) if node.operator == "Sub" else None) or sum_of(flows, signs, budget)
        if total is not None:
            return [scaled(total, np.array(1 / len(flows)), budget) if node.operator == "Mean" else total]
    if len(flows) > 1 and uses_means(flows):
        return [row_values(node, given, budget)]
    constants = [value.array for value in given if isinstance(value, Const)]
    if len(flows) == 1 and node.operator in ("Max", "Min") and any((each != each.flat[:1]).any() for each in constants):
        return [_limited(node, constants, flows[0], budget)]
    return [_joined(node, given, flows)]


def _limited(node: Node, constants: list[Array], flow: Flow, budget: Budget) -> Flow:
    """The larger or the smaller of a flow's values and of constants, feature by feature."""
    for constant in constants:
        flow, values = by_feature(flow, constant.astype(np.float64), budget)
        limits = np.broadcast_to(values, (flow.chain.width,))
        flow = flow.with_step(Bend(low=limits) if node.operator == "Max" else Bend(high=limits))
    return flow


def _as_meant(number: Array) -> Array:
    """One of the activations' own constants for what float16 made of it, so that the activation is recognized.

    Within a function alone: what multiplies the sums of a layer is what stands in the file.
    """
    for known in _KNOWN_CONSTANTS:
        for half, meant in ((float(np.float16(known)), known), (1 / float(np.float16(known)), 1 / known)):
            if abs(number) == half:
                return np.sign(number) * meant
    return number


def _affine(node: Node, given: list[Value], flow: Flow, budget: Budget) -> Flow:
    """One flow and constants under Add, Sub, Mul, Div, Sum or Neg."""
    constants = [value.array.astype(np.float64) for value in given if isinstance(value, Const)]
    operator, is_first = node.operator, given[0] is flow
    if operator == "Div" and not is_first:
        return _joined(node, given, [flow])
    if operator in ("Mul", "Div"):
        return scaled(flow, constants[0] if operator == "Mul" else 1.0 / constants[0], budget)
    if operator == "Neg" or (operator == "Sub" and not is_first):
        flow = scaled(flow, np.array(-1.0), budget)
    for constant in constants:
        flow = shifted(flow, -constant if operator == "Sub" and is_first else constant, budget)
    return flow


def shifted(flow: Flow, constant: Array, budget: Budget) -> Flow:
    """flow + constant."""
    flow, values = by_feature(flow, constant.astype(np.float64), budget)
    return flow.with_step(Affine(np.array(1.0), values))


def scaled(flow: Flow, constant: Array, budget: Budget) -> Flow:
    """flow * constant."""
    flow, values = by_feature(flow, constant.astype(np.float64), budget)
    return flow.with_step(Affine(values, np.array(0.0)))


def by_feature(flow: Flow, constant: Array, budget: Budget) -> tuple[Flow, Array]:
    """A constant's value for each feature, () where all are the same, after NumPy's broadcasting by places."""
    if constant.size == 1 and constant.ndim <= len(flow.shape):
        return flow, constant.reshape(())
    rank = max(constant.ndim, len(flow.shape))
    expanded = flow.expanded.reshape((1,) * (rank - len(flow.shape)) + flow.expanded.shape)
    batch = None if flow.batch is None else flow.batch + rank - len(flow.shape)
    padded = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    if batch is not None and padded.shape[batch] != 1:
        found = f"its constant of shape {constant.shape} has a value of its own for each row of the batch"
        raise Unsupported(f"{found}; expected one for all rows")
    shape = np.broadcast_shapes(expanded.shape, padded.shape)
    budget.charge(2 * math.prod(shape))
    order = np.broadcast_to(expanded, shape)
    flow = flow.laid(order, batch).made_whole()
    values = np.empty(flow.chain.width)
    values[flow.expanded.ravel()] = np.broadcast_to(padded, shape).ravel()
    return flow, values.reshape(-1)[0].reshape(()) if (values == values[0]).all() else values


def _residual(node: Node, why: str) -> Unsupported:
    return Unsupported(f"residual {node.operator}: {why}; only chains are supported")


def _joined(node: Node, given: list[Value], flows: list[Flow]) -> Flow:
    """One function of the tensor that all flows are made of."""
    base, first = common_base(flows), flows[0]
    for flow in flows[1:]:
        same = (flow.batch, flow.rows) == (first.batch, first.rows) and np.array_equal(flow.order, first.order)
        if not same:
            raise _residual(node, "it joins tensors of different layout")
    if node.operator in ("Mul", "Div") and len(flows) == len(given) == 2:
        bare, factors = zip(*(_without_factors(flow, base) for flow in flows), strict=True)
        is_defined = node.operator == "Mul" or (factors[1] != 0).all()
        if is_defined and any((factor != 1).any() for factor in factors):
            # x * (sigmoid(x) * v) is x * sigmoid(x), times v
            joined = _joined(node, list(bare), list(bare))
            return joined.with_step(Affine(ELEMENTWISE[node.operator](*factors), np.array(0.0)))
    base, branches = _branches(flows, base)
    paths = iter(branches)
    parts: list[Callable[..., Any]] = []
    for value in given:
        if isinstance(value, Flow):
            parts.append(_path(node, next(paths)))
        elif isinstance(value, Const):
            parts.append(_constant(node, value, first))
    cost = 1 + sum(_cost(flow, base) for flow in flows)
    if cost > _MOST_OPERATORS:
        raise _residual(node, "branches meet too often for an activation")
    rounds = any(_rounds(step) for steps in branches for step in steps)
    call = partial(_apply, elementwise_function(node, len(parts)), tuple(parts))
    kind = "bool" if node.operator in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal") else first.kind
    return replace(first, chain=base.then(Function(call, None, node, cost, rounds)), kind=kind)


def _without_factors(flow: Flow, base: Chain) -> tuple[Flow, Array]:
    """A branch without the factors of its own for each feature that it ends with, and what they make together."""
    chain, factor = flow.chain, np.array(1.0)
    while chain is not base and chain.parent is not None:
        step = chain.step
        if not isinstance(step, Affine) or step.is_uniform or (step.shift != 0).any():
            break
        chain, factor = chain.parent, factor * step.scale
    return replace(flow, chain=chain), factor


def _branches(flows: list[Flow], base: Chain) -> tuple[Chain, list[list[Step]]]:
    """The steps of each branch, and where they part: after the codes are read, where each of them reads them itself."""
    branches = [flow.chain.steps_after(base) for flow in flows]
    first = branches[0][0] if branches[0] else None
    if not isinstance(first, Dequantize) or any(not steps or steps[0] != first for steps in branches):
        return base, branches
    return base.then(first), [steps[1:] for steps in branches]


def _rounds(step: Step) -> bool:
    return isinstance(step, Quantize | Lookup) or (isinstance(step, Function) and step.rounds)


def _cost(flow: Flow, base: Chain) -> int:
    """Operators in a branch, those counted twice that its own branches share."""
    return sum(step.cost if isinstance(step, Function) else 1 for step in flow.chain.steps_after(base))


def _apply(function: Callable[..., Any], parts: tuple[Callable[..., Any], ...], x: Array, nudge: float = 0.0) -> Array:
    return off_by(nudge, None, x, np.asarray(function(*(part(x, nudge) for part in parts))))


def _path(node: Node, steps: list[Step]) -> Callable[..., Any]:
    """How a branch is computed from the tensor where the branches part."""
    if len(steps) > 100:
        raise _residual(node, f"a branch of {len(steps)} nodes")
    uniform = [step for step in steps if isinstance(step, OfOneNumber) and getattr(step, "is_uniform", True)]
    if len(uniform) < len(steps):
        raise _residual(node, "it joins two branches")
    _require_real(steps)
    meant = [Affine(_as_meant(s.scale), _as_meant(s.shift)) if isinstance(s, Affine) else s for s in uniform]
    return partial(composed, meant)


def _require_real(steps: list[Step]) -> None:
    """Raise Unsupported where codes are taken for numbers, or read on another grid than they were put on."""
    codes: Quantize | Lookup | None = None
    for step in steps:
        takes_codes = isinstance(step, Dequantize | Lookup)
        if takes_codes != (codes is not None):
            raise Unsupported("it computes with the codes of a quantized tensor; expected real values")
        put = codes.grid if isinstance(codes, Quantize) else None
        if put is not None and isinstance(step, Dequantize) and step.grid.zero_point != put.zero_point:
            raise Unsupported("it reads codes on another zero point than they were put on; expected one grid")
        codes = step if isinstance(step, Quantize | Lookup) else None
    if codes is not None:
        raise Unsupported("it computes with the codes of a quantized tensor; expected real values")


def _constant(node: Node, value: Const, flow: Flow) -> Callable[..., Any]:
    if np.broadcast_shapes(flow.shape, value.array.shape) != flow.shape:
        found = f"its constant of shape {value.array.shape} gives the tensor another shape"
        raise Unsupported(f"{found}; expected a single number")
    array = value.array.astype(np.float64).ravel()
    if array.size == 0 or not (array == array[0]).all():
        found = "its constant has different values for different features"
        raise Unsupported(f"{found}, which {node.operator} may not have")
    return lambda x, nudge=0.0: array[0]


def _with_dynamic_scale(node: Node, given: list[Value]) -> Value:
    """The scale that a DynamicQuantizeLinear found, times a constant or into a flow."""
    if node.operator != "Mul" or len(given) != 2:
        raise Unsupported("it computes with a scale or zero point that is found at run time")
    grid, other = (given[0], given[1]) if isinstance(given[0], DynamicGrid) else (given[1], given[0])
    if not isinstance(grid, DynamicGrid) or not grid.is_scale:
        raise Unsupported("it computes with a zero point that is found at run time")
    if isinstance(other, Const):
        return replace(grid, factor=grid.factor * other.array.astype(np.float32))
    if not isinstance(other, Flow):
        raise Unsupported("it multiplies two scales that are found at run time")
    return scaled(other.with_step(DynamicScale()), grid.factor, Budget(1 << 40))


# read elsewhere, where what else they may be is known: parts of softmax, and an activation
_READ_ELSEWHERE = {"Sub", "Div", "Log", "Abs", "Exp"}
HANDLERS: dict[str, Handler] = dict.fromkeys(sorted(ELEMENTWISE.keys() - _READ_ELSEWHERE), arithmetic)
