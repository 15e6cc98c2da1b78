"""Networks from other libraries, by their own exporters: import, int8, verify, with no value differing."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import Engine
from export import quantize, read_onnx, verify, write_onnx
from tests.export.foreign import activations, checked, normal
from tests.networks import random_rows

pytestmark = pytest.mark.filterwarnings("ignore")  # exporters warn about themselves


def int8_without_a_difference(path, folder, rows) -> None:
    """From import to int8 to ONNX: every integer and every logit has the same bits in both engines."""
    small = quantize(checked(path).model, rows, "int8")
    write_onnx(small, folder / "small.onnx")
    report = verify(small, folder / "small.onnx", rows)
    assert report.ok, report.first_diverging_layer
    assert report.exact_compared > 0
    assert report.exact_differing == 0


def torch_network(name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    nn = torch.nn
    torch.manual_seed(3)
    if name == "classifier":
        parts = [nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 5)]
        parts.append(nn.Softmax(dim=1))
    elif name == "activations":
        parts = [nn.Flatten(), nn.Linear(16, 8)]
        middle = [
            nn.GELU(),
            nn.GELU("tanh"),
            nn.SiLU(),
            nn.Mish(),
            nn.Hardswish(),
            nn.Hardsigmoid(),
            nn.PReLU(),
            nn.ReLU6(),
        ]
        middle += [
            nn.ELU(),
            nn.SELU(),
            nn.CELU(0.7),
            nn.Softplus(),
            nn.Softsign(),
            nn.LeakyReLU(0.1),
            nn.Hardtanh(-2, 2),
            nn.Tanh(),
        ]
        for activation in middle:
            parts += [activation, nn.Linear(8, 8)]
        parts.append(nn.LogSoftmax(dim=-1))
    else:
        parts = [nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 4, bias=False), nn.Sigmoid(), nn.Linear(4, 16)]
    network = nn.Sequential(*parts)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return torch, network.eval()


def export_torch(torch, network, path, exporter):
    example = torch.zeros(2, 1, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            pytest.importorskip("onnxscript", reason="onnxscript is not installed")
            shapes = ({0: torch.export.Dim("batch")},)
            torch.onnx.export(network, (example,), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
        else:
            torch.onnx.export(network, (example,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("name", ["classifier", "activations", "autoencoder"])
def test_pytorch_with_both_exporters(tmp_path, name, exporter):
    """Images flattened, BatchNorm, Dropout, every activation, weights in a file of their own; then int8."""
    torch, network = torch_network(name)
    path = tmp_path / "torch.onnx"
    export_torch(torch, network, path, exporter)
    int8_without_a_difference(path, tmp_path, random_rows(300, 16))
    rows = random_rows(50, 16, seed=9)
    with torch.no_grad():
        expected = network(torch.from_numpy(rows.reshape(50, 1, 4, 4))).numpy()
    np.testing.assert_allclose(Engine(read_onnx(path)).run(rows), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_pytorch_s_rarer_functions(tmp_path, exporter):
    """Shrinking, thresholds, log-sigmoid, squares, sines and erf between layers, exp of log targets at the end."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(3)
    functions = [torch.nn.Softshrink(0.3), torch.nn.Hardshrink(0.2), torch.nn.LogSigmoid(), torch.square, torch.sin]
    functions += [lambda x: x**2, torch.cos, torch.erf]
    names = ["shrink", "shrink", "log_sigmoid", "square", "sin", "square", "sin", "erf"]
    if exporter == "dynamo":  # the older exporter knows no threshold but 0, and no expm1
        functions, names = [*functions, torch.nn.Threshold(0.1, 20.0)], [*names, "threshold"]

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            sizes = [16] + [6] * len(functions)
            self.layers = torch.nn.ModuleList(map(torch.nn.Linear, sizes, sizes[1:]))
            self.last = torch.nn.Linear(6, 3)

        def forward(self, x):
            x = torch.flatten(x, 1)
            for layer, function in zip(self.layers, functions, strict=True):
                x = function(layer(x))
            return torch.exp(self.last(x) / 4)

    network = Network().eval()
    export_torch(torch, network, tmp_path / "torch.onnx", exporter)
    rows = random_rows(200, 16)
    int8_without_a_difference(tmp_path / "torch.onnx", tmp_path, rows)
    model = read_onnx(tmp_path / "torch.onnx")
    assert [layer.activation.name for layer in model.layers] == [*names, "exp"]
    with torch.no_grad():
        expected = network(torch.from_numpy(rows.reshape(-1, 1, 4, 4))).numpy()
    np.testing.assert_allclose(Engine(model).run(rows), expected, rtol=2e-5)


def scikit_learn_data():
    rows = random_rows(300, 5)
    sums = rows[:, 0] * rows[:, 1] + rows[:, 2]
    return rows, np.digitize(sums, [-0.5, 0.5])


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("labels", ["numbers", "texts", "two"])
def test_scikit_learn_classifiers(tmp_path, labels, zipmap):
    """Standardization becomes preprocessing, labels class names, two classes keep both columns; then int8."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, classes = scikit_learn_data()
    classes = {"numbers": classes + 7, "texts": np.array(["low", "mid", "high"])[classes], "two": classes > 0}[labels]
    classes = classes.astype(int) if labels == "two" else classes
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((8, 6), max_iter=20, random_state=0)).fit(rows, classes)
    options = {id(pipeline): {"zipmap": zipmap}}
    path = tmp_path / "sklearn.onnx"
    path.write_bytes(skl2onnx.to_onnx(pipeline, rows[:1], options=options).SerializeToString())
    model = read_onnx(path)
    assert model.class_names == tuple(str(name) for name in pipeline.classes_)
    assert model.preprocessing is not None
    np.testing.assert_allclose(Engine(model).run(rows), pipeline.predict_proba(rows), rtol=0, atol=1e-5)
    int8_without_a_difference(path, tmp_path, rows)


def test_scikit_learn_regressors_and_linear_models(tmp_path):
    """MLPRegressor, LinearRegression and LogisticRegression of several classes."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPRegressor

    rows, classes = scikit_learn_data()
    for number, (estimator, target) in enumerate(
        [
            (MLPRegressor(hidden_layer_sizes=(6,), activation="tanh", max_iter=20, random_state=0), rows[:, 1]),
            (LinearRegression(), rows[:, 0]),
            (LogisticRegression(), classes),
            (LogisticRegression(), classes > 0),
            (MLPRegressor(hidden_layer_sizes=(6,), max_iter=20, random_state=0), rows[:, :2]),  # written as one column
        ]
    ):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(skl2onnx.to_onnx(estimator.fit(rows, target), rows[:1]).SerializeToString())
        int8_without_a_difference(path, tmp_path, rows)


