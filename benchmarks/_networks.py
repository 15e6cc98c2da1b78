"""The networks that quantizers are judged on: trained once a seed, kept in a folder, with rows for calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.datasets import find

if TYPE_CHECKING:
    from edge_runtime import Model
    from trainer.datasets import Split

CALIBRATION_ROWS = 4000
SETTINGS: dict[str, Any] = {
    "batch_size": 128,
    "learning_rate": 0.002,
    "optimizer": "adam",
    "schedule": "cosine",
    "standardize": "global",
}


@dataclass(frozen=True)
class Design:
    """A network that can be trained: `data` is a name of `benchmarks.datasets`, `hidden` the sizes between 784 and out.

    An autoencoder gives its 784 inputs back, a classifier ten classes.
    """

    title: str
    data: str
    hidden: tuple[int, ...]
    is_autoencoder: bool = False
    batch_norm: bool = False


@dataclass(frozen=True, eq=False)
class Case:
    """A trained network, float32, without preprocessing: all rows are standardized already, float32 (n, 784).

    calibration: of the training rows. labels: of the test rows, None for an autoencoder. train, validation: the rows
    that it was trained on, and those that chose its epoch. validation_labels: of these.
    """

    model: Model
    calibration: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None
    train: np.ndarray
    validation: np.ndarray
    validation_labels: np.ndarray | None = None


_DEEP = (128, 128, 128, 128, 8, 128, 128, 128, 128)
DESIGNS = {
    "fashion": Design("Fashion-MNIST 784-128-64-10", "fashion", (128, 64)),
    "mnist": Design("MNIST 784-128-64-10", "mnist", (128, 64)),
    "autoencoder": Design("Fashion-MNIST 784-128x4-8-128x4-784", "fashion", _DEEP, is_autoencoder=True),
    "batch-norm": Design(
        "Fashion-MNIST 784-128x4-8-128x4-784 with BatchNorm", "fashion", _DEEP, is_autoencoder=True, batch_norm=True
    ),
}


def parts_of(design: Design, seed: int) -> Split:
    """Its data, cut by the seed."""
    from trainer.datasets import load_dataset, split

    return split(load_dataset(find(design.data), target="autoencoder" if design.is_autoencoder else "auto"), seed=seed)


def trained(design: Design, parts: Split, epochs: int, seed: int) -> Model:
    """A network of this design."""
    from trainer import NeuralNetwork, PrecisionConfig
    from trainer.fitting import Defaults

    network = NeuralNetwork(
        [784, *design.hidden, 784 if design.is_autoencoder else 10],
        ["relu"] * len(design.hidden) + ["linear" if design.is_autoencoder else "softmax"],
        l2_lambda=Defaults.l2 if design.is_autoencoder else 1e-5,
        dropout_rate=0.0 if design.is_autoencoder else 0.1,
        precision_config=PrecisionConfig(seed=seed),
        batch_norm=design.batch_norm,  # as the published autoencoder of this form has it; it is folded away
    )
    if design.is_autoencoder:
        network.fit(parts.train.x, parts.train.x, epochs=max(1, epochs // 3), monitor="loss", **SETTINGS)
        return network.to_model()
    validation = (parts.validation.x, parts.validation.y)
    network.fit(parts.train.x, parts.train.y, epochs=epochs, validation_data=validation, monitor="metric", **SETTINGS)
    return network.to_model(class_names=parts.train.class_names)


def case(key: str, epochs: int, seed: int, folder: Path) -> Case:
    """The network of this key of DESIGNS and of this seed, from `folder` if it is there, else trained and put there."""
    from edge_runtime import load, save

    parts = parts_of(DESIGNS[key], seed)
    path = folder / f"{key}-{epochs}-epochs-seed-{seed}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save(trained(DESIGNS[key], parts, epochs, seed), path)
    model = load(path)
    enter = model.preprocessing
    assert enter is not None
    train, validation, test = (enter(part.x.astype(np.float32)) for part in (parts.train, parts.validation, parts.test))
    spread = np.linspace(0, len(train) - 1, CALIBRATION_ROWS).astype(np.int64)
    return Case(
        model=replace(model, preprocessing=None, test_vectors=None),
        calibration=train[spread],
        test=test,
        labels=None if DESIGNS[key].is_autoencoder else parts.test.y,
        train=train,
        validation=validation,
        validation_labels=None if DESIGNS[key].is_autoencoder else parts.validation.y,
    )
