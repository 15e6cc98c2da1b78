"""What operators meant otherwise in opset 6 is refused by name, so that those who read them need not know it."""

from __future__ import annotations

import math

from export.onnx_reader.nodes import Node, Unsupported
from export.onnx_reader.operators.constants import ELEMENTWISE
from export.onnx_reader.values import Const, Flow, Value

_OLDEST_OPSET = 6


def require_todays_meaning(node: Node, inputs: list[Value]) -> None:
    """Raise Unsupported for an operator older than opset 6, or of opset 6 if it is in training mode or aligns axes.

    There arithmetic could name the axis that its second operand begins at, and PRelu's slopes were the channels'; since
    opset 7 the last axes are aligned, which mostly comes to the same.
    """
    if node.domain or node.opset >= 7:
        return
    if node.opset < _OLDEST_OPSET:
        raise Unsupported(f"opset {node.opset} found, expected {_OLDEST_OPSET} or newer", "opset")
    if node.operator in ("Dropout", "BatchNormalization") and not node.attribute("is_test", int, 0):
        raise Unsupported("it is in training mode (is_test = 0)", "training")
    shapes = [value.shape for value in inputs if isinstance(value, Const | Flow)]
    named = node.attribute("axis", int, None) if node.operator in ELEMENTWISE else None
    axis = 1 if node.operator == "PRelu" else named
    if axis is None or len(shapes) != 2 or math.prod(shapes[1]) == 1:
        return
    rank, axes = map(len, shapes)
    if (axis + rank if axis < 0 else axis) + axes < rank:
        raise Unsupported(
            f"in opset {node.opset} it aligns its second operand, of {axes} axes, with those from axis {axis} on of "
            f"{rank}, expected the last ones",
            "opset",
        )
