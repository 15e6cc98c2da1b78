"""Every object that the public API gives is copied, sent through pickle and used: copies do as originals do."""

from __future__ import annotations

import copy
import importlib
import io
import pickle
import pkgutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_runtime as er
import export
import trainer
from edge_runtime.console import check_output
from edge_runtime.errors import Alternative, CalibrationError, NativeUnavailable
from edge_runtime.files import ArrayNames, RowsRead
from edge_runtime.schema import Column, Schema
from export.onnx_reader import Int8Product, Unsupported, import_onnx
from export.onnx_reader.nodes import TooLarge
from export.onnx_reader.steps import Seen
from export.quantization import QuantizationWarning, StoredRanges, Switches, choose_within, quantize_beside
from export.quantization.doubts import measure_fidelity
from export.verification import RunLimits
from tests.networks import random_elementwise, random_layer_norm, random_model, random_rows
from trainer.data import Augmentation, Choices, Reading, TargetUnits
from trainer.datasets import load_dataset, split
from trainer.fitting import TrainingOptions
from trainer.losses import LOSSES, Huber
from trainer.optimizers import OPTIMIZERS, Momentum
from trainer.schedules import SCHEDULES, Step


def joblib_copy(value: Any) -> Any:
    """Written by joblib, as scikit-learn's users keep networks, and read again."""
    joblib = pytest.importorskip("joblib")
    file = io.BytesIO()
    joblib.dump(value, file)
    file.seek(0)
    return joblib.load(file)


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "oldest protocol": lambda value: pickle.loads(pickle.dumps(value, protocol=0)),
    "joblib": joblib_copy,
}
ROWS = random_rows(40, 5)
ERRORS = {
    # name: a call that raises it
    "BudgetExceeded": lambda: er.Engine(random_model([5, 4, 2], ["relu", "softmax"]), er.Limits(ram_bytes=10)),
    "InputError": lambda: er.Engine(random_model([5, 2], ["linear"])).run(np.zeros(3)),
    "ArtifactError": lambda: er.load(__file__),
    "ModelError": lambda: er.Model(()),
    "QuantizationError": lambda: export.quantize(random_model([5, 2], ["linear"]), None, "int8"),
    "ConfigurationError": lambda: trainer.PrecisionConfig(seed=-1),
    "TrainingDiverged": lambda: trained(learning_rate=1e30, epochs=3),
    "CheckpointError": lambda: trained(resume=__file__),
    "OutputRefused": lambda: check_output(Path(__file__).parent, "model"),
}


MODEL = random_model([5, 4, 2], ["relu", "softmax"])
# each class of errors with each of its arguments
MADE_ERRORS = [
    er.SmallnetError("base"),
    er.ArtifactError("m.npz: damaged; export the model again"),
    er.ModelError("ümlaut"),
    er.InputError("two", "arguments"),
    er.OutputRefused("--out is a folder"),
    er.QuantizationError("no"),
    CalibrationError("wrong rows"),
    trainer.ConfigurationError("seed is -1"),
    trainer.NotFittedError("predict needs a network that has learned"),
    trainer.CheckpointError("c.npz: made with seed 4, this run has 5"),
    trainer.TrainingDiverged("epoch 3", kept_epoch=2),
    trainer.TrainingDiverged("epoch 1"),
    NativeUnavailable("no C compiler found"),
    er.BudgetExceeded("too large"),
    er.BudgetExceeded(
        "too large", need_bytes=9, have_bytes=4, layer="dense0", alternatives=(Alternative("max_batch=1", 3),),
        beyond=(Alternative("mmap", 7),), model=MODEL, limits=er.Limits(ram_bytes=4),
    ),
    Unsupported("node 'y' (Conv)"),
    TooLarge("needs 5 elements"),
    QuantizationWarning("calibrated on 3 rows"),
    trainer.HardwareLimitWarning("batch size 4 in place of 32"),
]  # fmt: skip


def trained(**settings: Any) -> trainer.NeuralNetwork:
    net = trainer.NeuralNetwork([5, 4, 2], ["relu", "softmax"])
    net.fit(ROWS, np.arange(40) % 2, **{"epochs": 2, **settings})
    return net


def learns(setting: str) -> Callable[[Any], Any]:
    """What a network learns with a setting."""
    return lambda value: trained(**{setting: value}).weights[0].tobytes()


