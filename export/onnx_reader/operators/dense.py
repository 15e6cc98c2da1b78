"""Products with constant weights: Gemm, MatMul, BatchNormalization, and ai.onnx.ml's Scaler and linear models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime.numerics import Activation
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.activations import ACTIVATIONS, activation_of, applied
from export.onnx_reader.operators.affine import sum_of
from export.onnx_reader.operators.elementwise import scaled, shifted
from export.onnx_reader.operators.selecting import concat, names_in
from export.onnx_reader.steps import Chain, Linear, RowFunction
from export.onnx_reader.values import Const, Flow, Handler, Label, Value, flow_of, optional


def matmul(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """x @ W or W @ x."""
    first, second = inputs[0], inputs[1]
    if isinstance(first, Flow) and isinstance(second, Const):
        return [product(first, second, budget)]
    if isinstance(first, Const) and isinstance(second, Flow):
        return [product_from_left(first, second, budget)]
    raise Unsupported("it multiplies two constants, labels, or two tensors that are made of the input")


def product(flow: Flow, constant: Const, budget: Budget) -> Flow:
    """flow @ weight: the last axis of the flow is summed over, and every other but the batch has size 1."""
    rank = len(flow.shape)
    out = _linear(flow, _matrix(constant, as_column=True), rank - 1, budget)
    more = _leading_axes(constant, rank)
    shape = (1,) * more + flow.expanded.shape[:-1] + (() if constant.array.ndim == 1 else (out.width,))
    return _laid(flow, out, shape, None if flow.batch is None else flow.batch + more)


def product_from_left(constant: Const, flow: Flow, budget: Budget) -> Flow:
    """weight @ flow: the last axis but one is summed over; the batch may be the last."""
    rank = len(flow.shape)
    axis = max(rank - 2, 0)
    out = _linear(flow, _matrix(constant, as_column=False).moved(np.transpose), axis, budget)
    shape = list(flow.expanded.shape)
    shape[axis : axis + 1] = [] if constant.array.ndim == 1 else [out.width]
    batch = flow.batch if flow.batch is None or constant.array.ndim > 1 or flow.batch < axis else flow.batch - 1
    more = _leading_axes(constant, rank)
    return _laid(flow, out, (1,) * more + tuple(shape), None if batch is None else batch + more)


def _leading_axes(constant: Const, rank: int) -> int:
    """Axes that weights of more than two put before those of a flow; a flow of one axis is multiplied as a matrix."""
    return max(0, constant.array.ndim - max(rank, 2))


def _laid(flow: Flow, out: Chain, shape: tuple[int, ...], batch: int | None) -> Flow:
    kind = flow.kind if flow.kind.startswith("float") else "float32"
    return flow.laid(np.arange(out.width).reshape(shape), batch, chain=out, kind=kind)


def _matrix(constant: Const, *, as_column: bool) -> Const:
    """Weights as a matrix: a vector is a column on the right of a product and a row on its left."""
    array = constant.array
    if array.dtype.kind not in "fiu" or array.ndim == 0:
        raise Unsupported(f"its weights have dtype {array.dtype} and {array.ndim} axes, expected a matrix of numbers")
    if array.ndim > 2 and array.size != array.shape[-1] * array.shape[-2]:
        raise Unsupported(f"its weights have shape {array.shape}, expected one matrix")
    shape = (-1, 1) if array.ndim == 1 and as_column else (1, -1) if array.ndim == 1 else array.shape[-2:]
    values = array.astype(np.float16) if constant.of_half else array
    return replace(constant, array=values).moved(lambda places: places.reshape(shape))


def _linear(flow: Flow, weight: Const, axis: int, budget: Budget) -> Chain:
    """The chain after a product that sums over an axis. The weights' rows are put in the order of the features."""
    if not flow.require_real().shape or flow.batch == axis:
        raise Unsupported("it sums over the rows of the batch; expected a sum over the features")
    n = flow.expanded.shape[axis]
    if weight.array.shape[0] != n or flow.order.size != n:
        shape = tuple("rows" if axis == flow.batch else size for axis, size in enumerate(flow.shape))
        raise Unsupported(f"its weights take {weight.array.shape[0]} features, its input has shape {shape}")
    if 0 in weight.array.shape:
        raise Unsupported("its weights are empty")
    order, width = flow.order.ravel(), flow.chain.width
    if not np.array_equal(order, np.arange(width)):
        flow = flow.made_whole()
        width, order = flow.chain.width, flow.order.ravel()
        budget.charge(weight.array.size * 2)
    back = np.argsort(order)
    codes, scale = None, None
    if weight.codes is not None and weight.scale is not None and (weight.scale == weight.scale[:1]).all():
        codes, scale = weight.codes[back], np.ascontiguousarray(weight.scale[0])
    array = weight.array[back] if width > 1 else weight.array
    return flow.chain.then(Linear(array, codes, scale, weight.stored), array.shape[1])


