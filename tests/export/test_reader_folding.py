"""Constants computed from constants have onnxruntime's values, dtypes and shapes, and take bounded memory and time."""

from __future__ import annotations

import time

import numpy as np
import onnxruntime
import pytest

from edge_runtime.errors import ArtifactError
from export import read_onnx
from export.reader_folding import FOLDED, is_folded
from export.reader_nodes import Budget, Unsupported
from export.reader_values import Const
from export.reader_walk import needed_nodes
from tests.export.foreign import W1, graph, imported, normal

MATERIAL = {
    "V": normal(4, 6), "P": np.abs(normal(4, 6)) + 0.1, "D": normal(4, 6).astype(np.float64), "H": normal(2, 3, 4),
    "I": np.arange(-12, 12).reshape(4, 6), "a": np.array([1]), "b": np.array([0, -1]), "n": np.array([2, 3]),
    "s": np.array([1, 5]), "C": normal(3, 4), "E": normal(3), "t": np.float32([0.05, 0.1, 0.2, 0.3]),
    "z": np.uint8([3, 4, 5, 250]), "u": np.float32(0.01), "v": np.int8(-5), "lo": np.float32(-0.2),
    "T": normal(5, 3), "Q": (np.arange(24) - 11.5).astype(np.float32).reshape(4, 6), "one": np.float32(1),
    "k": np.array([5]),
}  # fmt: skip
REDUCED = ["Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp"]
CASES = [
    *(f"Reduce{name}({axes})" for name in REDUCED for axes in ("V", "V, a", "H, b", "D, a")),
    *("ReduceSum<keepdims=0>(H, b)", "ReduceProd<keepdims=0>(P)"),
    *("ReduceLogSum(P, a)", "ReduceSum(I, a)", "ReduceMax(I)"),
    *(f"{name}(V)" for name in ("Sin", "Cos", "Tan", "Tanh", "Asin", "Acos", "Atan", "Erf", "Sigmoid", "Softplus")),
    *("Relu(V)", "Elu<alpha=0.3>(V)", "LeakyRelu<alpha=0.3>(V)", "HardSigmoid(V)", "Softsign(V)", "Round(Q)"),
    *("Mod(I, k)", "Mod<fmod=1>(V, P)"),
    *("Exp(D)", "Sqrt(P)", "Reciprocal(P)", "Div(I, a)", "Div(V, P)", "Pow(P, V)", "Neg(V)"),
    *("Clip(V, lo)", "Clip(V, lo, u)", "Clip(V, , u)", "Tile(V, n)", "Split<axis=1>(V, s)", "Split<axis=0>(V)"),
    *("Softmax(V)", "Softmax<axis=0>(V)", "LogSoftmax(V)", "Size(H)", "MatMul(T, C)", "MatMul(E, C)"),
    *("Gemm(T, C)", "Gemm<transA=1, transB=1, alpha=0.5, beta=2.0>(C, T, one)"),
    *("QuantizeLinear(Q, one)", "QuantizeLinear<axis=0>(V, t, z)", "QuantizeLinear(V, u, v)"),
]  # fmt: skip


