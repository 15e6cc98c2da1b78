"""What classifiers end with: ArgMax, labels, dictionaries of probabilities. The class names are kept."""

from __future__ import annotations

from dataclasses import replace

from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.reductions import lp_normalization
from export.onnx_reader.operators.selecting import class_names, gather, names_in
from export.onnx_reader.operators.softmax import sums_to_one
from export.onnx_reader.steps import Dequantize, Quantize
from export.onnx_reader.values import Const, Flow, Handler, Label, Probabilities, Value, flow_of


def arg_max(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The class with the largest value, over whole rows; the first of equals."""
    flow = flow_of(inputs[0])
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
    return [Label(flow_of(inputs[0]), is_largest=False)]


def array_feature_extractor(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml ArrayFeatureExtractor: the name of the class, or some of the columns."""
    names, label = inputs[0], inputs[1]
    if isinstance(names, Flow) and isinstance(label, Const) and len(names.shape) == 2:
        columns = replace(label, array=label.array.reshape(-1))
        if columns.array.max(initial=0) >= names.shape[1]:  # which onnxruntime refuses too
            found = f"it takes column {columns.array.max() + 1} of {names.shape[1]}, as skl2onnx has it of a DataFrame"
            raise Unsupported(f"{found}; export the pipeline with an array of rows")
        return gather(replace(node, attributes={"axis": 1}), [names, columns], budget)
    if not isinstance(names, Const) or not isinstance(label, Label):
        raise Unsupported("it neither names classes nor selects columns of the model's input")
    return [label.named(class_names(names.array.ravel().tolist()))]


def zip_map(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml ZipMap: a dictionary from class to probability."""
    return [Probabilities(flow_of(inputs[0]), names_in(node, "classlabels_strings", "classlabels_int64s"))]


def label_encoder(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml LabelEncoder from class numbers to names."""
    label = inputs[0]
    keys = node.attribute("keys_int64s", list, [])
    names = names_in(node, "values_strings", "values_int64s")
    if not isinstance(label, Label) or keys != list(range(len(names))):
        raise Unsupported("it does not name classes 0, 1, 2, ...")
    return [label.named(names)]


def normalizer(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """ai.onnx.ml Normalizer: rows of length 1, or shares that sum to 1 already."""
    flow, norm = flow_of(inputs[0]), node.attribute("norm", bytes, b"MAX")
    if norm == b"L2":
        return lp_normalization(node, inputs, budget)
    if norm != b"L1" or not sums_to_one(flow):
        raise Unsupported(
            "it divides rows by sums not known to be 1, or maxima; supported are norm L2, or L1 of shares"
        )
    return [flow]


HANDLERS: dict[str, Handler] = {"ArgMax": arg_max}
ML_HANDLERS: dict[str, Handler] = {
    "Binarizer": binarizer,
    "ArrayFeatureExtractor": array_feature_extractor,
    "Normalizer": normalizer,
    "ZipMap": zip_map,
    "LabelEncoder": label_encoder,
}
