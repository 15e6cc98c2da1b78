"""Every legal spelling of a dense network, made by hand, gives the file's own outputs."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest

from edge_runtime import ArtifactError, Engine, load
from edge_runtime.numerics import Activation
from export import read_onnx, verify
from export.onnx_reader.reader import import_onnx
from export.onnx_writer.writer import write_onnx
from export.verification.import_check import verify_import
from export.verification.onnx_session import make_session
from tests.command import run_command
from tests.export.foreign import B1, B2, CONSTANTS, W1, W2, activations, graph, imported, normal
from tests.networks import random_model, random_rows

TAIL = "r = Relu(h) y = Gemm(r, W2, B2)"
COLUMN = B1[:, None]

SPELLINGS = {
    "gemm": (f"h = Gemm(x, W1, B1) {TAIL}", {}),
    "gemm without bias": (f"h = Gemm(x, W1) {TAIL}", {}),
    "gemm alpha beta": (f"h = Gemm<alpha=0.3, beta=-1.7>(x, W1, B1) {TAIL}", {}),
    "gemm beta zero": (f"h = Gemm<beta=0.0>(x, W1, B1) {TAIL}", {}),
    "gemm transB": (f"h = Gemm<transB=1>(x, V, B1) {TAIL}", {"V": W1.T.copy()}),
    "gemm transA": (f"t = Transpose(x) h = Gemm<transA=1>(t, W1, B1) {TAIL}", {}),
    "gemm weights first": (
        f"t = Transpose(x) g = Gemm<transA=1>(W1, t, C) h = Transpose(g) {TAIL}",
        {"C": COLUMN},
    ),
    "bias (1, n)": (f"h = Gemm(x, W1, C) {TAIL}", {"C": B1[None]}),
    "bias scalar": (f"h = Gemm(x, W1, C) {TAIL}", {"C": np.float32(0.7)}),
    "bias (1,)": (f"h = Gemm(x, W1, C) {TAIL}", {"C": np.float32([0.7])}),
    "bias (1, 1)": (f"h = Gemm(x, W1, C) {TAIL}", {"C": np.float32([[0.7]])}),
    "matmul add": (f"m = MatMul(x, W1) h = Add(m, B1) {TAIL}", {}),
    "add matmul": (f"m = MatMul(x, W1) h = Add(B1, m) {TAIL}", {}),
    "matmul sub": (f"m = MatMul(x, W1) h = Sub(m, B1) {TAIL}", {}),
    "bias minus matmul": (f"m = MatMul(x, W1) h = Sub(B1, m) {TAIL}", {}),
    "add before matmul": (f"a = Add(x, C) h = MatMul(a, W1) {TAIL}", {"C": normal(6)}),
    "matmul mul add": (f"m = MatMul(x, W1) s = Mul(m, C) h = Add(s, B1) {TAIL}", {"C": normal(5)}),
    "matmul div": (f"m = MatMul(x, W1) h = Div(m, C) {TAIL}", {"C": np.float32([1, 2, -3, 4, 0.5])}),
    "matmul neg": (f"m = MatMul(x, W1) h = Neg(m) {TAIL}", {}),
    "sum": (f"m = MatMul(x, W1) h = Sum(B1, m, B1) {TAIL}", {}),
    "weights on the left": (
        f"t = Transpose(x) m = MatMul(V, t) a = Add(m, C) h = Transpose(a) {TAIL}",
        {"V": W1.T.copy(), "C": COLUMN},
    ),
    "three axes": (
        f"u = Unsqueeze(x, one) m = MatMul(u, W1) q = Squeeze(m, one) h = Add(q, B1) {TAIL}",
        {"one": np.array([1])},
    ),
    "weights with a batch axis": (
        f"m = MatMul(x, V) q = Squeeze(m, zero) h = Add(q, B1) {TAIL}",
        {"V": W1[None], "zero": np.array([0])},
    ),
    "tied weights": (
        "h = Gemm(x, S, C) r = Tanh(h) s = Gemm<transB=1>(r, S, C) y = Gemm(s, V)",
        {"S": normal(6, 6), "C": normal(6), "V": normal(6, 3)},
    ),
    "two layers without activation": ("h = Gemm(x, W1, B1) y = Gemm(h, W2, B2)", {}),
    "identity, dropout, cast": (f"a = Identity(x) b = Cast<to=1>(a) g = Gemm(b, W1, B1) h = Dropout(g) {TAIL}", {}),
    "weights as a transposed constant": (
        f"v = Transpose(V) w = Cast<to=1>(v) h = Gemm(x, w, B1) {TAIL}",
        {"V": W1.T.astype(np.float64)},
    ),
    "weights reshaped and sliced": (
        f"v = Reshape(V, s) w = Slice(v, a, b, c) h = Gemm(x, w, B1) {TAIL}",
        {"V": normal(35), "s": np.array([7, -1]), "a": np.array([1]), "b": np.array([7]), "c": np.array([0])},
    ),
    "weights computed from constants": (f"v = Mul(W1, C) w = Sub(v, B1) h = MatMul(x, w) {TAIL}", {"C": normal(6, 1)}),
    "weights as a product": (f"w = MatMul(V, U) h = MatMul(x, w) {TAIL}", {"V": normal(6, 4), "U": normal(4, 5)}),
    "weights concatenated": (
        f"w = Concat<axis=1>(V, U) h = MatMul(x, w) {TAIL}",
        {"V": normal(6, 2), "U": normal(6, 3)},
    ),
    "unsorted nodes": ("y = Gemm(r, W2, B2) r = Relu(h) h = Gemm(x, W1, B1)", {}),
    "dead nodes": (f'd = Cos(x) e = Einsum<equation="ij->ji">(d) h = Gemm(x, W1, B1) {TAIL}', {}),
    "unicode and slashes": ("'/ä/Gemm_0' = Gemm(x, W1, B1) ".replace("'/ä/Gemm_0'", "h") + TAIL, {}),
    "standardized": (
        f"a = Sub(x, M) b = Div(a, S) h = Gemm(b, W1, B1) {TAIL}",
        {"M": normal(6), "S": np.abs(normal(6)) + 1},
    ),
    "standardized by mul and add": (
        f"a = Mul(x, S) b = Add(a, M) h = Gemm(b, W1, B1) {TAIL}",
        {"M": normal(6), "S": np.abs(normal(6)) + 1},
    ),
    "scaled to 0..1": (f"a = Div(x, C) h = Gemm(a, W1, B1) {TAIL}", {"C": np.float32(255)}),
    "a row reversed": (f"a = Gather<axis=1>(x, i) h = Gemm(a, W1, B1) {TAIL}", {"i": np.array([5, 4, 3, 2, 1, 0])}),
    "some features": (
        f"a = Slice(x, s, e, i) m = MatMul(a, V) h = Add(m, B1) {TAIL}",
        {"s": np.array([1]), "e": np.array([4]), "i": np.array([1]), "V": normal(3, 5)},
    ),
    "outputs rescaled": (
        "g = Gemm(x, W1, B1) h = Relu(g) m = Gemm(h, W2, B2) a = Mul(m, C) y = Add(a, B2)",
        {"C": normal(3)},
    ),
    "rescaled after the activation": (
        "h = Gemm(x, W1, B1) r = Tanh(h) a = Mul(r, C) b = Sub(a, B1) y = Gemm(b, W2, B2)",
        {"C": normal(5)},
    ),
    "rescaled at the end": (
        "h = Gemm(x, W1, B1) g = Gemm(h, W2, B2) t = Tanh(g) a = Mul(t, C) y = Add(a, B2)",
        {"C": normal(3)},
    ),
    "two activations": ("h = Gemm(x, W1, B1) r = Relu(h) s = Sigmoid(r) y = Gemm(s, W2, B2)", {}),
    "a function of the input": (
        "a = Clip(x, lo, hi) h = Gemm(a, W1, B1) y = Gemm(h, W2, B2)",
        {"lo": np.float32(-1), "hi": np.float32(1)},
    ),
    "shape arithmetic": (
        f"s = Shape(x) i = Constant<value_int=0>() n = Gather(s, i) z = Constant<value_ints=[0]>() "
        f"u = Unsqueeze(n, z) m = Constant<value_ints=[-1]>() t = Concat<axis=0>(u, m) a = Reshape(x, t) "
        f"h = Gemm(a, W1, B1) {TAIL}",
        {},
    ),
}


@pytest.mark.parametrize(("nodes", "constants"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_spelling_of_two_layers_means_what_onnxruntime_computes(tmp_path, nodes, constants):
    """Outputs agree within the bound that follows from the weights, layer by layer, at two optimization levels."""
    found = imported(graph(nodes, **constants), tmp_path)
    assert (found.model.n_in, found.model.n_out) == (6, 3)


def test_plain_gemm_and_relu_give_the_weights_bit_by_bit(tmp_path):
    """Nothing is folded where nothing is to fold, and the names are the runtime's."""
    model = imported(graph(f"h = Gemm(x, W1, B1) {TAIL}"), tmp_path).model
    assert [layer.name for layer in model.layers] == ["dense0", "dense1"]
    for layer, weight, bias in zip(model.layers, (W1, W2), (B1, B2), strict=True):
        np.testing.assert_array_equal(layer.weight, weight)
        np.testing.assert_array_equal(layer.bias, bias)


