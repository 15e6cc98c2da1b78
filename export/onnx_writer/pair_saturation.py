"""Which int8 weights are safe on x86 processors that add pairs of products in 16 bits.

Without VNNI, uint8 x int8 products go through an instruction (VPMADDUBSW) that adds two neighbouring products and
saturates the sum to int16. Whether that can happen is decided by the weights alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_runtime.layers import QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import QMAX

# onnxruntime's option that makes it compute int8 weights as uint8 ones on such processors. It works by a graph
# transformation, at the extended and the default level (all), and changed no bit where nothing saturates. At the basic
# level and with optimizations disabled it does nothing: DequantizeLinear -> Gemm is computed in floats there, and
# needs nothing, but operators that multiply integers by themselves saturate.
PRECISE = ("session.x64quantprecision", "1")
WITH_TRANSFORMATIONS = ("default", "extended")  # the levels at which it works
PRECISE_KEY = "onnxruntime_session_config"  # of metadata_props

_INTEGER_PRODUCTS = {"MatMulInteger", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
_PRODUCTS = _INTEGER_PRODUCTS | {"Gemm", "MatMul"}  # of dequantized weights, which onnxruntime fuses into integer ones
_INT16_MAX, _INT16_MIN = 32767, -32768


def is_pair_safe(weight: NDArray[np.int8]) -> bool:
    """Whether no pair (weight[2i, j], weight[2i + 1, j]) can saturate, whatever its two uint8 inputs are.

    weight: int8 (n_in, n_out). The extremes of q0 * w0 + q1 * w1 are 255 times the sum of the positive weights and 255
    times the sum of the negative ones.
    """
    n_in, n_out = weight.shape
    padded = np.zeros((n_in + n_in % 2, n_out), np.int32)
    padded[:n_in] = weight
    pairs = padded.reshape(-1, 2, n_out)
    highest = QMAX * np.maximum(pairs, 0).sum(axis=1)
    lowest = QMAX * np.minimum(pairs, 0).sum(axis=1)
    return bool(highest.max() <= _INT16_MAX and lowest.min() >= _INT16_MIN)


def may_saturate(model: Model) -> bool:
    """Whether the qdq form of a model, whose weights are int8, can go wrong on such processors."""
    return any(isinstance(layer, QuantizedDense) and not is_pair_safe(layer.weight) for layer in model.layers)


def saturating_weights(proto: onnx.ModelProto) -> dict[str, bool]:
    """The int8 weights of somebody's file that may saturate on such processors.

    The value says whether an integer operator multiplies them, so that they saturate at every level. Such an operator
    on int8 inputs is computed otherwise there, exactly; int8 inputs that are dequantized first become uint8 ones.
    """
    graph = proto.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer if _is_matrix_of_int8(tensor)}
    signed = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    dequantizing = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    found: dict[str, bool] = {}
    for node in graph.node:
        is_integer = node.op_type in _INTEGER_PRODUCTS
        is_fused = node.op_type in _PRODUCTS and node.input[0] in dequantizing
        if not (is_fused or (is_integer and not signed.intersection(_zero_point(node)))):
            continue
        turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        for name in {dequantizing[x].input[0] if x in dequantizing else x for x in node.input} & tensors.keys():
            weight = numpy_helper.to_array(tensors[name])
            if not is_pair_safe(weight.T if turned else weight):
                found[name] = found.get(name, False) or is_integer
    return found


def _zero_point(node: onnx.NodeProto) -> Sequence[str]:
    """The name of the zero point of what an integer product multiplies, if it has one."""
    return [] if node.op_type in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat") else list(node.input[2:3])


def _is_matrix_of_int8(tensor: onnx.TensorProto) -> bool:
    is_here = tensor.data_location != onnx.TensorProto.EXTERNAL
    return tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2 and is_here and 0 not in tensor.dims


def foreign_doubts(weights: Iterable[str]) -> list[str]:
    """What to know of a file with such weights, in a line."""
    named = ", ".join(f"'{name}'" for name in weights)
    if not named:
        return []
    return [
        f"in the file, products with {named} may saturate in 16 bits under onnxruntime on x86 CPUs without VNNI, "
        f"unless the session has {'='.join(PRECISE)}; the model that was read does not"
    ]


def session_config(proto: onnx.ModelProto) -> tuple[tuple[str, str], ...]:
    """The session options that a file states it needs: names and values, those of this module alone."""
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    return (PRECISE,) if properties.get(PRECISE_KEY) == "=".join(PRECISE) else ()


def saturation_doubts(proto: onnx.ModelProto) -> list[str]:
    """What to know before running such a file, in a line."""
    return [
        f"onnxruntime on x86 CPUs without VNNI needs the session option {name}={value} for the .onnx, or gives other "
        "answers; with --portable (portable=True) it is written so that none is needed"
        for name, value in session_config(proto)
    ]
