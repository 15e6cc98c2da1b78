"""Arguments of another type are refused where they come in, by name and with what is expected."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_runtime as er
from edge_runtime import Engine, Model, load, save
from edge_runtime.errors import SmallnetError
from export import quantize, read_onnx, verify, verify_import, write_onnx
from export.verification import RunLimits
from tests.networks import random_elementwise, random_layer_norm, random_model, random_rows
from trainer import NeuralNetwork, NeuralNetworkModel, PrecisionConfig

MODEL, ROWS = random_model([4, 3], ["linear"]), random_rows(6, 4)
Y = np.arange(6) % 2


def net(**settings: Any) -> NeuralNetwork:
    return NeuralNetwork(**{"layer_sizes": [4, 3, 2], "activations": ["relu", "softmax"], **settings})


def fit(**settings: Any) -> None:
    net().fit(ROWS, Y, **{"epochs": 1, **settings})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("types")
    save(MODEL, made / "m.npz")
    write_onnx(MODEL, made / "m.onnx")
    return made


@pytest.mark.parametrize("value", ["m.npz", None, 5])
def test_what_is_no_model_is_refused(folder: Path, value: Any) -> None:
    """A path, most often: what gives the model is named."""
    for use in (
        Engine,
        lambda model: save(model, folder / "other.npz"),
        lambda model: write_onnx(model, folder / "other.onnx"),
        lambda model: verify(model, folder / "m.onnx", ROWS),
    ):
        with pytest.raises(
            SmallnetError, match=r"^model is a \w+, expected a Model; load\(path\) gives that of a file$"
        ):
            use(value)
    assert not (folder / "other.npz").exists()
    assert not (folder / "other.onnx").exists()


VERIFY = {
    "levels": [None, 5, "default", ["x"], [[]], [None]],
    "threads": [b"", "x", None, 1.5, -1, True],
    "run_limits": ["x", 5, {}],
    "output": [5, b"output"],
}
FIT = {
    "checkpoint": [5, ["a"], b"x", True],
    "resume": [5, ["a"], b"x", True],
    "shuffle": ["no", None, 5, [], 1],
}
NETWORK = {
    "layer_sizes": [None, 5, "4-3-2"],
    "precision_config": [{}, {"seed": 1}, 5],
    "between": [None, 5, "batch_norm"],
    "batch_norm": ["no", None, 1],
    "init": [[], None, 5],
}
LIMITS = {"max_seconds": ["x", None, 0, -1, np.nan, True, b""], "max_memory": ["x", 1.5, -1, [1], True]}


def cases(settings: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(name, value, id=f"{name}={value!r}") for name, values in settings.items() for value in values]


def refused(name: str, use: Callable[[], object]) -> None:
    with pytest.raises(SmallnetError, match=rf"^{name} .*expected "):
        use()


@pytest.mark.parametrize(("name", "value"), cases(VERIFY))
def test_verify(folder: Path, name: str, value: Any) -> None:
    """Levels, threads, limits and outputs."""
    refused(name, lambda: verify(MODEL, folder / "m.onnx", ROWS, **{name: value}))
    if name in ("levels", "run_limits"):
        imported = read_onnx(folder / "m.onnx")
        refused(name, lambda: verify_import(imported, folder / "m.onnx", **{name: value}))


@pytest.mark.parametrize(("name", "value"), cases(LIMITS))
def test_run_limits(name: str, value: Any) -> None:
    """A limit that is none would not be kept."""
    refused(name, lambda: RunLimits(**{name: value}))


def test_no_limit_on_time_is_none(folder: Path) -> None:
    """Infinitely long, and longer than any clock holds."""
    for seconds in (np.inf, 1e30, np.float32(60)):
        assert verify(MODEL, folder / "m.onnx", ROWS, run_limits=RunLimits(max_seconds=seconds)).ok


@pytest.mark.parametrize(("name", "value"), cases(FIT))
def test_fit(name: str, value: Any) -> None:
    """Paths and switches."""
    refused(name, lambda: fit(**{name: value}))


@pytest.mark.parametrize(("name", "value"), cases(NETWORK))
def test_network(name: str, value: Any) -> None:
    """Sizes, configuration and layers between."""
    refused(name, lambda: net(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"), cases({"opset": ["13", None, 13.0, True, [13]], "form": [["integer"], {}, None, 5]})
)
def test_write(folder: Path, name: str, value: Any) -> None:
    """Opset and form."""
    refused(name, lambda: write_onnx(MODEL, folder / "other.onnx", **{name: value}))


@pytest.mark.parametrize("value", ["x", None, 1.5, [1], True])
def test_load(folder: Path, value: Any) -> None:
    """A limit on bytes."""
    refused("max_bytes", lambda: load(folder / "m.npz", max_bytes=value))


class Stubborn:
    """What raises whatever it is asked: its truth, length, items, numbers, and whether it equals another."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError("ask me nothing")

    __bool__ = __len__ = __iter__ = __eq__ = __ne__ = __lt__ = __float__ = __int__ = __array__ = __repr__ = _refuse
    __hash__ = object.__hash__