SHAPES = {
    "fixed batch": ("float[4,6] x", "float[4,3] y", "h = Gemm(x, W1, B1)"),
    "batch of one": ("float[1,6] x", "float[1,3] y", "h = Gemm(x, W1, B1)"),
    "one row without a batch": ("float[6] x", "float[3] y", "h = MatMul(x, W1)"),
    "a column": ("float[6,1] x", "float[1,3] y", "t = Transpose(x) h = Gemm(t, W1, B1)"),
    "batch last": ("float[6,N] x", "float[N,3] y", "t = Transpose(x) h = Gemm(t, W1, B1)"),
    "image": ("float[N,1,2,3] x", "float[N,3] y", "f = Flatten(x) h = Gemm(f, W1, B1)"),
    "image, channels last": (
        "float[N,2,3,1] x",
        "float[N,3] y",
        "t = Transpose<perm=[0,3,1,2]>(x) f = Flatten(t) h = Gemm(f, W1, B1)",
    ),
    "image turned": (
        "float[N,2,3] x",
        "float[N,3] y",
        "t = Transpose<perm=[0,2,1]>(x) f = Flatten(t) h = Gemm(f, W1, B1)",
    ),
    "image of fixed batch": ("float[5,2,3] x", "float[5,3] y", "f = Flatten(x) h = Gemm(f, W1, B1)"),
    "unknown width": ("float[N,K] x", "float[N,3] y", "h = Gemm(x, W1, B1)"),
    "no shape": ("float[] x", "float[] y", "h = Gemm(x, W1, B1)"),
    "bytes": ("uint8[N,6] x", "float[N,3] y", "f = Cast<to=1>(x) h = Gemm(f, W1, B1)"),
    "double": ("double[N,6] x", "float[N,3] y", "f = Cast<to=1>(x) h = Gemm(f, W1, B1)"),
}


