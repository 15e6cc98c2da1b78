"""The command that trains."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edge_runtime.artifact import save
from edge_runtime.console import (
    FILE,
    Progress,
    cap,
    check_output,
    echo,
    echo_json,
    force_option,
    is_quiet,
    is_same_file,
    json_option,
    max_bytes_option,
    say,
    typed_path,
    typed_program,
    warn,
    width_for,
)
from edge_runtime.model import Model
from edge_runtime.numerics import DEFINITIONS
from edge_runtime.schema import RULES
from trainer.activations import DERIVATIVES
from trainer.baseline import Baselines, baseline_doubts, constant_baseline, linear_baseline
from trainer.data import STANDARDIZATIONS, TARGETS, Augmentation, shared_doubts, shared_note, shared_rows
from trainer.datasets import Dataset, Split, files_of, for_autoencoder, load_another, load_dataset, split
from trainer.errors import ConfigurationError, DataWarning, TrainingDiverged, TrainingStopped
from trainer.fitting import history_doubts, training_doubts
from trainer.history import EpochRecord, History
from trainer.optimizers import OPTIMIZERS
from trainer.recipe import DEFAULTS, answers, build_network, fit_network, trained_model, with_threshold
from trainer.report import learned_facts, learned_text
from trainer.schedules import SCHEDULES
from trainer.scores import ErrorScores, scores_of, threshold_doubts

MONITORS = ["loss", "metric"]
_ACTIVATIONS = [name for name in DERIVATIVES if not DEFINITIONS[name].is_over_row]
FALSE_ALARM_RATE = 0.01  # share of normal rows above the threshold that an autoencoder is given
_HIDDEN = ",".join(map(str, DEFAULTS["hidden"]))
_HIDDEN_HELP = "Widths of the hidden layers; none: inputs and outputs alone."
_ACTIVATION_HELP = "Activation of the hidden layers."
_DATA_HELP = (
    "digits, an .npz, a table of text (.csv and its like), or a folder of IDX files or of a table for each class."
)
_TEST_HELP = "Test on the rows of this file, and train on all of the other."
_TARGET_HELP = "What is learned; auto: classes for texts and few whole numbers, else regression."
_COLUMN_HELP = {
    "label": "The column to learn, by name or number (from 1; -1: the last). Several: several targets.",
    "drop": "Columns to leave out, such as names and dates; may be given more than once.",
    "features": "The only columns to learn from; may be given more than once.",
    "one_hot": "Columns of texts that become an input for each text; auto: all that have few.",
}
_MISSING_HELP = "A row that lacks a value: refuse the file, drop the row, or fill in the column's mean."
_WEIGHT_HELP = "balanced: a rare class counts as much as a frequent one."
_EPOCHS_HELP = "Passes over the training rows, at most."
_BATCH_HELP = "Rows between two updates of the weights."
_RATE_HELP = "Size of a step, at the start."
_STANDARDIZE_HELP = (
    "Bring inputs to mean 0 and deviation 1: all together (auto: images), each feature by itself, or not."
)
_AUGMENT_HELP = (
    "Move images a little at random in each epoch, by pixels, degrees and a share of their size: "
    "shift=2,rotate=10,scale=0.1; with share=0.5 half of them, anew in each epoch. They are square, or "
    "height=H,width=W are added."
)
_MONITOR_HELP = "What early stopping looks at, on the validation rows: the loss, or the accuracy."


class Sizes(click.ParamType):
    """Layer widths such as 32 or 128,64; none for no layer."""

    name = "N[,N...]|none"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """The widths as a tuple; fails for anything but whole numbers of at least 1."""
        if isinstance(value, tuple):
            return value
        if str(value).strip().lower() in ("none", "0"):
            return ()
        try:
            sizes = tuple(int(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            sizes = (0,)
        if any(not 1 <= size <= 1_000_000 for size in sizes):
            self.fail(f"{value!r} found, expected widths from 1 to 1,000,000 such as 32 or 128,64, or none", param, ctx)
        return sizes


class Moves(click.ParamType):
    """How images are moved, such as shift=2,rotate=10."""

    name = "MOVES"

    def convert(self, value: Any, param: Any, ctx: Any) -> Augmentation | None:
        """The augmentation; fails for moves that are not known, or that move nothing."""
        try:
            return Augmentation.of(value)
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--data", "spec", type=FILE, default="digits", show_default=True, help=_DATA_HELP)
@click.option("--test", type=FILE, help=_TEST_HELP)
@click.option("--label", metavar="NAME|N", multiple=True, help=_COLUMN_HELP["label"])
@click.option("--target", default="auto", type=click.Choice(TARGETS), show_default=True, help=_TARGET_HELP)
@click.option("--drop", metavar="NAME|N", multiple=True, help=_COLUMN_HELP["drop"])
@click.option("--features", metavar="NAME|N", multiple=True, help=_COLUMN_HELP["features"])
@click.option("--one-hot", metavar="NAME|N|auto", multiple=True, help=_COLUMN_HELP["one_hot"])
@click.option("--missing", default="refuse", type=click.Choice(RULES), show_default=True, help=_MISSING_HELP)
@click.option("--class-weight", type=click.Choice(["balanced"]), help=_WEIGHT_HELP)
@click.option("--hidden", type=Sizes(), default=_HIDDEN, show_default=True, help=_HIDDEN_HELP)
@click.option(
    "--activation",
    default=DEFAULTS["activation"],
    type=click.Choice(_ACTIVATIONS),
    show_default=True,
    help=_ACTIVATION_HELP,
)
@click.option("--out", type=FILE, default="model.npz", show_default=True, help="The float32 artifact to write.")
@click.option(
    "--epochs", type=click.IntRange(1), metavar="N", default=DEFAULTS["epochs"], show_default=True, help=_EPOCHS_HELP
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    default=DEFAULTS["batch_size"],
    show_default="32, or fewer for few rows",
    help=_BATCH_HELP,
)
@click.option(
    "--learning-rate", type=float, metavar="X", default=None, show_default="the optimizer's own", help=_RATE_HELP
)
@click.option(
    "--optimizer",
    default=DEFAULTS["optimizer"],
    type=click.Choice(list(OPTIMIZERS)),
    show_default=True,
    help="How weights follow their gradients.",
)
@click.option(
    "--schedule",
    default=DEFAULTS["schedule"],
    type=click.Choice(list(SCHEDULES)),
    show_default=True,
    help="How the step changes from epoch to epoch.",
)
@click.option("--l2", metavar="X", default=DEFAULTS["l2"], show_default=True, help="L2 penalty on the weights.")
@click.option(
    "--dropout",
    metavar="X",
    default=DEFAULTS["dropout"],
    show_default=True,
    help="Share of hidden values dropped while training.",
)
@click.option(
    "--label-smoothing",
    metavar="X",
    default=DEFAULTS["label_smoothing"],
    show_default=True,
    help="Share of each label given to all classes.",
)
@click.option(
    "--patience", metavar="N", default=DEFAULTS["patience"], show_default=True, help="Stop after N epochs without gain."
)
@click.option(
    "--monitor", default=DEFAULTS["monitor"], type=click.Choice(MONITORS), show_default=True, help=_MONITOR_HELP
)
@click.option(
    "--standardize",
    default=DEFAULTS["standardize"],
    type=click.Choice(STANDARDIZATIONS),
    show_default=True,
    help=_STANDARDIZE_HELP,
)
@click.option("--augment", type=Moves(), help=_AUGMENT_HELP)
@click.option(
    "--seed", metavar="N", type=int, default=0, show_default=True, help="Seed of weights, order, dropout and split."
)
@click.option("--checkpoint", type=FILE, help="Write a checkpoint here after each epoch.")
@force_option
@click.option("--resume", type=FILE, help="Continue from this checkpoint.")
@max_bytes_option
@json_option
def train(**options: Any) -> None:
    """Train a float32 network and write it as an artifact.

    A fifth of the rows is held out and never trained on; a tenth decides when to stop. The best weights are kept.

    Example: smallnet train --data digits --hidden 32 --out digits.npz
    """
    run_training(options)


def run_training(
    options: dict[str, Any], finish: Callable[[Model, NDArray[np.float32]], Model] = lambda model, rows: model
) -> None:
    """What the command does with its options. Raises what the parts raise.

    finish: adds to a model what its training rows tell, before it is written; not to that of a run that stopped.
    """
    _check_outputs(options)
    dataset = _load(options)
    if options["class_weight"] is not None and not dataset.is_classification:
        raise click.UsageError("--class-weight is for classes, found numbers to learn; leave it out")
    parts = split(dataset, seed=options["seed"])
    network = build_network(parts.train, options)
    try:
        with Progress(after=0.0) as progress, warnings.catch_warnings(record=True) as noticed:
            warnings.simplefilter("always", DataWarning)
            told = epoch_told(progress, options["epochs"], parts.train.is_classification)
            history = fit_network(network, parts, options, told)
    except KeyboardInterrupt as stop:
        kept_epoch = stop.kept_epoch if isinstance(stop, TrainingStopped) else 0
        if kept_epoch and options["checkpoint"] is None:
            save(trained_model(network, parts.train, options), options["out"])
        say(f"error: {_stopped(options, kept_epoch)}")
        raise click.exceptions.Exit(130) from stop
    except TrainingDiverged as error:
        if error.kept_epoch == 0:
            raise
        save(trained_model(network, parts.train, options), options["out"])
        say(f"error: {error}; wrote {options['out']} with these weights")
        raise click.exceptions.Exit(1) from error
    model, errors = trained_model(network, parts.train, options), None
    if options["target"] == "autoencoder":
        model, errors = with_threshold(model, parts.test, FALSE_ALARM_RATE)
    model = finish(model, parts.train.x)
    save(model, options["out"])
    _report(dataset, parts, model, history, options, errors, [str(found.message) for found in noticed])


def _load(options: dict[str, Any]) -> Dataset:
    """The data, with the rows of --test as their test part."""
    columns = {name: options[name] for name in ("label", "drop", "features", "one_hot", "missing")}
    dataset = load_dataset(options["spec"], target=options["target"], **columns, **cap(options["max_bytes"]))
    if options["test"] is None:
        return dataset
    is_autoencoder = options["target"] == "autoencoder"
    test = load_another(
        options["test"],
        schema=dataset.schema,
        target="autoencoder" if is_autoencoder else "class" if dataset.is_classification else "regression",
        class_names=dataset.class_names,
        needs_labels=not is_autoencoder,
        **cap(options["max_bytes"]),
    )
    test = for_autoencoder(test) if is_autoencoder else test
    if (test.n_in, test.n_out) != (dataset.n_in, dataset.n_out):
        raise click.UsageError(
            f"--test has {test.n_in:,} features and {test.n_out:,} targets, --data {dataset.n_in:,} and "
            f"{dataset.n_out:,}; expected the same"
        )
    return replace(dataset, test=test)


def _check_outputs(options: dict[str, Any]) -> None:
    """Fail before the training where an output cannot be written, or would take the place of something else."""
    outputs = {name: options[name] for name in ("out", "checkpoint") if options[name] is not None}
    if len(outputs) == 2 and is_same_file(*outputs.values()):
        raise click.UsageError(f"--out and --checkpoint are both {options['out']}, expected two names")
    if options["out"].lower().endswith(".onnx"):
        raise click.UsageError(
            f"--out is {options['out']}, expected the name of an artifact (.npz); export writes ONNX"
        )
    for name, path in outputs.items():
        kind = "artifact" if name == "out" else "checkpoint"
        resumed = [options["resume"]] if name == "out" and options["resume"] else []  # in its place it is continued
        read = [*files_of(options["spec"]), *(files_of(options["test"]) if options["test"] else []), *resumed]
        check_output(path, kind, f"--{name}", force=options["force"], sources=read)


def _stopped(options: dict[str, Any], kept_epoch: int) -> str:
    """What to do after Ctrl-C. kept_epoch: whose weights were written, if it is not 0."""
    if options["checkpoint"] is None:
        wrote = (
            f"wrote {options['out']} with the weights of epoch {kept_epoch}" if kept_epoch else "nothing was written"
        )
        return f"stopped by Ctrl-C, {wrote}; with --checkpoint PATH a run can be continued"
    return f"stopped by Ctrl-C; repeat the command with --resume {options['checkpoint']} to continue"


def epoch_told(
    progress: Progress, epochs: int, is_classification: bool, metric: str = ""
) -> Callable[[EpochRecord], None]:
    """What `fit` tells of each epoch, as `progress` is told of it. metric: what it is called, if not as always."""
    metric = metric or ("accuracy" if is_classification else "MAE")

    def tell(record: EpochRecord) -> None:
        text = f"epoch {record.epoch:3d}/{epochs}  loss {record.loss:.4f}"
        if record.validation_loss is not None:
            text += f"  validation loss {record.validation_loss:.4f}"
        if record.validation_metric is not None:
            text += f", {metric} {record.validation_metric:.4f}"
        progress(record.epoch, epochs, text)

    return tell


def _report(
    dataset: Dataset,
    parts: Split,
    model: Model,
    history: History,
    options: dict[str, Any],
    errors: ErrorScores | None,
    noticed: Sequence[str],
) -> None:
    out = Path(options["out"])
    names = dataset.class_names or dataset.reading.label
    predicted = answers(model, parts.test.x)
    scores = scores_of(parts.test.y, predicted, names)
    baselines = Baselines(constant_baseline(parts, names), linear_baseline(parts, options, names))
    shared = shared_rows(parts)
    doubts = [
        *dataset.reading.warnings,
        *(shared_doubts(parts, shared) if dataset.test is not None else []),
        *noticed,
        *training_doubts(predicted, parts.test.y, parts.train.y, scores.value, dataset.class_names),
        *history_doubts(history),
        *baseline_doubts(scores, baselines),
        *([] if errors is None else threshold_doubts(errors.rows, FALSE_ALARM_RATE)),
    ]
    for text in doubts:
        warn(text)
    if shared and dataset.test is None:
        notes = (*dataset.reading.notes, shared_note(parts, shared))
        dataset = replace(dataset, reading=replace(dataset.reading, notes=notes))
    facts = {
        "file": str(out),
        "file_bytes": out.stat().st_size,
        **learned_facts(dataset, parts, model.preprocessing, options["class_weight"], scores, baselines, errors),
        "epochs": len(history.records),
        "best_epoch": history.best_epoch,
        "test_score": scores.value,
        "rows_shared": shared,
        "warnings": doubts,
    }
    if options["as_json"]:
        return echo_json(facts)
    echo(learned_text(facts, width_for()))
    seen = f"{scores.rows:,} rows, {shared:,} of them seen in the training" if shared else "rows it never saw"
    echo(f"test {scores.name} {scores.value:.4f} on {seen}; best epoch {history.best_epoch}")
    echo(f"wrote {out} ({facts['file_bytes']:,} bytes, float32)")
    spec = options["spec"] if options["spec"] == "digits" else typed_path(options["spec"])
    if not is_quiet():
        echo(f"next: {typed_program()} export {typed_path(out)} --calibrate {spec} --out build/")
    return None