WRONG: list[Any] = [
    None, True, 0, -1, 1.5, np.nan, np.inf, "3", "", b"3", [], {}, (), object(), np.array(3), np.array([1, 2]),
    np.float32(2), np.int64(-2), 1 + 2j, Decimal("2"), Fraction(1, 2), date(2026, 11, 26), slice(3), 10**400,
    -(10**400), 10**5000, np.datetime64("2020"), np.str_("a"), ..., range(3), {1, 2}, np.ma.masked,
    np.zeros((2, 3), "M8[s]"),
    np.zeros(3, [("a", float)]), np.array(["1", "2", "3"]), "a\0b", "\ud800", "a\nb", np.zeros((0, 3)),
    np.zeros((3, 0)),
    memoryview(b"abc"), bytearray(3), np.array(None), [[1, 2], [3]], [None], [[[[]]]], [[1, 2], [3, 4]],
    np.zeros((2, 2, 2, 2)), iter([1]), Stubborn(), [Stubborn()],
]  # fmt: skip


def doors(folder: Path) -> dict[str, Callable[[Any], object]]:
    """Every parameter of the public names, by its name: what gives it a value."""
    rows, labels = random_rows(30, 3), np.arange(30) % 2
    model = random_model([3, 4, 2], ["relu", "softmax"])
    small, layer = quantize(model, rows), model.layers[0]
    save(model, folder / "a.npz")
    write_onnx(model, folder / "a.onnx")
    engine, given, out = Engine(model), folder / "a.onnx", folder / "o.onnx"
    found = {
        "Engine(model)": Engine,
        "Engine(limits)": lambda v: Engine(model, v),
        "run(x)": engine.run,
        "run(x) checked": lambda v: engine.run(v, check_finite=True),
        "run(check_finite)": lambda v: engine.run(rows, check_finite=v),
        "logits(x)": engine.logits,
        "predict(x)": engine.predict,
        "trace(x)": engine.trace,
        "profile(x)": lambda v: engine.profile(v, 1),
        "profile(runs)": lambda v: engine.profile(rows[:1], v if not isinstance(v, int) or v < 9 else 9),
        "save(model)": lambda v: save(v, folder / "o.npz"),
        "save(path)": lambda v: save(model, v),
        "load(path)": load,
        "load(mmap)": lambda v: load(folder / "a.npz", mmap=v),
        "load(max_bytes)": lambda v: load(folder / "a.npz", max_bytes=v),
        "estimate(model)": lambda v: er.estimate(v, "rp2040"),
        "estimate(device)": lambda v: er.estimate(model, v),
        "selftest(model)": er.selftest,
        "selftest(limits)": lambda v: er.selftest(small, v),
        "Model(layers)": Model,
        "Model(preprocessing)": lambda v: Model(model.layers, v),
        "Model(class_names)": lambda v: Model(model.layers, None, v),
        "Model(metadata)": lambda v: Model(model.layers, None, (), v),
        "Model(metadata) value": lambda v: Model(model.layers, None, (), {"a": v}),
        "Model(test_vectors)": lambda v: Model(model.layers, None, (), {}, v),
        "TestVectors": lambda v: er.TestVectors(v, v),
        "Standardization": lambda v: er.Standardization(v, v),
        "Dense(name)": lambda v: Model((replace(layer, name=v), model.layers[1])),
        "Dense(weight)": lambda v: replace(layer, weight=v),
        "Dense(bias)": lambda v: replace(layer, bias=v),
        "Dense(activation)": lambda v: replace(layer, activation=v),
        **{
            f"QuantizedDense({name})": lambda v, name=name: replace(small.layers[0], **{name: v})
            for name in ("weight", "bias", "multiplier", "input", "output", "activation", "table", "table_output")
        },
        **{
            f"{type(stage).__name__}({field.name})": lambda v, stage=stage, name=field.name: replace(stage, **{name: v})
            for stage in (random_elementwise(3), random_layer_norm(3))
            for field in fields(stage)
        },
        "Activation(name)": er.Activation,
        "Activation(params)": lambda v: er.Activation("elu", v),
        "Activation(params) value": lambda v: er.Activation("elu", (("alpha", v),)),
        "Activation.of(spec)": er.Activation.of,
        "Activation.of(params)": lambda v: er.Activation.of("elu", v),
        "QuantParams(scale)": lambda v: er.QuantParams(v, 0),
        "QuantParams(zero_point)": lambda v: er.QuantParams(1.0, v),
        **{f"Limits({field.name})": lambda v, name=field.name: er.Limits(**{name: v}) for field in fields(er.Limits)},
        "quantize(model)": lambda v: quantize(v, rows),
        "quantize(calibration)": lambda v: quantize(model, v),
        **{
            f"quantize({name})": lambda v, name=name: quantize(model, rows, **{name: v})
            for name in ("precision", "method", "per_channel", "test_vectors", "on_choice")
        },
        "write_onnx(model)": lambda v: write_onnx(v, out),
        "write_onnx(path)": lambda v: write_onnx(model, v),
        "write_onnx(form)": lambda v: write_onnx(model, out, v),
        "write_onnx(opset)": lambda v: write_onnx(model, out, opset=v),
        "write_onnx(portable)": lambda v: write_onnx(model, out, "qdq", portable=v),
        "read_onnx(path)": read_onnx,
        "read_onnx(max_bytes)": lambda v: read_onnx(given, max_bytes=v),
        "read_onnx(output)": lambda v: read_onnx(given, output=v),
        "verify(model)": lambda v: verify(v, given, rows),
        "verify(onnx_path)": lambda v: verify(model, v, rows),
        "verify(x)": lambda v: verify(model, given, v),
        **{
            f"verify({name})": lambda v, name=name: verify(model, given, rows, **{name: v})
            for name in ("levels", "limits", "on_rows", "run_limits", "output")
        },
        "verify_import(model)": lambda v: verify_import(v, given, rows),
        "verify_import(onnx_path)": lambda v: verify_import(model, v, rows),
        "verify_import(x)": lambda v: verify_import(model, given, v),
        **{
            f"verify_import({name})": lambda v, name=name: verify_import(model, given, rows, **{name: v})
            for name in ("levels", "imported", "run_limits")
        },
    }
    return {**found, **doors_of_training(folder, rows, labels)}


