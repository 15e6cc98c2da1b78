"""onnxruntime is given only what the outputs of a file need, and nothing that may never end."""

from __future__ import annotations

import re
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import save
from edge_runtime.errors import ArtifactError
from export.onnx_reader.reader import import_onnx, read_onnx
from export.verification.foreign_session import RunLimits
from export.verification.import_check import verify_import
from export.verification.unused_nodes import refuse_loops, remove_unused, unused_note
from export.verification.verify import verify
from tests.command import run_command
from tests.export.foreign import graph
from tests.networks import random_model, random_rows

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


def branching(dead_in_branch=True):
    """An If whose branch fills a gigabyte that nothing reads, beside what is needed; the constant makes it taken."""
    fill = helper.make_node("ConstantOfShape", ["gigabyte"], ["filled"], name="fill")
    inner = helper.make_graph(
        [helper.make_node("Identity", ["h"], ["inner"]), *([fill] if dead_in_branch else [])],
        "then", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([1 << 28]), "gigabyte")],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Neg", ["unread"], ["outer"])],
        "else", [], [helper.make_tensor_value_info("outer", TensorProto.FLOAT, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["h"]),
        helper.make_node("Exp", ["h"], ["unread"], name="of a branch"),
        helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=other),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.ones((4, 3), np.float32), "W"), numpy_helper.from_array(np.array(True), "yes")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_dead_nodes_of_branches_are_taken_out():
    """However deep: the branch keeps what it gives, and values around it that it reads stay."""
    proto = branching()
    assert remove_unused(proto)
    branches = {attribute.name: attribute.g for attribute in proto.graph.node[-1].attribute}
    assert [node.op_type for node in branches["then_branch"].node] == ["Identity"]
    assert [node.op_type for node in branches["else_branch"].node] == ["Neg"]
    assert [node.op_type for node in proto.graph.node] == ["MatMul", "Exp", "If"]
    assert not remove_unused(branching(dead_in_branch=False))


def test_a_file_that_fills_memory_in_a_branch_is_read_without_it(tmp_path):
    """270 bytes of file, a gigabyte of floats that nothing reads: imported, and checked, in little memory."""
    path = tmp_path / "m.onnx"
    onnx.save(branching(), path)
    found = import_onnx(path)
    assert verify_import(found.model, path, imported=found, run_limits=RunLimits(max_memory=1 << 28)).ok
    assert verify(found.model, path, np.ones((3, 4), np.float32), run_limits=RunLimits(max_memory=1 << 28)).ok


FOLDED = {
    # what onnxruntime would compute before it runs: some hundred bytes that ask for gigabytes
    "a filled constant": [helper.make_node("ConstantOfShape", ["many"], ["c"])],
    "a product of filled constants": [
        helper.make_node("ConstantOfShape", ["tall"], ["a"]),
        helper.make_node("ConstantOfShape", ["wide"], ["b"]),
        helper.make_node("MatMul", ["a", "b"], ["c"]),
    ],
    "a constant that is tiled": [
        helper.make_node("ConstantOfShape", ["some"], ["a"]),
        helper.make_node("Tile", ["a", "times"], ["c"]),
    ],
    "a constant that is expanded": [
        helper.make_node("ConstantOfShape", ["one"], ["a"]),
        helper.make_node("Expand", ["a", "many"], ["c"]),
    ],
}  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits address space")
@pytest.mark.parametrize("case", FOLDED)
def test_what_the_reader_refuses_is_not_run_by_verify_either(case, tmp_path):
    """In one line, by import, export and verify, and within the memory that is allowed."""
    sizes = {"many": [1 << 30], "tall": [40_000, 1], "wide": [1, 40_000], "some": [1 << 20], "times": [1 << 10]}
    sizes["one"] = [1]
    nodes = [
        *FOLDED[case],
        helper.make_node("ReduceSum", ["c"], ["s"], keepdims=0),
        helper.make_node("MatMul", ["x", "W"], ["h"]),
        helper.make_node("Add", ["h", "s"], ["y"]),
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.ones((4, 3), np.float32), "W"),
            *(numpy_helper.from_array(np.array(shape), name) for name, shape in sizes.items() if name in used),
        ],
    )  # fmt: skip
    path = tmp_path / "bomb.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert path.stat().st_size < 700
    save(random_model([4, 3], ["linear"]), tmp_path / "m.npz")
    np.savez(tmp_path / "x.npz", x=np.ones((20, 4), np.float32))
    commands = {
        "import": ["import", path, "--out", tmp_path / "o.npz"],
        "export": ["export", path, "--calibrate", tmp_path / "x.npz", "--out", tmp_path / "out"],
        "verify": ["verify", tmp_path / "m.npz", path, "--data", tmp_path / "x.npz"],
    }
    for name, arguments in commands.items():
        result = run_command(*arguments, "--max-memory", "256M")
        assert result.exit_code == 2, (name, result.output)
        assert result.stderr.count("\n") == 1
        assert str(path) in result.stderr


def test_what_no_output_needs_is_said_in_a_line():
    """The first of such nodes, by its name or its output; constants that nobody uses are no matter."""
    proto = branching(dead_in_branch=True)
    (text,) = unused_note(proto.SerializeToString())
    assert re.fullmatch(r"the file has a node that no output needs, left out here: node '\w+' \(\w+\)", text)
    assert unused_note(branching(dead_in_branch=False).SerializeToString()) == []
    alive = branching(dead_in_branch=False)
    alive.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["nobody"], value_float=1.0))
    assert unused_note(alive.SerializeToString()) == []
    for name in ("d1", "d2"):
        alive.graph.node.append(onnx.helper.make_node("Relu", ["x"], [name]))
    (text,) = unused_note(alive.SerializeToString())
    assert text == "the file has 2 nodes that no output needs, left out here: node 'd1' (Relu), ..."
