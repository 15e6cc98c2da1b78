"""A trained network stands in a model's place, and rows are taken as they come, wherever Python asks for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_runtime as er
from export import quantize, verify, verify_import, write_onnx
from tests.networks import random_rows
from trainer import DenseClassifier, DenseRegressor, NeuralNetwork, NeuralNetworkModel, NotFittedError

ROWS = random_rows(40, 3)
LABELS = np.arange(40) % 2


def fitted(network: Any) -> Any:
    network.fit(ROWS, LABELS)
    return network


NETWORKS: dict[str, Callable[[], Any]] = {
    "NeuralNetwork": lambda: fitted(NeuralNetwork([3, 4, 2], ["relu", "softmax"], epochs=2)),
    "NeuralNetworkModel": lambda: fitted(NeuralNetworkModel([3, 4, 2], ["relu", "softmax"])),
    "DenseClassifier": lambda: DenseClassifier(hidden=(4,), epochs=2).fit(ROWS, LABELS),
    "DenseRegressor": lambda: DenseRegressor(hidden=(4,), epochs=2).fit(ROWS, LABELS),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_is_taken_for_its_model(kind: str, tmp_path: Path) -> None:
    """To the byte: saved, quantized, written as ONNX, verified and run."""
    network = NETWORKS[kind]()
    model = network.to_model()
    for name, value in (("network", network), ("model", model)):
        er.save(value, tmp_path / f"{name}.npz")
        er.save(quantize(value, ROWS), tmp_path / f"{name}.int8.npz")
        write_onnx(value, tmp_path / f"{name}.onnx")
    for end in (".npz", ".int8.npz", ".onnx"):
        assert (tmp_path / f"network{end}").read_bytes() == (tmp_path / f"model{end}").read_bytes()
    assert verify(network, tmp_path / "network.onnx", ROWS).ok
    assert er.estimate(network, "stm32l4r5") == er.estimate(model, "stm32l4r5")
    assert er.Engine(network).run(ROWS).tobytes() == er.Engine(model).run(ROWS).tobytes()


@pytest.mark.parametrize("value", ["m.npz", Path("m.npz"), None, NeuralNetwork, np.eye(3)], ids=str)
def test_what_gives_no_model_is_refused(value: Any, tmp_path: Path) -> None:
    """A path above all: `load` gives its model. A class is no network."""
    uses: list[Callable[[Any], Any]] = [
        er.Engine,
        lambda model: quantize(model, ROWS),
        lambda model: er.save(model, tmp_path / "m.npz"),
        lambda model: write_onnx(model, tmp_path / "m.onnx"),
        er.selftest,
        lambda model: er.estimate(model, "stm32l4r5"),
        lambda model: verify(model, tmp_path / "m.onnx"),
        lambda model: verify_import(model, tmp_path / "m.onnx"),
    ]
    for use in uses:
        with pytest.raises(
            er.InputError, match=r"^model is a \w+, expected a Model; load\(path\) gives that of a file$"
        ):
            use(value)
    assert not list(tmp_path.iterdir())


def test_an_estimator_that_has_not_learned_has_no_model(tmp_path: Path) -> None:
    """Its widths are not known before `fit`."""
    with pytest.raises(ValueError, match="not fitted"):
        er.save(DenseClassifier(), tmp_path / "m.npz")
    with pytest.raises(NotFittedError):
        NeuralNetwork([3, 2], ["softmax"]).predict(ROWS)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic"])
def test_what_python_writes_passes_selftest(precision: str, tmp_path: Path) -> None:
    """As what the command writes does: rows and outputs are in the file."""
    er.save(quantize(NETWORKS["NeuralNetwork"](), ROWS, precision), tmp_path / "m.npz")
    assert er.selftest(er.load(tmp_path / "m.npz")).ok
