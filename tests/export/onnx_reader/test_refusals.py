"""What is no chain of dense layers is refused by name, and no bytes at all can do worse than ArtifactError."""

from __future__ import annotations

import os
import re
import tracemalloc
import warnings

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import edge_runtime as er
from edge_runtime.errors import ArtifactError
from edge_runtime.model import Model
from export import read_onnx
from export.onnx_reader.nodes import Budget, Unsupported
from export.onnx_reader.protobuf.tensors import TensorReader
from export.onnx_reader.protobuf.wire import MOST_FIELDS
from export.onnx_reader.reader import import_onnx
from tests.export.foreign import W1, graph, normal
from tests.memory import traced
from tests.networks import random_model
from tests.work import counted_calls

TAIL = "r = Relu(h) y = Gemm(r, W2, B2)"


def refusal(proto: onnx.ModelProto, folder, **options) -> str:
    """The one line that `read_onnx` answers with."""
    path = folder / "m.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    with pytest.raises(ArtifactError) as caught:
        read_onnx(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


REFUSED = {
    "residual": ("h = Gemm(x, V, C) r = Relu(h) y = Add(r, x)", r"\(Add, output 'y'\): residual Add: .*only chains"),
    "gate": ("h = Gemm(x, V, C) g = Sigmoid(h) y = Mul(g, x)", "residual Mul"),
    "branches": ("h = Gemm(x, V, C) g = Tanh(h) y = Concat<axis=1>(h, g)", r"\(Concat, .*joins branches of which one"),
    "attention": ("t = Transpose(x) y = MatMul(x, t)", r"two tensors that are (both )?made of the input"),
    "convolution": ("y = Conv(x, V)", r"\(Conv, output 'y'\): not supported; supported are chains of Gemm"),
    "recurrence": ("y = LSTM(x, V, V)", "LSTM"),
    "unknown operator": ("h = Frobnicate(x) y = Gemm(h, V, C)", "Frobnicate"),
    "unknown domain": ("h = com.microsoft.Frobnicate(x) y = Gemm(h, V, C)", r"com\.microsoft\.Frobnicate"),
    "first of two": ("h = Conv(x, V) y = LSTM(h, V, V)", "Conv"),
    "sum over the batch": ("y = MatMul(V, x)", "over the rows of the batch"),
    "bias by row": ("h = MatMul(x, V) y = Add(h, R)", "a value of its own for each row"),
    "softmax in the middle": ("h = Softmax(x) y = Gemm(h, V, C)", "softmax"),
    "softmax over the batch": ("h = Gemm(x, V, C) y = Softmax<axis=0>(h)", "whole rows"),
    "a cube": ("h = Gemm(x, V, C) k = Mul(h, h) g = Mul(k, h) y = Gemm(g, V, C)", "no activation of this runtime"),
    "dropout in training": ("h = Gemm(x, V, C) y = Dropout(h, half, yes)", "training mode"),
    "rows and features mixed": ("y = Reshape(x, flat)", "mixes rows and features"),
    "rows picked": ("h = Gather<axis=0>(x, zero) y = MatMul(h, V)", "rows out of the batch"),
    "computed with the batch": ("s = Shape(x) f = Cast<to=1>(s) g = Slice(f, zero, first, zero) "
                                "h = Mul(x, g) y = MatMul(h, V)",
                                "number of rows"),
    "cut to integers": ("h = Gemm(x, V, C) y = Cast<to=7>(h)", "it makes int64 of float32 values, which cuts"),
    "no layer": ("y = Identity(x)", "no layer with weights"),
    "scaling alone": ("h = Sub(x, C) y = Mul(h, C)", "no layer with weights"),
    "a loop": ("y = Gemm(z, V, C) z = Gemm(y, V, C)", "depends on its own output"),
    "nothing of the input": ("y = Gemm(V, V, C)", "no output depends on the input"),
    "wrong width": ("y = MatMul(x, R)", "its weights take 5 features"),
    "missing tensor": ("y = Gemm(nowhere, V, C)", "'nowhere' is computed by no node"),
    "texts": ("y = Add(x, T)", "texts|strings|number of rows"),
}  # fmt: skip
MATERIAL = {
    "V": normal(6, 6), "C": normal(6), "R": normal(5, 1), "half": np.float32(0.5), "yes": np.bool_(True),
    "flat": np.array([-1, 3]), "zero": np.array([0]), "first": np.array([1]), "T": np.array(["a"], dtype=object),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_chain_is_refused_by_name(tmp_path, nodes, expected):
    """One line: the first node that cannot be read, its operator, its output, and why."""
    used = {key: value for key, value in MATERIAL.items() if f"{key}," in nodes or f"{key})" in nodes}
    text = refusal(graph(nodes, target="float[N,6] y", **used), tmp_path)
    assert re.search(expected, text), text


def test_batch_normalization_in_training_is_refused(tmp_path):
    """Its outputs would depend on the batch."""
    nodes = "y, m, v = BatchNormalization<training_mode=1>(x, C, C, C, C)"
    assert "training mode" in refusal(graph(nodes, opset=15, C=normal(6)), tmp_path)


def test_two_inputs_are_refused(tmp_path):
    """Unless they are joined before the first activation, as one vector."""
    proto = graph("r = Relu(x) y = Add(r, z)", source="float[N,6] x, float[N,6] z")
    assert "'y'): residual Add: " in refusal(proto, tmp_path)


def test_an_opset_before_6_is_refused(tmp_path):
    """Broadcasting had other rules then."""
    assert "opset 5 found, expected 6" in refusal(graph("y = Gemm(x, W1, B1)", opset=5), tmp_path)


def test_a_function_of_an_opset_that_is_not_read_is_refused_by_name(tmp_path):
    """Selu's numbers before opset 6 are others than the runtime's, and onnxruntime takes the newest in their place."""
    old = '<domain: "mine", opset_import: ["" : 5]> F (u) => (v) { v = Selu(u) }'
    proto = graph(
        "t = mine.F(x) y = MatMul(t, W)", functions=old, domains=', "mine" : 1', W=np.ones((3, 2), np.float32)
    )
    assert "(Selu, output 't'): opset 5 found, expected 6 or newer; export it" in refusal(proto, tmp_path)


def test_functions_that_call_themselves_or_explode_are_refused_early(tmp_path):
    """Recursion, and thirty functions that each call the next one twice."""
    recursive = '<domain: "mine", opset_import: ["" : 13, "mine" : 1]> F (X) => (Y) { Y = mine.F(X) }'
    text = refusal(graph("y = mine.F(x)", functions=recursive, domains=', "mine" : 1'), tmp_path)
    assert "calls itself" in text
    doubling = "".join(
        f'<domain: "mine", opset_import: ["" : 13, "mine" : 1]> F{i} (X) => (Y) '
        f'{{ H = mine.F{i + 1}(X) Y = mine.F{i + 1}(H) }} '
        for i in range(14)
    ) + '<domain: "mine", opset_import: ["" : 13]> F14 (X) => (Y) { H = Relu(X) Y = Relu(H) }'  # fmt: skip
    with counted_calls() as calls:
        assert "more than 20,000" in refusal(
            graph("y = mine.F0(x)", functions=doubling, domains=', "mine" : 1'), tmp_path
        )
    assert calls() < 300 * 20_000  # some hundred for each call up to the limit, by protobuf's version


def test_branches_that_meet_again_and_again_are_refused_early(tmp_path):
    """Each the sum of the two before it: evaluating the last one would take a lifetime."""
    nodes = "a0 = Tanh(x) a1 = Add(a0, x) " + " ".join(f"a{i} = Add(a{i - 1}, a{i - 2})" for i in range(2, 90))
    with counted_calls() as calls:
        assert "branches" in refusal(graph(nodes + " y = Gemm(a89, W1, B1)"), tmp_path)
    assert calls() < 100_000  # 90 nodes; following each branch anew would be 2^60


def test_an_external_tensor_cannot_make_the_input_wide(tmp_path):
    """What counts is the size of the file that is there, not the shape that is claimed."""
    proto = graph("y = MatMul(x, V)", source=f"float[N,{1 << 28}] x", target="float[N,5] y", V=W1)
    tensor = proto.graph.initializer[0]
    tensor.CopyFrom(TensorProto(name="V", dims=[1 << 28, 5], data_type=TensorProto.FLOAT))
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "w.bin").write_bytes(W1.tobytes())
    assert "features, more than" in refusal(proto, tmp_path)


def external(name: str, shape: tuple[int, ...], location: str) -> TensorProto:
    """A float32 tensor whose bytes lie in another file."""
    tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_external_data_that_no_node_uses_cannot_make_the_input_wide(tmp_path):
    """A few hundred bytes beside a file of a gigabyte of nothing: the features' numbers are never written down."""
    with open(tmp_path / "w.bin", "wb") as file:
        file.truncate(1 << 30)
    proto = graph("y = Softmax(x)", source=f"float[N,{1 << 28}] x", target="float y")
    proto.graph.initializer.append(external("unused", (1 << 28,), "w.bin"))
    tracemalloc.start()
    assert "268,435,456 features, more than the file has weights for, expected 1 to 65,536" in refusal(proto, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_sparse_initializers_are_refused(tmp_path):
    """By their name, with what is expected."""
    proto = graph("y = MatMul(x, V)", target="float[N,5] y")
    values, places = (numpy_helper.from_array(array, "V") for array in (W1.ravel(), np.arange(30)))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, W1.shape))
    assert "it has sparse initializers, expected dense ones" in refusal(proto, tmp_path)