def gemm(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """alpha * A' @ B' + beta * C."""
    a = _turned(inputs[0], node.attribute("transA", int, 0))
    b = _turned(inputs[1], node.attribute("transB", int, 0))
    flow = flow_of(matmul(node, [a, b], budget)[0])
    alpha, beta = (float(node.attribute(key, float, 1.0)) for key in ("alpha", "beta"))
    if alpha != 1.0:
        flow = scaled(flow, np.array(alpha), budget)
    bias = optional(inputs, 2)
    if isinstance(bias, Flow) and beta == 1.0 and (total := sum_of([flow, bias], [1.0, 1.0], budget)) is not None:
        return [_activated(node, total)]
    if bias is not None and not isinstance(bias, Const):
        raise Unsupported("residual Gemm: its C is made of the input; only chains are supported")
    if bias is not None and beta != 0.0:
        flow = shifted(flow, bias.array.astype(np.float64) * beta, budget)
    return [_activated(node, flow)]


def _turned(value: Value, turn: int) -> Value:
    if not turn:
        return value
    if not isinstance(value, Const | Flow) or len(value.shape) != 2:
        raise Unsupported("it turns a tensor that has not two axes")
    return value.moved(np.transpose, [1, 0])


def _activated(node: Node, flow: Flow) -> Flow:
    """com.microsoft FusedGemm names an activation too."""
    kind = node.attribute("activation", bytes, b"").decode("utf-8", "replace")
    if node.operator != "FusedGemm" or not kind:
        return flow
    if kind not in ACTIVATIONS:
        raise Unsupported(f"its activation {kind[:30]!r} is not supported")
    return applied(node, flow, activation_of(node, kind, "activation_"))


def fused_matmul(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """com.microsoft FusedMatMul: alpha * A' @ B'."""
    if node.attribute("transBatchA", int, 0) or node.attribute("transBatchB", int, 0):
        raise Unsupported("it moves the axis of the batch (transBatchA or transBatchB), expected 0 for both")
    return gemm(node, inputs[:2], budget)


def batch_normalization(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, by channels, with the statistics of training."""
    flow = inputs[0]
    if node.attribute("training_mode", int, 0):
        raise Unsupported("it is in training mode", "training")
    if node.opset < 14 and any(node.outputs[1:]):  # how old opsets ask for the statistics of the batch
        raise Unsupported("it has outputs beside the first: training mode", "training")
    constants = [value for value in inputs[1:5] if isinstance(value, Const)]
    if not isinstance(flow, Flow) or len(constants) != 4:
        raise Unsupported("its scale, bias, mean and variance are not all constants")
    rank = len(flow.shape)
    shape = (-1,) + (1,) * (rank - 2) if rank > 1 else (-1,)
    if node.opset < 9 and not node.attribute("spatial", int, 1):
        shape = flow.shape[1:]
    scale, bias, mean, variance = (constant.array.astype(np.float64).reshape(shape) for constant in constants)
    factor = scale / np.sqrt(variance + float(node.attribute("epsilon", float, 1e-5)))
    return [shifted(scaled(flow, factor, budget), bias - mean * factor, budget)]


def scaler(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml Scaler: (x - offset) * scale."""
    offset = np.array(node.attribute("offset", list, []), np.float64)
    scale = np.array(node.attribute("scale", list, []), np.float64)
    flow = replace(flow_of(inputs[0]), kind="float32")  # whatever goes in, as with all of ai.onnx.ml
    moved = shifted(flow, -offset, budget) if offset.size else flow
    return [scaled(moved, scale, budget) if scale.size else moved]


def feature_vectorizer(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml FeatureVectorizer: columns of whatever numbers side by side, as float32."""
    columns: list[Value] = [replace(flow_of(value), kind="float32") for value in inputs]
    return concat(replace(node, attributes={"axis": 1}), columns, budget)


def linear_regressor(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml LinearRegressor."""
    return [_post(node, _ml_linear(node, inputs, node.attribute("targets", int, 1), budget))]


def linear_classifier(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml LinearClassifier with one row of coefficients for each class: a label and the scores."""
    names = names_in(node, "classlabels_strings", "classlabels_ints")
    if len(node.attribute("intercepts", list, [])) != len(names):
        raise Unsupported("it has not one row of coefficients for each class")
    scores = _post(node, _ml_linear(node, inputs, len(names), budget))
    return [Label(scores, names), scores]


def _ml_linear(node: Node, inputs: list[Value], n_out: int, budget: Budget) -> Flow:
    flow = inputs[0]
    coefficients = np.array(node.attribute("coefficients", list, []), np.float32)
    intercepts = np.array(node.attribute("intercepts", list, []), np.float64)
    if not isinstance(flow, Flow) or n_out < 1 or coefficients.size == 0 or coefficients.size % n_out:
        raise Unsupported(f"{coefficients.size} coefficients do not fit {n_out} outputs")
    real = replace(flow, kind="float32")
    out = product(real, Const(coefficients.reshape(n_out, -1).T), budget)
    return shifted(out, intercepts, budget) if intercepts.size else out


def _post(node: Node, flow: Flow) -> Flow:
    kind = node.attribute("post_transform", bytes, b"NONE")
    if kind == b"NONE":
        return flow
    if kind == b"LOGISTIC":
        return applied(node, flow, Activation.of("sigmoid"))
    if kind == b"SOFTMAX":
        return flow.with_step(RowFunction(Activation.of("softmax")))
    raise Unsupported(f"its post_transform {kind[:20]!r} is not supported")


HANDLERS: dict[str, Handler] = {"MatMul": matmul, "Gemm": gemm, "BatchNormalization": batch_normalization}
ML_HANDLERS: dict[str, Handler] = {
    "FeatureVectorizer": feature_vectorizer,
    "Scaler": scaler,
    "LinearRegressor": linear_regressor,
    "LinearClassifier": linear_classifier,
}
MICROSOFT_HANDLERS: dict[str, Handler] = {"FusedGemm": gemm, "FusedMatMul": fused_matmul}
