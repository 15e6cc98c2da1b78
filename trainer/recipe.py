"""From data to a trained model, by options that are stated by name: build, fit, to_model. `train` and `demo` use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engine import Engine
from edge_runtime.model import Model
from edge_runtime.schema import KEY
from trainer.config import PrecisionConfig
from trainer.datasets import Dataset, Split
from trainer.fitting import SETTINGS, Defaults
from trainer.history import EpochRecord, History
from trainer.scores import ErrorScores, error_scores, reconstruction_errors, threshold_for
from trainer.student import NeuralNetwork

DEFAULTS: dict[str, Any] = {"learning_rate": None, **asdict(Defaults())}  # by the names of the command's options
# of an autoencoder's metadata
THRESHOLD, FALSE_ALARMS, ERROR_UNIT = "threshold", "threshold_false_alarms", "threshold_unit"
TESTED_ON = "tested_on"  # of the metadata: if it is there, no rows of the data were held out for the test


def build_network(rows: Dataset, options: dict[str, Any]) -> NeuralNetwork:
    """A network for these rows, as the options say."""
    hidden = options["hidden"]
    return NeuralNetwork(
        [rows.n_in, *hidden, rows.n_out],
        [options["activation"]] * len(hidden) + ["softmax" if rows.is_classification else "linear"],
        l2_lambda=options["l2"],
        dropout_rate=options["dropout"],
        precision_config=PrecisionConfig(seed=options["seed"]),
        class_names=rows.class_names,
    )


def fit_network(
    network: NeuralNetwork,
    parts: Split,
    options: dict[str, Any],
    on_epoch: Callable[[EpochRecord], object] | None = None,
) -> History:
    """Train it as the options say. on_epoch: told of each epoch. Raises what `NeuralNetwork.fit` raises."""
    settings = {name: options[name] for name in SETTINGS if name in options}
    validation = (parts.validation.x, parts.validation.y)
    return network.fit(parts.train.x, parts.train.y, validation_data=validation, on_epoch=on_epoch, **settings)


def trained_model(network: NeuralNetwork, rows: Dataset, options: dict[str, Any]) -> Model:
    """What is written: the network with the names of the classes, and where it comes from."""
    return network.to_model(class_names=rows.class_names, metadata=_metadata(rows, options))


def answers(model: Model, x: NDArray[np.float32]) -> NDArray[Any]:
    """What the model as it is written answers to rows x (n, n_in): class indices (n,), or float32 values (n, k)."""
    engine = Engine(model)
    return engine.predict(x) if model.layers[-1].activation.name == "softmax" else engine.run(x)


def with_threshold(model: Model, rows: Dataset, false_alarms: float) -> tuple[Model, ErrorScores]:
    """An autoencoder with the threshold of its errors in its metadata, and the errors of `rows`, which it never saw.

    false_alarms: the share of these rows that may lie above it.
    """
    outputs = Engine(model).run(rows.x)
    errors = reconstruction_errors(rows.x, outputs, model.preprocessing.inv_std if model.preprocessing else None)
    threshold = threshold_for(errors, false_alarms)
    stored = {THRESHOLD: repr(threshold), FALSE_ALARMS: repr(false_alarms), ERROR_UNIT: error_unit(model)}
    return replace(model, metadata={**model.metadata, **stored}), error_scores(errors, threshold)


def error_unit(model: Model) -> str:
    """What an error of reconstruction is measured in."""
    if model.preprocessing is None:
        return "root mean square over the features, in their units"
    scaled = "by its deviation" if model.preprocessing.inv_std.size > 1 else "by one deviation"
    return f"root mean square over the features, each divided {scaled} in the training"


def _target(dataset: Dataset, asked: str) -> str:
    """What is learned: as it was asked for, or as the labels decided."""
    return asked if asked != "auto" else "class" if dataset.is_classification else "regression"


def _metadata(dataset: Dataset, options: dict[str, Any]) -> dict[str, str]:
    """Where the model comes from. No time and no path: the same training always writes the same bytes."""
    entries = {
        "data": dataset.name,
        "target": _target(dataset, options["target"]),
        "seed": str(options["seed"]),
        "made_by": "smallnet train",
    }
    if options.get("test") is not None:
        entries[TESTED_ON] = "another file"
    return entries if dataset.schema is None else entries | {KEY: dataset.schema.text()}
