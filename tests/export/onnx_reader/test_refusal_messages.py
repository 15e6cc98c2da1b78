"""Every refusal names the node with its operator and output, or the input, or the file, and says what is expected."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.export.foreign import W1, graph, normal
from tests.export.onnx_reader import test_node_cases as node_cases
from tests.export.onnx_reader import test_quantized as quantized
from tests.export.onnx_reader import test_refusals as graphs
from tests.export.onnx_reader.test_refusals import refusal

NODE = re.compile(r"node '[^']+' \((\w+\.)*\w+, output '[^']*'\): ")
INPUT = re.compile(r"(its inputs have different numbers of rows \(|input '[^']*')")
EITHER = re.compile(f"{NODE.pattern}|{INPUT.pattern}")
SAYS_WHAT_TO_DO = re.compile(r"expected|supported|export |limit|copy")


def hand_made():
    """Graphs that nothing in the other files refuses: what an importer is given by mistake."""
    material = {"V": normal(6, 6), "C": normal(6), "half": np.float32(0.5)}
    for nodes in (
        "c = Greater(x, half) s = Mul(x, x) h = Where(c, s, x) y = Gemm(h, V, C)",
        "h = Gemm(x, V, C) s = Tan(h) y = Gemm(s, V, C)",
        "h = Gemm(x, V, C) e = Sqrt(h) y = Gemm(e, V, C)",
        "h = LogSoftmax(x) r = Relu(h) y = Gemm(r, V, C)",
        "h = Gemm(x, V, C) s = Softmax(h) y = Gemm(s, V, C)",
        "h = Gemm(x, V, C) s = Softmax(h) y = Relu(s)",
        "h = Gemm(x, V, C) s = Softmax(h) y = Mul(s, C)",
        "h = ReduceMean<axes=[0]>(x) y = Mul(h, C)",
        "h = GroupNormalization<num_groups=2>(x, C, C) y = Gemm(h, V, C)",
        "h = TopK(x, V) y = Gemm(h, V, C)",
        "h = Gemm(x, V, C) y = mine.Thing(h)",
        "h = Gemm(x, V, C) y = Pow(h, C)",
        "h = Reshape(x, V) y = Gemm(h, V, C)",
        "h = Cast<to=8>(x) y = Gemm(h, V, C)",
    ):
        used = {key: value for key, value in material.items() if f"{key}," in nodes or f"{key})" in nodes}
        yield nodes, graph(nodes, target="float[N,6] y", opset=17, domains=', "mine" : 1', **used)
    for what, number in (("NaN", np.nan), ("infinite", np.inf), ("too large", 1e300)):
        yield f"{what} weights", graph("y = MatMul(x, V)", V=np.where(W1 > 0, number, W1.astype(np.float64)))
        yield f"{what} bias", graph("y = Gemm(x, W1, V)", V=np.full(5, number))
    for name, tensor in graphs.hostile_tensors():
        proto = graph("y = MatMul(x, V)", target="float[N,5] y", V=W1)
        proto.graph.initializer[0].CopyFrom(tensor)
        yield name, proto


def collected():
    """(name, model, what it must name) for everything that any test here knows to be refused."""
    for name, (nodes, _) in graphs.REFUSED.items():
        used = {key: value for key, value in graphs.MATERIAL.items() if f"{key}," in nodes or f"{key})" in nodes}
        yield name, graph(nodes, target="float[N,6] y", **used), NODE
    for name, (nodes, constants, _) in quantized.REFUSED.items():
        yield name, graph(nodes, **constants), NODE
    for name in node_cases.BY_DESIGN.keys() & node_cases.CASES.keys():  # older versions of onnx have fewer cases
        yield name, node_cases.prepared(node_cases.CASES[name])[0], EITHER
    for name, proto in hand_made():
        yield name, proto, NODE
    for kind in (TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.BOOL, TensorProto.INT16):
        proto = graph("y = Gemm(x, W1, B1)")
        proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, [None, 6]))
        yield f"input of type {kind}", proto, INPUT
    yield "two inputs", graph("y = Mul(x, z)", source="float[N,6] x, float[N,6] z"), NODE
    yield "rows of two sizes", graph("y = Mul(x, z)", source="float[3,6] x, float[2,6] z"), INPUT


COLLECTED = list(collected())


@pytest.mark.parametrize(
    ("proto", "named"), [case[1:] for case in COLLECTED], ids=[case[0].replace(" ", "_")[:60] for case in COLLECTED]
)
def test_a_refusal_names_what_it_refuses(tmp_path, proto, named):
    """In one line, after the file's name, and it says what would be accepted."""
    text = refusal(proto, tmp_path)
    path = f"{tmp_path / 'm.onnx'}: "
    assert text.startswith(path)
    assert named.match(text.removeprefix(path)), text
    assert SAYS_WHAT_TO_DO.search(text), text
    assert not re.search(r"dense\d", text), text  # a name that is not in the file


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"PK\x03\x04", b"\x08", b"<html></html>", b"\x3a\xff\xff\xff\xff\x0f", *graphs.SEEDS],
    ids=str,
)
def test_a_broken_file_is_named_itself(tmp_path, content):
    """Empty, of another kind, or cut off: the file's name, and to export or copy it again."""
    for end in {len(content), len(content) // 2, 1} if content in graphs.SEEDS else {len(content)}:
        if content in graphs.SEEDS and end == len(content):
            continue
        text = refusal(content[:end], tmp_path)
        assert text.startswith(f"{tmp_path / 'm.onnx'}: ")
        assert SAYS_WHAT_TO_DO.search(text), text


def test_the_kinds_of_numbers_that_files_hold_are_named(tmp_path):
    """The tensor's name and its type, where the type is none of NumPy's."""
    proto = graph("w = Cast<to=1>(V) y = MatMul(x, w)", V=W1)
    proto.graph.initializer[0].CopyFrom(onnx.TensorProto(name="V", dims=[6, 5], data_type=TensorProto.FLOAT8E5M2))
    assert "node 'w' (Cast, output 'w'): tensor 'V': element type FLOAT8E5M2 is not supported" in refusal(
        proto, tmp_path
    )