def test_a_width_is_charged_before_it_is_written_down(tmp_path):
    """Weights that are there, in a sparse file: a row of as many features would take more than the limit allows."""
    with open(tmp_path / "w.bin", "wb") as file:
        file.truncate(1 << 28)
    proto = graph("y = MatMul(x, V)", source=f"float[N,{1 << 26}] x", target="float[N,1] y", V=W1)
    proto.graph.initializer[0].CopyFrom(external("V", (1 << 26, 1), "w.bin"))
    tracemalloc.start()
    assert "needs 67,108,864 elements, more than the limit" in refusal(proto, tmp_path, max_bytes=1 << 24)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_layouts_are_charged(tmp_path):
    """Each of many nodes lays 60,000 features out anew: all of them together stay within the limit."""
    nodes = "a0 = Reshape(x, s) " + " ".join(f"t{i} = Transpose(a{i}) a{i + 1} = Reshape(t{i}, s)" for i in range(200))
    shapes = {"s": np.array([200, 300]), "flat": np.array([1, -1])}
    last = "f = Reshape(a200, flat) y = MatMul(f, V)"
    proto = graph(f"{nodes} {last}", source="float[1,60000] x", V=normal(1, 1), **shapes)
    tracemalloc.start()
    assert "more than the limit on memory" in refusal(proto, tmp_path, max_bytes=1 << 22)
    assert tracemalloc.get_traced_memory()[1] < 1 << 25
    tracemalloc.stop()


