"""What classifiers end with: ArgMax, labels, dictionaries of probabilities. The class names are kept."""

from __future__ import annotations

from dataclasses import replace

from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.selecting import class_names, gather
from export.onnx_reader.operators.shapes import Handler
from export.onnx_reader.operators.softmax import sums_to_one
from export.onnx_reader.steps import Dequantize, Quantize
from export.onnx_reader.values import Const, Flow, Label, Probabilities, Value


def arg_max(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The class with the largest value, over whole rows; the first of equals."""
    flow = inputs[0]
    if not isinstance(flow, Flow) or len(flow.shape) == 0:
        raise Unsupported("its input is not made of the model's input")
    if node.attribute("select_last_index", int, 0):
        raise Unsupported("it takes the last of equal values, expected the first")
    axis = node.attribute("axis", int, 0)
    rank = len(flow.shape)
    if not -rank <= axis < rank or axis % rank == flow.batch or flow.expanded.shape[axis] != flow.order.size:
        raise Unsupported("it does not work on whole rows")
    codes = flow.chain.step
    if isinstance(codes, Quantize):  # the larger code is the larger value
        flow = replace(flow, chain=flow.chain.then(Dequantize(codes.grid)), kind="float32")
    return [Label(flow)]


def binarizer(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml Binarizer: whether each of several labels applies."""
    if not isinstance(inputs[0], Flow):
        raise Unsupported("its input is not made of the model's input")
    return [Label(inputs[0], is_largest=False)]


def array_feature_extractor(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml ArrayFeatureExtractor: the name of the class, or some of the columns."""
    names, label = inputs[0], inputs[1]
    if isinstance(names, Flow) and isinstance(label, Const) and len(names.shape) == 2:
        columns = replace(label, array=label.array.reshape(-1))
        return gather(replace(node, attributes={"axis": 1}), [names, columns], budget)
    if not isinstance(names, Const) or not isinstance(label, Label):
        raise Unsupported("it neither names classes nor selects columns of the model's input")
    return [label.named(class_names(names.array))]


def zip_map(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml ZipMap: a dictionary from class to probability."""
    if not isinstance(inputs[0], Flow):
        raise Unsupported("its input is not made of the model's input")
    labels = node.attribute("classlabels_strings", list, []) or node.attribute("classlabels_int64s", list, [])
    names = tuple(label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in labels)
    return [Probabilities(inputs[0], names)]


def label_encoder(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml LabelEncoder from class numbers to names."""
    label = inputs[0]
    keys = node.attribute("keys_int64s", list, [])
    values = node.attribute("values_strings", list, []) or node.attribute("values_int64s", list, [])
    if not isinstance(label, Label) or keys != list(range(len(values))):
        raise Unsupported("it does not name classes 0, 1, 2, ...")
    names = tuple(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values)
    return [label.named(names)]


def normalizer(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml Normalizer of probabilities that sum to 1 already."""
    flow = inputs[0]
    if node.attribute("norm", bytes, b"MAX") != b"L1" or not isinstance(flow, Flow) or not sums_to_one(flow):
        raise Unsupported("it divides by sums that are not known to be 1; supported is L1 of shares")
    return [flow]


HANDLERS: dict[str, Handler] = {"ArgMax": arg_max}
ML_HANDLERS: dict[str, Handler] = {
    "Binarizer": binarizer,
    "ArrayFeatureExtractor": array_feature_extractor,
    "Normalizer": normalizer,
    "ZipMap": zip_map,
    "LabelEncoder": label_encoder,
}
