"""What other tools make of a dense network: operators in one, softmax in several, conditions that are constant."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_runtime.errors import ArtifactError
from export import read_onnx
from tests.export.foreign import activations, checked, graph, imported, normal

SOFTMAX = {
    "plain": "e = Exp(h) s = ReduceSum<keepdims=1>(e, a) y = Div(e, s)",
    "the largest taken off": "m = ReduceMax<axes=[1], keepdims=1>(h) d = Sub(h, m) e = Exp(d) "
    "s = ReduceSum<keepdims=1>(e, a) y = Div(e, s)",
    "last axis": "m = ReduceMax<axes=[-1]>(h) d = Sub(h, m) e = Exp(d) s = ReduceSum(e, a) y = Div(e, s)",
}
LOG_SOFTMAX = {
    "log of softmax": "p = Softmax(h) y = Log(p)",
    "log of the sum": "m = ReduceMax<axes=[1]>(h) d = Sub(h, m) e = Exp(d) s = ReduceSum(e, a) l = Log(s) "
    "y = Sub(d, l)",
    "ReduceLogSumExp": "l = ReduceLogSumExp<axes=[1]>(h) y = Sub(h, l)",
}  # fmt: skip


@pytest.mark.parametrize(
    ("tail", "name"),
    [*((text, "softmax") for text in SOFTMAX.values()), *((text, "log_softmax") for text in LOG_SOFTMAX.values())],
    ids=[*SOFTMAX, *LOG_SOFTMAX],
)
def test_softmax_in_several_operators(tmp_path, tail, name):
    """Exponentials divided by their sum are softmax, with or without the largest value taken off."""
    used = {"a": np.array([1])} if ", a)" in tail else {}
    found = imported(graph(f"h = Gemm(x, V, B2) {tail}", V=normal(6, 3), **used), tmp_path)
    assert activations(found) == [name]


@pytest.mark.parametrize(
    "tail",
    [
        "e = Exp(h) s = ReduceSum(e) y = Div(e, s)",
        "e = Exp(h) s = ReduceSum<keepdims=1>(h, a) y = Div(e, s)",
        "e = Tanh(h) s = ReduceSum<keepdims=1>(e, a) y = Div(e, s)",
        "m = ReduceMax<axes=[1]>(h) y = Sub(h, m)",
        "m = ReduceMax<axes=[1]>(h) d = Sub(h, m) y = Relu(d)",
        "m = ReduceMax<axes=[1]>(h) y = Add(h, m)",
        "m = ReduceMean<axes=[1]>(h) y = Div(h, m)",
        "s = ReduceSum<keepdims=1>(h, a) r = Reciprocal(s) y = Mul(h, r)",
        "y = ReduceMax<axes=[1]>(h)",
        "m = ReduceMax<axes=[1]>(h) y = Cast<to=1>(m)",
    ],
)
def test_what_is_almost_softmax_is_refused(tmp_path, tail):
    """Sums over the batch, of other tensors, of other functions."""
    used = {"a": np.array([1])} if ", a)" in tail else {}
    onnx.save(graph(f"h = Gemm(x, V, B2) {tail}", V=normal(6, 3), **used), tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"node '\w' \("):
        read_onnx(tmp_path / "m.onnx")


FUSED = {
    "com.microsoft.FusedMatMul<transB=1, alpha=0.5>(x, T)": "linear",
    "com.microsoft.FusedMatMul(x, W1)": "linear",
    'com.microsoft.FusedGemm<activation="Relu">(x, W1, B1)': "relu",
    'com.microsoft.FusedGemm<transB=1, activation="LeakyRelu", activation_alpha=0.2>(x, T, B1)': "leaky_relu",
    'com.microsoft.FusedGemm<activation="Elu", activation_alpha=0.7>(x, W1, B1)': "elu",
    'com.microsoft.FusedGemm<activation="HardSigmoid", activation_alpha=0.25, activation_beta=0.4>(x, W1)': (
        "hard_sigmoid"
    ),
    'com.microsoft.FusedGemm<activation="Softsign">(x, W1, B1)': "softsign",
    "com.microsoft.BiasGelu(g, B1)": "gelu",
    "com.microsoft.Gelu(g)": "gelu",
    "com.microsoft.FastGelu(g, B1)": "gelu_tanh",
    "com.microsoft.FastGelu(g)": "gelu_tanh",
    "com.microsoft.QuickGelu(g)": "swish",
    "com.microsoft.QuickGelu<alpha=1.0>(g)": "swish",
}  # fmt: skip


@pytest.mark.parametrize("call", FUSED)
def test_fused_operators_of_onnxruntime(tmp_path, call):
    """A product with its activation, a bias with Gelu, x * sigmoid(alpha x)."""
    used = {"T": np.arange(30, dtype=np.float32).reshape(5, 6) / 20 - 0.7} if " T" in call else {}
    before = "g = MatMul(x, W1)" if "(g" in call else ""
    found = imported(graph(f"{before} r = {call} y = Gemm(r, W2, B2)", **used), tmp_path)
    assert activations(found) == [FUSED[call], "linear"]


@pytest.mark.parametrize("level", ["ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED"])
@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("Relu(h)", "relu"),
        ("LeakyRelu<alpha=0.3>(h)", "leaky_relu"),
        ("Tanh(h)", "tanh"),
        ("Mul(h, s) : s = Sigmoid(h)", "swish"),
        ("Mul(h, s) : k = Mul(h, quick) s = Sigmoid(k)", "swish"),
        ("Mul(k, half) : d = Div(h, root) e = Erf(d) a = Add(e, one) k = Mul(h, a)", "gelu"),
    ],
)
def test_files_that_onnxruntime_optimized(tmp_path, level, activation, name):
    """SessionOptions.optimized_model_filepath: FusedGemm, QuickGelu, BiasGelu and whatever else it writes."""
    last, _, before = activation.partition(" : ")
    numbers = {"quick": 1.702, "half": 0.5, "root": np.sqrt(2), "one": 1.0}
    text = f"m = MatMul(x, W1) h = Add(m, B1) {before} r = {last} y = Gemm(r, W2, B2)"
    used = {key: np.float32(value) for key, value in numbers.items() if f"{key})" in text}
    onnx.save(graph(text, **used), tmp_path / "plain.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(tmp_path / "plain.onnx", options, providers=["CPUExecutionProvider"])
    assert activations(checked(tmp_path / "optimized.onnx")) == [name, "linear"]


BRANCHES = (
    "k = If (c) <then_branch = t () => (float[N,5] p) {{ {then} }}, "
    "else_branch = e () => (float[N,5] p) {{ {other} }}> "
    "y = Gemm(k, W2, B2)"
)  # fmt: skip


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("other", ["p = Tanh(h)", "q = Conv(h, h) p = LSTM(q, q, q)"])
def test_the_branch_of_a_constant_condition_is_taken(tmp_path, condition, other):
    """Even where the other one is none of a chain; names of both may be the same."""
    nodes = BRANCHES.format(then="p = Relu(h)" if condition else other, other=other if condition else "p = Relu(h)")
    proto = graph(f"h = Gemm(x, W1, B1) {nodes}", c=np.bool_(condition), opset=17)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    found = checked(tmp_path / "m.onnx") if "Tanh" in nodes else None
    model = found.model if found else read_onnx(tmp_path / "m.onnx")
    assert [layer.activation.name for layer in model.layers] == ["relu", "linear"]


def test_a_branch_that_is_not_taken_takes_no_memory_either(tmp_path):
    """It asks for 80 GB, and what comes after it is still computed."""
    nodes = "k = If (c) <then_branch = t () => (float p) { p = Identity(one) }, "
    nodes += "else_branch = e () => (float q) { r = ConstantOfShape(n) q = ReduceSum<keepdims=0>(r) }> "
    nodes += "h = Gemm(x, W1, B1) s = Mul(h, k) y = Gemm(s, W2, B2)"
    proto = graph(nodes, c=np.bool_(True), one=np.float32(2), n=np.array([10**10]), opset=17)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert read_onnx(tmp_path / "m.onnx").layer_sizes == (6, 5, 3)


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("c = Constant<value_int=1>()", r"/q' \(Conv, output"),
        ("s = ReduceSum<keepdims=0>(x) z = Cast<to=9>(s) c = Identity(z)", "."),
        ("s = Shape(x) c = Cast<to=9>(s)", "condition is not constant"),
    ],
)
def test_other_conditions_are_refused_by_name(tmp_path, condition, reason):
    """A condition that the input decides, and a branch that is taken and is no chain."""
    nodes = BRANCHES.format(then="q = Conv(h, h) p = Relu(q)", other="p = Relu(h)")
    (tmp_path / "m.onnx").write_bytes(graph(f"h = Gemm(x, W1, B1) {condition} {nodes}", opset=17).SerializeToString())
    with pytest.raises(ArtifactError, match=reason):
        read_onnx(tmp_path / "m.onnx")


def test_branches_in_branches_with_constants_of_their_own(tmp_path):
    """An inner branch sees the outer one's names and the graph's; initializers of branches are read."""
    inner = "If (c) <then_branch = a () => (float[N,5] u) { w = Relu(v) u = Add(w, B1) }, "
    inner += "else_branch = b () => (float[N,5] u) { u = Neg(v) }>"
    outer = f"v = Mul(h, K) p = {inner}"
    text = f"h = MatMul(x, W1) k = If (c) <then_branch = t () => (float[N,5] p) {{ {outer} }}, "
    text += "else_branch = e () => (float[N,5] p) { p = Tanh(h) }> y = MatMul(k, W2) "
    proto = graph(text, opset=17, c=np.bool_(True), B1=normal(5), K=normal(5))
    branch = proto.graph.node[1].attribute[0].g
    moved = next(tensor for tensor in proto.graph.initializer if tensor.name == "K")
    branch.initializer.add().CopyFrom(moved)
    proto.graph.initializer.remove(moved)
    assert activations(imported(proto, tmp_path)) == ["relu", "linear"]


def test_branches_without_end_are_refused(tmp_path):
    """Nested deeper than any exporter goes."""
    nodes = "p = Relu(h)"
    for level in range(20):
        nodes = (
            f"p = If (c) <then_branch = t{level} () => (float[N,5] p) {{ {nodes} }}, "
            f"else_branch = e{level} () => (float[N,5] q) {{ q = Relu(h) }}>"
        )
    proto = graph(f"h = Gemm(x, W1, B1) {nodes} y = MatMul(p, W2)", opset=17, c=np.bool_(True))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ArtifactError, match="16"):
        read_onnx(tmp_path / "m.onnx")