@pytest.mark.parametrize(("source", "target", "nodes"), SHAPES.values(), ids=SHAPES.keys())
def test_inputs_of_every_shape_and_type(tmp_path, source, target, nodes):
    """Fixed, free and missing batches, images, columns, bytes and doubles: rows of six numbers all the same."""
    last = "y = MatMul(r, W2)" if target == "float[3] y" else "y = Gemm(r, W2, B2)"
    proto = graph(f"{nodes} r = Relu(h) {last}", source=source, target=target)
    if source == "float[] x":
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.ClearField("shape")
    assert imported(proto, tmp_path).model.n_in == 6


VECTORS = {
    "weights on its left": (
        "float[6] x",
        "h = MatMul(L1, x) b = Add(h, B1) r = Relu(b) g = MatMul(L2, r) y = Add(B2, g)",
    ),
    "of unknown width": ("float[K] x", "h = MatMul(L1, x) b = Add(B1, h) r = Relu(b) y = MatMul(L2, r)"),
    "left, then right": ("float[6] x", "h = MatMul(L1, x) b = Add(h, B1) r = Relu(b) y = MatMul(r, W2)"),
    "right, then left": ("float[6] x", "h = MatMul(x, W1) b = Add(h, B1) r = Relu(b) y = MatMul(L2, r)"),
    "made a row": ("float[6] x", "h = MatMul(x, W1) r = Relu(h) u = Unsqueeze(r, zero) y = Gemm(u, W2, B2)"),
    "one axis to softmax": ("float[6] x", "h = MatMul(x, W1) r = Relu(h) g = MatMul(L2, r) y = Softmax<axis=0>(g)"),
    "stacked weights": ("float[6] x", "h = MatMul(L111, x) r = Relu(h) q = Reshape(r, five) y = MatMul(L2, q)"),
    "weights transposed by Gemm": ("float[6,K] x", "h = Gemm<transA=1>(W1, x) r = Relu(h) y = MatMul(L2, r)"),
}


@pytest.mark.parametrize(("source", "nodes"), VECTORS.values(), ids=VECTORS.keys())
def test_a_row_without_an_axis_of_rows(tmp_path, source, nodes):
    """A product with a vector has one axis less than one with a matrix, on either side: biases and axes fit."""
    material = {"L1": W1.T.copy(), "L2": W2.T.copy(), "L111": W1.T[None].copy(), "zero": np.array([0])}
    material |= {"five": np.array([5])}
    used = {name: value for name, value in material.items() if f"{name}," in nodes or f"{name})" in nodes}
    proto = graph(nodes, source=source, **used)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    model = imported(proto, tmp_path).model
    assert (model.n_in, model.n_out) == (6, 3)


UNUSED = {
    "after the first": ("float[N,6] x, float[N,2] z", ""),
    "before it": ("int64[1] z, float[N,6] x", ""),
    "of texts": ("string[N] z, float[N,6] x", ""),
    "used by a node that nobody needs": ("float[N,6] x, float[N,2] z", "d = Relu(z)"),
}


@pytest.mark.parametrize(("source", "dead"), UNUSED.values(), ids=UNUSED.keys())
def test_an_input_that_no_output_needs_is_passed_over(tmp_path, source, dead):
    """The file is read and run without it."""
    found = imported(graph(f"h = Gemm(x, W1, B1) {TAIL} {dead}", source=source), tmp_path)
    assert found.inputs[0].name == "x"


