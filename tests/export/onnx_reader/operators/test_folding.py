"""Constants computed from constants have onnxruntime's values, dtypes and shapes, and take bounded memory and time."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from edge_runtime.errors import ArtifactError
from export import read_onnx
from export.onnx_reader.nodes import Budget, Unsupported
from export.onnx_reader.operators.table import FOLDED
from export.onnx_reader.protobuf.walk import needed_nodes
from export.onnx_reader.values import Const
from tests.export.foreign import W1, graph, imported, normal
from tests.memory import traced

MATERIAL = {
    "V": np.clip(normal(4, 6), -0.9, 0.9), "P": np.abs(normal(4, 6)) + 0.1,
    "D": normal(4, 6).astype(np.float64), "H": normal(2, 3, 4),
    "I": np.arange(-12, 12).reshape(4, 6), "a": np.array([1]), "b": np.array([0, -1]), "n": np.array([2, 3]),
    "s": np.array([1, 5]), "C": normal(3, 4), "E": normal(3), "t": np.float32([0.05, 0.1, 0.2, 0.3]),
    "z": np.uint8([3, 4, 5, 250]), "u": np.float32(0.01), "v": np.int8(-5), "lo": np.float32(-0.2),
    "T": normal(5, 3), "Q": (np.arange(24) - 11.5).astype(np.float32).reshape(4, 6), "one": np.float32(1),
    "k": np.array([5]), "m": np.array([-5]), "L": np.array([(1 << 53) + 1, 7, -7, -(1 << 63), -(1 << 60) - 1]),
    "c": np.array([[True], [False], [True], [False]]),
    "N": np.float32([np.nan, 1, -1]),
}  # fmt: skip
REDUCED = ["Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp"]
CASES = [
    *(f"Reduce{name}({axes})" for name in REDUCED for axes in ("V", "V, a", "H, b", "D, a")),
    *("ReduceSum<keepdims=0>(H, b)", "ReduceProd<keepdims=0>(P)"),
    *("ReduceLogSum(P, a)", "ReduceSum(I, a)", "ReduceMax(I)"),
    *(f"{name}(V)" for name in ("Sin", "Cos", "Tan", "Tanh", "Asin", "Acos", "Atan", "Erf", "Sigmoid", "Softplus")),
    *("Relu(V)", "Elu<alpha=0.3>(V)", "LeakyRelu<alpha=0.3>(V)", "HardSigmoid(V)", "Softsign(V)", "Round(Q)"),
    *("Div(I, k)", "Div(I, m)", "Div(L, k)", "Where(c, I, k)", "Not(c)"),
    *("Mod(I, k)", "Mod<fmod=1>(V, P)"),
    *("Exp(D)", "Sqrt(P)", "Reciprocal(P)", "Div(I, a)", "Div(V, P)", "Pow(P, V)", "Neg(V)"),
    *("Clip(V, lo)", "Clip(V, lo, u)", "Clip(V, , u)", "Tile(V, n)"),
    *("Softmax(V)", "Softmax<axis=0>(V)", "LogSoftmax(V)", "Size(H)", "MatMul(T, C)", "MatMul(E, C)"),
    *("Gemm(T, C)", "Gemm<transA=1, transB=1, alpha=0.5, beta=2.0>(C, T, one)"),
    *("QuantizeLinear(Q, one)", "QuantizeLinear<axis=0>(V, t, z)", "QuantizeLinear(V, u, v)"),
]  # fmt: skip


@pytest.mark.parametrize("call", CASES)
def test_a_folded_constant_is_what_onnxruntime_computes(call):
    """Value by value to float32's last digits, integers exactly, with its dtype and its shape."""
    used = {key: value for key, value in MATERIAL.items() if f"{key}," in call or f"{key})" in call}
    proto = graph(f"y = {call}", opset=17 if "b)" in call or "a)" in call else 13, target="float y", **used)
    if proto.opset_import[0].version == 17 and call.startswith("Reduce"):
        proto.opset_import[0].version = 18  # where axes became an input of every reduction
    node = needed_nodes(proto, ["y"])[0]
    inputs = [Const(used[name]) if name else None for name in node.inputs]
    found = FOLDED["", node.operator](node, inputs, Budget(1 << 20))[0]
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
    from tests.export.onnx_reader.test_exporters import export_torch

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
    ("nodes", "refused"),
    [
        ("v = Tile(one, many) y = MatMul(x, v)", "v"),
        ("v = MatMul(wide, wide) w = MatMul(v, v) u = MatMul(w, w) t = MatMul(u, u) y = MatMul(x, t)", "t"),
    ],
)
def test_a_small_file_cannot_ask_for_much(tmp_path, nodes, refused):
    """A tile of terabytes, products of products: the node that would be too much is not computed."""
    material = {"one": np.ones((1, 1), np.float32), "many": np.array([1 << 20, 1 << 20])}
    material |= {"wide": np.zeros((1400, 1400), np.float32)}
    used = {key: value for key, value in material.items() if f"{key}," in nodes or f"{key})" in nodes}
    (tmp_path / "m.onnx").write_bytes(graph(nodes, **used).SerializeToString())
    with traced() as peak:
        with pytest.raises(ArtifactError, match=f"node '{refused}' \\("):
            read_onnx(tmp_path / "m.onnx", max_bytes=1 << 26)  # memory for eight products
        assert peak() < 1 << 28


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
    found = FOLDED["", node.operator](node, [Const(MATERIAL["V"])], Budget(1 << 20))[0]
    np.testing.assert_array_equal(found.array, MATERIAL["V"])


