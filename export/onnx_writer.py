"""Write a model as ONNX: explicit integers in standard operators, which every engine must compute alike.

    int8    [Sub, Mul] -> QuantizeLinear -> [MatMulInteger -> Add -> Cast -> Mul -> (Relu, LeakyRelu) -> QuantizeLinear
            -> (Cast -> Gather of a table)]* -> MatMulInteger -> Add -> Cast -> Mul -> (Softmax, ...)
    float   [Sub, Mul] -> [Gemm -> activation]*, with a Cast of the weights where they are stored as float16

Opset and IR version are fixed to the lowest that hold these operators, so that old runtimes can read the file.
Tensors carry the names of `edge_runtime.trace`.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.activations import Activation
from edge_runtime.atomic import write_bytes
from edge_runtime.model import Dense, Model, QuantizedDense
from edge_runtime.quantization import QuantParams
from export.saturation import is_pair_safe

OPSET = 13  # the first with per-axis and scalar forms of everything used here
IR_VERSION = 8
INPUT, OUTPUT = "input", "output"
_OPERATORS = {"relu": "Relu", "leaky_relu": "LeakyRelu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax"}


def write_onnx(model: Model, path: str | os.PathLike[str]) -> None:
    """Write `model` to `path` as ONNX, replacing an existing file in one step; the same model gives the same bytes.

    The batch dimension is dynamic, preprocessing is part of the graph, class names and metadata go to metadata_props.
    Raises OSError where the file cannot be written.
    """
    write_bytes(path, to_onnx(model).SerializeToString(deterministic=True))


def to_onnx(model: Model) -> onnx.ModelProto:
    """The checked ONNX model that `write_onnx` writes."""
    graph = _Graph()
    value = INPUT
    if model.preprocessing is not None:
        centered = graph.node("Sub", [value, graph.constant("input.mean", model.preprocessing.mean)], "input.centered")
        inv_std = graph.constant("input.inv_std", model.preprocessing.inv_std)
        value = graph.node("Mul", [centered, inv_std], "input.standardized")
    on_grid = False
    for layer in model.layers:
        is_last = layer is model.layers[-1]
        target = OUTPUT if is_last else f"{layer.name}.output"
        if isinstance(layer, Dense):
            value, on_grid = _dense(graph, layer, value, target), False
        else:
            if not on_grid:
                value = _quantize_linear(graph, value, layer.input, f"{layer.name}.quantized_input")
            value, on_grid = _quantized_dense(graph, layer, value, target), layer.output is not None
    proto = _model_proto(model, graph)
    onnx.checker.check_model(proto, full_check=True)
    return proto


class _Graph:
    """Nodes and initializers, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, array: Any) -> str:
        self.initializers[name] = numpy_helper.from_array(np.array(array), name)  # a copy: protobuf wants it writable
        return name


def _dense(graph: _Graph, layer: Dense, value: str, target: str) -> str:
    weight = graph.constant(f"{layer.name}.weight", layer.weight)
    if layer.weight.dtype == np.float16:
        weight = graph.node("Cast", [weight], f"{layer.name}.weight_float32", to=TensorProto.FLOAT)
    bias = graph.constant(f"{layer.name}.bias", layer.bias)
    product = graph.node("Gemm", [value, weight, bias], f"{layer.name}.preactivation")
    return _activation(graph, layer.activation, product, target)


def _quantized_dense(graph: _Graph, layer: QuantizedDense, value: str, target: str) -> str:
    name = layer.name
    weight, weight_zero_point = _weight(graph, name, layer.weight)
    zero_point = graph.constant(f"{name}.input_zero_point", np.uint8(layer.input.zero_point))
    product = graph.node("MatMulInteger", [value, weight, zero_point, weight_zero_point], f"{name}.product")
    accumulator = graph.node("Add", [product, graph.constant(f"{name}.bias", layer.bias)], f"{name}.accumulator")
    as_float = graph.node("Cast", [accumulator], f"{name}.accumulator_float32", to=TensorProto.FLOAT)
    multiplier = graph.constant(f"{name}.multiplier", layer.multiplier)
    scaled = graph.node("Mul", [as_float, multiplier], f"{name}.scaled")
    if layer.output is None:
        return _activation(graph, layer.activation, scaled, target)
    one_step = QuantParams(1.0, layer.output.zero_point)  # the multiplier has divided by the scale already
    if layer.table is None:
        return _quantize_linear(graph, _on_scaled(graph, layer, scaled), one_step, target)
    codes = _quantize_linear(graph, scaled, one_step, f"{name}.codes")
    index = graph.node("Cast", [codes], f"{name}.index", to=TensorProto.INT32)
    return graph.node("Gather", [graph.constant(f"{name}.table", layer.table), index], target)


def _on_scaled(graph: _Graph, layer: QuantizedDense, scaled: str) -> str:
    """The arithmetic activations on the scaled accumulator. Saturation is a ReLU where the grid starts at 0."""
    assert layer.output is not None
    if layer.activation.name == "linear" or (layer.activation.name == "relu" and layer.output.zero_point == 0):
        return scaled
    return _activation(graph, layer.activation, scaled, f"{layer.name}.activated")


def _weight(graph: _Graph, name: str, weight: NDArray[np.int8]) -> tuple[str, str]:
    """int8 weights where no pair of products can saturate; else the same integers as uint8 with zero point 128."""
    if is_pair_safe(weight):
        return graph.constant(f"{name}.weight", weight), graph.constant(f"{name}.weight_zero_point", np.int8(0))
    shifted = (weight.astype(np.int16) + 128).astype(np.uint8)
    return graph.constant(f"{name}.weight", shifted), graph.constant(f"{name}.weight_zero_point", np.uint8(128))


def _quantize_linear(graph: _Graph, value: str, grid: QuantParams, target: str) -> str:
    scale = graph.constant(f"{target}_scale", np.float32(grid.scale))
    return graph.node(
        "QuantizeLinear", [value, scale, graph.constant(f"{target}_zero_point", np.uint8(grid.zero_point))], target
    )


def _activation(graph: _Graph, activation: Activation, value: str, target: str) -> str:
    if activation.name == "linear":
        return graph.node("Identity", [value], target)
    attributes: dict[str, Any] = dict(activation.params)
    if activation.name == "softmax":
        attributes["axis"] = -1
    return graph.node(_OPERATORS[activation.name], [value], target, **attributes)


def _model_proto(model: Model, graph: _Graph) -> onnx.ModelProto:
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "smallnet",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", model.n_in])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", model.n_out])],
            initializer=list(graph.initializers.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="smallnet",
    )
    proto.ir_version = IR_VERSION
    properties = {**model.metadata, "precision": model.precision}
    if model.class_names:
        properties["class_names"] = json.dumps(list(model.class_names), ensure_ascii=False)
    helper.set_model_props(proto, properties)
    return proto
