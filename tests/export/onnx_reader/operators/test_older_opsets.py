"""A file of opset 6 is read where its operators mean what they do today, and refused by name where they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edge_runtime.errors import ArtifactError
from export.onnx_reader.reader import import_onnx, read_onnx
from export.verification.import_check import verify_import
from tests.export.foreign import B1, W2, checked, graph, imported, normal
from tests.networks import random_rows


@pytest.mark.parametrize("opset", [6, 8])
def test_what_means_the_same_in_opset_6_is_read(tmp_path, opset):
    """Broadcasting along the last axis, Dropout with is_test, one axis of Softmax: the same weights come out."""
    broadcast = "<broadcast=1, axis=1>" if opset == 6 else ""
    test = "<is_test=1>" if opset == 6 else ""
    gemm = "<broadcast=1>" if opset == 6 else ""
    nodes = f"m = MatMul(x, W1) h = Add{broadcast}(m, B1) r = Relu(h) "
    nodes += f"d = Dropout{test}(r) g = Gemm{gemm}(d, W2, B2) y = Softmax(g)"
    model = imported(graph(nodes, opset=opset), tmp_path).model
    assert [layer.activation.name for layer in model.layers] == ["relu", "softmax"]
    np.testing.assert_array_equal(model.layers[0].bias, B1)
    np.testing.assert_array_equal(model.layers[1].weight, W2)


def image(nodes: str, constant: np.ndarray) -> onnx.ModelProto:
    """A graph of opset 6 whose nodes take x, rows of (2, 3) values, and the constant C to a."""
    tail = "f = Flatten(a) y = Gemm<broadcast=1>(f, W1, B1)"
    return graph(f"{nodes} {tail}", opset=6, source="float[N,2,3] x", target="float[N,5] y", C=constant)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize(("axis", "shape"), [(1, (2, 3)), (2, (3,)), (-1, (3,)), (1, ()), (1, (1,)), (None, (3,))])
def test_arithmetic_along_the_last_axes_is_read(tmp_path, operator, axis, shape):
    """Named from the front or from the back, or not named at all; one number has no axis to align."""
    named = "broadcast=1" if axis is None else f"broadcast=1, axis={axis}"
    imported(image(f"a = {operator}<{named}>(x, C)", np.abs(normal(*shape)) + np.float32(0.5)), tmp_path)


@pytest.mark.parametrize("axis", [0, 1, -2])
@pytest.mark.parametrize("operator", ["Add", "Pow"])
def test_arithmetic_along_another_axis_is_refused(tmp_path, operator, axis):
    """By name, with the opset and what to do: today's rules would align the last axes, where it may fit as well."""
    onnx.save(image(f"a = {operator}<broadcast=1, axis={axis}>(x, C)", normal(2)), tmp_path / "m.onnx")
    expected = rf"node 'a' \({operator}, output 'a'\): in opset 6 .* 1 axes, .* axis {axis} .*; export it with opset 17"
    with pytest.raises(ArtifactError, match=expected):
        read_onnx(tmp_path / "m.onnx")


def test_prelu_with_a_slope_for_each_channel_is_refused(tmp_path):
    """Its slopes were the channels', where newer opsets align the last axis; one slope is read."""
    onnx.save(image("a = PRelu(x, C)", np.float32([0.1, 0.7])), tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"\(PRelu, output 'a'\): in opset 6 .* export it with opset 17"):
        read_onnx(tmp_path / "m.onnx")
    imported(image("a = PRelu(x, C)", np.float32([0.1])), tmp_path)


@pytest.mark.parametrize("operator", ["d = Dropout(x)", "d = BatchNormalization<is_test=0>(x, S, S, S, S)"])
def test_training_mode_is_refused(tmp_path, operator):
    """Before opset 7 both were in training mode where is_test does not say otherwise."""
    onnx.save(graph(f"{operator} y = Gemm<broadcast=1>(d, W1, B1)", opset=6, S=np.ones(6, np.float32)), tmp_path / "m")
    with pytest.raises(ArtifactError, match=r"node 'd' .*training mode \(is_test = 0\)"):
        read_onnx(tmp_path / "m")


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_scikit_learn_files_with_a_scaler(tmp_path, kind):
    """ai.onnx.ml's Scaler gives a tensor of unknown shape, which onnx's own converter answers with an assertion."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = 3 * random_rows(60, 4)
    networks = {
        "classifier": MLPClassifier((5,), max_iter=2000, random_state=0),
        "regressor": MLPRegressor(hidden_layer_sizes=(5,), max_iter=4000, random_state=0),
    }
    targets = {"classifier": np.arange(60) % 3, "regressor": rows[:, 0]}
    pipeline = make_pipeline(StandardScaler(), networks[kind]).fit(rows, targets[kind])
    proto = skl2onnx.to_onnx(pipeline, rows[:1], target_opset={"": 6, "ai.onnx.ml": 1})
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert checked(tmp_path / "m.onnx").model.preprocessing is not None


def test_what_onnxruntime_refuses_is_one_line(tmp_path):
    """Its words, without line breaks, after the file's name."""
    onnx.save(graph("m = MatMul(x, W1) y = Add(m, B1)", target="float[N,5] y"), tmp_path / "m.onnx")
    source = import_onnx(tmp_path / "m.onnx")
    other = graph("y = mine.Unknown(x)", domains=', "mine" : 1').SerializeToString()
    with pytest.raises(ArtifactError, match=r"m\.onnx: onnxruntime .* refuses the model: .*Unknown") as caught:
        verify_import(source.model, tmp_path / "m.onnx", imported=replace(source, content=other))
    assert "\n" not in str(caught.value)
    assert B1.size == source.model.n_out
