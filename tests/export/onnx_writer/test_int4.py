"""4-bit weights in ONNX files: two to a byte where the opset has such tensors, and said where it has not."""

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from edge_runtime import Engine, load, save
from export import read_onnx
from export.onnx_writer import has_int4, int4_doubts, to_onnx
from export.onnx_writer.graph import Graph
from export.onnx_writer.int4 import AS_INT8, INT4_KEY
from export.quantization.quantizer import quantize
from tests.adversarial import adversarial_model, in_int4
from tests.networks import random_model, random_rows

MODEL = quantize(random_model([13, 7, 3], ["relu", "softmax"]), random_rows(60, 13), "int4", "minmax")


def initializers(proto):
    return {tensor.name: tensor for tensor in proto.graph.initializer}


def properties(proto):
    return {entry.key: entry.value for entry in proto.metadata_props}


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 6), (2, 1)])
def test_numbers_are_packed_as_onnx_reads_them(shape):
    """onnx's own reader gives them back, also where the last byte holds one number alone."""
    values = np.random.default_rng(0).integers(-8, 8, shape).astype(np.int8)
    graph = Graph(21)
    tensor = graph.initializers[graph.int4("w", values)]
    assert len(tensor.raw_data) == (values.size + 1) // 2
    assert np.array_equal(numpy_helper.to_array(tensor).astype(np.int8), values)


@pytest.mark.parametrize("form", ["integer", "qdq"])
def test_from_opset_21_on_two_weights_are_a_byte(form):
    """The file's constants are the model's weights in half the bytes, and nothing needs to be said."""
    proto = to_onnx(MODEL, form, opset=21)
    for layer in MODEL.layers:
        tensor = initializers(proto)[f"{layer.name}.weight"]
        assert tensor.data_type == TensorProto.INT4
        assert len(tensor.raw_data) == (layer.macs + 1) // 2
    assert INT4_KEY not in properties(proto)
    assert int4_doubts(proto) == []


@pytest.mark.parametrize(
    ("form", "opset"), [("integer", 13), ("integer", 20), ("qdq", 13), ("qgemm", 13), ("qgemm", 21)]
)
def test_elsewhere_they_are_int8_and_the_file_says_so(form, opset):
    """In its metadata, and in one line to the user that says how to have them in 4 bits."""
    proto = to_onnx(MODEL, form, opset=opset)
    assert {initializers(proto)[f"{layer.name}.weight"].data_type for layer in MODEL.layers} == {TensorProto.INT8}
    assert properties(proto)[INT4_KEY] == AS_INT8
    assert properties(proto)["precision"] == "int4"
    (text,) = int4_doubts(proto)
    assert "--opset 21" in text
    assert "onnxruntime 1.23" in text


def test_of_a_model_without_them_nothing_is_said():
    """int8 files are what they were."""
    model = adversarial_model(3)
    assert not has_int4(model)
    assert has_int4(in_int4(model))
    assert INT4_KEY not in properties(to_onnx(model))


@pytest.mark.parametrize("form", ["integer", "qgemm"])
@pytest.mark.parametrize("opset", [13, 21])
def test_the_same_layers_come_back(form, opset, tmp_path):
    """Read from a file of ours, of every opset: 4-bit layers with the same bits, in an artifact of the same size."""
    for seed in range(20):
        model = in_int4(adversarial_model(seed))
        (tmp_path / "m.onnx").write_bytes(to_onnx(model, form, opset=opset).SerializeToString())
        back = read_onnx(tmp_path / "m.onnx")
        assert INT4_KEY not in back.metadata
        for layer, again in zip(model.layers, back.layers, strict=True):
            assert type(again) is type(layer)
            assert again.nibbles.rows == layer.nibbles.rows
            for name, array in layer.arrays().items():
                assert again.arrays()[name].tobytes() == array.tobytes(), (seed, name)
        save(back, tmp_path / "m.npz")
        rows = random_rows(5, model.n_in)
        assert np.array_equal(Engine(load(tmp_path / "m.npz")).logits(rows), Engine(model).logits(rows), equal_nan=True)
