"""Constants in every form that a file may keep them in."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.errors import ArtifactError
from export import read_onnx
from export.onnx_reader.nodes import Unsupported
from export.onnx_reader.operators.constants import once_for_all_rows
from export.onnx_reader.values import ANY_ROWS, Const, Origin
from tests.export.foreign import W1, graph, imported, normal

TAIL = "r = Relu(h) y = Gemm(r, W2, B2)"


def constant_forms():
    """W1 in every form that a constant may have."""
    yield "float_data", helper.make_tensor("V", TensorProto.FLOAT, W1.shape, W1.ravel().tolist())
    yield "double_data", helper.make_tensor("V", TensorProto.DOUBLE, W1.shape, W1.ravel().tolist())
    yield "float16 bits", helper.make_tensor("V", TensorProto.FLOAT16, W1.shape, W1.astype(np.float16).ravel().tolist())
    yield "float16 raw", numpy_helper.from_array(W1.astype(np.float16), "V")
    yield "bfloat16", helper.make_tensor("V", TensorProto.BFLOAT16, W1.shape, W1.ravel().tolist())
    yield (
        "int32_data",
        helper.make_tensor("V", TensorProto.INT32, W1.shape, np.rint(W1 * 9).astype(int).ravel().tolist()),
    )
    yield "int64 raw", numpy_helper.from_array(np.rint(W1 * 9).astype(np.int64), "V")


@pytest.mark.parametrize(
    ("name", "tensor"), list(constant_forms()), ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("as_node", [False, True])
def test_constants_in_every_form(tmp_path, name, tensor, as_node):
    """Typed fields and raw bytes, of every float and of integers, as initializers and as Constant nodes."""
    proto = graph(f"w = Cast<to=1>(V) h = Gemm(x, w, B1) {TAIL}", V=W1)
    del proto.graph.initializer[[t.name for t in proto.graph.initializer].index("V")]
    if as_node:
        proto.graph.node.insert(0, helper.make_node("Constant", [], ["V"], value=tensor))
    else:
        proto.graph.initializer.append(tensor)
    layer = imported(proto, tmp_path).model.layers[0]
    assert layer.precision == ("float16" if name.startswith("float16") else "float32")


def test_numbers_and_lists_as_constant_nodes(tmp_path):
    """value_float, value_floats, value_int and value_ints."""
    nodes = (
        "s = Constant<value_float=0.5>() b = Constant<value_floats=[1.0, -2.0, 3.0]>() "
        "n = Constant<value_ints=[-1, 6]>() "
        "a = Reshape(x, n) m = Mul(a, s) h = MatMul(m, V) y = Add(h, b)"
    )
    imported(graph(nodes, V=normal(6, 3)), tmp_path)


def test_initializers_listed_as_inputs(tmp_path):
    """As every file before IR version 4 has them."""
    proto = graph(f"h = Gemm(x, W1, B1) {TAIL}")
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    proto.ir_version = 3
    imported(proto, tmp_path)


def test_external_data_beside_the_model(tmp_path):
    """One file for all weights, as PyTorch writes it, read by offset and length."""
    proto = graph(f"h = Gemm(x, W1, B1) {TAIL}")
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    np.testing.assert_array_equal(read_onnx(tmp_path / "m.onnx").layers[0].weight, W1)


@pytest.mark.parametrize("attributes", [{}, {"value_int": 1, "value_float": 2.0}])
def test_a_constant_of_no_value_or_of_two_is_refused(tmp_path, attributes):
    """Its node is named."""
    proto = graph(f"h = Mul(x, c) {TAIL}")
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["c"], name="odd", **attributes))
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"node 'odd' \(Constant, output 'c'\): it has the attributes .* one value"):
        read_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize(("shape", "value"), [([-2, 3], np.zeros(1)), ([2, 3], np.zeros(2)), ([1 << 31], np.zeros(1))])
def test_a_constant_of_an_impossible_shape_is_refused(tmp_path, shape, value):
    """Negative sizes, several values to repeat, an axis beyond all memory."""
    proto = graph("y = Add(x, c)", s=np.array(shape))
    proto.graph.node.insert(
        0, helper.make_node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(value.astype(np.float32)))
    )
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"\(ConstantOfShape, output 'c'\): its shape \[.*\] is not possible"):
        read_onnx(tmp_path / "m.onnx")


def test_the_number_of_rows_is_the_first_size_alone():
    """What has that shape stands there once; any other place, or a product of it, is refused."""
    sizes = Const(np.array([ANY_ROWS, 3]), origin=Origin.SIZES)
    assert once_for_all_rows(sizes, [ANY_ROWS, 3]) == ([1, 3], Origin.PER_ROW)
    assert once_for_all_rows(Const(np.array([4, 3])), [4, 3]) == ([4, 3], Origin.FILE)
    for shape in ([3, ANY_ROWS], [ANY_ROWS * 3, 1], [ANY_ROWS, ANY_ROWS]):
        with pytest.raises(Unsupported, match="expected that as its first axis alone"):
            once_for_all_rows(sizes, shape)
