"""Where constants come from: the one place that lets nothing computed from the number of rows become a weight.

The reader holds one number in place of the rows, `ANY_ROWS`. A constant that was computed with it is right for no
number of rows at all; it may say how large a tensor is, and nothing else. The inputs and the results of every node pass
here (`onnx_reader`), so that no operator has to hand an origin on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.onnx_reader.nodes import Node, Unsupported
from export.onnx_reader.operators.constants import ELEMENTWISE
from export.onnx_reader.values import ANY_ROWS, Const, Flow, Origin, Value

_MOVES = ("Identity", "Gather", "Slice", "Split", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Shape")
_SIZES_AT = {"Reshape": (1,), "Expand": (1,), "Slice": (1, 2)}  # inputs that say how large a tensor is
_LARGEST_SIZE = 2.0**62


def check_origins(node: Node, inputs: list[Value]) -> None:
    """Raise Unsupported if a constant that depends on the number of rows goes into what is made of the input."""
    is_constant = all(value is None or isinstance(value, Const) for value in inputs)
    for position, value in enumerate(inputs):
        if not isinstance(value, Const) or value.origin is Origin.FILE:
            continue
        if value.origin is Origin.PER_ROW:
            _require_rows_beside_rows(node, value, inputs)
        elif not is_constant and (value.origin is Origin.OF_ROWS or position not in _SIZES_AT.get(node.operator, ())):
            raise Unsupported("it computes with the number of rows")


def _require_rows_beside_rows(node: Node, constant: Const, inputs: list[Value]) -> None:
    flows = [value for value in inputs if isinstance(value, Flow)]
    if node.operator not in ELEMENTWISE or not flows:
        raise Unsupported("it uses constants that are repeated for every row; only arithmetic with a flow may")
    if any(flow.batch != len(flow.shape) - constant.array.ndim for flow in flows):
        raise Unsupported("its constants are repeated along another axis than that of the rows")


def with_origins(node: Node, inputs: list[Value], results: list[Value]) -> list[Value]:
    """The results, each constant with the origin that its node gave it, or what it was made of, whichever is worse."""
    return [_with_origin(node, inputs, value) if isinstance(value, Const) else value for value in results]


def _with_origin(node: Node, inputs: list[Value], result: Const) -> Const:
    made_of = [_handed_on(node, inputs, position, result) for position in range(len(inputs))]
    origin = max([result.origin, *made_of])
    if origin is Origin.SIZES and not (result.array >= ANY_ROWS).any():
        origin = Origin.FILE  # such as the number of features
    return result if origin is result.origin else replace(result, origin=origin)


def _handed_on(node: Node, inputs: list[Value], position: int, result: Const) -> Origin:
    """What an input makes of a result. Sizes that are moved, joined, chosen or multiplied are sizes still."""
    value, operator = inputs[position], node.operator
    if not isinstance(value, Const) or value.origin is not Origin.SIZES:
        return value.origin if isinstance(value, Const) else Origin.FILE
    others = [other.array for at, other in enumerate(inputs) if at != position and isinstance(other, Const)]
    if (operator, position) in (("ConstantOfShape", 0), ("Expand", 1)):
        return result.origin  # which sees to the rows itself: the values do not depend on a shape
    if operator == "Equal" and all((other < 0).all() for other in others):
        return Origin.FILE  # a size is never negative, however many rows there are
    is_size = (
        operator == "Concat"
        or (operator == "Where" and position > 0)
        or (operator in _MOVES and position == 0)
        or (operator == "Cast" and np.array_equal(result.array, value.array))
        or (operator == "Mul" and _is_product_of_sizes(value.array, others, result.array))
    )
    return Origin.SIZES if is_size else Origin.OF_ROWS


def _is_product_of_sizes(value: np.ndarray, others: list[np.ndarray], result: np.ndarray) -> bool:
    """Whether the numbers are sizes, none of which wrapped: the number of rows times whole numbers from 0 on."""
    exact = np.multiply(value.astype(np.float64), *others)
    are_whole = all(np.array_equal(other, np.rint(other)) for other in others)
    return bool(are_whole and (exact >= 0).all() and (exact < _LARGEST_SIZE).all() and (result == exact).all())
