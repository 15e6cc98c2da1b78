import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_runtime import Activation, Dense, Model
from export.onnx_writer.pair_saturation import is_pair_safe
from export.onnx_writer.writer import IR_VERSION, OPSET, to_onnx, write_onnx
from export.quantization.quantizer import quantize
from export.verification.onnx_session import make_session
from tests.networks import random_model, random_rows

PRECISIONS = ["float32", "float16", "int8"]


def exported(precision="int8", activations=("relu", "softmax")):
    sizes = [12, *([9] * (len(activations) - 1)), 4]
    model = random_model(sizes, activations, standardize=True)
    model = replace(model, class_names=("a", "b", "c", "ü"), metadata={"data": "random"})
    return quantize(model, random_rows(100, 12), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_file_is_the_same_when_written_twice(tmp_path, precision):
    """Byte for byte."""
    for name in ("a.onnx", "b.onnx"):
        write_onnx(exported(precision), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "activations", [("relu", "softmax"), ("sigmoid", "tanh", "leaky_relu", "linear", "sigmoid"), ("linear",)]
)
def test_the_full_checker_passes_at_a_fixed_opset_and_ir_version(precision, activations):
    """Any mix of activations gives a valid graph of standard operators only."""
    proto = to_onnx(exported(precision, activations))
    onnx.checker.check_model(proto, full_check=True)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", OPSET)]
    assert proto.ir_version == IR_VERSION
    assert {node.domain for node in proto.graph.node} == {""}


def test_the_batch_dimension_is_dynamic_and_rows_are_raw():
    """One session takes 1 and 17 rows, not yet standardized."""
    session = make_session(to_onnx(exported()))
    for n in (1, 17):
        assert session.run(None, {"input": random_rows(n, 12)})[0].shape == (n, 4)


def test_class_names_and_metadata_are_in_the_file():
    """metadata_props hold them as text."""
    properties = {entry.key: entry.value for entry in to_onnx(exported()).metadata_props}
    assert json.loads(properties["class_names"]) == ["a", "b", "c", "ü"]
    assert (properties["data"], properties["precision"]) == ("random", "int8")


def test_float16_is_stored_and_float32_is_computed():
    """Half weights with a Cast; no operator computes in float16."""
    proto = to_onnx(exported("float16"))
    stored = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    assert stored["dense0.weight"] == onnx.TensorProto.FLOAT16
    assert [node.op_type for node in proto.graph.node].count("Cast") == 2


def test_weights_that_could_saturate_are_written_with_an_offset():
    """int8 where every pair is safe, otherwise the same integers as uint8 with zero point 128."""
    small = Dense("safe", np.eye(4, dtype=np.float32), np.zeros(4, np.float32), Activation.of("relu"))
    full = Dense("unsafe", np.ones((4, 4), np.float32), np.zeros(4, np.float32), Activation.of("linear"))
    model = quantize(Model((small, full)), np.abs(random_rows(20, 4)))
    proto = to_onnx(model)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert is_pair_safe(model.layers[0].weight)
    assert not is_pair_safe(model.layers[1].weight)
    assert tensors["safe.weight"].dtype == np.int8
    assert tensors["unsafe.weight"].dtype == np.uint8
    assert tensors["unsafe.weight_zero_point"] == 128
    np.testing.assert_array_equal(tensors["unsafe.weight"].astype(int) - 128, model.layers[1].weight)