def folded(call: str, opset: int = 13, budget: int = 1 << 20, **constants) -> np.ndarray:
    """What a node of constants gives. Raises Unsupported."""
    node = needed_nodes(graph(call, opset=opset, target="float y", **constants), ["y"])[0]
    inputs = [Const(constants[name]) if name else None for name in node.inputs]
    return FOLDED["", node.operator](node, inputs, Budget(budget))[0].array


def test_sums_are_taken_in_float64_and_rounded_once():
    """In float32 the small number would be lost between the large ones."""
    values = np.float32([1e8, 1, -1e8])
    assert folded("y = ReduceSum(V)", V=values) == 1
    assert folded("y = ReduceMean(V)", V=values) == np.float32(1 / 3)


def test_axes_that_are_named_are_reduced_whatever_no_axes_would_mean():
    """noop_with_empty_axes speaks of none."""
    found = folded("y = ReduceSum<noop_with_empty_axes=1>(V, a)", V=MATERIAL["V"], a=np.array([0]))
    assert found.shape == (1, 6)


@pytest.mark.parametrize("opset", [12, 13])
@pytest.mark.parametrize("axis", [None, 0])
def test_softmax_of_constants_follows_its_opset(opset, axis):
    """Before opset 13 over all axes from its own on, which was the second one by default; then over one, the last."""
    values = normal(2, 3, 4)
    found = folded("y = Softmax(V)" if axis is None else f"y = Softmax<axis={axis}>(V)", opset, V=values)
    over = (1, 2) if axis is None else (0, 1, 2)
    if opset == 13:
        over = (2,) if axis is None else (0,)
    np.testing.assert_allclose(found.sum(axis=over), 1, rtol=1e-6)


def test_codes_of_no_zero_point_have_the_dtype_that_is_named():
    """int8 by output_dtype, uint8 without it; NaN becomes the code 0."""
    call = "y = QuantizeLinear{}(N, one)"
    material = {"N": MATERIAL["N"], "one": np.float32(1)}
    np.testing.assert_array_equal(folded(call.format("<output_dtype=3>"), 21, **material), np.int8([0, 1, -1]))
    found = folded(call.format(""), 21, **material)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [0, 1, 0])


FOLDING_REFUSED = {
    "whole numbers by 0": ("y = Div(I, z)", "divides by zero"),
    "a rest by 0": ("y = Mod(I, z)", "divides by zero"),
    "a rest of reals by 0": ("y = Mod<fmod=1>(V, f)", "divides by zero"),
    "texts": ("y = Add(t, t)", "texts"),
    "too few repeats": ("y = Tile(V, three)", "do not fit a tensor of 2 axes"),
    "negative repeats": ("y = Tile(V, minus)", "do not fit a tensor"),
    "blocks": ("y = QuantizeLinear<block_size=2>(V, f)", "not one constant for the tensor"),
    "codes that are no integers": ("y = QuantizeLinear(V, f, f)", "quantizes to float32, expected integers"),
    "a step of 0": ("y = Range(n, n, n)", "step is zero"),
    "an axis that is not there": ("y = ReduceSum(V, three)", "axis 3 does not exist"),
}


@pytest.mark.parametrize("name", FOLDING_REFUSED)
def test_what_cannot_be_computed_is_refused_with_the_reason(name):
    """Before NumPy divides or tiles."""
    call, message = FOLDING_REFUSED[name]
    material = {
        "I": MATERIAL["I"], "V": MATERIAL["V"], "z": np.array([0]), "f": np.float32([0]), "three": np.array([3]),
        "t": np.array(["a"], object), "minus": np.array([-1, 5]),
        "n": np.array(0),
    }  # fmt: skip
    node = needed_nodes(graph(call, target="float y"), ["y"])[0]
    with pytest.raises(Unsupported, match=message):
        FOLDED["", node.operator](node, [Const(material[name]) for name in node.inputs], Budget(1 << 20))


@pytest.mark.parametrize(
    ("call", "room"),
    [
        ("y = Tile(V, n)", 24 * 6 * 4),
        ("y = Add(V, V)", 24 * 8),
        ("y = MatMul(T, C)", 5 * 4 * 8),
        ("y = Erf(V)", 24 * 8),
        ("y = ReduceSum(V)", 24 * 8),
        ("y = Range(a, k, a)", 4 * 8),
        ("y = Softmax(V)", 24 * 8),
        ("y = Mod<fmod=1>(V, P)", 24 * 8),
        ("y = QuantizeLinear(V, u, v)", 48 * 8),
    ],
)
def test_results_are_charged_before_they_are_made(call, room):
    """So many bytes are enough, one fewer is not."""
    used = {key: value for key, value in MATERIAL.items() if f"{key}," in call or f"{key})" in call}
    assert folded(call, budget=room, **used).size
    with pytest.raises(Unsupported, match="raise max_bytes"):
        folded(call, budget=room - 1, **used)


def test_products_are_charged_for_their_time():
    """Each multiplication: 5 x 3 by 3 x 4 are 60 of them."""
    node = needed_nodes(graph("y = MatMul(T, C)", target="float y"), ["y"])[0]
    inputs = [Const(MATERIAL["T"]), Const(MATERIAL["C"])]
    assert FOLDED["", "MatMul"](node, inputs, Budget(1 << 20, 60))
    with pytest.raises(Unsupported, match="take minutes"):
        FOLDED["", "MatMul"](node, inputs, Budget(1 << 20, 59))