@pytest.mark.parametrize(
    "pick",
    [
        "f = Slice(x, s, e, one)",
        "f = Gather<axis=1>(x, places)",
        "t = Transpose(x) p = Gather<axis=0>(t, places) f = Transpose(p)",
    ],
)
def test_a_small_file_may_pick_a_few_features_out_of_many(tmp_path, pick):
    """12 columns of 20,000: many more features than the file has bytes."""
    material = {"s": np.array([300]), "e": np.array([312]), "one": np.array([1]), "places": np.arange(12) * 1500}
    used = {name: value for name, value in material.items() if f"{name}," in pick or f"{name})" in pick}
    proto = graph(f"{pick} h = Gemm(f, V, B1) {TAIL}", source="float[N,20000] x", V=normal(12, 5), **used)
    assert imported(proto, tmp_path).model.n_in == 20_000


def test_a_fixed_batch_may_hold_more_numbers_than_the_file_has_bytes(tmp_path):
    """300 rows of 300 features are rows, whatever one row of 90,000 would be."""
    proto = graph("y = Gemm(x, V, B2)", source="float[300,300] x", target="float[300,3] y", V=normal(300, 3))
    assert imported(proto, tmp_path).inputs[0].rows == 300


@pytest.mark.parametrize(
    "nodes",
    [
        "f = Reshape(x, s)",
        "f = Reshape(x, m)",
        "f = Reshape(x, k)",
        "f = Flatten<axis=1>(x)",
        "f = Squeeze(x, a)",
        "u = Unsqueeze(x, a) q = Squeeze(u, a) f = Reshape(q, s)",
    ],
)
def test_every_way_of_flattening(tmp_path, nodes):
    """Reshape with -1, with 0, with both, Flatten, Squeeze."""
    shapes = {"s": np.array([-1, 6]), "m": np.array([0, -1]), "k": np.array([0, 6]), "a": np.array([2])}
    used = {key: value for key, value in shapes.items() if f", {key})" in nodes}
    imported(graph(f"{nodes} y = Gemm(f, V)", source="float[N,6,1] x", V=normal(6, 3), **used), tmp_path)


@pytest.mark.parametrize("position", ["before", "between", "after"])
@pytest.mark.parametrize("opset", [7, 9, 13, 15])
def test_batch_normalization_is_folded(tmp_path, position, opset):
    """At the file's epsilon, before, between and after layers; what is before them becomes the preprocessing."""
    width = {"before": 6, "between": 5, "after": 3}[position]
    statistics = {"s": normal(width) + 1, "b": normal(width), "m": normal(width), "v": np.abs(normal(width)) + 0.01}
    norm = "BatchNormalization<epsilon=0.01>({}, s, b, m, v)"
    nodes = {
        "before": f"a = {norm.format('x')} g = Gemm(a, W1, B1) h = Relu(g) y = Gemm(h, W2, B2)",
        "between": f"g = Gemm(x, W1, B1) a = {norm.format('g')} h = Relu(a) y = Gemm(h, W2, B2)",
        "after": f"g = Gemm(x, W1, B1) h = Relu(g) a = Gemm(h, W2, B2) y = {norm.format('a')}",
    }[position]
    model = imported(graph(nodes, opset=opset, **statistics), tmp_path).model
    assert len(model.layers) == 2
    assert (model.preprocessing is not None) == (position == "before")


def test_batch_normalization_of_image_channels(tmp_path):
    """Statistics by channel, before the image is flattened, are spread over its pixels."""
    nodes = "a = BatchNormalization(x, s, b, m, v) f = Flatten(a) y = Gemm(f, V)"
    statistics = {"s": normal(2), "b": normal(2), "m": normal(2), "v": np.abs(normal(2)) + 0.1}
    imported(graph(nodes, source="float[N,2,3,2] x", V=normal(12, 3), **statistics), tmp_path)


FUNCTIONS = """
<domain: "mine", opset_import: ["" : 13]> Layer<a>(X, W, B) => (Y) {
    M = MatMul(X, W) S = Add(M, B) Y = LeakyRelu<alpha: float = @a>(S) }
<domain: "mine", opset_import: ["" : 13, "mine" : 1]> Twice(X, W, B) => (Y) {
    H = mine.Layer<a = 0.3>(X, W, B) Y = mine.Layer<a = 0.2>(H, W, B) }
"""


def test_functions_are_inlined(tmp_path):
    """Local functions, called by one another and more than once, with attributes that they hand on."""
    constants = {"S": normal(6, 6), "C": normal(6), "V": normal(6, 3)}
    proto = graph("t = mine.Twice(x, S, C) y = MatMul(t, V)", functions=FUNCTIONS, domains=', "mine" : 1', **constants)
    found = imported(proto, tmp_path)
    assert [str(layer.activation) for layer in found.model.layers] == [
        "leaky_relu(alpha=0.3)",
        "leaky_relu(alpha=0.2)",
        "linear",
    ]


