"""Is what stands in a file of ours what this project writes of the model? Rows reach only what they reach."""

from __future__ import annotations

import collections
import json
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edge_runtime.errors import ArtifactError
from edge_runtime.files import printable
from edge_runtime.layers import WeightedLayer
from edge_runtime.model import Model
from export.onnx_writer import OPSET, session_config, to_onnx
from export.verification.comparison import TensorCheck

IN_FILE = "file"  # the level under which constants are listed that are not the model's
AS_WRITTEN = "as written"
_ULPS = 2  # a multiplier is the float32 of the file's scales, and gives them back with two roundings


def check_written(
    model: Model, proto: onnx.ModelProto, form: str
) -> tuple[list[TensorCheck], tuple[tuple[str, str], ...]]:
    """A check for each constant and node of a file of ours that is not what `to_onnx` writes of `model`, and its names.

    Also the session options that onnxruntime needs for the file, whether its metadata still say so or not.
    Raises ArtifactError for a constant that cannot be read.
    """
    wanted = to_onnx(model, form, opset=_opset_of(proto), portable=form == "qdq" and _is_portable(model, proto))
    found = {tensor.name: tensor for tensor in proto.graph.initializer}
    checks = [_compared(tensor, found.get(tensor.name), form) for tensor in wanted.graph.initializer]
    checks += [_difference(name, 1, 1) for name in _doubled(proto) + _other_nodes(wanted, proto)]
    names, theirs = (_class_names(each) for each in (wanted, proto))
    checks.append(_difference("class_names", len(names), sum(a != b for a, b in zip(names, theirs, strict=False))))
    if len(names) != len(theirs):
        checks.append(_difference("class_names", len(names), abs(len(names) - len(theirs))))
    config = dict.fromkeys([*session_config(wanted), *session_config(proto)])
    return [check for check in checks if check.differing], tuple(config)


def _opset_of(proto: onnx.ModelProto) -> int:
    """The file's opset, of which a few operators' spelling depends; the usual one if it cannot be written here."""
    found = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    return found if OPSET <= found <= onnx.defs.onnx_opset_version() else OPSET


def unstated_options(proto: onnx.ModelProto, config: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """A line for each option that onnxruntime needs for the file and its metadata do not name."""
    missing = [f"{name}={value}" for name, value in config if (name, value) not in session_config(proto)]
    return tuple(
        f"the file does not state that onnxruntime needs {option} on x86 CPUs without VNNI; export it again"
        for option in missing
    )


def _is_portable(model: Model, proto: onnx.ModelProto) -> bool:
    """Whether int8 weights are stored as uint8, which of the qdq form the one for all engines does alone."""
    int8 = [layer for layer in model.layers if isinstance(layer, WeightedLayer) and layer.weight.dtype == np.int8]
    names = {f"{layer.name}.weight" for layer in int8}
    stored = {tensor.data_type for tensor in proto.graph.initializer if tensor.name in names}
    return TensorProto.UINT8 in stored


def _compared(wanted: TensorProto, found: TensorProto | None, form: str) -> TensorCheck:
    """Bit by bit; a scale of the qdq form may have rounded on its way through a model that was read from the file."""
    values = numpy_helper.to_array(wanted)
    if found is None or found.data_type != wanted.data_type or list(found.dims) != list(wanted.dims):
        return _difference(wanted.name, values.size, max(1, values.size))
    theirs = _values(found)
    if form == "qdq" and wanted.name.endswith("_scale"):
        return _difference(
            wanted.name, values.size, int(np.sum(~(np.abs(theirs - values) <= _ULPS * np.spacing(values))))
        )
    bits = f"u{values.dtype.itemsize}"
    apart = np.ascontiguousarray(values).reshape(-1).view(bits) != np.ascontiguousarray(theirs).reshape(-1).view(bits)
    return _difference(wanted.name, values.size, int(apart.sum()))


def _doubled(proto: onnx.ModelProto) -> list[str]:
    """Names that two constants share, of which engines take the one or the other, and operators that a file defines."""
    names = [tensor.name for tensor in proto.graph.initializer]
    counts = collections.Counter(names + [tensor.values.name for tensor in proto.graph.sparse_initializer])
    return [name for name, count in counts.items() if count > 1] + [function.name for function in proto.functions]


def _other_nodes(wanted: onnx.ModelProto, found: onnx.ModelProto) -> list[str]:
    """Outputs of nodes that one graph alone has, or that compute them of something else: of another constant, say."""
    ours, theirs = _nodes(wanted), _nodes(found)
    return [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]


def _nodes(proto: onnx.ModelProto) -> dict[str, tuple[Any, ...]]:
    """What each node does, by its first output. The graph's own input and output may be called anything."""
    ends = {value.name: "the input" for value in proto.graph.input} | {proto.graph.output[0].name: "the output"}
    found = {}
    for node in proto.graph.node:
        inputs, outputs = ([ends.get(name, name) for name in names] for names in (node.input, node.output))
        attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        found[outputs[0] if outputs else ""] = (node.domain, node.op_type, inputs, outputs, attributes)
    return found


def _values(tensor: TensorProto) -> NDArray[Any]:
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # onnx and NumPy raise what they like for too few bytes
        raise ArtifactError(
            printable(f"constant '{tensor.name}' of the ONNX file cannot be read ({error}); export the model again")
        ) from error


def _difference(name: str, compared: int, differing: int) -> TensorCheck:
    return TensorCheck(IN_FILE, name, AS_WRITTEN, compared, differing, 0.0, 0.0)


def _class_names(proto: onnx.ModelProto) -> list[str]:
    stored = next((entry.value for entry in proto.metadata_props if entry.key == "class_names"), "[]")
    try:
        names = json.loads(stored)
    except (ValueError, RecursionError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []
