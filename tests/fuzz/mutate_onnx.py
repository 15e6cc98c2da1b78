"""Damage to ONNX files by field: parsed, changed somewhere in the tree of messages, and written again."""

from __future__ import annotations

import random
from typing import Any

import onnx
from google.protobuf.message import Message

from tests.fuzz.mutate_bytes import damaged, damaged_numbers

_INTEGERS = [0, 1, -1, 2, 3, 5, 6, 7, 9, 11, 13, 16, 18, 255, 1 << 16, 1 << 31, 1 << 40, (1 << 62) + 3, -(1 << 63)]
_FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 6.0, 1e-45, 1e-30, 3.4e38, float("nan"), float("inf"), -float("inf")]
_OPERATORS = [
    "Abs", "Add", "And", "ArgMax", "ArrayFeatureExtractor", "BatchNormalization", "Cast", "Celu", "Clip", "Concat",
    "Constant", "ConstantOfShape", "DequantizeLinear", "Div", "Dropout", "DynamicQuantizeLinear", "Elu", "Equal",
    "Erf", "Exp", "Expand", "Flatten", "Gather", "Gelu", "Gemm", "Greater", "HardSigmoid", "HardSwish", "Identity",
    "If", "LabelEncoder", "LayerNormalization", "LeakyRelu", "Less", "LinearClassifier", "LinearRegressor", "Log",
    "LogSoftmax", "Loop", "MatMul", "MatMulInteger", "Max", "Min", "Mish", "Mul", "Neg", "Normalizer", "Not",
    "PRelu", "Pad", "Pow", "QGemm", "QLinearMatMul", "QLinearSigmoid", "QLinearSoftmax", "QuantizeLinear", "Range",
    "Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize", "Scaler", "ScatterND",
    "Scan", "Selu", "Shape", "Sigmoid", "Size", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Unsqueeze", "Where",
    "ZipMap",
]  # fmt: skip
_TEXTS = [
    "", "x", "y", "W1", "\0", "\x1b[2J", "a\nb", "ü", "com.microsoft", "ai.onnx.ml", "ai.onnx", "mine", "..",
    "/etc/passwd", "../m.onnx", "location", "offset", "length", "NOTSET", "POST_TRANSFORM", "SOFTMAX", "LOGISTIC",
    "axis", "alpha", "axes", "perm", "to", "value", "transB", "smallnet", "class_names", "[1,2]", "a" * 2000,
]  # fmt: skip


def damaged_onnx(content: bytes, rng: random.Random) -> bytes:
    """One to three fields changed; one time in seven plain damage to the bytes."""
    if rng.random() < 0.15:
        return damaged(content, rng)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception:
        return damaged(content, rng)
    try:
        for _ in range(rng.choice([1, 1, 2, 3])):
            _change(model, rng)
        return bytes(model.SerializeToString())
    except (UnicodeError, ValueError):  # protobuf parses texts that are no UTF-8, but does not hand them out
        return damaged(content, rng)


def _change(model: onnx.ModelProto, rng: random.Random) -> None:
    kind = rng.randrange(10)
    if kind < 5:
        _change_field(rng.choice(_messages(model)), rng, model)
    elif kind < 7:
        _change_graph(model, rng)
    elif kind < 8:
        _change_shape(model, rng)
    else:
        _change_repeated(rng.choice(_messages(model)), rng)


def _messages(message: Message) -> list[Any]:
    """The message and all within it, at most a few thousand."""
    found: list[Any] = [message]
    for at in found:
        if len(found) > 3000:
            break
        for field, value in at.ListFields():
            if field.message_type is not None:
                found.extend(value if not isinstance(value, Message) else [value])
    return found


def _change_field(message: Any, rng: random.Random, model: onnx.ModelProto) -> None:
    """Another value for one field that is set, or for one that was not."""
    fields = message.DESCRIPTOR.fields if rng.random() < 0.2 else [field for field, _ in message.ListFields()]
    fields = [field for field in fields if field.message_type is None]
    if not fields:
        return
    field = rng.choice(fields)
    value = getattr(message, field.name)
    if isinstance(value, (int, float, str, bytes, bool)):
        if rng.random() < 0.1:
            message.ClearField(field.name)
        else:
            _try(lambda: setattr(message, field.name, _other(value, rng, model)))
        return
    values = list(value)
    if not values:
        values = [_default(field)]
    at = rng.randrange(len(values))
    values[at] = _other(values[at], rng, model)
    _try(lambda: value.__setitem__(slice(None), values))