def test_names_may_be_anything(tmp_path):
    """Slashes, unicode, clashes between nodes, and names that the runtime uses itself."""
    proto = graph(f"h = Gemm(x, W1, B1) {TAIL}")
    for index, node in enumerate(proto.graph.node):
        node.name = f"dense{1 - index}/ß"
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = {"h": "/sous-réseau/Gemm_output_0", "r": "dense0.output"}.get(name, name)
    imported(proto, tmp_path)


@pytest.mark.parametrize("dropout", [("Dropout", 7), ("Dropout<ratio=0.3>", 10), ("Dropout<seed=3>", 12)])
def test_dropout_at_inference(tmp_path, dropout):
    """In every historical form it does nothing."""
    operator, opset = dropout
    imported(graph(f"h = Gemm(x, W1, B1) d = {operator}(h) y = Gemm(d, W2, B2)", opset=opset), tmp_path)


def test_class_labels_and_logits(tmp_path):
    """ArgMax alone, and ArgMax beside the values."""
    alone = imported(graph("h = Gemm(x, V, B2) y = ArgMax<axis=1>(h)", target="int64[N,1] y", V=normal(6, 3)), tmp_path)
    assert alone.output_kind == "label"
    both = "h = Gemm(x, V, B2) p = Softmax(h) y = ArgMax<axis=-1, keepdims=0>(p)"
    found = imported(graph(both, target="float[N,3] p, int64[N] y", V=normal(6, 3)), tmp_path)
    assert (found.output, activations(found)) == ("p", ["softmax"])


SEVERAL = {
    # what a file gives beside one another: (nodes, outputs, what is listed)
    "logits and probabilities": ("h = Gemm(x, V, B2) y = Softmax(h)", "h y", "'h' (n, 3), 'y' (n, 3)"),
    "values and their clip": ("y = Gemm(x, V, B2) c = Relu(y)", "y c", "'y' (n, 3), 'c' (n, 3)"),
    "a code and its reconstruction": ("y = Gemm(x, V, B2) r = Gemm(y, W2)", "y r", "'y' (n, 3), 'r' (n, 6)"),
    "two heads": ("y = Gemm(x, V, B2) z = Gemm(x, V)", "y z", "'y' (n, 3), 'z' (n, 3)"),
    "parts of one tensor": ("y = Gemm(x, V, B2) p = Gather<axis=1>(y, first)", "y p", "'y' (n, 3), 'p' (n, 1)"),
    "a label, logits and probabilities": (
        "h = Gemm(x, V, B2) y = Softmax(h) k = ArgMax<axis=1, keepdims=0>(h)", "k h y",
        "'k' (n labels), 'h' (n, 3), 'y' (n, 3)",
    ),
}  # fmt: skip
VALUES = {
    "V": normal(6, 3),
    "B2": normal(3),
    "W2": normal(3, 6),
    "nothing": np.float32(0),
    "first": np.array([0]),
}


def with_outputs(nodes, names, **more):
    """A graph with outputs of these names; `k` is a label."""
    target = ", ".join(f"int64[A] {name}" if name == "k" else f"float[N,M{name}] {name}" for name in names.split())
    return graph(nodes, target=target, **{name: VALUES[name] for name in VALUES if name in nodes}, **more)


@pytest.mark.parametrize("case", SEVERAL)
def test_of_several_outputs_one_must_be_chosen(case, tmp_path):
    """None is taken without a word: they are listed with their widths; each can be chosen, and is what it is there."""
    nodes, names, listed = SEVERAL[case]
    path = tmp_path / "m.onnx"
    onnx.save(with_outputs(nodes, names), path)
    with pytest.raises(ArtifactError, match=re.escape(f"outputs: {listed}; expected one")):
        read_onnx(path)
    with pytest.raises(ArtifactError, match=r"no output 'absent'; expected one of '"):
        read_onnx(path, output="absent")
    rows = random_rows(50, 6)
    for name in (name for name in names.split() if name != "k"):
        found = import_onnx(path, output=name)
        assert found.output == found.model.metadata["onnx_output"] == name
        assert set(found.dropped) == set(names.split()) - {name}
        assert verify_import(found.model, path, rows).ok
        assert verify(found.model, path, rows).ok
        session = make_session(str(path))
        theirs = session.run([name], {"x": rows})[0]
        np.testing.assert_allclose(Engine(found.model).run(rows), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "names", "said"),
    [
        ("y = Gemm(x, V, B2) s = Tan(y)", "y s", "of the graph's 2 outputs 'y' (n, 3) can do without it, 's' cannot"),
        ("y = Gemm(x, V, B2) k = ArgMax<axis=1, keepdims=0>(y) s = Tan(y) t = Neg(s)", "t k s y",
         "of the graph's 4 outputs 'k' (n labels), 'y' (n, 3) can do without it, 't', 's' cannot"),
    ],
)  # fmt: skip
def test_outputs_that_do_without_what_is_refused_are_named(nodes, names, said, tmp_path):
    """A node beside the network that cannot be read: which outputs need it, and that choosing another one works."""
    path = tmp_path / "m.onnx"
    onnx.save(with_outputs(nodes, names), path)
    refused = run_command("import", path, "--out", tmp_path / "m.npz")
    assert refused.exit_code == 2
    assert "node 's' (Tan, output 's'): not supported; " in refused.stderr
    assert f"; {said}: choose one by --output NAME (output= in Python)\n" in refused.stderr
    assert run_command("import", path, "--out", tmp_path / "m.npz", "--output", "y").exit_code == 0
    assert run_command("verify", tmp_path / "m.npz", path, "--data", saved_rows(tmp_path)).exit_code == 0


