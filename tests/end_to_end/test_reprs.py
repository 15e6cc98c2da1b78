"""What an interactive session shows of whatever the public API returns."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import edge_runtime as er
import export
from export.onnx_reader import import_onnx
from export.quantization import measure_fidelity, with_test_vectors
from export.verification import TensorCheck
from tests.networks import random_elementwise, random_layer_norm, random_model, random_rows
from trainer import History, NeuralNetwork, NeuralNetworkModel, PrecisionConfig
from trainer.datasets import Dataset, load_dataset, split
from trainer.history import EpochRecord

LONG = "a name out of somebody's file " * 40


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Everything that the public functions return, by the name of its class; extremes under a name of their own."""
    folder = tmp_path_factory.mktemp("reprs")
    data = load_dataset("digits")
    parts = split(data)
    config = PrecisionConfig(seed=1, enable_profiling=True, max_memory_mb=1.5, train_dtype="float64")
    network = NeuralNetwork([64, 12, 10], ["relu", "softmax"], precision_config=config)
    validation = (parts.validation.x, parts.validation.y)
    history = network.fit(parts.train.x, parts.train.y, epochs=3, validation_data=validation, standardize="per-feature")
    model = network.to_model()
    small = with_test_vectors(export.quantize(model, parts.train.x, "int8"), parts.train.x, 8)
    export.write_onnx(model, folder / "m.onnx")
    engine, imported = er.Engine(small), import_onnx(folder / "m.onnx")
    deep = random_model([3] * 300, ["relu"] * 299)
    deep = replace(deep, layers=(replace(deep.layers[0], name=LONG), *deep.layers[1:]))
    records = [EpochRecord(10**7 + i, 1 / 3e9, 1 / 3e9, -1 / 3e9, 1 / 3e9, -1 / 3e9) for i in range(1000)]
    dynamic = export.quantize(model, None, "int8-dynamic")
    values = [
        data, parts, network, history, history.records[0], network.evaluate(parts.test.x, parts.test.y), model, config,
        network.profile_, network.profile(parts.test.x, parts.test.y, repeats=1), PrecisionConfig(),
        small, small.layers[0], small.test_vectors, small.preprocessing, model.layers[0], dynamic.layers[0],
        small.layers[0].input, small.layers[0].activation, engine, engine.plan,
        engine.profile(parts.test.x[:5], runs=1), engine.plan.steps[0], er.selftest(small),
        er.estimate(small, "esp32"), *er.devices().values(),
        er.estimate(random_model([640, 900, 640], ["relu", "linear"]), "stm32g0b1"), er.Limits(device="esp32"),
        engine.trace(parts.test.x[:5]), imported, export.verify(model, folder / "m.onnx", parts.test.x),
        export.verify(model, folder / "m.onnx", parts.test.x).checks[0], measure_fidelity(model, small, parts.test.x),
        export.diagnose(model, parts.test.x, small=small),
        # as long as they get
        random_layer_norm(5000, name=LONG), random_elementwise(5000, name=LONG),
        deep, deep.layers[0], er.Engine(deep), er.Engine(deep).plan, replace(imported, model=deep, output=LONG),
        NeuralNetworkModel([3] * 300, ["relu"] * 299),
        Dataset(np.zeros((3, 2), "f4"), np.arange(3) % 2, ("a", "b"), LONG),
        split(replace(data, name=LONG)), History(records, 999, True, "mean_absolute_error"), History(), records[0],
        TensorCheck("disabled", LONG, "within bound", 10**12, 10**12, 1 / 3e-9, 1 / 3e9),
    ]  # fmt: skip
    check = values[-1]
    return [*values, export.Report("integer", 10**9, (check,) * 999, 10**9, 1 / 3e9)]


def test_each_is_shown_in_a_few_short_lines_that_name_its_class(shown):
    """Never an array, whatever the size of what it holds, and nothing that steers a terminal."""
    for value in shown:
        text = repr(value)
        lines = text.splitlines()
        assert text.startswith(type(value).__name__), text
        assert len(lines) <= 15, text
        assert max(map(len, lines)) < 200, text
        assert "array(" not in text
        assert "object at" not in text
        assert all(letter.isprintable() for letter in text.replace("\n", "")), text


def test_a_repr_says_what_matters(shown):
    """Rows, sizes, the epoch that was kept, verdicts, bytes."""
    texts = [repr(value) for value in shown]
    for part in (
        "Dataset('digits', 1,797 rows, 64 features, 10 classes)",
        "Split('digits': train 1,258, validation 180, test 359 rows)",
        "NeuralNetwork([64, 12, 10], ['relu', 'softmax'])",
        "PrecisionConfig(train_dtype='float64', seed=1, enable_profiling=True, max_memory_mb=1.5)",
        "PrecisionConfig(seed=42)",
        "TestVectors(8 rows, 64 -> 10)",
        "Standardization(64 features)",
        "Imported(Model(64-12-10, float32, relu softmax, 910 parameters, 0 test vectors), 'input' -> 'output')",
    ):
        assert part in texts
    starts = (
        "History(3 epochs, kept ",
        "MemoryPlan(",
        "RunProfile(2 layers, ",
        "Report(integer, ok: 359 ",
    )
    for start in (
        *starts,
        "Estimate(esp32, int8, predicted ",
        "DeviceProfile(rp2040: 2x Cortex-M0+",
        "Trace(",
    ):
        assert any(text.startswith(start) for text in texts), start
    assert eval(repr(PrecisionConfig(seed=3, infer_precision="int8"))) == PrecisionConfig(
        seed=3, infer_precision="int8"
    )


def test_what_is_shown_shortly_is_held_whole(shown):
    """Copies and pickles too: the plan is a tuple, tensors are a dictionary, a profile is a list."""
    plan = next(value for value in shown if type(value).__name__ == "MemoryPlan")
    assert copy.copy(plan) == pickle.loads(pickle.dumps(plan)) == plan
    assert str(plan).count("\n") >= 2
    rows = random_rows(4, 6)
    tensors = er.Engine(random_model([6, 5, 3], ["relu", "softmax"])).trace(rows)
    assert isinstance(tensors, dict)
    assert list(pickle.loads(pickle.dumps(tensors))) == list(tensors)
    assert "dense0.output" in tensors


@pytest.mark.parametrize("package", ["edge_runtime", "export", "trainer"])
def test_dir_shows_the_public_names_alone(package):
    """Before anything is loaded, and after: no module, and nothing that the package's file imports."""
    code = (
        f"import {package} as package; show = lambda: [n for n in dir(package) if not n.startswith('__')]; "
        "first = show(); [getattr(package, name) for name in package.__all__]; "
        "assert first == show() == sorted(package.__all__), (first, show())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
