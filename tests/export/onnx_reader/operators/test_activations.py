"""Activations in one operator or in eight, at every opset, are recognized by what they compute."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.layers import Elementwise
from edge_runtime.numerics.activations import Activation
from export.onnx_reader.layers.functions import recognized
from tests.export.foreign import activations, graph, imported, normal

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
    "exp": ["Exp(h)"],
    "square": ["Mul(h, h)", "Pow(h, two)"],
    "erf": ["Erf(h)"],
    "sin": ["Sin(h)"],
    "log_sigmoid": ["Log(s) : s = Sigmoid(h)", "Neg(s) : n = Neg(h) s = Softplus(n)"],
    "threshold": ["Where(c, six, h) : c = LessOrEqual(h, half)", "Where(c, h, n) : c = Greater(h, zero) n = Neg(one)"],
    "shrink": ["Shrink<bias=0.5, lambd=0.5>(h)", "Shrink<lambd=0.5>(h)",
               # torch.nn.Softshrink by its two exporters
               "Add(v, w) : g = Greater(h, half) s = Sub(h, half) v = Where(g, s, zero) m = Neg(half) l = Less(h, m) "
               "a = Add(h, half) w = Where(l, a, zero)",
               "Where(g, s, w) : a = Abs(h) g = Greater(a, half) n = Sign(h) m = Mul(n, half) s = Sub(h, m) "
               "w = Mul(h, zero)",
               # torch.nn.Hardshrink
               "Where(l, zero, h) : a = Abs(h) l = LessOrEqual(a, half)"],
}  # fmt: skip


def F32(number):  # noqa: N802
    """What a file holds of it."""
    return float(np.float32(number))


NUMBERS = {
    "zero": 0.0, "one": 1.0, "half": 0.5, "two": 2.0, "three": 3.0, "six": 6.0, "slope": 0.2, "root": np.sqrt(2),
    "cubic": 0.044715, "slope2": np.sqrt(2 / np.pi),
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


@pytest.mark.parametrize(("last", "name"), [("Softmax", "softmax"), ("LogSoftmax", "log_softmax")])
def test_softmax_of_log_softmax_is_that_of_its_input(tmp_path, last, name):
    """PyTorch's distributions of classes take off ReduceLogSumExp first, then Softmax."""
    spelled = f"h = Gemm(x, V, B2) m = ReduceLogSumExp<axes=[-1], keepdims=1>(h) s = Sub(h, m) y = {last}<axis=-1>(s)"
    found = imported(graph(spelled, V=normal(6, 3)), tmp_path)
    assert activations(found) == [name]


def test_prelu_with_a_slope_for_each_feature(tmp_path):
    """As Keras makes it: a stage of its own, and the same numbers."""
    found = imported(graph("h = Gemm(x, W1, B1) r = PRelu(h, S) y = Gemm(r, W2, B2)", S=normal(5)), tmp_path)
    assert found.model.layer_sizes == (6, 5, 5, 3)
    assert isinstance(found.model.layers[1], Elementwise)


@pytest.mark.parametrize(
    "almost",
    [
        lambda x: np.maximum(x, 0) + 1e-4 * (x > 50),
        lambda x: np.minimum(np.maximum(x, 0), 1000.0) + 0.01 * (x > 999),
        lambda x: x * x * (1 + 1e-5),
        lambda x: np.sin(x) + 1e-5 * np.cos(x),
        lambda x: np.exp(x) * (1 + 1e-5 * np.sin(x)),
        lambda x: np.where(x > 0.25, x, 0.5) + 1e-5 * (x < -40),
        lambda x: np.where(np.abs(x) > 0.25, x, 0.0) * np.where(x > 0, 1, 1.0001),
        lambda x: np.where(x > 0.25, x, np.where(x > 0.1, 0.4, 0.5)),
        lambda x: np.maximum(x, 0.001 * x) + 0.01 * np.exp(-x * x),
    ],
)
def test_a_function_that_is_almost_an_activation_is_not_taken_for_one(almost):
    """A step, a hump or another curve than the runtime has is told apart."""
    assert recognized(almost) is None


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("swish", {"alpha": 1.702}),
        ("selu", {}),
        ("clip", {"min": -2, "max": 0.5}),
        ("threshold", {"threshold": F32(0.1), "value": 20.0}),
        ("threshold", {"threshold": F32(-3.7), "value": 0.0}),
        ("shrink", {"bias": F32(0.3), "lambd": F32(0.3)}),
        ("shrink", {"bias": 0.0, "lambd": F32(1.9)}),
    ],
)
def test_parameters_are_read_off_the_function(name, params):
    """To the last digit that float32 has."""
    activation = Activation.of(name, params)
    found = recognized(activation)
    assert isinstance(found, Activation)
    assert found.name == name
    np.testing.assert_allclose([v for _, v in found.params], [v for _, v in activation.params], rtol=1e-6)


@pytest.mark.parametrize(("limit", "free", "sign"), [(np.minimum, "min", -1), (np.maximum, "max", 1)])
def test_a_limit_on_one_side_is_none_on_the_other(limit, free, sign):
    """Min and Max of one number: float32's largest is the other limit, as for a Clip that has none."""
    found = recognized(lambda x: limit(x, 0.5))
    assert isinstance(found, Activation)
    assert found.name == "clip"
    assert dict(found.params)[free] == sign * float(np.finfo(np.float32).max)
    far = np.float32([sign * 2e35, sign * 3.3e38])
    np.testing.assert_array_equal(found(far), far)


@pytest.mark.parametrize("nodes", ["m = Mul(h, C) r = Relu(m)", "m = Relu(h) r = Mul(m, C)", "m = Relu(h) r = Neg(m)"])
def test_a_relu_times_a_number_stays_one(tmp_path, nodes):
    """The number is folded into weights; selu without an exponential would compute one, and need a table in int8."""
    constants = {"C": np.float32(0.3)} if "C)" in nodes else {}
    found = imported(graph(f"h = Gemm(x, W1, B1) {nodes} y = Gemm(r, W2, B2)", **constants), tmp_path)
    assert activations(found) == ["relu", "linear"]