def costs(loss: Any) -> Any:
    """What a loss says of a batch, and the gradient."""
    a, targets = np.abs(ROWS[:8]) / (1 + np.abs(ROWS[:8])), np.eye(5)[np.arange(8) % 5].astype(np.float32)
    out, scratch = np.empty_like(a), np.empty_like(a)
    total = loss.total(a, targets, None, out, scratch)
    loss.gradient(a, targets, out)
    return total, out.tobytes()


def options_of(network: trainer.NeuralNetwork) -> TrainingOptions:
    """All settings of a run, with a rule and a schedule."""
    names = {field.name for field in fields(TrainingOptions)}
    return TrainingOptions.of(**{name: getattr(network, name, None) for name in names})


Uses = dict[str, tuple[Any, Callable[[Any], Any]]]
text: Callable[[Any], Any] = repr


def runs(model: Any) -> Any:
    """What a model computes."""
    return er.Engine(model).run(ROWS).tobytes()


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Uses:
    """By name: an object, and a use of it that gives something to compare."""
    folder = tmp_path_factory.mktemp("objects")
    model = random_model([5, 4, 2], ["tanh", "softmax"], standardize=True)
    int8 = export.quantize(model, ROWS, "int8")
    engine = er.Engine(int8, er.Limits(max_batch=4, over="split"))
    vectors = er.TestVectors(ROWS[:3], engine.logits(ROWS[:3]))
    whole = er.Model(int8.layers, int8.preprocessing, test_vectors=vectors)
    er.save(whole, folder / "m.npz")
    export.write_onnx(int8, folder / "m.onnx")
    export.write_onnx(model, folder / "f.onnx")
    return {
        "Model": (int8, runs),
        "Model, loaded": (er.load(folder / "m.npz"), runs),
        "Model, mapped": (er.load(folder / "m.npz", mmap=True), runs),
        "Engine": (engine, lambda value: value.run(ROWS).tobytes()),
        "MemoryPlan": (engine.plan, str),
        "RunProfile": (engine.profile(ROWS[:3]), str),
        "Limits": (er.Limits(ram_bytes=10**6), lambda value: er.Engine(int8, value).plan.total_bytes),
        "Dense": (model.layers[0], lambda value: value.weight.tobytes()),
        "QuantizedDense": (int8.layers[0], lambda value: (value.certificate, value.table.tobytes())),
        "Elementwise": (random_elementwise(5), lambda v: er.Engine(er.Model((v,))).run(ROWS).tobytes()),
        "LayerNorm": (random_layer_norm(5), lambda v: er.Engine(er.Model((v,))).run(ROWS).tobytes()),
        "DynamicQuantizedDense": (export.quantize(model, None, "int8-dynamic").layers[0], lambda v: v.certificate),
        "Activation": (er.Activation.of("leaky_relu"), lambda value: value(ROWS).tobytes()),
        "QuantParams": (int8.layers[0].input, text),
        "Standardization": (model.preprocessing, lambda value: value(ROWS).tobytes()),
        "TestVectors": (vectors, lambda value: value.inputs.tobytes()),
        "SelfTest": (er.selftest(whole), lambda value: (value.ok, value.values)),
        "DeviceProfile": (er.devices()["stm32l4r5"], text),
        "Estimate": (er.estimate(int8, "stm32l4r5"), text),
        "Choices": (Choices(label=("kind",), one_hot=("color",), missing="mean"), text),
        "Reading": (Reading(label=("kind",), notes=("separator ';'",)), text),
        "ArrayNames": (ArrayNames("x_train", "y_train", "x_test"), text),
        "RowsRead": (RowsRead(ROWS, ("a note",), np.arange(len(ROWS))), lambda value: (value.x.tobytes(), value.notes)),
        "Column": (Column("a", ("red", "blue"), fill="red"), text),
        "Schema": (Schema((Column("a"), Column("b", offset=3.0)), ("y",)), lambda value: (value.text(), value.n_in)),
        "Alternative": (Alternative("mmap", 3), text),
        "LayerTime": (engine.profile(ROWS[:3])[0], text),
        "PlanStep": (engine.plan.steps[0], text),
        **exported_objects(model, int8, folder),
        **trained_objects(),
    }


