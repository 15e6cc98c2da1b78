"""onnxruntime is given only what the outputs of a file need, and nothing that may never end."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edge_runtime.errors import ArtifactError
from export.import_check import verify_import
from export.onnx_reader import read_onnx
from export.unused_nodes import refuse_loops, remove_unused
from export.verification import verify
from tests.export.foreign import graph
from tests.networks import random_rows

_RELEASE = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
CHAIN = "h = Gemm(x, W1, B1) r = Relu(h) y = Gemm(r, W2, B2)"
TERABYTES = f"{CHAIN} u = ConstantOfShape(S) v = Exp(u)"  # 2^42 float32 zeros
FUNCTION = '<domain: "mine", opset_import: ["" : 13]> F(X) => (Y) { U = ConstantOfShape(X) Y = Relu(X) }'


def endless() -> onnx.ModelProto:
    """A network beside a loop of 2^62 rounds whose result nobody uses."""
    proto = graph(CHAIN, M=np.array(1 << 62), C=np.array(True))
    values = [("i", TensorProto.INT64, []), ("c", TensorProto.BOOL, []), ("s", TensorProto.FLOAT, [None, 6])]
    inputs = [helper.make_tensor_value_info(*value) for value in values]
    outputs = [helper.make_tensor_value_info(f"{name}o", kind, shape) for name, kind, shape in values[1:]]
    nodes = [helper.make_node("Identity", [name], [f"{name}o"]) for name in "cs"]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    proto.graph.node.append(helper.make_node("Loop", ["M", "C", "x"], ["unused"], body=body))
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in (("M", np.array(1 << 62)), ("C", np.array(True)))
    )
    return proto


def test_a_loop_that_nobody_needs_is_not_run(tmp_path):
    """The reader passes over it; onnxruntime would run it for ever, so that comparing is refused by name."""
    onnx.save(endless(), tmp_path / "m.onnx")
    model = read_onnx(tmp_path / "m.onnx")
    assert model.layer_sizes == (6, 5, 3)
    for compare in (verify_import, lambda model, path: verify(model, path, random_rows(4, 6))):
        with pytest.raises(ArtifactError, match="is a Loop, which may never end"):
            compare(model, tmp_path / "m.onnx")


def test_terabytes_that_nobody_needs_are_not_made(tmp_path):
    """A kilobyte of file with a constant of 2^42 values aside: the comparison runs on the rest, and agrees."""
    proto = graph(TERABYTES, S=np.array([1 << 21, 1 << 21]))
    onnx.save(proto, tmp_path / "m.onnx")
    model = read_onnx(tmp_path / "m.onnx")
    assert verify_import(model, tmp_path / "m.onnx").ok
    assert verify(model, tmp_path / "m.onnx", random_rows(4, 6)).ok


@pytest.mark.skipif(_RELEASE < (1, 24), reason="older onnxruntime finds external data of files alone, and says so")
def test_external_data_is_found_beside_a_file_with_unused_nodes(tmp_path, monkeypatch):
    """A copy of the graph is run from memory; its weights still come from the file's folder, wherever one stands."""
    proto = graph(TERABYTES, S=np.array([1 << 21, 1 << 21]))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=16)
    monkeypatch.chdir("/")
    assert verify_import(read_onnx(tmp_path / "m.onnx"), tmp_path / "m.onnx").ok


def test_nodes_are_kept_exactly_where_an_output_needs_them():
    """In the graph and in functions, whatever their order; a function's loop is found as well."""
    proto = graph("t = mine.F(x) y = Gemm(t, W1, B1) u = Neg(t)", functions=FUNCTION, domains=', "mine" : 1')
    proto.graph.node.insert(0, proto.graph.node.pop())
    assert remove_unused(proto)
    assert [node.op_type for node in proto.graph.node] == ["F", "Gemm"]
    assert [node.op_type for node in proto.functions[0].node] == ["Relu"]
    assert not remove_unused(proto)
    refuse_loops(proto, "m.onnx")
    proto.functions[0].node[0].op_type = "Scan"
    with pytest.raises(ArtifactError, match=r"m\.onnx: node '' is a Scan"):
        refuse_loops(proto, "m.onnx")


def test_inputs_are_kept_exactly_where_a_node_or_an_output_uses_them():
    """An initializer that is listed as an input stays; so does an input that is an output, or is read in a branch."""
    proto = graph("y = Relu(x)", source="float[N,6] x, float[N,2] z, float[6,5] W1, float[2] k, float[2] b")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((6, 5), np.float32), "W1"))
    proto.graph.output.append(helper.make_tensor_value_info("k", TensorProto.FLOAT, [2]))
    branch = helper.make_graph(
        [helper.make_node("Tanh", ["b"], ["t"])], "b", [], [helper.make_empty_tensor_value_info("t")]
    )
    proto.graph.node.append(helper.make_node("If", ["x"], ["c"], then_branch=branch, else_branch=branch))
    proto.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [2]))
    assert remove_unused(proto)
    assert [value.name for value in proto.graph.input] == ["x", "W1", "k", "b"]
    assert not remove_unused(proto)


def test_what_a_branch_reads_is_kept():
    """A branch sees the values around it, so they are needed, though the node does not name them; a loop is found."""
    proto = graph("h = Gemm(x, W1, B1) t = Neg(h) u = Abs(h) y = Relu(h)")
    branch = helper.make_graph(
        [helper.make_node("Tanh", ["t"], ["k"])], "b", [], [helper.make_empty_tensor_value_info("k")]
    )
    condition = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    del proto.graph.node[-1]
    proto.graph.node.append(condition)
    assert remove_unused(proto)
    assert [node.op_type for node in proto.graph.node] == ["Gemm", "Neg", "If"]
    refuse_loops(proto, "m.onnx")
    proto.graph.node[-1].attribute[0].g.node[0].op_type = "Loop"
    with pytest.raises(ArtifactError, match="is a Loop"):
        refuse_loops(proto, "m.onnx")
