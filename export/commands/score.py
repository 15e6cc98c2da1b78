"""`smallnet score`."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.console import (
    FILE,
    backend_option,
    cap,
    echo,
    echo_json,
    json_option,
    max_bytes_option,
    note,
    say_fallback,
    warn,
    wide_option,
    width_for,
    wrapped,
)
from edge_runtime.engine import Engine, Limits
from edge_runtime.errors import InputError
from edge_runtime.files import is_number
from edge_runtime.model import Model
from export.commands.data import load_labeled, target_of
from export.commands.options import DATA_HELP, OUTPUT_HELP, load_any, run_limit_options
from export.commands.pipeline import LabeledRows
from export.verification import RunLimits
from trainer.datasets import Dataset
from trainer.recipe import THRESHOLD, error_unit
from trainer.report import confusion_text, errors_line, scores_line
from trainer.scores import ErrorScores, chance_doubts, error_scores, reconstruction_errors, threshold_for, value_scores

_LABEL_HELP = "The label's column, by name, where the model does not say it. Several: several targets."
_ALARM_HELP = """For an autoencoder: choose the threshold anew, above which this share of the file's rows lies (of its
normal rows, if it has labels)."""


@click.command()
@click.argument("model_path", metavar="MODEL.npz|MODEL.onnx", type=FILE)
@click.option("--data", "spec", type=FILE, required=True, help=f"Rows with their labels: {DATA_HELP}.")
@click.option("--label", metavar="NAME|N", multiple=True, help=_LABEL_HELP)
@click.option("--false-alarms", type=click.FloatRange(0, 1, True, True), metavar="X", help=_ALARM_HELP)
@click.option("--output", metavar="NAME", help=OUTPUT_HELP)
@backend_option
@max_bytes_option
@run_limit_options
@json_option
@wide_option
def score(
    model_path: str,
    spec: str,
    label: tuple[str, ...],
    false_alarms: float | None,
    output: str | None,
    backend: str,
    max_bytes: int | None,
    run_limits: RunLimits,
    as_json: bool,
    wide: bool,
) -> None:
    """Judge a model on rows whose labels are known: all rows of the file.

    Classes: accuracy, balanced accuracy and which class is taken for which. Numbers: R^2, and RMSE and MAE in the units
    of the target. Autoencoders: the same of their inputs, how large the errors of reconstruction are, how many lie
    above the threshold that the model was given in its training, and, if the file has labels, how well they tell
    strange rows from normal ones.

    Example: smallnet score model.npz --data test.csv
    """
    model = load_any(model_path, max_bytes, run_limits, output)
    is_autoencoder = target_of(model) == "autoencoder"
    if false_alarms is not None and not is_autoencoder:
        raise click.UsageError("--false-alarms is for autoencoders, which this model is none of; leave it out")
    dataset = load_labeled(model, spec, label, **cap(max_bytes))
    for text in dataset.reading.notes:
        note(text)
    engine = Engine(model, Limits(max_batch=max(1, len(dataset))), backend)
    say_fallback(engine.backend_reason)
    facts: dict[str, Any] = {
        "file": model_path,
        "data": spec,
        "rows": len(dataset),
        "notes": list(dataset.reading.notes),
        "backend": engine.backend,
        "backend_reason": engine.backend_reason,
    }
    if is_autoencoder:
        outputs = engine.run(dataset.x)
        errors = _errors(model, dataset, outputs, false_alarms)
        values = value_scores(dataset.x, outputs, dataset.feature_names).as_dict()  # by its inputs, as training does
        facts |= {"errors": errors.as_dict(), "unit": error_unit(model), "scores": values, "warnings": []}
        lines = [f"{scores_line(values)} ({len(dataset):,} rows)"]
        lines += [wrapped(f"errors {errors_line(errors.as_dict())}\nerrors are {error_unit(model)}", width_for(wide))]
    else:
        names = dataset.class_names or dataset.reading.label
        scores = LabeledRows(dataset.x, dataset.y, names).judge(engine)
        doubts = chance_doubts(scores)
        for text in doubts:
            warn(text)
        facts |= {"scores": scores.as_dict(), "warnings": doubts}
        lines = [f"{scores_line(scores.as_dict())} ({scores.rows:,} rows)"]
        table = confusion_text(scores.as_dict(), width_for(wide) or 1 << 20)
        lines += [table] if table else []
    if as_json:
        echo_json(facts)
    else:
        echo("\n".join([wrapped(lines[0], width_for(wide)), *lines[1:]]))


def _errors(model: Model, dataset: Dataset, outputs: Array, false_alarms: float | None) -> ErrorScores:
    """Of each row, with the model's threshold, or one that is chosen from the normal rows."""
    inv_std = None if model.preprocessing is None else model.preprocessing.inv_std
    errors = reconstruction_errors(dataset.x, outputs, inv_std)
    labels = dataset.y if dataset.y.dtype == np.int64 else None
    if false_alarms is None:
        return error_scores(errors, _threshold(model), labels, dataset.class_names)
    first = error_scores(errors, np.inf, labels, dataset.class_names)
    normal = errors if not first.normal else errors[labels == dataset.class_names.index(first.normal)]
    return error_scores(errors, threshold_for(normal, false_alarms), labels, dataset.class_names)


def _threshold(model: Model) -> float:
    """Of the metadata."""
    text = model.metadata.get(THRESHOLD, "")
    if not is_number(text) or not np.isfinite(float(text)):
        raise InputError(
            "the model holds no threshold for its errors; choose one for this file with --false-alarms 0.01, or train "
            "again"
        )
    return float(text)