def doors_of_training(folder: Path, rows: Any, labels: Any) -> dict[str, Callable[[Any], object]]:
    """Those of networks; a number of epochs that is one is trained for, so that large ones are left out."""

    def one(**settings: Any) -> NeuralNetwork:
        sizes = {"layer_sizes": [3, 4, 2], "activations": ["relu", "softmax"]}
        return NeuralNetwork(**{**sizes, "epochs": 1, **settings})

    learned, plain = one(), NeuralNetworkModel([3, 4, 2], ["relu", "softmax"])
    learned.fit(rows, labels)
    values = NeuralNetwork([3, 1], ["linear"], epochs=1)
    values.fit(rows, rows[:, 0])
    constructed = [name for name in inspect.signature(NeuralNetwork).parameters if name != "epochs"]
    of_fit = [
        name for name in inspect.signature(NeuralNetwork.fit).parameters if name not in ("self", "epochs", "x", "y")
    ]
    of_config = [field.name for field in fields(PrecisionConfig)]
    return {
        **{f"NeuralNetwork({name})": lambda v, name=name: one(**{name: v}).fit(rows, labels) for name in constructed},
        **{
            f"set_params({name})": lambda v, name=name: one().set_params(**{name: v}).fit(rows, labels)
            for name in constructed
        },
        **{f"fit({name})": lambda v, name=name: one().fit(rows, labels, **{name: v}) for name in of_fit},
        **{f"PrecisionConfig({name})": lambda v, name=name: PrecisionConfig(**{name: v}) for name in of_config},
        "fit(x)": lambda v: one().fit(v, labels),
        "fit(y)": lambda v: one().fit(rows, v),
        "partial_fit(x)": lambda v: one().partial_fit(v, labels),
        "partial_fit(y)": lambda v: one().partial_fit(rows, v),
        "partial_fit(classes)": lambda v: one().partial_fit(rows, labels, v),
        "partial_fit(sample_weight)": lambda v: one().partial_fit(rows, labels, None, v),
        "predict(x) of a network": learned.predict,
        "predict_proba(x)": learned.predict_proba,
        "score(x)": lambda v: learned.score(v, labels),
        "score(y)": lambda v: learned.score(rows, v),
        "score(y) of values": lambda v: values.score(rows, v),
        "evaluate(x)": lambda v: learned.evaluate(v, labels),
        "evaluate(y)": lambda v: learned.evaluate(rows, v),
        "evaluate(loss)": lambda v: learned.evaluate(rows, labels, loss=v),
        "to_model(class_names)": learned.to_model,
        "to_model(metadata)": lambda v: learned.to_model(metadata=v),
        "to_model(class_names) of the plain one": plain.to_model,
        "to_model(metadata) of the plain one": lambda v: plain.to_model(metadata=v),
        "save_weights(path)": learned.save_weights,
        "load_weights(path)": learned.load_weights,
        "forward(x)": plain.forward,
        "forward(training)": lambda v: plain.forward(rows, v),
        "forward(precision)": lambda v: plain.forward(rows, precision=v),
        "forward(precision) in training": lambda v: plain.forward(rows, True, v),
        "backprop(x)": lambda v: plain.backprop(v, labels),
        "backprop(y)": lambda v: plain.backprop(rows, v),
        "backprop(loss)": lambda v: plain.backprop(rows, labels, loss=v),
        "gradient_check(x)": lambda v: plain.gradient_check(v, labels[:2]),
        "gradient_check(y)": lambda v: plain.gradient_check(rows[:2], v),
        "gradient_check(epsilon)": lambda v: plain.gradient_check(rows[:2], labels[:2], epsilon=v),
        "profile(x) of a network": lambda v: plain.profile(v, labels, repeats=1),
        "profile(y) of a network": lambda v: plain.profile(rows, v, repeats=1),
        "set_seed": plain.set_seed,
    }


def test_no_door_lets_an_error_of_another_kind_out(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in a parameter's place: it is taken, or refused with an error of ours, in one line."""
    monkeypatch.chdir(tmp_path)  # a text is a path for some
    wrong = []
    for door, use in doors(tmp_path_factory.mktemp("doors")).items():
        for place, value in enumerate(WRONG):
            value = iter([1]) if isinstance(value, type(iter([]))) else value
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    use(value)
            except (SmallnetError, OSError) as error:
                if not str(error) or "\n" in str(error):
                    wrong.append(f"{door}, value {place}: {error!r}")
            except Exception as error:
                wrong.append(f"{door}, value {place}: {error!r}")
    assert not wrong, "\n".join(wrong)