@pytest.mark.parametrize(
    ("nodes", "more", "before"),
    [
        ("h = Gemm(x, V, B2) p = Softmax<axis=1>(h) q = Mul(p, m) y = Neg(q)", ", float[N,3] m", "'p' (n, 3)"),
        ("p = Gemm(x, V, B2) e = RandomNormalLike(p) y = Add(p, e)", "", "'p' (n, 3)"),
        ("p = Gemm(x, V, B2) s = Tanh(p) e = RandomNormalLike(p) t = Mul(s, e) y = Add(p, t)", "",
         "'s' (n, 3), 'p' (n, 3)"),
    ],
)  # fmt: skip
def test_a_tensor_within_the_graph_may_be_the_output(nodes, more, before, tmp_path):
    """Masks and noise stand between a policy and its outputs: what comes before them is named, and can be taken."""
    path, rows = tmp_path / "m.onnx", random_rows(50, 6)
    onnx.save(with_outputs(nodes, "y", source=f"float[N,6] x{more}"), path)
    with pytest.raises(ArtifactError, match=re.escape(f"; what comes before it can be read: {before}, by --output N")):
        read_onnx(path)
    with pytest.raises(ArtifactError, match=r"no output 'V'; expected one of 'y', or a tensor within the graph"):
        read_onnx(path, output="V")
    assert run_command("import", path, "--out", tmp_path / "m.npz", "--output", "p").exit_code == 0
    assert run_command("verify", tmp_path / "m.npz", path, "--data", saved_rows(tmp_path)).exit_code == 0
    found = import_onnx(path, output="p")
    assert (found.output, found.dropped) == ("p", ("y",))
    logits = rows @ VALUES["V"] + VALUES["B2"]
    wanted = Activation.of("softmax" if "Softmax" in nodes else "linear")(logits)
    np.testing.assert_allclose(Engine(found.model).run(rows), wanted, atol=1e-5)
    report = verify_import(replace(found.model, layers=(replace(found.model.layers[0], bias=B2 + 1),)), path, rows)
    assert "Softmax" in nodes or not report.ok  # it is this tensor that the model is held against


def test_nothing_is_named_before_what_has_weights_behind_it(tmp_path):
    """Cut there, a network would lose layers; nor is the input a network."""
    for nodes in ("h = Gemm(x, V, B2) r = Cosh(h) y = Gemm(r, W2, W1)", "r = Cosh(x) y = Neg(r)"):
        onnx.save(with_outputs(nodes, "y", W1=normal(6)), tmp_path / "m.onnx")
        with pytest.raises(ArtifactError, match="Cosh") as caught:
            read_onnx(tmp_path / "m.onnx")
        assert "--output" not in str(caught.value)


def saved_rows(folder):
    np.savez(folder / "x.npz", x=random_rows(20, 6))
    return folder / "x.npz"


def test_no_choice_is_offered_where_none_helps(tmp_path):
    """Every output needs the node, or one was chosen already."""
    path = tmp_path / "m.onnx"
    onnx.save(with_outputs("h = Gemm(x, V, B2) s = Tan(h) y = Neg(s) z = Abs(s) r = Identity(h)", "y z r"), path)
    with pytest.raises(ArtifactError, match=r"'r' \(n, 3\) can do without it"):
        read_onnx(path)
    with pytest.raises(ArtifactError, match=r"Tan, output 's'") as chosen:
        read_onnx(path, output="y")
    onnx.save(with_outputs("h = Gemm(x, V, B2) s = Tan(h) y = Gemm(s, W2) z = Abs(s)", "y z"), path)
    with pytest.raises(ArtifactError, match=r"Tan, output 's'") as needed:
        read_onnx(path)
    assert not any("--output" in str(found.value) for found in (chosen, needed))


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ("y = Gemm(x, V, B2) state = Identity(x)", "y state"),
        ("state = Identity(x) y = Gemm(x, V, B2)", "state y"),
        ("y = Gemm(x, V, B2) version = Identity(first_float)", "version y"),
        ("y = Gemm(x, V, B2) noise = RandomNormalLike(x)", "y noise"),
        ("y = Gemm(x, V, B2) noise = RandomUniform<shape=[1, 3]>()", "noise y"),
        ("y = Gemm(x, V, B2) same = Identity(y)", "y same"),
        ("y = Gemm(x, V, B2) k = ArgMax<axis=1, keepdims=0>(y)", "k y"),
        ("y = Gemm(x, V, B2) z = Mul(y, nothing) s = Add(z, B2)", "s y"),
        ("y = Gemm(x, V, B2) t = Transpose(x) u = Unsqueeze<axes=[0]>(t)", "u y"),
        ("y = Gemm(x, V, B2) scaled = Mul(x, nothing)", "scaled y"),
        ("y = Gemm(x, V, B2) c = Cast<to=7>(x) t = Gather<axis=0>(V, c)", "y t"),
    ],
)
def test_what_is_plainly_no_network_s_output_needs_no_choice(nodes, names, tmp_path):
    """The input passed on or scaled, what it looks up, constants, random numbers, a tensor under two names, labels."""
    path = tmp_path / "m.onnx"
    onnx.save(with_outputs(nodes, names, opset=11, first_float=np.ones((1, 3), np.float32)), path)
    found = import_onnx(path)
    assert found.output in ("y", "same")
    assert len(found.dropped) == 1
    assert verify_import(found.model, path).ok


