"""Which function reads which operator: one list of all. An operator has one handler; a second one is an error here.

A handler takes the node, what its inputs are, and the budget, and gives what its outputs are. A new operator is a line
in the table of the file that its handler stands in. What is computed of constants alone has a handler in `folding`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from export.onnx_reader.nodes import NO_NORMALIZATION, SUPPORTED, Budget, Node, Unsupported
from export.onnx_reader.operators import (
    activations,
    classifiers,
    constants,
    dense,
    elementwise,
    fine_codes,
    folding,
    quantized,
    reductions,
    selecting,
    shapes,
    softmax,
)
from export.onnx_reader.operators.constants import ELEMENTWISE, RANDOM, noise
from export.onnx_reader.operators.older_opsets import require_todays_meaning
from export.onnx_reader.operators.origin import check_origins, with_origins
from export.onnx_reader.values import Const, Handler, Noise, RowNumber, RowValues, Stacked, Value

Key: TypeAlias = tuple[str, str]  # domain, operator
_INSTEAD = {  # what to do about what prepares a table
    "Imputer": "fill in missing values before the model, and export the pipeline without this step",
    "OneHotEncoder": "export the pipeline without this step; its columns of zeros and ones are inputs",
}

_ONNX = (
    activations,
    classifiers,
    constants,
    dense,
    elementwise,
    fine_codes,
    quantized,
    reductions,
    selecting,
    shapes,
    softmax,
)
_TABLES: tuple[tuple[str, Mapping[str, Handler]], ...] = (
    *(("", module.HANDLERS) for module in _ONNX),
    *(("ai.onnx.ml", module.ML_HANDLERS) for module in (classifiers, dense)),
    *(("com.microsoft", module.MICROSOFT_HANDLERS) for module in (activations, dense, quantized)),
)


def joined(tables: Iterable[tuple[str, Mapping[str, Handler]]]) -> dict[Key, Handler]:
    """All handlers by domain and operator. Raises ValueError for a second one for the same operator."""
    found: dict[Key, Handler] = {}
    for domain, handlers in tables:
        for operator, handler in handlers.items():
            if (domain, operator) in found:
                before = found[domain, operator].__module__
                raise ValueError(f"{operator} is read by {handler.__module__} and by {before}; expected one of them")
            found[domain, operator] = handler
    return found


FOLDED = joined(("", handlers) for handlers in folding.HANDLERS)  # on constants alone
HANDLERS = joined(_TABLES)


def apply(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """What the outputs of a node are. Raises Unsupported.

    The only door to the handlers: where constants come from is seen to here, before and after each of them.
    """
    require_todays_meaning(node, inputs)
    if node.operator in RANDOM or any(isinstance(value, Noise) for value in inputs):
        return [noise(node, inputs)] * len(node.outputs)
    check_origins(node, inputs)
    return with_origins(node, inputs, _handler(node, inputs)(node, inputs, budget))


def _handler(node: Node, inputs: list[Value]) -> Handler:
    key = (node.domain, node.operator)
    if key in FOLDED and any(inputs) and all(value is None or isinstance(value, Const) for value in inputs):
        return FOLDED[key]
    if any(isinstance(value, Stacked) for value in inputs):
        raise Unsupported("its input holds the values of all rows in one axis; expected an axis for the rows")
    if any(isinstance(value, RowNumber) for value in inputs) and node.operator not in softmax.HANDLERS:
        raise Unsupported("it uses one number for each row, which is supported as part of softmax only")
    if any(isinstance(value, RowValues) for value in inputs) and node.operator not in ELEMENTWISE:
        raise Unsupported(NO_NORMALIZATION)
    if key not in HANDLERS:
        raise Unsupported(f"not supported; {_INSTEAD.get(node.operator, SUPPORTED)}")
    return HANDLERS[key]