@pytest.mark.parametrize(("limit", "is_read"), [(240, True), (239, False)])
def test_external_data_is_bounded_with_the_file(tmp_path, limit, is_read):
    """All of it together: two tensors of 120 bytes, beside a file that is smaller."""
    (tmp_path / "w.bin").write_bytes(W1.tobytes())
    proto = graph("v = Add(V, W) y = MatMul(x, v)", target="float[N,5] y", V=W1, W=W1)
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(external(tensor.name, (6, 5), "w.bin"))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    reader = TensorReader(tmp_path, Budget(1 << 20), limit)
    first, second = proto.graph.initializer
    np.testing.assert_array_equal(reader.array(first), W1)
    if is_read:
        np.testing.assert_array_equal(reader.array(second), W1)
        assert read_onnx(path, max_bytes=1 << 10).n_in == 6
    else:
        with pytest.raises(
            Unsupported, match="makes it 240 bytes of external data, expected 239 at most; raise max_by"
        ):
            reader.array(second)


def hostile_tensors():
    """Tensors that say one thing and hold another."""
    yield "2^40 elements", TensorProto(name="V", dims=[1 << 20, 1 << 20], data_type=TensorProto.FLOAT, raw_data=b"")
    yield "2^62 elements", TensorProto(name="V", dims=[1 << 31, 1 << 31], data_type=TensorProto.FLOAT, raw_data=b"")
    yield "negative axis", TensorProto(name="V", dims=[-6, 5], data_type=TensorProto.FLOAT, raw_data=b"")
    yield "too few bytes", TensorProto(name="V", dims=[6, 5], data_type=TensorProto.FLOAT, raw_data=W1.tobytes()[:-1])
    yield (
        "too many bytes",
        TensorProto(name="V", dims=[6, 5], data_type=TensorProto.FLOAT, raw_data=W1.tobytes() + b"0"),
    )
    yield "no values", TensorProto(name="V", dims=[6, 5], data_type=TensorProto.FLOAT)
    yield "unknown type", TensorProto(name="V", dims=[6, 5], data_type=999)
    yield "no type", TensorProto(name="V", dims=[6, 5])
    yield "complex", TensorProto(name="V", dims=[6, 5], data_type=TensorProto.COMPLEX64)
    yield "texts", TensorProto(name="V", dims=[1], data_type=TensorProto.STRING, string_data=[b"\xff"])
    yield "hundred axes", TensorProto(name="V", dims=[1] * 100, data_type=TensorProto.FLOAT, float_data=[1.0])
    yield "not a number", numpy_helper.from_array(np.where(W1 > 0, np.nan, W1), "V")
    yield "infinite", numpy_helper.from_array(np.where(W1 > 0, np.inf, W1), "V")