def test_a_state_that_is_passed_through_is_no_input(tmp_path):
    """Policies that have no state take one in and give it back: neither is the network's."""
    source, target = "float[N,6] x, float[N] state_in, int64[N,2] frame", "float[N,3] y, float[N] state, int64[N,2] f"
    nodes = "y = Gemm(x, V, B2) state = Identity(state_in) f = Identity(frame)"
    found = imported(graph(nodes, 13, source, target, V=normal(6, 3)), tmp_path)
    assert (found.output, found.dropped, found.model.n_in) == ("y", ("state", "f"), 6)


def test_the_motion_that_a_policy_follows_is_no_output_of_its(tmp_path):
    """It is looked up by the time, an input of its own; neither is the network's, and no choice is needed."""
    nodes = "y = Gemm(x, V, B2) t = Cast<to=7>(time) i = Clip(t, first, last) q = Squeeze(i) m = Gather<axis=0>(M, q)"
    constants = {"V": normal(6, 3), "M": normal(9, 4), "first": np.int64(0), "last": np.int64(8)}
    source, target = "float[N,6] x, float[1,1] time", "float[4] m, float[N,3] y"
    found = imported(graph(nodes, 13, source, target, **constants), tmp_path)
    assert (found.output, found.dropped, found.model.n_in) == ("y", ("m",), 6)


_SHAPES = (
    "h = Gemm(x, W1, B1) r = Relu(h) m = Gemm(r, W2, B2) l = Gemm(r, W2, B2) c = Clip(l, low, high) e = Exp(c) "
    "t = Shape(m) ones = ConstantOfShape<value=one>(t) s = Mul(ones, {deviation}) zeros = ConstantOfShape(t) "
    "a = Add(zeros, m) b = Add(a, s) u = Shape(b) w = Expand(m, u) y = Tanh(w)"
)


@pytest.mark.parametrize("deviation", ["e", "given"])
def test_what_has_a_shape_alone_that_is_used_stops_nothing(deviation, tmp_path):
    """Stable-Baselines3's policies: the mean is expanded to the shape of mean + deviation, which it has already."""
    nodes = _SHAPES.format(deviation=deviation)
    constants = {"low": np.float32(-20), "high": np.float32(2), "given": normal(3)}
    used = {name: value for name, value in constants.items() if f"{name}," in nodes or f"{name})" in nodes}
    nodes = nodes.replace("value=one", "value=float[1] {1}")
    found = imported(graph(nodes, 15, **used), tmp_path)
    assert activations(found) == ["relu", "tanh"]
    with pytest.raises(ArtifactError, match=r"node 'b' \(Add|node 's' \(Mul"):
        read_onnx(tmp_path / "foreign.onnx", output="b")


def test_noise_times_a_deviation_times_nothing_is_none(tmp_path):
    """tanh(mean + 0 * deviation * noise), the deviation being a branch of its own, in any order."""
    for order in (
        "z = Mul(zero, e) n = Mul(z, r) y = Add(m, n)",
        "z = Mul(e, zero) n = Mul(r, z) y = Add(n, m)",
        "z = Mul(zero, r) n = Mul(z, e) y = Add(m, n)",
        "z = Mul(zero, r) n = Mul(e, z) y = Add(n, m)",
    ):
        nodes = f"m = Gemm(x, V, B2) l = Gemm(x, U, B2) e = Softplus(l) r = RandomNormalLike(m) {order}"
        found = imported(graph(nodes, zero=np.float32(0), V=normal(6, 3), U=normal(6, 3)), tmp_path)
        assert found.model.layer_sizes == (6, 3)


