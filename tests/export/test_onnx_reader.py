"""Every legal spelling of a dense network, made by hand, gives the file's own outputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.activations import Activation
from export import read_onnx
from export.onnx_writer import write_onnx
from export.reader_functions import recognized
from tests.export.foreign import B1, B2, W1, W2, activations, graph, imported, normal
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


ACTIVATION_SPELLINGS = {
    "relu": ["Relu(h)", "Max(h, zero)", "Clip(h, zero)", "Where(c, h, zero) : c = Greater(h, zero)"],
    "leaky_relu": ["LeakyRelu<alpha=0.2>(h)", "PRelu(h, slope)", "Max(h, s) : s = Mul(h, slope)",
                   "Sub(p, q) : p = Relu(h) n = Neg(h) m = Relu(n) q = Mul(m, slope)"],
    "elu": ["Elu<alpha=0.7>(h)", "Elu(h)"],
    "selu": ["Selu(h)"],
    "celu": ["Celu<alpha=2.0>(h)"],
    "softplus": ["Softplus(h)", "Log(s) : e = Exp(h) s = Add(e, one)"],
    "softsign": ["Softsign(h)", "Div(h, s) : a = Abs(h) s = Add(one, a)"],
    "sigmoid": ["Sigmoid(h)", "Div(one, s) : n = Neg(h) e = Exp(n) s = Add(e, one)",
                "Reciprocal(s) : n = Neg(h) e = Exp(n) s = Add(one, e)"],
    "hard_sigmoid": ["HardSigmoid(h)", "HardSigmoid<alpha=0.166667, beta=0.5>(h)",
                     "Div(c, six) : a = Add(h, three) c = Clip(a, zero, six)"],
    "hard_swish": ["Mul(h, g) : g = HardSigmoid<alpha=0.16666667, beta=0.5>(h)",
                   "Div(m, six) : a = Add(h, three) c = Clip(a, zero, six) m = Mul(h, c)"],
    "swish": ["Mul(h, g) : g = Sigmoid(h)", "Mul(g, h) : k = Mul(h, slope) g = Sigmoid(k)"],
    "mish": ["Mul(h, t) : s = Softplus(h) t = Tanh(s)",
             "Mul(h, t) : e = Exp(h) p = Add(e, one) l = Log(p) t = Tanh(l)"],
    "tanh": ["Tanh(h)"],
    "gelu": ["Mul(k, half) : d = Div(h, root) e = Erf(d) a = Add(e, one) k = Mul(h, a)",
             "Mul(k, a) : d = Div(h, root) e = Erf(d) a = Add(one, e) k = Mul(half, h)"],
    "gelu_tanh": ["Mul(k, a) : c = Pow(h, three) m = Mul(c, cubic) s = Add(h, m) i = Mul(s, slope2) t = Tanh(i) "
                  "a = Add(t, one) k = Mul(h, half)"],
    "clip": ["Clip(h, zero, six)", "Min(p, six) : p = Relu(h)", "Max(p, zero) : p = Min(six, h)"],
    "thresholded_relu": ["ThresholdedRelu<alpha=0.3>(h)"],
    "abs": ["Abs(h)", "Max(h, n) : n = Neg(h)"],
}  # fmt: skip
NUMBERS = {
    "zero": 0.0, "one": 1.0, "half": 0.5, "three": 3.0, "six": 6.0, "slope": 0.2, "root": np.sqrt(2), "cubic": 0.044715,
    "slope2": np.sqrt(2 / np.pi),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "spelling"), [(name, text) for name, texts in ACTIVATION_SPELLINGS.items() for text in texts]
)
def test_activations_are_recognized_by_what_they_compute(tmp_path, name, spelling):
    """An operator or a pattern of nodes, in any order of operands, becomes the activation of that name."""
    last, _, before = spelling.partition(" : ")
    nodes = f"h = Gemm(x, W1, B1) {before} r = {last} y = Gemm(r, W2, B2)"
    used = {key: np.float32(value) for key, value in NUMBERS.items() if f"{key}," in nodes or f"{key})" in nodes}
    assert activations(imported(graph(nodes, **used), tmp_path)) == [name, "linear"]


@pytest.mark.parametrize(
    ("nodes", "opset", "name"),
    [
        ("r = Gelu(h)", 20, "gelu"),
        ('r = Gelu<approximate="tanh">(h)', 20, "gelu_tanh"),
        ("r = HardSwish(h)", 14, "hard_swish"),
        ("r = Mish(h)", 18, "mish"),
        ("r = Clip<min=0.0, max=6.0>(h)", 10, "clip"),
        ("r = Clip<min=0.0>(h)", 10, "relu"),
        ("r = com.microsoft.Gelu(h)", 13, "gelu"),
    ],
)
def test_operators_of_other_opsets(tmp_path, nodes, opset, name):
    """What newer opsets have as one operator, and older ones as attributes."""
    found = imported(graph(f"h = Gemm(x, W1, B1) {nodes} y = Gemm(r, W2, B2)", opset=opset), tmp_path)
    assert activations(found) == [name, "linear"]


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 21])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_softmax_before_and_after_opset_13(tmp_path, opset, operator):
    """Coerced to two axes, or along one: over a row of classes both mean the same, with and without a named axis."""
    for axis in ("", "<axis=1>", "<axis=-1>") if opset >= 11 else ("", "<axis=1>"):
        found = imported(graph(f"h = Gemm(x, V, B2) y = {operator}{axis}(h)", opset=opset, V=normal(6, 3)), tmp_path)
        assert activations(found) == ["softmax" if operator == "Softmax" else "log_softmax"]


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


@pytest.mark.parametrize("by_axes", [False, True])
@pytest.mark.parametrize("as_node", [False, True])
def test_sparse_weights(tmp_path, by_axes, as_node):
    """Coordinates counted through, or axis by axis, as an initializer and as a Constant node."""
    dense = np.where(np.abs(W1) > 0.4, W1, 0)
    places = np.flatnonzero(dense)
    values = numpy_helper.from_array(dense.ravel()[places], "V")
    indices = np.stack(np.unravel_index(places, dense.shape), axis=1) if by_axes else places
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices.astype(np.int64), "i"), dense.shape)
    proto = graph(f"h = Gemm(x, V, B1) {TAIL}")
    if as_node:
        proto.graph.node.insert(0, helper.make_node("Constant", [], ["V"], sparse_value=sparse))
    else:
        proto.graph.sparse_initializer.append(sparse)
    np.testing.assert_array_equal(imported(proto, tmp_path).model.layers[0].weight, dense)


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


def test_prelu_with_a_slope_for_each_feature(tmp_path):
    """As Keras makes it: two columns for one, and the same numbers."""
    found = imported(graph("h = Gemm(x, W1, B1) r = PRelu(h, S) y = Gemm(r, W2, B2)", S=normal(5)), tmp_path)
    assert found.model.layer_sizes == (6, 10, 5, 3)


@pytest.mark.parametrize("dropout", [("Dropout", 7), ("Dropout<ratio=0.3>", 10), ("Dropout<seed=3>", 12)])
def test_dropout_at_inference(tmp_path, dropout):
    """In every historical form it does nothing."""
    operator, opset = dropout
    imported(graph(f"h = Gemm(x, W1, B1) d = {operator}(h) y = Gemm(d, W2, B2)", opset=opset), tmp_path)


def test_class_labels_and_logits(tmp_path):
    """ArgMax alone, ArgMax beside the values, and logits beside probabilities."""
    alone = imported(graph("h = Gemm(x, V, B2) y = ArgMax<axis=1>(h)", target="int64[N,1] y", V=normal(6, 3)), tmp_path)
    assert alone.output_kind == "label"
    both = "h = Gemm(x, V, B2) p = Softmax(h) y = ArgMax<axis=-1, keepdims=0>(p)"
    found = imported(graph(both, target="float[N,3] p, int64[N] y", V=normal(6, 3)), tmp_path)
    assert (found.output, activations(found)) == ("p", ["softmax"])
    logits = imported(
        graph("h = Gemm(x, V, B2) p = Softmax(h)", target="float[N,3] h, float[N,3] p", V=normal(6, 3)), tmp_path
    )
    assert (logits.output, activations(logits)) == ("p", ["softmax"])


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


@pytest.mark.parametrize(
    "almost",
    [
        lambda x: np.maximum(x, 0) + 1e-4 * (x > 50),
        lambda x: np.minimum(np.maximum(x, 0), 1000.0) + 0.01 * (x > 999),
        lambda x: x * x,
        np.sin,
        lambda x: np.maximum(x, 0.001 * x) + 0.01 * np.exp(-x * x),
    ],
)
def test_a_function_that_is_almost_an_activation_is_not_taken_for_one(almost):
    """A step, a hump or another curve than the runtime has is told apart."""
    assert recognized(almost) is None


@pytest.mark.parametrize(
    ("name", "params"), [("swish", {"alpha": 1.702}), ("selu", {}), ("clip", {"min": -2, "max": 0.5})]
)
def test_parameters_are_read_off_the_function(name, params):
    """To the last digit that float32 has."""
    activation = Activation.of(name, params)
    found = recognized(activation)
    assert isinstance(found, Activation)
    assert found.name == name
    np.testing.assert_allclose([v for _, v in found.params], [v for _, v in activation.params], rtol=1e-6)