@pytest.mark.parametrize(
    ("name", "tensor"), list(hostile_tensors()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_tensors_that_lie_are_refused_before_memory_is_taken(tmp_path, name, tensor):
    """Sizes are compared with the bytes that are there; no more than two megabytes are allocated to find out."""
    proto = graph("y = MatMul(x, V)", target="float[N,5] y", V=W1)
    del proto.graph.initializer[:]
    proto.graph.initializer.append(tensor)
    tracemalloc.start()
    refusal(proto, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 21  # the file is read in pieces of a megabyte


@pytest.mark.parametrize(
    "nodes",
    [
        "s = Constant<value_ints=[1048576, 1048576]>() v = ConstantOfShape(s) y = MatMul(x, v)",
        "s = Constant<value_ints=[1048576, 1048576]>() v = Expand(one, s) y = MatMul(x, v)",
        "v = Range(zero, big, one) y = MatMul(x, v)",
        "v = Add(column, row) w = MatMul(v, v) y = MatMul(x, w)",
        "h = Add(x, tall) y = MatMul(h, V)",
    ],
)
def test_constants_that_would_unfold_are_refused(tmp_path, nodes):
    """A kilobyte of graph cannot ask for terabytes: some copies of what max_bytes allows, in few calls."""
    big = {"one": np.float32(1), "zero": np.float32(0), "big": np.float32(1e12), "V": normal(6, 3)}
    big |= {
        "column": np.zeros((20_000, 1), np.float32),
        "row": np.zeros(20_000, np.float32),
        "tall": np.zeros((9, 1, 6)),
    }
    used = {key: value for key, value in big.items() if f"{key}," in nodes or f"{key})" in nodes}
    with traced() as peak, counted_calls() as calls:
        refusal(graph(nodes, **used), tmp_path, max_bytes=1 << 24)
        assert peak() < 1 << 27
    assert calls() < 10_000


@pytest.mark.parametrize("shape", [[None, 1 << 40], [1 << 20, 1 << 20, 1 << 20], [None, 1 << 31], [1 << 62, 1 << 62]])
def test_inputs_wider_than_the_file_are_refused(tmp_path, shape):
    """Every feature needs a weight."""
    proto = graph("y = Gemm(x, W1, B1)")
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    assert "features, more than" in refusal(proto, tmp_path)


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/hostname", "a/../../secret.bin", "link.bin", "C:\\secret", "", ".", "nothing.bin", "a\0b"],
)
def test_external_data_outside_of_the_folder_is_never_read(tmp_path, location):
    """Absolute paths, parents, links that lead out, folders and missing files."""
    (tmp_path / "secret.bin").write_bytes(W1.tobytes())
    folder = tmp_path / "models"
    (folder / "a").mkdir(parents=True)
    os.symlink(tmp_path / "secret.bin", folder / "link.bin")
    proto = graph("y = MatMul(x, V)", target="float[N,5] y", V=W1)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    assert "external tensor 'V'" in refusal(proto, folder)


@pytest.mark.parametrize("entries", [
    {"length": "9999999"}, {"offset": "-4"}, {"offset": "999999"}, {"offset": "4"}, {"offset": "9" * 15},
    {"length": "x"},
])  # fmt: skip
def test_external_data_of_another_size_is_refused(tmp_path, entries):
    """Offset and length must lie within the file and fit the shape."""
    (tmp_path / "w.bin").write_bytes(W1.tobytes())
    proto = graph("y = MatMul(x, V)", target="float[N,5] y", V=W1)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    refusal(proto, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"PK\x03\x04", b"\x08", bytes(range(256)), b"\x3a\xff\xff\xff\xff\x0f"]
)
def test_other_files_are_refused(tmp_path, content):
    """Empty ones, zeros, zip files, cut-off fields, lengths beyond the end."""
    refusal(content, tmp_path)


def test_an_artifact_is_named_as_one(tmp_path):
    """With the command that takes it."""
    er.save(random_model([3, 2], ["linear"]), tmp_path / "m.npz")
    with pytest.raises(ArtifactError, match=r"m\.npz: a zip file, as artifacts \(\.npz\) are, .* 'smallnet export'"):
        read_onnx(tmp_path / "m.npz")


def test_the_limit_on_bytes_is_kept(tmp_path):
    """And a file with millions of empty messages is stopped before protobuf unpacks it."""
    proto = graph(f"h = Gemm(x, W1, B1) {TAIL}")
    assert "over the limit of 100 bytes" in refusal(proto, tmp_path, max_bytes=100)
    nodes = b"\x0a\x00" * 1_100_000
    size = len(nodes)
    key = b"\x3a" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21])
    with counted_calls() as calls:
        assert "fields" in refusal(key + nodes, tmp_path)
    assert calls() < 4 * MOST_FIELDS


