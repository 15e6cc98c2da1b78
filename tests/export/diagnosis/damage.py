"""Random networks with sensible rows, trained and not, and ways to damage one layer of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from edge_runtime import Activation, Dense, Model, QuantizedDense, QuantParams
from export.quantization import quantize
from tests.networks import random_model, random_rows
from trainer import NeuralNetwork, PrecisionConfig

HIDDEN = ("relu", "relu", "tanh", "leaky_relu", "sigmoid")


@dataclass(frozen=True)
class Case:
    """A float network, rows to calibrate it with, rows to judge on with labels or None, and a small network or None."""

    model: Model
    calibration: np.ndarray
    rows: np.ndarray
    labels: np.ndarray | None = None
    small: Model | None = None


@cache
def random_case(seed: int) -> Case:
    """A network of 2 to 4 layers; every second one is trained on its rows, and every third is a regression."""
    rng = np.random.default_rng(seed)
    n_in, n_out = (int(rng.integers(low, high)) for low, high in ((8, 48), (2, 10)))
    sizes = [n_in, *(int(rng.integers(10, 48)) for _ in range(int(rng.integers(1, 4)))), n_out]
    names = [str(rng.choice(HIDDEN)) for _ in sizes[2:]] + ["linear" if seed % 3 == 0 else "softmax"]
    rows = correlated(600, n_in, seed)
    if seed % 2:
        return _trained(sizes, names, rows, seed)
    model = random_model(sizes, names, seed, standardize=bool(seed % 4), weight_scale=1.5)
    target = "regression" if names[-1] == "linear" else "class"
    return Case(replace(model, metadata={"target": target}), rows[:400], rows[400:])


def correlated(count: int, width: int, seed: int) -> np.ndarray:
    """Rows whose features move together, each in its own units, (count, width)."""
    mixing = random_rows(width, width, seed + 1) / np.sqrt(width) + np.eye(width, dtype=np.float32)
    return np.asarray(random_rows(count, width, seed + 2) @ mixing, np.float32)


def _trained(sizes: list[int], names: list[str], rows: np.ndarray, seed: int) -> Case:
    """A network that has learned some function of its rows."""
    teacher = random_rows(sizes[0], sizes[-1], seed + 3) / np.float32(np.sqrt(sizes[0]))
    values = np.tanh(rows @ teacher) + rows[:, : sizes[-1]] ** 2 / 4
    is_regression = names[-1] == "linear"
    labels = values if is_regression else values.argmax(axis=1)
    network = NeuralNetwork(sizes, names, precision_config=PrecisionConfig(seed=seed))
    network.fit(rows[:400], labels[:400], epochs=10, learning_rate=0.01, patience=None)
    model = network.to_model()
    target = "regression" if is_regression else "class"
    return Case(replace(model, metadata={**model.metadata, "target": target}), rows[:400], rows[400:], labels[400:])


def with_layer(model: Model, place: int, **changes: object) -> Model:
    """The model with one layer changed."""
    layers = list(model.layers)
    layers[place] = replace(layers[place], **changes)  # type: ignore[arg-type]
    return replace(model, layers=tuple(layers), test_vectors=None)


def with_outlier(case: Case, place: int, rng: np.random.Generator) -> Case:
    """One weight of a layer is 1000 times what its weights are."""
    weight = case.model.layers[place].weight.copy()
    row, column = (int(rng.integers(size)) for size in weight.shape)
    weight[row, column] = 1000 * np.sqrt(np.mean(weight**2)) * rng.choice([-1, 1])
    return replace(case, model=with_layer(case.model, place, weight=weight))


def with_dead_layer(case: Case, place: int, rng: np.random.Generator) -> Case:
    """The biases of a ReLU layer are so negative that nothing comes through."""
    layer = case.model.layers[place]
    assert isinstance(layer, Dense)
    bias = np.full(layer.n_out, -rng.uniform(1e3, 1e5), np.float32)
    return replace(case, model=with_layer(case.model, place, bias=bias, activation=Activation("relu")))


def with_saturating_range(case: Case, place: int, rng: np.random.Generator) -> Case:
    """The grid behind a layer of the small network ends at a tenth or less of what comes there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = quantize(case.model, case.calibration, method="minmax", test_vectors=0)
    factor = float(np.float32(rng.uniform(0.02, 0.1)))
    return replace(case, small=with_grid_scaled(small, place, factor))


def with_grid_scaled(small: Model, place: int, factor: float) -> Model:
    """The grid between a layer and the next holds `factor` times as much; all else is made to fit."""
    before, after = small.layers[place], small.layers[place + 1]
    assert isinstance(before, QuantizedDense)
    assert isinstance(after, QuantizedDense)
    old = before.final_grid
    assert old is not None
    grid = QuantParams(float(np.float32(old.scale * factor)), old.zero_point)
    ratio = grid.scale / old.scale
    if before.table is None:
        changes = {"output": grid, "multiplier": (before.multiplier / ratio).astype(np.float32)}
    else:
        real = (before.table.astype(np.float64) - old.zero_point) * old.scale
        codes = np.clip(np.rint(real / grid.scale) + grid.zero_point, 0, 255)
        changes = {"table_output": grid, "table": codes.astype(np.uint8)}
    bias = np.rint(after.bias / ratio)
    layers = list(small.layers)
    layers[place] = replace(before, **changes)  # type: ignore[arg-type]
    multiplier = (after.multiplier * ratio).astype(np.float32)
    layers[place + 1] = replace(after, input=grid, bias=bias.astype(np.int32), multiplier=multiplier)
    return replace(small, layers=tuple(layers))
