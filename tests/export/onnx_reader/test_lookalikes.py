"""Graphs that look like a spelling of a dense network and compute something else are refused, not read as it."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from edge_runtime.engine.engine import Engine
from edge_runtime.errors import ArtifactError
from export import read_onnx
from tests.export.foreign import activations, graph, imported, normal

LOGITS = "g = Gemm(x, W1, B1) h = Gemm(g, W2, B2)"
FIRST_TWO = {"a": np.array([0]), "b": np.array([2]), "c": np.array([1])}
WIDEN = {"V": normal(5, 1), "zeros": np.zeros(3, np.float32)}
NAMED = "l = ai.onnx.ml.ArrayFeatureExtractor(names, k)"
NAMES = {"names": np.array([10, 20, 30])}
LABELLED = "float[N,3] y, int64[A,B] l"
STATISTICS = {"s": normal(5), "b": normal(5), "m": normal(5), "v": np.abs(normal(5))}
CODES = {
    "s": np.float32(0.1),
    "z": np.array(130, np.uint8),
    "W": np.arange(18, dtype=np.int8).reshape(6, 3),
    "d": np.array(700, np.int32),
}

LOOKALIKES = {
    "exponentials over the sum of some": (
        f"{LOGITS} e = Exp(h) p = Slice(e, a, b, c) r = ReduceSum<keepdims=1>(p, c) y = Div(e, r)",
        "float[N,3] y", FIRST_TWO, "number of other features",
    ),
    "some exponentials over the sum of all": (
        f"{LOGITS} e = Exp(h) p = Slice(e, a, b, c) r = ReduceSum<keepdims=1>(e, c) y = Div(p, r)",
        "float[N,2] y", FIRST_TWO, "number of other features",
    ),
    "the sum in another layout": (
        f"{LOGITS} e = Exp(h) u = Unsqueeze(e, two) r = ReduceSum<keepdims=1>(u, both) y = Div(e, r)",
        "float[A,N,3] y", {"two": np.array([2]), "both": np.array([1, 2])}, "another layout",
    ),
    "logarithm of the sum of some": (
        f"{LOGITS} p = Slice(h, a, b, c) r = ReduceLogSumExp<axes=[1]>(p) y = Sub(h, r)",
        "float[N,3] y", FIRST_TWO, "number of other features",
    ),
    "some shares normalized": (
        f"{LOGITS} q = Softmax(h) p = Slice(q, a, b, c) y = ai.onnx.ml.Normalizer<norm=\"L1\">(p)",
        "float[N,2] y", FIRST_TWO, "not known to be 1",
    ),
    "rows by their largest value": (
        f"{LOGITS} y = ai.onnx.ml.Normalizer(h)", "float[N,3] y", {}, "or maxima; supported are norm L2",
    ),
    "a maximum that widens": (
        "g = Gemm(x, W1, B1) h = Gemm(g, V) y = Max(h, zeros)", "float[N,3] y", WIDEN, "another shape",
    ),
    "an axis in front of the batch": (
        f"{LOGITS} w = Max(h, zeros) y = Softmax<axis=1>(w)",
        "float[A,N,3] y", {"zeros": np.zeros((1, 1, 3), np.float32)}, "another shape",
    ),
    "labels of the reversed row": (
        f"{LOGITS} y = Softmax(h) r = Gather<axis=1>(y, back) k = ArgMax<axis=1, keepdims=0>(r) {NAMED}",
        LABELLED, {**NAMES, "back": np.array([2, 1, 0])}, "label 'l' is not that of the largest value of output 'y'",
    ),
    "labels of the smallest value": (
        f"{LOGITS} y = Softmax(h) r = Neg(y) k = ArgMax<axis=1, keepdims=0>(r) {NAMED}",
        LABELLED, NAMES, "label 'l' is not that",
    ),
    "labels of an earlier layer": (
        f"{LOGITS} k = ArgMax<axis=1, keepdims=0>(h) {NAMED} y = Gemm(h, P)",
        LABELLED, {**NAMES, "P": normal(3, 3)}, "label 'l' is not that",
    ),
    "names looked up twice": (
        f"{LOGITS} k = ArgMax<axis=1, keepdims=0>(h) l = Gather(order, k) y = Gather(names, l)",
        "int64[A] y", {**NAMES, "order": np.array([2, 0, 1])}, "name already",
    ),
    "one tensor in two outputs": (
        f"{LOGITS} y = Slice(h, a, b, c) z = Slice(h, b, three, c)",
        "float[N,2] y, float[N,1] z", {**FIRST_TWO, "three": np.array([3])},
        r"2 outputs: 'y' \(n, 2\), 'z' \(n, 1\); expected one",
    ),
    "whole numbers divided": (
        "q = QuantizeLinear(x, s, z) i = MatMulInteger(q, W, z) k = Div(i, d) y = Cast<to=1>(k)",
        "float[N,3] y", CODES, r"\(Div, .*computes with int32 numbers, which cuts",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LOOKALIKES)
def test_a_lookalike_is_refused_in_one_line(case, tmp_path):
    """What is no softmax, no row-wise function, no label of the output: refused by reading, before any comparison."""
    nodes, target, constants, words = LOOKALIKES[case]
    (tmp_path / "m.onnx").write_bytes(graph(nodes, target=target, **constants).SerializeToString())
    with pytest.raises(ArtifactError, match=words) as caught:
        read_onnx(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
    assert "'" in str(caught.value), "a node or an output is named"


def test_batch_normalization_with_statistics_as_outputs_is_training(tmp_path):
    """Opset 9 asks for the batch's own statistics by naming the outputs for them."""
    nodes = "h = Gemm(x, W1, B1) y, m2, v2, m3, v3 = BatchNormalization(h, s, b, m, v)"
    proto = graph(nodes, opset=9, target="float[N,5] y", **STATISTICS)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ArtifactError, match=r"'y'.*training mode"):
        read_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", [2, 3])