def seeds() -> list[bytes]:
    """Files to mutate: a float chain with shapes, a labelled one, an int8 one with functions."""
    quantized = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) "
    quantized += "w = DequantizeLinear(Q, s) g = Gemm(d, w) y = Relu(g)"
    return [
        graph(f"a = Reshape(x, n) h = Gemm(a, W1, B1) {TAIL}", n=np.array([-1, 6])).SerializeToString(),
        graph(
            "h = Gemm(x, V) p = Softmax(h) l = ArgMax<axis=1>(p)", target="int64[N,1] l, float[N,3] p", V=normal(6, 3)
        ).SerializeToString(),
        graph(quantized, s=np.float32(0.1), z=np.uint8(3), Q=np.ones((6, 3), np.int8)).SerializeToString(),
    ]


SEEDS = seeds()


def outcome(path, content: bytes) -> Model | None:
    """A model or None for ArtifactError; anything else is let through."""
    path.write_bytes(content)
    try:
        return import_onnx(path, max_bytes=1 << 24).model
    except ArtifactError as error:
        if "\n" in str(error):
            raise AssertionError("a refusal of more than one line") from error
        return None


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_every_truncation_is_a_model_or_an_artifact_error(tmp_path, seed):
    """At each length from nothing to the whole."""
    content = SEEDS[seed]
    found = [outcome(tmp_path / "m.onnx", content[:length]) for length in range(len(content) + 1)]
    assert found[-1] is not None


