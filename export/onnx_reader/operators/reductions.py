"""What takes a row as a whole: its mean, its sum, its norm, its largest value, and the normalizations by name."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.elementwise import arithmetic, scaled, shifted
from export.onnx_reader.operators.row_values import TINIEST
from export.onnx_reader.operators.shapes import listed, resolved_axis
from export.onnx_reader.operators.softmax import WHAT, exponent, sums_to_one
from export.onnx_reader.steps import Center, Normalize, RowMean
from export.onnx_reader.values import Const, Flow, Handler, RowNumber, Value, flow_of, optional

_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2", "ReduceMax", "ReduceLogSumExp")


def reduction(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """One number for each row: a flow of one feature, or, of what only softmax can use, a `RowNumber`."""
    flow, named = flow_of(inputs[0]).require_real(), listed(node, inputs, 1, "axes")
    if not named and node.attribute("noop_with_empty_axes", int, 0):
        return [flow]
    sizes, operator, keeps = flow.expanded.shape, node.operator, bool(node.attribute("keepdims", int, 1))
    axes = {resolved_axis(axis, len(sizes)) for axis in named or range(len(sizes))}
    kept = [axis for axis in range(len(sizes)) if axis not in axes]
    if (flow.batch in axes and flow.rows != 1) or any(sizes[axis] != 1 for axis in kept):
        raise Unsupported(f"it does not work on whole rows; {WHAT}")
    is_of_shares = operator == "ReduceSum" and (exponent(flow) is not None or sums_to_one(flow))
    if operator in ("ReduceMax", "ReduceLogSumExp") or (is_of_shares and keeps):
        if not keeps:
            raise Unsupported(f"it reduces what is no part of softmax; {WHAT}")
        return [RowNumber(flow, operator)]
    if operator in ("ReduceSumSquare", "ReduceL2"):
        flow = flow_of(arithmetic(replace(node, operator="Mul"), [flow, flow], budget)[0])
    result = flow.laid(
        np.zeros([1] * len(sizes), np.int64), flow.batch, chain=flow.made_whole().chain.then(RowMean(), 1)
    )
    if operator != "ReduceMean":
        result = scaled(result, np.array(float(flow.order.size)), budget)
    if operator == "ReduceL2":
        result = flow_of(arithmetic(replace(node, operator="Sqrt"), [result], budget)[0])
    return [result if keeps else result.moved(lambda places: places.reshape([1] * len(kept)), kept)]


def layer_normalization(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """LayerNormalization, and RMSNormalization, which takes no mean off, over all axes from `axis` on."""
    epsilon = float(np.float32(node.attribute("epsilon", float, 1e-5)))
    flow = _whole_rows(node, inputs[0], to_the_end=True)
    flow = flow.with_step(Center()) if node.operator == "LayerNormalization" else flow
    scale, bias = inputs[1], optional(inputs, 2)
    if not isinstance(scale, Const) or not isinstance(bias, Const | None):
        raise Unsupported("its scale or bias is not constant, expected arrays of the file")
    flow = scaled(flow.with_step(Normalize(epsilon)), scale.array, budget)
    return [flow if bias is None else shifted(flow, bias.array, budget)]


def lp_normalization(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Rows of length 1; those of zeros stay as they are."""
    if node.attribute("p", int, 2) != 2:
        raise Unsupported("it divides by sums of absolute values, expected p = 2")
    flow = _whole_rows(node, inputs[0], to_the_end=False)
    return [scaled(flow.with_step(Normalize(TINIEST)), np.array(flow.order.size**-0.5), budget)]


def _whole_rows(node: Node, value: Value, *, to_the_end: bool) -> Flow:
    """A flow all of whose features lie along an axis, or from it to the end. Raises Unsupported."""
    flow = flow_of(value).require_real()
    axis = resolved_axis(node.attribute("axis", int, -1), len(flow.shape))
    over = range(axis, len(flow.shape) if to_the_end else axis + 1)
    if (flow.batch in over and flow.rows != 1) or math.prod(flow.expanded.shape[at] for at in over) != flow.order.size:
        raise Unsupported("it does not work on whole rows, as expected")
    return flow.made_whole()


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), layer_normalization),
    "LpNormalization": lp_normalization,
}
