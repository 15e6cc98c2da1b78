"""Write a model as ONNX.

    float   [Sub, Mul] -> [Gemm -> activation]*, with a Cast of the weights where they are stored as float16
    int8    [Sub, Mul] -> QuantizeLinear -> [layer]*, in one of the forms of `export.onnx_writer.int8_forms`

Layers without weights are written in floats in both (`export.onnx_writer.stages`).

Opset and IR version are the lowest that hold the operators, so that old runtimes can read the file. Tensors carry the
names of `edge_runtime.reference.trace`.
"""

from __future__ import annotations

import functools
import json
import os

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge_runtime.arguments import QUANTIZATION_CHECKS, shown
from edge_runtime.errors import QuantizationError
from edge_runtime.files import write_bytes
from edge_runtime.layers import Dense, DynamicQuantizedDense, Stage
from edge_runtime.model import Model, as_model
from edge_runtime.version import MADE_WITH, __version__
from export.onnx_writer.graph import Graph
from export.onnx_writer.int4 import AS_INT8, INT4_KEY, has_int4
from export.onnx_writer.int8_forms import FORMS, MICROSOFT, dynamic_layer, qdq_layer, require_form
from export.onnx_writer.pair_saturation import PRECISE, PRECISE_KEY, may_saturate
from export.onnx_writer.stages import stage

OPSET = 13  # the first with per-axis and scalar forms of everything used here
IR_VERSION = 8  # what opset 13 to 17 came with, and what every runtime since 2021 reads
INPUT, OUTPUT = "input", "output"


def write_onnx(
    model: Model,
    path: str | os.PathLike[str],
    form: str = "integer",
    *,
    opset: int = OPSET,
    portable: bool = False,
) -> None:
    """Write `model` to `path` as ONNX, replacing an existing file in one step; the same model gives the same bytes.

    form: how int8 layers are written, a key of `export.onnx_writer.int8_forms.FORMS`: "integer" (exact everywhere),
    "qgemm" (exact, onnxruntime only) or "qdq" (for TensorRT, QNN and OpenVINO; not bit-exact).
    opset: 13 to the newest that the installed onnx knows; what an engine reads is for the engine to say. 4-bit weights
    are stored two to a byte from opset 21 on in the forms "integer" and "qdq", else as int8, as the metadata then say.
    portable: of the qdq form, weights that could saturate on x86 without VNNI are written as uint8 with zero point 128,
    for engines that take it; without it such a file's metadata name the session option that onnxruntime needs there
    (`export.onnx_writer.pair_saturation`).

    The batch dimension is dynamic, preprocessing is part of the graph, class names and metadata go to metadata_props.
    Raises QuantizationError for an unknown form or opset, and for `portable` with another form, OSError where
    the file cannot be written.
    """
    write_bytes(path, to_onnx(model, form, opset=opset, portable=portable).SerializeToString(deterministic=True))


def to_onnx(model: Model, form: str = "integer", *, opset: int = OPSET, portable: bool = False) -> onnx.ModelProto:
    """The checked ONNX model that `write_onnx` writes."""
    model = as_model(model)
    check_form(form, opset, portable=portable)
    model.check_texts()
    require_form(model, form)
    graph = _build(model, form, opset, portable=portable)
    proto = _model_proto(model, graph, _properties(model, graph, form, portable), opset)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def check_form(form: str, opset: int, *, portable: bool = False) -> None:
    """Raise QuantizationError for a form or an opset that cannot be written, and for `portable` with another form."""
    QUANTIZATION_CHECKS.choice("form", form, FORMS)
    if QUANTIZATION_CHECKS.flag("portable", portable) and form != "qdq":
        raise QuantizationError(
            f"portable is given with form {form!r}, expected form 'qdq': "
            "the other forms are exact everywhere as they are"
        )
    newest = onnx.defs.onnx_opset_version()
    is_whole = isinstance(opset, (int, np.integer)) and not isinstance(opset, bool)
    if not is_whole or not OPSET <= opset <= newest:
        raise QuantizationError(
            f"opset is {shown(opset)}, expected {OPSET} to {newest}, the newest that onnx {onnx.__version__} has"
        )


def _build(model: Model, form: str, opset: int, *, portable: bool) -> Graph:
    graph = Graph(opset)
    value, on_grid = INPUT, False
    if model.preprocessing is not None:
        centered = graph.node("Sub", [value, graph.constant("input.mean", model.preprocessing.mean)], "input.centered")
        inv_std = graph.constant("input.inv_std", model.preprocessing.inv_std)
        value = graph.node("Mul", [centered, inv_std], "input.standardized")
    for layer in model.layers:
        target = OUTPUT if layer is model.layers[-1] else f"{layer.name}.output"
        if isinstance(layer, Dense):
            value, on_grid = _dense(graph, layer, value, target), False
        elif isinstance(layer, Stage):
            value, on_grid = stage(graph, layer, value, target), False
        elif isinstance(layer, DynamicQuantizedDense):
            value, on_grid = dynamic_layer(graph, layer, value, target), False
        else:
            if not on_grid:
                value = graph.quantize(value, layer.input, f"{layer.name}.quantized_input")
            write = functools.partial(qdq_layer, portable=True) if portable else FORMS[form]
            value, on_grid = write(graph, layer, value, target), layer.output is not None
    return graph


def _dense(graph: Graph, layer: Dense, value: str, target: str) -> str:
    weight = graph.constant(f"{layer.name}.weight", layer.weight)
    if layer.weight.dtype == np.float16:
        weight = graph.node("Cast", [weight], f"{layer.name}.weight_float32", to=TensorProto.FLOAT)
    bias = graph.constant(f"{layer.name}.bias", layer.bias)
    product = graph.node("Gemm", [value, weight, bias], f"{layer.name}.preactivation")
    return graph.activation(layer.activation, product, target)


def _properties(model: Model, graph: Graph, form: str, portable: bool) -> dict[str, str]:
    """Metadata: the model's, which may be what another file of ours said of itself, and what is said of this one."""
    stated = {key: value for key, value in model.metadata.items() if key not in (PRECISE_KEY, INT4_KEY, MADE_WITH)}
    properties = {**stated, "precision": model.precision, "form": form}
    if model.class_names:
        properties["class_names"] = json.dumps(list(model.class_names), ensure_ascii=False)
    if has_int4(model) and not any(tensor.data_type == TensorProto.INT4 for tensor in graph.initializers.values()):
        properties[INT4_KEY] = AS_INT8
    if form == "qdq" and not portable and may_saturate(model):
        properties[PRECISE_KEY] = "=".join(PRECISE)
    return properties


def _model_proto(model: Model, graph: Graph, properties: dict[str, str], opset: int) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", opset)]
    if any(node.domain == MICROSOFT for node in graph.nodes):
        opsets.append(helper.make_opsetid(MICROSOFT, 1))
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "smallnet",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", model.n_in])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", model.n_out])],
            initializer=list(graph.initializers.values()),
        ),
        opset_imports=opsets,
        producer_name="smallnet",
        producer_version=__version__,
    )
    proto.ir_version = max(IR_VERSION, helper.find_min_ir_version_for(opsets[:1]))
    helper.set_model_props(proto, properties)
    return proto