def test_outputs_with_noise_are_not_what_is_meant_beside_others(tmp_path):
    """The action that is drawn and its log-probability are left out, and said to be; of others one is chosen."""
    nodes = "m = Gemm(x, V, B2) r = RandomNormalLike(m) a = Add(m, r) d = Sub(a, m) p = Mul(d, d) y = Tanh(m)"
    target = "float[N,3] a, float[N,3] p, float[N,3] y"
    found = imported(graph(nodes, target=target, V=normal(6, 3)), tmp_path)
    assert (found.output, found.dropped, activations(found)) == ("y", ("a", "p"), ["tanh"])
    onnx.save(graph(nodes, target=f"{target}, float[N,3] m", V=normal(6, 3)), tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"the graph has 2 outputs: 'y' \(n, 3\), 'm' \(n, 3\); [^;]*$"):
        read_onnx(tmp_path / "m.onnx")
    onnx.save(graph(nodes, target="float[N,3] a, float[N,3] p", V=normal(6, 3)), tmp_path / "n.onnx")
    with pytest.raises(ArtifactError, match=r"node 'a' \(Add, output 'a'\): it adds random numbers"):
        read_onnx(tmp_path / "n.onnx")


def test_random_numbers_times_nothing_are_none(tmp_path):
    """mean + 0 * noise is the mean, however the noise is scaled before; other noise is refused by its name."""
    still = "m = Gemm(x, V, B2) r = RandomNormalLike(m) s = Mul(r, B2) z = Mul(zero, s) y = Add(m, z)"
    proto = graph(still, V=normal(6, 3), zero=np.float32(0))
    found = imported(proto, tmp_path)
    assert np.array_equal(found.model.layers[0].bias, CONSTANTS["B2"])
    loud = "m = Gemm(x, V, B2) r = RandomNormalLike(m) y = Add(m, r)"
    with pytest.raises(ArtifactError, match=r"Add, output 'y'\): it adds random numbers, which no artifact gives"):
        imported(graph(loud, V=normal(6, 3)), tmp_path)


def test_the_commands_take_the_name_of_an_output(tmp_path):
    """import, export and verify; what was taken and what not stands in text and JSON, and the artifact remembers it."""
    path = tmp_path / "m.onnx"
    onnx.save(with_outputs("y = Gemm(x, V, B2) r = Gemm(y, W2)", "y r"), path)
    np.savez(tmp_path / "d.npz", x=random_rows(60, 6))
    refused = run_command("import", path, "--out", tmp_path / "m.npz")
    assert refused.exit_code == 2
    assert "choose it by --output NAME" in refused.stderr
    done = run_command("import", path, "--out", tmp_path / "m.npz", "--output", "y")
    assert "output 'y' was taken, and not 'r'" in done.stdout
    again = run_command("import", path, "--out", tmp_path / "m.npz", "--output", "y", "--json")
    facts = json.loads(again.stdout)
    assert (facts["output"], facts["dropped_outputs"]) == ("y", ["r"])
    assert run_command("verify", tmp_path / "m.npz", path).exit_code == 0
    assert run_command("verify", tmp_path / "m.npz", path, "--output", "r").exit_code == 2
    out = ["--calibrate", tmp_path / "d.npz", "--out", tmp_path / "out"]
    assert run_command("export", path, *out).exit_code == 2
    assert run_command("export", path, *out, "--output", "r").exit_code == 0
    assert load(tmp_path / "out" / "m.int8.npz").n_out == 6


def test_one_sigmoid_output_and_its_complement_keep_both_columns(tmp_path):
    """1 - p beside p becomes one layer with two sigmoids, which int8 keeps exact."""
    nodes = "h = Gemm(x, V, C) p = Sigmoid(h) q = Sub(one, p) y = Concat<axis=1>(q, p)"
    found = imported(graph(nodes, target="float[N,2] y", V=normal(6, 1), C=normal(1), one=np.float32(1)), tmp_path)
    assert activations(found) == ["sigmoid"]
    assert found.model.n_out == 2


@pytest.mark.parametrize(
    "activation", ["relu", "leaky_relu", "softmax", "gelu", "swish", "clip", "log_softmax", "mish"]
)
def test_what_write_onnx_writes_comes_back(tmp_path, activation):
    """The same layers, bit by bit, with standardization, class names and metadata."""
    model = random_model([7, 6, 4], ["tanh", activation], standardize=True)
    model = type(model)(model.layers, model.preprocessing, ("a", "b", "ö", "d"), {"seed": "3"})
    write_onnx(model, tmp_path / "m.onnx")
    back = read_onnx(tmp_path / "m.onnx")
    assert back.class_names == model.class_names
    assert dict(back.metadata) == dict(model.metadata)
    np.testing.assert_array_equal(back.preprocessing(random_rows(9, 7)), model.preprocessing(random_rows(9, 7)))
    for before, after in zip(model.layers, back.layers, strict=True):
        assert before.activation.name == after.activation.name
        np.testing.assert_array_equal(before.weight, after.weight)
        np.testing.assert_array_equal(before.bias, after.bias)
