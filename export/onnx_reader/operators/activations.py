"""Operators that are activations by themselves. Those that are spelled out in several are `elementwise`'s."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edge_runtime.numerics import DEFINITIONS, Activation
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.elementwise import arithmetic, by_feature
from export.onnx_reader.steps import Affine, Bend, Function, RowFunction
from export.onnx_reader.values import Const, Flow, Handler, Value, flow_of, optional

# Operators that are an activation by themselves; their attributes are its parameters.
ACTIVATIONS = {definition.onnx: name for name, definition in DEFINITIONS.items() if definition.onnx is not None}


def activation(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """An operator that is an activation by itself."""
    if len(inputs) != 1:
        raise Unsupported(f"it has {len(inputs)} inputs, expected 1")
    return [applied(node, inputs[0], activation_of(node, node.operator))]


def activation_of(node: Node, operator: str, prefix: str = "") -> Activation:
    """The activation that an operator is; its parameters are the attributes with `prefix` before their names."""
    name = ACTIVATIONS[operator]
    defaults = DEFINITIONS[name].defaults
    return Activation.of(name, {key: node.attribute(prefix + key, float, value) for key, value in defaults.items()})


def applied(node: Node, value: Value, function: Activation) -> Flow:
    """A flow after an activation."""
    return flow_of(value).require_real().with_step(Function(function, function, node))


def gelu(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Gelu, by its attribute."""
    kind = node.attribute("approximate", bytes, b"none")
    if kind not in (b"none", b"tanh"):
        raise Unsupported(f"approximate is {kind[:20]!r}, expected none or tanh")
    return [applied(node, inputs[0], Activation.of("gelu" if kind == b"none" else "gelu_tanh"))]


def clip(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Clip, its limits as attributes (before opset 11) or inputs."""
    largest = float(np.finfo(np.float32).max)
    limits = {"min": -largest, "max": largest}
    for position, name in enumerate(limits, 1):
        value = optional(inputs, position)
        if value is not None and not (isinstance(value, Const) and value.array.size == 1):
            raise Unsupported(f"its {name} is not one constant number")
        given = node.attribute(name, float, limits[name]) if value is None else float(value.array.ravel()[0])
        is_none = given < -3e38 if name == "min" else given > 3e38  # so exporters write no limit
        limits[name] = limits[name] if is_none else given
    if limits == {"min": -largest, "max": largest}:
        return [inputs[0]]
    is_relu = limits == {"min": 0.0, "max": largest}
    return [applied(node, inputs[0], Activation.of("relu") if is_relu else Activation.of("clip", limits))]


def prelu(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """PRelu with one slope, which is LeakyRelu, or with one for each feature."""
    flow, slope = inputs[0], inputs[1]
    if not isinstance(slope, Const) or not isinstance(flow, Flow):
        raise Unsupported("its slope is not constant, or its input not made of the model's input")
    flow, slopes = by_feature(flow, slope.array.astype(np.float64), budget)
    if slopes.ndim == 0:
        return [applied(node, flow, Activation.of("leaky_relu", {"alpha": float(slopes)}))]
    return [flow.with_step(Bend(slopes))]


def cosine(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Cos: sin(x + pi / 2)."""
    flow = flow_of(inputs[0]).require_real().with_step(Affine(np.array(1.0), np.array(math.pi / 2)))
    return [applied(node, flow, Activation.of("sin"))]


def softmax(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Softmax and LogSoftmax, over all axes from `axis` on before opset 13, and over that axis alone since then."""
    flow = flow_of(inputs[0])
    rank = len(flow.shape)
    axis = node.attribute("axis", int, -1 if node.opset >= 13 else 1)
    if not -rank <= axis < max(rank, 1):
        raise Unsupported(f"axis {axis} does not exist in a tensor of {rank} axes")
    sizes = list(flow.expanded.shape)
    over = sizes[axis:] if node.opset < 13 else [sizes[axis]]
    batch = -1 if flow.batch is None or flow.rows == 1 else flow.batch
    is_over_batch = batch >= axis % rank if node.opset < 13 else batch == axis % rank
    if is_over_batch or math.prod(over) != flow.order.size:
        raise Unsupported("it does not work on whole rows")
    name = "softmax" if node.operator == "Softmax" else "log_softmax"
    if flow.chain.step == RowFunction(Activation.of("log_softmax")) and flow.chain.parent is not None:
        flow = replace(flow, chain=flow.chain.parent)  # a logarithm of shares has the same softmax as what it is of
    return [flow.made_whole().with_step(RowFunction(Activation.of(name)))]


def fused_gelu(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """com.microsoft Gelu, BiasGelu, FastGelu and QuickGelu: a bias, if there is one, then a kind of Gelu."""
    flow, bias = (*inputs, None)[:2]
    if bias is not None:
        flow = arithmetic(replace(node, operator="Add"), [flow, bias], budget)[0]
    if node.operator == "QuickGelu":
        return [applied(node, flow, Activation.of("swish", {"alpha": float(node.attribute("alpha", float, 1.702))}))]
    return [applied(node, flow, Activation.of("gelu_tanh" if node.operator == "FastGelu" else "gelu"))]


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(ACTIVATIONS, activation),
    "Gelu": gelu,
    "Clip": clip,
    "PRelu": prelu,
    "Cos": cosine,
    "Softmax": softmax,
    "LogSoftmax": softmax,
}
MICROSOFT_HANDLERS: dict[str, Handler] = dict.fromkeys(("Gelu", "BiasGelu", "FastGelu", "QuickGelu"), fused_gelu)
