import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from edge_runtime import Engine, Model
from edge_runtime.reference import output_bound
from export.onnx_writer.writer import to_onnx
from tests.networks import random_elementwise, random_layer_norm, random_rows, staged_model
from tests.opsets import newest_opset


def operators(model, opset=13):
    return [node.op_type for node in to_onnx(model, opset=opset).graph.node]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("", ["Identity"]),
        ("scale", ["Mul"]),
        ("shift", ["Add"]),
        ("scale shift slope low high", ["Mul", "Add", "PRelu", "Max", "Min"]),
        ("high", ["Min"]),
    ],
)
def test_an_elementwise_stage_is_the_operators_that_change_something(parts, expected):
    """Each with a constant of one number a feature; then the activation."""
    model = Model((random_elementwise(4, parts=parts, activation="relu"),))
    assert operators(model) == [*expected, "Relu"]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in to_onnx(model).graph.initializer}
    assert all(f"map.{key}" in constants and constants[f"map.{key}"].shape == (4,) for key in parts.split())


@pytest.mark.parametrize("opset", [13, 17, 18, newest_opset()])
def test_a_normalization_is_spelled_out_in_every_opset(opset):
    """One form; the axes of a mean are an attribute before opset 18 and an input from there on."""
    spelled = ["ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add", "Identity"]
    proto = to_onnx(Model((random_layer_norm(4),)), opset=opset)
    assert [node.op_type for node in proto.graph.node] == spelled
    mean = proto.graph.node[0]
    assert (len(mean.input), any(a.name == "axes" for a in mean.attribute)) == (
        (2, False) if opset >= 18 else (1, True)
    )
    assert operators(Model((random_layer_norm(4, centered=False),)), opset) == spelled[2:]


@pytest.mark.parametrize("opset", [13, 18])
def test_onnx_s_own_reference_gives_the_engine_s_values(opset):
    """An evaluator that shares no code with either engine stays within the bound."""
    model, rows = staged_model([9, 8, 7, 6, 5], standardize=True), random_rows(40, 9)
    (found,) = ReferenceEvaluator(to_onnx(model, opset=opset)).run(None, {"input": rows})
    assert (np.abs(found - Engine(model).run(rows)) <= output_bound(model, rows, activated=True)).all()


def test_the_bytes_do_not_change_from_one_writing_to_the_next():
    """Nothing of the process is in the graph."""
    model = staged_model([4, 3, 2])
    first, second = (to_onnx(model).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    onnx.checker.check_model(onnx.ModelProto.FromString(first), full_check=True)
