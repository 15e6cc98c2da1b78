"""Every object that the public API gives is copied, sent through pickle and used: copies do as originals do."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import edge_runtime as er
import export
import trainer
from export.onnx_reader.reader import import_onnx
from export.verification.foreign_session import RunLimits
from tests.networks import random_model, random_rows
from trainer.datasets import load_dataset, split
from trainer.optimizers import choose_optimizer
from trainer.schedules import choose_schedule

WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "oldest protocol": lambda value: pickle.loads(pickle.dumps(value, protocol=0)),
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
}


def trained(**settings: Any) -> trainer.NeuralNetwork:
    net = trainer.NeuralNetwork([5, 4, 2], ["relu", "softmax"])
    net.fit(ROWS, np.arange(40) % 2, **{"epochs": 2, **settings})
    return net


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Callable[[Any], Any]]]:
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
    network = trained()
    dataset = load_dataset("digits")
    text: Callable[[Any], Any] = repr

    def runs(value: Any) -> Any:
        return er.Engine(value).run(ROWS).tobytes()

    return {
        "Model": (int8, runs),
        "Model, loaded": (er.load(folder / "m.npz"), runs),
        "Model, mapped": (er.load(folder / "m.npz", mmap=True), runs),
        "Engine": (engine, lambda value: value.run(ROWS).tobytes()),
        "MemoryPlan": (engine.plan, str),
        "Profile": (engine.profile(ROWS[:3]), str),
        "Limits": (er.Limits(ram_bytes=10**6), lambda value: er.Engine(int8, value).plan.total_bytes),
        "Dense": (model.layers[0], lambda value: value.weight.tobytes()),
        "QuantizedDense": (int8.layers[0], lambda value: (value.certificate, value.table.tobytes())),
        "DynamicQuantizedDense": (export.quantize(model, None, "int8-dynamic").layers[0], lambda v: v.certificate),
        "Activation": (er.Activation.of("leaky_relu"), lambda value: value(ROWS).tobytes()),
        "QuantParams": (int8.layers[0].input, text),
        "Standardization": (model.preprocessing, lambda value: value(ROWS).tobytes()),
        "TestVectors": (vectors, lambda value: value.inputs.tobytes()),
        "SelfTest": (er.selftest(whole), lambda value: (value.ok, value.values)),
        "DeviceProfile": (er.devices()["stm32l4r5"], text),
        "Estimate": (er.estimate(int8, "stm32l4r5"), text),
        "Report": (export.verify(int8, folder / "m.onnx", ROWS), lambda value: value.as_dict()),
        "RunLimits": (RunLimits(5), text),
        "Imported": (import_onnx(folder / "f.onnx"), lambda value: (runs(value.model), value.output)),
        "NeuralNetwork": (network, lambda value: (value.predict(ROWS).tobytes(), value.to_model().layer_sizes)),
        "NeuralNetworkModel": (
            trainer.NeuralNetworkModel([5, 2], ["softmax"]),
            lambda value: value.backprop(ROWS, np.arange(40) % 2),
        ),
        "History": (network.history_, lambda value: value.to_json()),
        "EpochRecord": (network.history_.records[0], text),
        "Evaluation": (network.evaluate(ROWS, np.arange(40) % 2), text),
        "PrecisionConfig": (trainer.PrecisionConfig(seed=3), text),
        "MemoryCount": (network.memory_, text),
        "trainer.Profile": (network.profile(ROWS, np.arange(40) % 2), str),
        "Dataset": (dataset, lambda value: (value.x.tobytes(), value.class_names)),
        "Split": (split(dataset, seed=1), lambda value: value.test.y.tobytes()),
        "optimizer": (choose_optimizer("adam"), lambda value: trained(optimizer=value).weights[0].tobytes()),
        "schedule": (choose_schedule("cosine"), lambda value: trained(schedule=value).weights[0].tobytes()),
    }


NOT_MADE = {
    "Layer",  # a union of types
    "DEFAULT_CONFIG",
    "HardwareLimitWarning",
    "CheckpointError",  # are made and copied as the errors above are
    "OutputRefused",
    "SmallnetError",
}


def test_no_public_class_is_left_out(objects: dict[str, Any]) -> None:
    """Each class in the `__all__` of the three packages is among the objects or the errors."""
    tried = {name.split(",")[0] for name in objects} | set(ERRORS) | NOT_MADE
    for package in (er, trainer, export):
        classes = {name for name in package.__all__ if isinstance(getattr(package, name), type)}
        assert classes <= tried


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