def exported_objects(model: Any, int8: Any, folder: Path) -> Uses:
    """Those of the exporter, of two models and their files."""
    int4 = export.quantize(model, ROWS, "int4").layers[0]
    choice = choose_within(model, ROWS, ROWS, None, 50.0, Switches("minmax"))
    return {
        "Report": (export.verify(int8, folder / "m.onnx", ROWS), lambda value: value.as_dict()),
        "RunLimits": (RunLimits(5), text),
        "Imported": (import_onnx(folder / "f.onnx"), lambda value: (runs(value.model), value.output)),
        "Input": (import_onnx(folder / "f.onnx").inputs[0], text),
        "Int8Product": (
            Int8Product("dense0", int8.layers[0].weight, True),
            lambda value: (value.layer, value.weight.tobytes(), value.by_integers),
        ),
        "Seen": (Seen("dense0", "x", 0), text),
        "Switches": (Switches("mse", True), text),
        "Quantized": (quantize_beside(model, ROWS, "int8", Switches("mse")), lambda value: runs(value.model)),
        "Fidelity": (measure_fidelity(model, int8, ROWS), text),
        "Int4Dense": (int4, lambda value: (value.certificate, value.weight.tobytes())),
        "Nibbles": (int4.nibbles, lambda value: value.unpacked().tobytes()),
        "Diagnosis": (export.diagnose(model, ROWS), text),
        "AllowedDrop": (choice.judge.allowed, text),
        "Choice": (choice, lambda value: (value.ladder(), runs(value.quantized.model))),
        "Trial": (choice.chosen, text),
        "StoredRanges": (StoredRanges.of(export.with_ranges(model, ROWS)), text),
        "TensorCheck": (export.verify(int8, folder / "m.onnx", ROWS).checks[0], text),
    }


def trained_objects() -> Uses:
    """Those of the trainer."""
    network, dataset = trained(), load_dataset("digits")
    rows = network._rows(ROWS, np.arange(40) % 2, LOSSES["cross_entropy"])
    return {
        "NeuralNetwork": (network, lambda value: (value.predict(ROWS).tobytes(), value.to_model().layer_sizes)),
        "NeuralNetwork, partly trained": (
            trainer.NeuralNetwork([5, 4, 2], ["relu", "softmax"], optimizer="adam").partial_fit(
                ROWS, np.arange(40) % 2
            ),
            lambda value: value.partial_fit(ROWS, np.arange(40) % 2).weights[0].tobytes(),
        ),
        "DenseClassifier": (
            trainer.DenseClassifier(epochs=2).fit(ROWS, np.arange(40) % 2),
            lambda value: (value.predict_proba(ROWS).tobytes(), value.get_params(), runs(value.to_model())),
        ),
        "DenseRegressor": (
            trainer.DenseRegressor(epochs=2, standardize="per-feature").partial_fit(ROWS, np.arange(40) / 40),
            lambda value: (value.predict(ROWS).tobytes(), value.n_iter_, runs(value.to_model())),
        ),
        "NeuralNetworkModel": (
            trainer.NeuralNetworkModel([5, 2], ["softmax"]),
            lambda value: value.backprop(ROWS, np.arange(40) % 2),
        ),
        "History": (network.history_, lambda value: value.to_json()),
        "EpochRecord": (network.history_.records[0], text),
        "Evaluation": (network.evaluate(ROWS, np.arange(40) % 2), text),
        "PrecisionConfig": (trainer.PrecisionConfig(seed=3), text),
        "MemoryCount": (network.memory_, text),
        "Profile": (network.profile(ROWS, np.arange(40) % 2), str),
        "Dataset": (dataset, lambda value: (value.x.tobytes(), value.class_names)),
        "Split": (split(dataset, seed=1), lambda value: value.test.y.tobytes()),
        "TargetUnits": (
            TargetUnits.of(np.arange(6.0).reshape(3, 2)),
            lambda value: (value.mean.tobytes(), value.scale.tobytes()),
        ),
        "Targets": (rows.targets, lambda value: (value.values.tobytes(), value.labels.tobytes())),
        "Rows": (rows, lambda value: (len(value), value.x.tobytes(), value.targets.values.tobytes())),
        "Augmentation": (Augmentation(shift=1, height=4, width=5), text),
        "TrainingOptions": (options_of(network), text),
        **{f"loss {name}": (loss, costs) for name, loss in {**LOSSES, "sharp": Huber(0.25)}.items()},
        **{f"optimizer {rule}": (rule, learns("optimizer")) for rule in (*OPTIMIZERS.values(), Momentum(0.5, True))},
        **{f"schedule {rule}": (rule, learns("schedule")) for rule in (*SCHEDULES.values(), Step(1, 0.25))},
    }


