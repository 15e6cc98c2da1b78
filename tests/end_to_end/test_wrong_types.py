"""Arguments of another type are refused where they come in, by name and with what is expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime import Engine, load, save
from edge_runtime.errors import SmallnetError
from export import read_onnx, verify, verify_import, write_onnx
from export.verification import RunLimits
from tests.networks import random_model, random_rows
from trainer import NeuralNetwork

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