def test_quantize_linear_without_a_zero_point_keeps_the_type_it_names(kind, tmp_path):
    """output_dtype (since opset 21) decides between uint8 and int8, for rows and for constants."""
    rows = f"q = QuantizeLinear<output_dtype={kind}>(x, s) d = DequantizeLinear(q, s)"
    weights = f"p = QuantizeLinear<output_dtype={kind}>(V, s) w = DequantizeLinear(p, s)"
    constants = {"s": np.float32(0.05), "V": normal(6, 3)}
    path, x = tmp_path / "m.onnx", np.linspace(-8, 8, 60, dtype=np.float32).reshape(10, 6)
    path.write_bytes(graph(f"{rows} {weights} y = MatMul(d, w)", opset=21, **constants).SerializeToString())
    theirs = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    np.testing.assert_allclose(Engine(read_onnx(path)).run(x), theirs, atol=1e-5)  # its products are float32 here


@pytest.mark.parametrize("operator", ["Relu", "Tanh", "Sigmoid"])
def test_an_activation_of_any_size_is_recognized(operator, tmp_path):
    """relu(x) / 1e8 is no straight line and tanh(x) / 1e8 no clipping, however small the values are."""
    nodes = f"h = Gemm(x, W1, B1) r = {operator}(h) m = Mul(r, tiny) p = Gemm(m, W2) y = Mul(p, huge)"
    found = imported(graph(nodes, tiny=np.float32(1e-8), huge=np.float32(1e8)), tmp_path)
    assert not {"linear", "clip", "hard_sigmoid"} & {activations(found)[0]}


def test_limits_of_clip_beyond_the_usual_ones_are_kept(tmp_path):
    """Only a lowest number as the minimum, or a largest one as the maximum, stands for no limit."""
    nodes = "h = Gemm(x, W1, B1) y = Clip(h, low, high)"
    found = imported(graph(nodes, target="float[N,5] y", low=np.float32(3.3e38), high=np.float32(3.4e38)), tmp_path)
    assert activations(found)[-1] == "clip"


def test_a_function_may_use_an_output_that_its_call_leaves_out(tmp_path):
    """The tensor is computed all the same; before, Max(q, p) was read as if q were not there."""
    body = '<domain: "local", opset_import: ["" : 13]> f (p) => (q, r) { q = Neg(p) r = Max(q, p) }'
    nodes = "a, b = local.f (x) y = Gemm(b, W1, B1)"
    proto = graph(nodes, target="float[N,5] y", functions=body, domains=', "local" : 1')
    proto.graph.node[0].output[0] = ""
    assert activations(imported(proto, tmp_path))[0] == "abs"


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_a_scaler_takes_whole_numbers(kind, tmp_path):
    """ai.onnx.ml's Scaler gives float32 whatever goes in."""
    nodes = "c = ai.onnx.ml.Scaler<offset=[1.0], scale=[0.1]>(x) y = Gemm(c, W1, B1)"
    imported(graph(nodes, source=f"{kind}[N,6] x", target="float[N,5] y"), tmp_path)


def test_classes_of_a_dictionary_need_no_order(tmp_path):
    """onnxruntime sorts the dictionaries that it returns; values are compared by their names."""
    nodes = f'{LOGITS} p = Softmax(h) y = ai.onnx.ml.ZipMap<classlabels_strings=["c", "a", "b"]>(p)'
    found = imported(graph(nodes, target="seq(map(string, float)) y"), tmp_path)
    assert found.model.class_names == ("c", "a", "b")