# modules whose public classes users hold: the packages, their rooms' doors, and what settings are named in
DOCUMENTED = [
    *("edge_runtime", "export", "trainer"),
    *(f"edge_runtime.{name}" for name in ("numerics", "files", "errors", "layers", "model", "artifact", "reference")),
    *("edge_runtime.device_profiles", "edge_runtime.engine"),
    *(f"export.{name}" for name in ("quantization", "onnx_reader", "onnx_writer", "verification")),
    *(f"trainer.{name}" for name in ("config", "data", "datasets", "errors", "fitting", "history", "losses", "model")),
    *(f"trainer.{name}" for name in ("estimators", "network", "optimizers", "schedules")),
]
NOT_COPIED = {
    **dict.fromkeys(
        ("Loss", "Optimizer", "Schedule", "Remade", "Stage", "WeightedLayer"), "bases, with nothing of their own"
    ),
    **dict.fromkeys(("Batch", "TrainingRun", "ProfiledChain", "Throttle"), "parts of a run, which ends with `fit`"),
    **dict.fromkeys(("FloatBlock", "QuantizedBlock", "ScaledLoss"), "parts of a run, which ends with `fine_tune`"),
    **dict.fromkeys(("Block", "FlatParameters", "LayerChain"), "parts of a network, copied with it"),
    "DataWarning": "a warning, which is shown where it arises",
    "TrainingStopped": "Ctrl-C, which ends what is running",
    "Defaults": "what is used where nothing is said, which nobody makes",
    "Chunks": "a stream that is being read",
    "FileMap": "the memory of a file, whose views are copied",
    "Table": "cells on their way from a file to a data set",
    "LoweredDense": "what a network of lower precision makes anew for a pass",
}


def public_classes(module: str) -> set[type]:
    """The classes of a module's `__all__`, or, where it has none, those that it defines without an underscore."""
    loaded = importlib.import_module(module)
    own = [name for name, value in vars(loaded).items() if getattr(value, "__module__", "") == module]
    names = getattr(loaded, "__all__", [name for name in own if not name.startswith("_")])
    return {value for name in names if isinstance(value := getattr(loaded, name), type)}


def test_no_public_class_is_left_out(objects: dict[str, Any]) -> None:
    """Each public class of the documented modules is copied here, or stands in the table with its reason."""
    tried = {type(value) for value, _ in objects.values()} | {type(value) for value in MADE_ERRORS}
    public = {found for module in DOCUMENTED for found in public_classes(module)}
    left = {found.__name__ for found in public - tried}
    assert left == set(NOT_COPIED)


def test_no_error_is_left_out() -> None:
    """Each class of errors that the three packages define is among those that are copied."""
    for package in (er, export, trainer):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("_main__") and not module.name.endswith("bundle_main"):
                importlib.import_module(module.name)
    known, waiting = set(), [er.SmallnetError]
    while waiting:
        found = waiting.pop()
        waiting += found.__subclasses__()
        if found.__module__.split(".")[0] in ("edge_runtime", "export", "trainer"):
            known.add(found)
    assert known <= {type(value) for value in MADE_ERRORS}


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_does_what_the_original_does(way: str, objects: dict[str, Any]) -> None:
    """Of the same type, and the same results to the last bit."""
    for name, (value, use) in objects.items():
        found = WAYS[way](value)
        assert type(found) is type(value), name
        assert use(found) == use(value), name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_keeps_its_words_and_figures(name: str, way: str) -> None:
    """What another process raised says the same here."""
    with pytest.raises(er.SmallnetError) as caught, np.errstate(all="ignore"):
        ERRORS[name]()
    assert type(caught.value).__name__ in (name, "CalibrationError")
    found = WAYS[way](caught.value)
    assert str(found) == str(caught.value)
    assert vars(found).keys() == vars(caught.value).keys()
    if name == "BudgetExceeded":
        assert found.missing_bytes == caught.value.missing_bytes > 0
        assert found.alternatives == caught.value.alternatives


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", MADE_ERRORS, ids=lambda error: f"{type(error).__name__} {error}")
def test_an_error_keeps_its_arguments(error: Exception, way: str) -> None:
    """Each class with each argument that it takes; it can be raised again, and says its alternatives as before."""
    found = WAYS[way](error)
    assert (type(found), found.args, str(found)) == (type(error), error.args, str(error))
    kept, expected = dict(vars(found)), dict(vars(error))
    models = [facts.pop("model", None) for facts in (kept, expected)]
    assert kept == expected
    if models[1] is not None:
        outputs = [er.Engine(model).run(ROWS).tobytes() for model in models]
        assert outputs[0] == outputs[1]
        assert found.said(str.upper) == error.said(str.upper) != str(error)
    with pytest.raises(type(error)) as raised:
        raise found
    assert raised.value is found