@settings(max_examples=1500, deadline=2000, derandomize=True)
@given(st.data())
def test_mutated_files_are_models_or_artifact_errors(tmp_path_factory, data):
    """Bytes changed, cut out, doubled and mixed: never another exception, never a long wait."""
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "set", "cut", "double", "insert"]))
        if kind == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "set":
            content[at] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 20))]
        elif kind == "double":
            content[at:at] = content[at : at + data.draw(st.integers(1, 60))]
        else:
            content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        if not content:
            return
    outcome(tmp_path_factory.getbasetemp() / "mutated.onnx", bytes(content))


@pytest.mark.parametrize("classes", [2, 3])
def test_one_output_for_each_class_is_refused(tmp_path, classes):
    """skl2onnx with zipmap='columns': none of the outputs is the answer, and taking one would be a wrong model."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not have converged
        network = MLPClassifier((5,), max_iter=5, random_state=0).fit(x, np.arange(60) % classes)
    proto = skl2onnx.to_onnx(network, x[:1], options={id(network): {"zipmap": "columns"}})
    (tmp_path / "columns.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ArtifactError):
        read_onnx(tmp_path / "columns.onnx")


def nested(depth: int) -> bytes:
    """A graph in a node's attribute in a graph, and so on: protobuf by hand, because its own writer stops at 100."""
    message = b""
    for _ in range(depth):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            message = tag + _varint(len(message)) + message
    return b"\x08\x08\x3a" + _varint(len(message)) + message


def _varint(value: int) -> bytes:
    low = bytes([value & 127 | (128 if value > 127 else 0)])
    return low + (_varint(value >> 7) if value > 127 else b"")


def test_graphs_ten_thousand_deep_are_refused_early(tmp_path):
    """Neither the look at the wire format nor protobuf recurses into them."""
    with counted_calls() as calls:
        assert "not a readable ONNX file" in refusal(nested(10_000), tmp_path)
    assert calls() < 100 * 10_000


def test_deep_names_and_control_characters_in_metadata_are_refused_or_escaped(tmp_path):
    """class_names of a hundred thousand brackets are no names; a node's name cannot put a line break into a message."""
    proto = graph(f"h = Gemm(x, W1, B1) {TAIL}")
    proto.producer_name = "smallnet"
    proto.metadata_props.add(key="class_names", value="[" * 100_000)
    assert "not a readable ONNX file" in refusal(proto, tmp_path)
    proto = graph("y = Conv(x, W1)")
    proto.graph.node[0].name = "a\n\x1b[2J\u202e"
    text = refusal(proto, tmp_path)
    assert text.isprintable()
    assert r"a\n\x1b[2J\u202e" in text


def test_what_is_no_file_is_refused_without_being_opened(tmp_path):
    """A pipe would be waited for; a name with a NUL is no file's."""
    os.mkfifo(tmp_path / "pipe.onnx")
    for name in (tmp_path / "pipe.onnx", "/dev/zero", "a\0b"):
        with pytest.raises(ArtifactError) as caught:
            read_onnx(name)
        assert str(caught.value).isprintable()


def test_a_pipe_as_external_data_is_refused(tmp_path):
    """Inside of the folder, but no file."""
    os.mkfifo(tmp_path / "w.bin")
    proto = graph("y = MatMul(x, V)", target="float[N,5] y", V=W1)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    assert "is no file in the model's folder" in refusal(proto, tmp_path)


def test_external_data_counts_as_far_as_tensors_ask_for_it_and_files_have_it(tmp_path):
    """The least of both, each file once; a file that nobody asks for counts nothing."""
    (tmp_path / "w.bin").write_bytes(bytes(1000))
    reader = TensorReader(tmp_path, Budget(1 << 20), 1 << 20)
    small, large = external("V", (6, 5), "w.bin"), external("U", (1 << 20, 5), "w.bin")
    assert reader.external_bytes([small]) == 120
    assert reader.external_bytes([small, small]) == 240
    assert reader.external_bytes([small, large]) == 1000
    assert reader.external_bytes([numpy_helper.from_array(W1, "W")]) == 0