@pytest.mark.parametrize("call", CASES)
def test_a_folded_constant_is_what_onnxruntime_computes(call):
    """Value by value to float32's last digits, integers exactly, with its dtype and its shape."""
    outputs = "y, w" if call.startswith("Split") else "y"
    used = {key: value for key, value in MATERIAL.items() if f"{key}," in call or f"{key})" in call}
    proto = graph(f"{outputs} = {call}", opset=17 if "b)" in call or "a)" in call else 13, target="float y", **used)
    if proto.opset_import[0].version == 17 and call.startswith("Reduce"):
        proto.opset_import[0].version = 18  # where axes became an input of every reduction
    node = needed_nodes(proto, ["y"])[0]
    inputs = [Const(used[name]) if name else None for name in node.inputs]
    assert is_folded(node, inputs)
    found = FOLDED[node.operator](node, inputs, Budget(1 << 20))[0]
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].ClearField("type")
    del proto.graph.input[:]
    expected = onnxruntime.InferenceSession(proto.SerializeToString()).run(["y"], {})[0]
    assert (found.array.dtype, found.array.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind in "iu":
        np.testing.assert_array_equal(found.array, expected)
    else:
        np.testing.assert_allclose(found.array, expected, rtol=2e-6, atol=2e-7)


def test_weights_made_of_a_direction_and_a_length(tmp_path):
    """Weight normalization as PyTorch's older exporter leaves it in the graph."""
    nodes = "l = ReduceL2<axes=[1], keepdims=1>(V) d = Div(V, l) w = Mul(d, G) y = Gemm<transB=1>(x, w, B1)"
    model = imported(graph(nodes, target="float[N,5] y", V=W1.T.copy(), G=normal(5, 1)), tmp_path).model
    assert model.layer_sizes == (6, 5)


@pytest.mark.filterwarnings("ignore")  # the exporters warn about themselves
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "old weight_norm"])
def test_pytorch_parametrizations(tmp_path, kind, exporter):
    """Weight and spectral normalization by both exporters; what an exporter refuses itself is not tried."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from tests.export.test_onnx_reader_exporters import export_torch

    if kind == "spectral_norm" and exporter == "torchscript":
        wrapped = torch.nn.utils.spectral_norm(torch.nn.Linear(16, 5))  # the newer one has no older export
    elif kind == "old weight_norm":
        wrapped = torch.nn.utils.weight_norm(torch.nn.Linear(16, 5), dim=None)
    else:
        wrapped = getattr(torch.nn.utils.parametrizations, kind)(torch.nn.Linear(16, 5))
    network = torch.nn.Sequential(torch.nn.Flatten(), wrapped, torch.nn.ReLU(), torch.nn.Linear(5, 3)).eval()
    export_torch(torch, network, tmp_path / "m.onnx", exporter)
    model = read_onnx(tmp_path / "m.onnx")
    with torch.no_grad():
        np.testing.assert_allclose(model.layers[0].weight, network[1].weight.numpy().T, rtol=3e-6, atol=1e-7)


def test_quantized_and_dequantized_weights_keep_their_integers(tmp_path):
    """QuantizeLinear of a constant, as quantization-aware training leaves it: the codes are those of the file."""
    nodes = "q = QuantizeLinear(x, u, z) d = DequantizeLinear(q, u, z) c = QuantizeLinear(W1, k, i) "
    nodes += "w = DequantizeLinear(c, k, i) y = MatMul(d, w)"
    constants = {"u": np.float32(0.02), "z": np.uint8(128), "k": np.float32(0.01), "i": np.int8(0)}
    model = imported(graph(nodes, target="float[N,5] y", **constants), tmp_path, ("default",)).model
    assert model.precision == "int8"
    np.testing.assert_array_equal(model.layers[0].weight, np.clip(np.rint(W1 / np.float32(0.01)), -128, 127))


@pytest.mark.parametrize(
    "nodes",
    [
        "v = Tile(one, many) y = MatMul(x, v)",
        "v = Erf(wide) w = Erf(v) y = MatMul(x, w)",
        "v = MatMul(wide, wide) w = MatMul(v, v) u = MatMul(w, w) t = MatMul(u, u) y = MatMul(x, t)",
    ],
)
def test_a_small_file_cannot_ask_for_much(tmp_path, nodes):
    """A tile of terabytes, slow functions, products of products: refused by name before the memory or time is spent."""
    material = {"one": np.ones((1, 1), np.float32), "many": np.array([1 << 20, 1 << 20])}
    material |= {"wide": np.zeros((1400, 1400), np.float32)}
    used = {key: value for key, value in material.items() if f"{key}," in nodes or f"{key})" in nodes}
    (tmp_path / "m.onnx").write_bytes(graph(nodes, **used).SerializeToString())
    started = time.perf_counter()
    with pytest.raises(ArtifactError, match=r"node '[a-z]' \("):
        read_onnx(tmp_path / "m.onnx", max_bytes=1 << 24)
    assert time.perf_counter() - started < 5


def test_products_of_constants_are_counted_together():
    """Not each by itself: thousands of large ones would take as long as one huge one."""
    budget = Budget(1 << 40)
    for _ in range(64):
        budget.charge_products(1 << 27)
    with pytest.raises(Unsupported, match="take minutes"):
        budget.charge_products(1 << 27)
    assert budget.products < 0 < budget.left


def test_a_reduction_of_no_axes_may_do_nothing():
    """With noop_with_empty_axes the value itself, as ONNX says (older versions of onnxruntime refuse it)."""
    proto = graph("y = ReduceSum<noop_with_empty_axes=1>(V)", V=MATERIAL["V"])
    node = needed_nodes(proto, ["y"])[0]
    found = FOLDED[node.operator](node, [Const(MATERIAL["V"])], Budget(1 << 20))[0]
    np.testing.assert_array_equal(found.array, MATERIAL["V"])