KERAS = """
    {0}dense_1/MatMul:0 = MatMul(keras_tensor, {0}dense_1/Cast/ReadVariableOp:0)
    {0}dense_1/BiasAdd:0 = Add({0}dense_1/MatMul:0, {0}dense_1/BiasAdd/ReadVariableOp:0)
    {0}dense_1/Relu:0 = Relu({0}dense_1/BiasAdd:0)
    {0}batch_normalization_1/batchnorm/mul_1:0 = Mul({0}dense_1/Relu:0, {0}batch_normalization_1/batchnorm/mul:0)
    {0}batch_normalization_1/batchnorm/add_1:0 =
        Add({0}batch_normalization_1/batchnorm/mul_1:0, {0}batch_normalization_1/batchnorm/sub:0)
    {0}dense_1_2/MatMul:0 = MatMul({0}batch_normalization_1/batchnorm/add_1:0, {0}dense_1_2/Cast/ReadVariableOp:0)
    {0}dense_1_2/BiasAdd:0 = Add({0}dense_1_2/MatMul:0, {0}dense_1_2/BiasAdd/ReadVariableOp:0)
    {0}re_lu_1/Relu6:0 = Clip({0}dense_1_2/BiasAdd:0, {0}re_lu_1/Relu6_min__6, {0}re_lu_1/Relu6_max__7)
    {0}dense_2_1/MatMul:0 = MatMul({0}re_lu_1/Relu6:0, {0}dense_2_1/Cast/ReadVariableOp:0)
    {0}leaky_re_lu_1/LeakyRelu:0 = LeakyRelu<alpha=0.3>({0}dense_2_1/MatMul:0)
    {0}dense_3_1/MatMul:0 = MatMul({0}leaky_re_lu_1/LeakyRelu:0, {0}dense_3_1/Cast/ReadVariableOp:0)
    {0}dense_3_1/BiasAdd:0 = Add({0}dense_3_1/MatMul:0, {0}dense_3_1/BiasAdd/ReadVariableOp:0)
    output_0 = Softmax({0}dense_3_1/BiasAdd:0)
"""
KERAS_SHAPES = {
    "dense_1/Cast/ReadVariableOp:0": (16, 12), "dense_1/BiasAdd/ReadVariableOp:0": (12,),
    "batch_normalization_1/batchnorm/mul:0": (12,), "batch_normalization_1/batchnorm/sub:0": (12,),
    "dense_1_2/Cast/ReadVariableOp:0": (12, 8), "dense_1_2/BiasAdd/ReadVariableOp:0": (8,),
    "dense_2_1/Cast/ReadVariableOp:0": (8, 8), "dense_3_1/Cast/ReadVariableOp:0": (8, 4),
    "dense_3_1/BiasAdd/ReadVariableOp:0": (4,),
}  # fmt: skip


def keras_style(folder):
    """Node for node, name for name what tf2onnx 1.17 makes of a saved Keras 3 Sequential model, at its opset 13.

    Dense (relu), BatchNormalization, Dense, ReLU(6), Dropout, Dense without a bias, LeakyReLU, Dense (softmax).
    """
    prefix = "StatefulPartitionedCall/sequential_1/"
    nodes = []
    for line in KERAS.replace("=\n", "=").strip().splitlines():
        output, _, call = line.format(prefix).partition(" = ")
        operator, _, rest = call.strip().partition("(")
        inputs = [name.strip() for name in rest.rstrip(") ").split(",")]
        alpha = {"alpha": 0.3} if "<" in operator else {}
        name = output.strip().removesuffix(":0")
        nodes.append(helper.make_node(operator.partition("<")[0], inputs, [output.strip()], name, **alpha))
    tensors = [numpy_helper.from_array(normal(*shape), prefix + name) for name, shape in KERAS_SHAPES.items()]
    for name, limit in (("min__6", 0), ("max__7", 6)):
        tensors.append(numpy_helper.from_array(np.float32(limit), f"{prefix}re_lu_1/Relu6_{name}"))
    rows = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width])
        for name, batch, width in (("keras_tensor", "unk__8", 16), ("output_0", "unk__9", 4))
    ]
    whole = helper.make_graph(nodes, "tf2onnx", rows[:1], rows[1:], tensors)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 2)]
    proto = helper.make_model(whole, opset_imports=opsets, ir_version=7, producer_name="tf2onnx")
    onnx.save(proto, folder / "keras.onnx")
    return folder / "keras.onnx"


def test_keras_style(tmp_path):
    """Import, int8, ONNX: MatMul and Add, normalization as Mul and Add, names with slashes, no value differing."""
    path = keras_style(tmp_path)
    assert activations(checked(path)) == ["relu", "clip", "leaky_relu", "softmax"]
    int8_without_a_difference(path, tmp_path, random_rows(300, 16))
