"""4-bit weights in ONNX: tensors of their own from opset 21 on, int8 before, and what the file says of it."""

from __future__ import annotations

import onnx

from edge_runtime.layers import Int4Dense
from edge_runtime.model import Model

INT4_KEY, AS_INT8 = "int4_weights", "as int8"  # of metadata_props
FIRST_ONNXRUNTIME = "1.23"  # the first whose Cast takes 4-bit integers


def has_int4(model: Model) -> bool:
    """Whether a layer has 4-bit weights."""
    return any(isinstance(layer, Int4Dense) for layer in model.layers)


def int4_doubts(proto: onnx.ModelProto) -> list[str]:
    """What to know of a file that holds 4-bit weights as int8, in a line."""
    if {entry.key: entry.value for entry in proto.metadata_props}.get(INT4_KEY) != AS_INT8:
        return []
    return [
        "the .onnx holds the 4-bit weights as int8, with the same answers; --opset 21 (opset=21), which onnxruntime "
        f"{FIRST_ONNXRUNTIME} and newer run, stores them two to a byte in the forms integer and qdq"
    ]
