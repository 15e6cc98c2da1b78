"""Softmax spelled out: Exp(x), or Exp(x - ReduceMax(x)), divided by its ReduceSum; and the same with logarithms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime.numerics import Activation
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.activations import applied
from export.onnx_reader.operators.elementwise import arithmetic
from export.onnx_reader.steps import IDENTITY, Affine, Chain, Function, Linear, MinusRow, RowFunction
from export.onnx_reader.values import Flow, Handler, RowNumber, Value

_SOFTMAX = RowFunction(Activation.of("softmax"))
_LOG_SOFTMAX = RowFunction(Activation.of("log_softmax"))
WHAT = "supported is what makes softmax: the sum or the largest value of whole rows, with keepdims"


def logarithm(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Log of a sum, or of values."""
    value = inputs[0]
    if isinstance(value, RowNumber) and value.operator == "ReduceSum":
        return [replace(value, operator="LogReduceSum")]
    if isinstance(value, Flow) and value.chain.parent is not None:
        step, before = value.chain.step, replace(value, chain=value.chain.parent)
        if step == _SOFTMAX:
            return [before.with_step(_LOG_SOFTMAX)]
        if isinstance(step, Function) and step.activation == Activation.of("sigmoid"):
            return [applied(node, before, Activation.of("log_sigmoid"))]
    return arithmetic(node, inputs, budget)


def with_row_number(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """x minus its largest value, or minus the logarithm of its exponentials' sum; Exp(x) divided by its sum.

    Without a number for each row Sub and Div are plain arithmetic.
    """
    flow, number = (*inputs, None)[:2]
    if not isinstance(number, RowNumber) or not isinstance(flow, Flow):
        return arithmetic(node, inputs, budget)
    _require_same_places(flow, number)
    parts, is_of_it, before = (node.operator, number.operator), number.flow.chain is flow.chain, exponent(flow)
    if parts == ("Sub", "ReduceMax") and is_of_it:
        return [flow.with_step(MinusRow())]
    if parts == ("Sub", "ReduceLogSumExp") and is_of_it:
        return [_over_the_row(flow, _LOG_SOFTMAX)]
    if parts == ("Sub", "LogReduceSum") and exponent(number.flow) is flow.chain:
        return [_over_the_row(flow, _LOG_SOFTMAX)]
    if parts == ("Div", "ReduceSum") and is_of_it and before is not None:
        return [_over_the_row(replace(flow, chain=before), _SOFTMAX)]
    if parts == ("Div", "ReduceSum") and is_of_it and sums_to_one(flow):
        return [flow]
    verb = "takes off" if node.operator == "Sub" else "divides by"
    raise Unsupported(f"it {verb} what is no part of softmax; {WHAT}")


def _require_same_places(flow: Flow, number: RowNumber) -> None:
    """Refuse what is no softmax: the number of some features beside others, or of a row that is laid out otherwise."""
    other = number.flow
    is_same = (flow.batch, flow.rows) == (other.batch, other.rows) and np.array_equal(flow.order, other.order)
    if not is_same or not flow.is_whole:
        raise Unsupported(f"it joins a row with the number of other features or of another layout; {WHAT}")


def exponent(flow: Flow) -> Chain | None:
    """The chain before Exp, where that is the last step."""
    step = flow.chain.step
    return flow.chain.parent if isinstance(step, Function) and step.activation == Activation.of("exp") else None


def _over_the_row(flow: Flow, step: RowFunction) -> Flow:
    """softmax in place of what was taken off before, which changes nothing about it."""
    chain = flow.chain
    while isinstance(chain.step, MinusRow) and chain.parent is not None:
        chain = chain.parent
    return replace(flow, chain=chain).made_whole().with_step(step)


def sums_to_one(flow: Flow) -> bool:
    """Whether the values of a row are shares already: of softmax, or two sigmoids of z and -z."""
    last = flow.chain.step
    if not flow.is_whole:
        return False
    if not isinstance(last, Function) or last.activation != Activation.of("sigmoid") or flow.chain.width != 2:
        return last == _SOFTMAX
    total, chain = IDENTITY, flow.chain.parent
    while chain is not None and isinstance(chain.step, Affine):
        total, chain = chain.step.then(total), chain.parent
    if chain is None or not isinstance(chain.step, Linear):
        return False
    weight = chain.step.weight.astype(np.float64) * total.scale
    shift = np.broadcast_to(total.shift, (2,))
    return bool((weight[:, 0] == -weight[:, 1]).all() and shift[0] == -shift[1])


HANDLERS: dict[str, Handler] = {
    "Log": logarithm,
    **dict.fromkeys(("Sub", "Div"), with_row_number),
}
