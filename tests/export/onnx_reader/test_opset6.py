"""A file of opset 6 runs in onnxruntime as its own rules say, after a conversion that needs no shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edge_runtime.errors import ArtifactError
from export.onnx_reader.nodes import Unsupported
from export.onnx_reader.opset6 import in_opset_7
from export.onnx_reader.reader import import_onnx
from export.verification.import_check import verify_import
from tests.export.foreign import B1, W1, W2, checked, graph, imported, normal


@pytest.mark.parametrize("opset", [6, 8])
def test_opset_6_is_read_by_its_own_rules(tmp_path, opset):
    """Broadcasting by an axis attribute, Dropout with is_test, one axis of Softmax: the same weights come out."""
    broadcast = "<broadcast=1, axis=1>" if opset == 6 else ""
    test = "<is_test=1>" if opset == 6 else ""
    gemm = "<broadcast=1>" if opset == 6 else ""
    nodes = f"m = MatMul(x, W1) h = Add{broadcast}(m, B1) r = Relu(h) "
    nodes += f"d = Dropout{test}(r) g = Gemm{gemm}(d, W2, B2) y = Softmax(g)"
    model = imported(graph(nodes, opset=opset), tmp_path).model
    assert [layer.activation.name for layer in model.layers] == ["relu", "softmax"]
    np.testing.assert_array_equal(model.layers[0].bias, B1)
    np.testing.assert_array_equal(model.layers[1].weight, W2)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize(("axis", "size"), [("axis=1", 2), ("axis=1", 6), ("axis=2", 3), ("axis=-1", 3), ("", 3)])
def test_arithmetic_along_a_named_axis(tmp_path, operator, axis, size):
    """A second operand for the channels, for channels and pixels, for the last axis, and with no axis named."""
    constant = (np.abs(normal(size)) + 0.5).reshape((2, 3) if size == 6 else (size,))
    named = f"broadcast=1, {axis}" if axis else "broadcast=1"
    nodes = f"a = {operator}<{named}>(x, C) f = Flatten(a) y = Gemm<broadcast=1>(f, W1, B1)"
    imported(graph(nodes, opset=6, source="float[N,2,3] x", target="float[N,5] y", C=constant), tmp_path)


def test_prelu_had_a_slope_for_each_channel(tmp_path):
    """Of an image, where newer opsets align the last axis."""
    nodes = "a = PRelu(x, S) f = Flatten(a) y = Gemm<broadcast=1>(f, W1, B1)"
    proto = graph(nodes, opset=6, source="float[N,2,3] x", target="float[N,5] y", S=np.float32([0.1, 0.7]))
    assert imported(proto, tmp_path).model.layer_sizes == (6, 12, 6, 5)  # two columns for one, then the slopes


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_scikit_learn_files_with_a_scaler(tmp_path, kind):
    """ai.onnx.ml's Scaler gives a tensor of unknown shape, which onnx's own converter answers with an assertion."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = normal(60, 4, scale=3.0)
    last = (
        MLPClassifier((5,), max_iter=2000)
        if kind == "classifier"
        else MLPRegressor(hidden_layer_sizes=(5,), max_iter=4000)
    )
    pipeline = make_pipeline(StandardScaler(), last).fit(
        rows, np.arange(60) % 3 if kind == "classifier" else rows[:, 0]
    )
    proto = skl2onnx.to_onnx(pipeline, rows[:1], target_opset={"": 6, "ai.onnx.ml": 1})
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert checked(tmp_path / "m.onnx").model.preprocessing is not None


def test_an_unknown_number_of_axes_is_refused_by_name():
    """Only where an axis is named, and the operand's axes are known neither from the graph nor from its constants."""
    proto = graph("a = mine.Unknown(x) y = Add<broadcast=1, axis=1>(a, C)", opset=6, domains=', "mine" : 1', C=W1[0])
    with pytest.raises(Unsupported, match=r"node 'y' \(Add, output 'y'\): .*'a' has is unknown; .* opset 7"):
        in_opset_7(proto)


def test_what_onnxruntime_refuses_is_one_line(tmp_path):
    """Its words, without line breaks, after the file's name."""
    onnx.save(graph("m = MatMul(x, W1) y = Add(m, B1)", target="float[N,5] y"), tmp_path / "m.onnx")
    source = import_onnx(tmp_path / "m.onnx")
    other = graph("y = mine.Unknown(x)", domains=', "mine" : 1').SerializeToString()
    with pytest.raises(ArtifactError, match=r"m\.onnx: onnxruntime .* refuses the model: .*Unknown") as caught:
        verify_import(source.model, tmp_path / "m.onnx", imported=replace(source, content=other))
    assert "\n" not in str(caught.value)
    assert B1.size == source.model.n_out
