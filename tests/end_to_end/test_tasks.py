import numpy as np
import pytest

import edge_runtime as er
from trainer import NeuralNetwork

pytest.importorskip("onnxruntime")

import export


def _regression():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (600, 4))
    y = np.column_stack([np.sin(x[:, 0]) + x[:, 1], x[:, 2] * x[:, 3] / 3])
    return NeuralNetwork([4, 32, 16, 2], ["tanh", "relu", "linear"]), x, y, {"loss": "huber"}


def _autoencoder():
    rng = np.random.default_rng(0)
    x = 1 / (1 + np.exp(-rng.standard_normal((600, 2)) @ rng.standard_normal((2, 8))))
    return (
        NeuralNetwork([8, 6, 2, 6, 8], ["relu", "linear", "leaky_relu", "sigmoid"], batch_norm=True),
        x,
        x,
        {"loss": "mse"},
    )


def _binary():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 3))
    return NeuralNetwork([3, 8, 1], ["sigmoid", "sigmoid"]), x, (x[:, 0] * x[:, 1] > 0).astype(int), {}


@pytest.mark.parametrize("task", [_regression, _autoencoder, _binary])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_other_tasks_train_export_and_verify(tmp_path, task, precision):
    """Regression, autoencoder and one-output classifier: learned, shrunk, written, and the same in onnxruntime."""
    network, x, y, more = task()
    history = network.fit(x, y, epochs=40, learning_rate=0.01, schedule="constant", **more)
    assert history.loss[-1] < 0.7 * history.loss[0]
    rows = x.astype(np.float32)
    model = export.quantize(network.to_model(), rows, precision) if precision != "float32" else network.to_model()
    er.save(model, tmp_path / "net.npz")
    export.write_onnx(model, tmp_path / "net.onnx")
    report = export.verify(er.load(tmp_path / "net.npz"), tmp_path / "net.onnx", rows[:200])
    assert report.ok, report.as_dict()
    outputs = er.Engine(er.load(tmp_path / "net.npz")).run(rows)
    assert np.abs(outputs - network.forward(x)).mean() < {"float32": 1e-5, "float16": 0.01, "int8": 0.1}[precision]
