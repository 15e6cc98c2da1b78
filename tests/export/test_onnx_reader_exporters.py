"""Networks from other libraries, by their own exporters: import, int8, verify, with no value differing."""

from __future__ import annotations

import json
import warnings

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edge_runtime import Engine, load
from export import quantize, read_onnx, verify, write_onnx
from export.cli import main
from tests.export.foreign import activations, checked, graph, normal
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


def keras_style(folder):
    """What tf2onnx makes of a Sequential model: MatMul and Add under long names, relu6 as two nodes."""
    nodes = (
        "m1 = MatMul(x, K1) a1 = Add(m1, C1) r1 = Relu(a1) p = Min(r1, six) m2 = MatMul(p, K2) a2 = Add(m2, C2) "
        "n = BatchNormalization<epsilon=0.001>(a2, g, b, m, v) l = LeakyRelu<alpha=0.3>(n) m3 = MatMul(l, K3) "
        "a3 = Add(m3, C3) y = Softmax(a3)"
    )
    constants = {
        "K1": normal(16, 12),
        "C1": normal(12),
        "K2": normal(12, 8),
        "C2": normal(8),
        "K3": normal(8, 4),
        "C3": normal(4),
    }
    constants |= {
        "six": np.float32(6),
        "g": normal(8) + 1,
        "b": normal(8),
        "m": normal(8),
        "v": np.abs(normal(8)) + 0.1,
    }
    proto = graph(nodes, source="float[N,16] x", target="float[N,4] y", opset=15, **constants)
    for node in proto.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = name if name in ("x", "y") else f"StatefulPartitionedCall/sequential/{name}:0"
    for tensor in proto.graph.initializer:
        tensor.name = f"StatefulPartitionedCall/sequential/{tensor.name}:0"
    onnx.save(proto, folder / "keras.onnx")
    return folder / "keras.onnx"


def test_keras_style(tmp_path):
    """MatMul, BiasAdd, relu6, BatchNormalization and LeakyReLU; then int8."""
    path = keras_style(tmp_path)
    assert activations(checked(path)) == ["clip", "leaky_relu", "softmax"]
    int8_without_a_difference(path, tmp_path, random_rows(300, 16))


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_the_import_command_verifies_and_writes(tmp_path):
    """An artifact with test vectors, checked on random rows and on the given ones; --json says so."""
    path = keras_style(tmp_path)
    np.savez(tmp_path / "rows.npz", x=random_rows(40, 16), y=np.arange(40) % 4)
    result = run("import", path, "--out", tmp_path / "k.npz", "--data", tmp_path / "rows.npz", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.output)
    assert facts["ok"]
    assert [check["rows"] for check in facts["checks"].values()] == [256, 40]
    assert len(load(tmp_path / "k.npz").test_vectors.inputs) == 8
    assert "agree with onnxruntime" in run("import", path, "--out", tmp_path / "k.npz").output


def test_the_import_command_writes_nothing_that_differs(tmp_path, monkeypatch):
    """Exit status 1, and no file, when the imported model computes something else."""
    import export.onnx_reader as reader

    def wrong(path):
        found = original(path)
        other = type(found.model)((*found.model.layers[:-1], _shifted(found.model.layers[-1])))
        return type(found)(**{**vars(found), "model": other})

    original = reader.import_onnx
    monkeypatch.setattr(reader, "import_onnx", wrong)
    result = run("import", keras_style(tmp_path), "--out", tmp_path / "k.npz")
    assert result.exit_code == 1, result.output
    assert "OUTPUTS DIFFER" in result.output
    assert not (tmp_path / "k.npz").exists()


def _shifted(layer):
    return type(layer)(
        layer.name, layer.weight, layer.bias + np.arange(layer.n_out, dtype=np.float32) / 1000, layer.activation
    )


def test_the_export_command_takes_onnx(tmp_path):
    """From somebody's file to verified int8 in one command."""
    np.savez(tmp_path / "rows.npz", x=random_rows(200, 16), y=np.arange(200) % 4)
    result = run("export", keras_style(tmp_path), "--calibrate", tmp_path / "rows.npz", "--out", tmp_path / "build")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "build" / "keras.int8.npz").exists()


def test_the_import_command_refuses_in_one_line(tmp_path):
    """Exit status 2 and the node's name for what is no chain; nothing is written."""
    onnx.save(graph("h = Gemm(x, V) y = Add(h, x)", target="float[N,6] y", V=normal(6, 6)), tmp_path / "r.onnx")
    result = run("import", tmp_path / "r.onnx", "--out", tmp_path / "r.npz")
    assert result.exit_code == 2
    assert "residual Add" in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "r.npz").exists()