def _default(field: Any) -> Any:
    return {field.CPPTYPE_STRING: b"" if field.type == field.TYPE_BYTES else ""}.get(
        field.cpp_type, 0.0 if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE) else 0
    )


def _other(value: Any, rng: random.Random, model: onnx.ModelProto) -> Any:
    if isinstance(value, int):
        return rng.choice([*_INTEGERS, value + 1, value - 1, -value])
    if isinstance(value, float):
        return rng.choice([*_FLOATS, value * 2, -value])
    if isinstance(value, bytes):
        return damaged_numbers(value, rng) if rng.random() < 0.8 else damaged(value, rng)
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    return rng.choice([*_TEXTS, *names, rng.choice(_OPERATORS)])


def _try(change: Any) -> None:
    """Some values do not fit a field's range; then it stays as it was."""
    try:
        change()
    except (ValueError, TypeError, OverflowError):
        return


def _change_graph(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another operator, two inputs swapped, an edge led elsewhere, a node put in or taken out."""
    nodes = model.graph.node
    if not nodes:
        return
    node = rng.choice(nodes)
    kind = rng.randrange(5)
    names = ["x", *node.input, *(name for other in nodes for name in other.output)]
    names += [tensor.name for tensor in model.graph.initializer]
    if kind == 0:
        node.op_type = rng.choice(_OPERATORS)
    elif kind == 1 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 2:
        added = nodes.add(op_type=rng.choice(_OPERATORS), domain=node.domain)
        added.input.extend(rng.choice(names) for _ in range(rng.choice([1, 1, 2, 3])))
        added.output.append("fuzz")
        if rng.random() < 0.7 and node.input:
            node.input[0] = "fuzz"
    elif kind == 3:
        node.input.append(rng.choice(names))
    elif model.graph.output:
        model.graph.output[0].name = rng.choice(names)


def _change_shape(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another length for an axis of a tensor, mostly with data to match, or for an axis of the input."""
    tensors = list(model.graph.initializer)
    if rng.random() < 0.3 and model.graph.input:
        dims = rng.choice(model.graph.input).type.tensor_type.shape.dim
        if dims:
            rng.choice(dims).dim_value = rng.choice([0, 1, 2, 6, 1 << 20, 1 << 40, -1])
        return
    if not tensors:
        return
    tensor = rng.choice(tensors)
    count = 1
    for size in tensor.dims:
        count *= max(1, size)
    item = len(tensor.raw_data) // max(1, count)
    if tensor.dims and rng.random() < 0.8:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice([0, 1, 2, 3, 5, 6, 12])
    else:
        tensor.dims.append(rng.choice([1, 1, 0, 2]))
    count = 1
    for size in tensor.dims:
        count *= size
    if 0 <= count * item < 1 << 16 and rng.random() < 0.9:
        tensor.raw_data = (tensor.raw_data * (count * item // max(1, len(tensor.raw_data)) + 1))[: count * item]


def _change_repeated(message: Any, rng: random.Random) -> None:
    """Something of which there are several: one left out, one doubled, two in the other order."""
    fields = [
        field for field, value in message.ListFields() if not isinstance(value, (int, float, str, bytes, Message))
    ]
    if not fields:
        return
    values = getattr(message, rng.choice(fields).name)
    if not len(values):
        return
    at, kind = rng.randrange(len(values)), rng.randrange(3)
    if kind == 0:
        del values[at]
        return
    copies = list(values)
    other = rng.randrange(len(copies))
    if kind == 1:
        copies.insert(other, copies[at])
    else:
        copies[at], copies[other] = copies[other], copies[at]
    copies = [_copy(value) for value in copies]
    del values[:]
    values.extend(copies)


def _copy(value: Any) -> Any:
    if not isinstance(value, Message):
        return value
    copy = type(value)()
    copy.CopyFrom(value)
    return copy