VERSIONS = {
    # what is changed of a file: (the change, what is said)
    "an opset that onnx does not know": (
        lambda proto: setattr(proto.opset_import[0], "version", 999),
        r"opset 999 found, expected \d+ at most, the newest that onnx [\d.]+ knows; .* export it with opset 17",
    ),
    "no opset": (lambda proto: proto.ClearField("opset_import"), "it names no opset, expected one such as 17"),
    "an IR version that onnx does not know": (
        lambda proto: setattr(proto, "ir_version", 99),
        r"IR version 99 found, expected \d+ at most, .* set model.ir_version = 8 with onnx and save it",
    ),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_versions_that_nothing_here_knows_are_refused_with_what_to_do(tmp_path, case):
    """Before any node is looked at."""
    change, said = VERSIONS[case]
    proto = graph("y = Gemm(x, W1, B1)")
    change(proto)
    assert re.search(said, refusal(proto, tmp_path))


WIDE = {
    "of weights": (
        "q, s, z = DynamicQuantizeLinear(x) i = MatMulInteger(q, W, z) f = Cast<to=1>(i) g = Mul(f, s) y = Mul(g, ws)",
        {"W": np.full((6, 3), 300, np.int16), "ws": np.float32(0.01)},
        r"node 'i' \(MatMulInteger, .*run from 300 to 300 around their zero point, expected 8 bits; ",
    ),
    "of activations": (
        "q = QuantizeLinear(x, ws, z) d = DequantizeLinear(q, ws, z) y = MatMul(d, W)",
        {"W": np.ones((6, 3), np.float32), "ws": np.float32(0.01), "z": np.int16(0)},
        r"node 'q' \(QuantizeLinear, .*it quantizes to int16, expected uint8 or int8; ",
    ),
}


@pytest.mark.parametrize(
    ("producer", "said"),
    [
        ("onnx.quantize", r"weight_type=QuantType.QInt8 and activation_type=QuantType.QUInt8, or the float model"),
        ("pytorch", "quantize the float model with smallnet export$"),
        ("", "quantize the float model with smallnet export$"),
    ],
)
@pytest.mark.parametrize("case", WIDE)
def test_advice_about_wide_integers_fits_the_producer(tmp_path, case, producer, said):
    """Whoever made the file is told in the words of the tool that it names."""
    nodes, constants, found = WIDE[case]
    proto = graph(nodes, **constants)
    proto.producer_name = producer
    assert re.search(found + ".*" + said, refusal(proto, tmp_path))


@pytest.mark.parametrize(
    ("producer", "opset", "training"),
    [
        ("pytorch", "opset_version=17", "call model.eval() before torch.onnx.export"),
        ("skl2onnx", "target_opset=17", "export the model for inference"),
        ("tf2onnx", "opset=17 (--opset 17)", "export the model for inference"),
        ("onnx.quantize", "export it with opset 17", "export the model for inference"),
        ("", "export it with opset 17, or convert it with onnx.version_converter", "export the model for inference"),
    ],
)
def test_advice_fits_the_producer(tmp_path, producer, opset, training):
    """An opset that is too new, too old or missing, and training mode, each in the words of the file's own exporter."""
    files = [(graph("y = Gemm(x, W1, B1)"), opset) for _ in range(2)]
    files[0][0].opset_import[0].version = 999
    files[1][0].ClearField("opset_import")
    files.append((graph("y = Gemm<broadcast=1>(x, W1, B1)", opset=5), opset))
    files.append((graph("m = BatchNormalization<training_mode=1>(x, C, C, C, C) y = Gemm(m, W1, B1)", opset=15,
                        C=np.ones(6, np.float32)), training))  # fmt: skip
    for proto, said in files:
        proto.producer_name = producer
        assert refusal(proto, tmp_path).endswith(said) or f"; {said}" in refusal(proto, tmp_path)
