"""The command that trains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.messages import echo, echo_json, say
from edge_runtime.options import cap, force_option, json_option, max_bytes_option

if TYPE_CHECKING:
    from edge_runtime.model import Model
    from trainer.datasets import Dataset, Split
    from trainer.history import EpochRecord, History
    from trainer.student import NeuralNetwork

# Of the settings tried on the bundled digits these were among the best; a fair start for small tables and images.
DEFAULTS: dict[str, Any] = {"epochs": 60, "batch_size": 32, "learning_rate": 0.005, "l2": 1e-3, "patience": 15}


TARGETS = ["auto", "class", "regression", "autoencoder"]
MONITORS = ["loss", "metric"]
STANDARDIZATIONS = ["global", "per-feature", "none"]
_MONITOR_HELP = "What early stopping looks at, on the validation rows: the loss, or the accuracy."


class Sizes(click.ParamType):
    """Layer widths such as 32 or 128,64."""

    name = "N[,N...]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """The widths as a tuple; fails for anything but whole numbers of at least 1."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(int(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            sizes = (0,)
        if any(not 1 <= size <= 1_000_000 for size in sizes):
            self.fail(f"{value!r} found, expected widths from 1 to 1,000,000 such as 32 or 128,64", param, ctx)
        return sizes


@click.command()
@click.option("--data", "spec", default="digits", show_default=True, help="digits, .npz, .csv or folder of IDX files.")
@click.option("--target", default="auto", type=click.Choice(TARGETS), show_default=True, help="What is learned.")
@click.option("--hidden", type=Sizes(), default="32", show_default=True, help="Widths of the hidden layers.")
@click.option("--activation", default="relu", show_default=True, help="Activation of the hidden layers.")
@click.option("--out", default="model.npz", show_default=True, help="The float32 artifact to write.")
@click.option("--epochs", type=click.IntRange(1), default=DEFAULTS["epochs"], show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=DEFAULTS["batch_size"], show_default=True)
@click.option("--learning-rate", default=DEFAULTS["learning_rate"], show_default=True)
@click.option("--optimizer", default="adam", show_default=True, help="sgd, momentum, adam or adamw.")
@click.option("--schedule", default="cosine", show_default=True, help="constant, step or cosine.")
@click.option("--l2", default=DEFAULTS["l2"], show_default=True, help="L2 penalty on the weights.")
@click.option("--dropout", default=0.0, show_default=True, help="Share of hidden values dropped while training.")
@click.option("--label-smoothing", default=0.0, show_default=True, help="Share of each label given to all classes.")
@click.option("--patience", default=DEFAULTS["patience"], show_default=True, help="Stop after N epochs without gain.")
@click.option("--monitor", default="loss", type=click.Choice(MONITORS), show_default=True, help=_MONITOR_HELP)
@click.option("--standardize", default="global", type=click.Choice(STANDARDIZATIONS), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights, order, dropout and split.")
@click.option("--checkpoint", help="Write a checkpoint here after each epoch.")
@force_option
@click.option("--resume", help="Continue from this checkpoint.")
@max_bytes_option
@json_option
def train(**options: Any) -> None:
    """Train a float32 network and write it as an artifact.

    A fifth of the rows is held out and never trained on; a tenth decides when to stop. The best weights are kept.

    Example: smallnet train --data digits --hidden 32 --out digits.npz
    """
    from edge_runtime.artifact import save
    from trainer.datasets import load_dataset, split
    from trainer.errors import TrainingDiverged

    _check_outputs(options)
    dataset = load_dataset(options["spec"], target=options["target"], **cap(options["max_bytes"]))
    parts = split(dataset, seed=options["seed"])
    network = build_network(parts.train, options)
    try:
        history = fit_network(network, parts, options)
    except KeyboardInterrupt as stop:
        echo(f"\nerror: {_stopped(options)}", err=True)
        raise click.exceptions.Exit(130) from stop
    except TrainingDiverged as error:
        if error.kept_epoch == 0:
            raise
        save(trained_model(network, parts.train, options), options["out"])
        echo(f"error: {error}; wrote {options['out']} with these weights", err=True)
        raise click.exceptions.Exit(1) from error
    save(trained_model(network, parts.train, options), options["out"])
    _report(dataset, parts, network, history, options)


def _check_outputs(options: dict[str, Any]) -> None:
    """Fail before the training where an output cannot be written, or would take the place of something else."""
    from edge_runtime.outputs import check_output, is_same_file

    outputs = {name: options[name] for name in ("out", "checkpoint") if options[name] is not None}
    if len(outputs) == 2 and is_same_file(*outputs.values()):
        raise click.UsageError(f"--out and --checkpoint are both {options['out']}, expected two names")
    for name, path in outputs.items():
        kind = "artifact" if name == "out" else "checkpoint"
        read = [options["spec"], options["resume"] if name == "out" else None]  # a checkpoint is continued in its place
        check_output(path, kind, f"--{name}", force=options["force"], sources=list(filter(None, read)))


def _stopped(options: dict[str, Any]) -> str:
    """What to do after Ctrl-C."""
    if options["checkpoint"] is None:
        return "stopped by Ctrl-C, nothing was written; with --checkpoint PATH a run can be continued"
    return f"stopped by Ctrl-C; repeat the command with --resume {options['checkpoint']} to continue"


def build_network(rows: Dataset, options: dict[str, Any]) -> NeuralNetwork:
    """A network for these rows, as the options say."""
    from trainer import NeuralNetwork, PrecisionConfig

    hidden = options["hidden"]
    return NeuralNetwork(
        [rows.n_in, *hidden, rows.n_out],
        [options["activation"]] * len(hidden) + ["softmax" if rows.is_classification else "linear"],
        l2_lambda=options["l2"],
        dropout_rate=options["dropout"],
        precision_config=PrecisionConfig(seed=options["seed"]),
    )


def fit_network(network: NeuralNetwork, parts: Split, options: dict[str, Any]) -> History:
    """Train it as the options say. Raises what `NeuralNetwork.fit` raises."""
    progress = Progress(options["epochs"], "accuracy" if parts.train.is_classification else "mean absolute error")
    history = network.fit(
        parts.train.x,
        parts.train.y,
        epochs=options["epochs"],
        batch_size=options["batch_size"],
        learning_rate=options["learning_rate"],
        optimizer=options["optimizer"],
        schedule=options["schedule"],
        validation_data=(parts.validation.x, parts.validation.y),
        patience=options["patience"],
        monitor=options.get("monitor", "loss"),
        label_smoothing=options.get("label_smoothing", 0.0),
        standardize=options["standardize"],
        checkpoint=options.get("checkpoint"),
        resume=options.get("resume"),
        on_epoch=progress,
    )
    progress.close()
    return history


def trained_model(network: NeuralNetwork, rows: Dataset, options: dict[str, Any]) -> Model:
    """What is written: the network with the names of the classes, and where it comes from."""
    return network.to_model(class_names=rows.class_names, metadata=_metadata(rows, options))


def _metadata(dataset: Dataset, options: dict[str, Any]) -> dict[str, str]:
    """Where the model comes from. No time and no path: the same training always writes the same bytes."""
    return {
        "data": dataset.name,
        "target": options["target"],
        "seed": str(options["seed"]),
        "made_by": "smallnet train",
    }


class Progress:
    """Shows each epoch: on a terminal in one line that is written over, elsewhere about ten plain lines."""

    def __init__(self, epochs: int, metric: str) -> None:
        self.epochs, self.metric = epochs, metric
        self.on_terminal = sys.stderr.isatty()
        self.line_is_open = False

    def __call__(self, record: EpochRecord) -> None:
        """Print one epoch's record to standard error."""
        is_last = record.epoch == self.epochs
        self.line_is_open = self.on_terminal and not is_last
        if not self.on_terminal and not is_last and record.epoch % max(1, self.epochs // 10):
            return
        text = f"epoch {record.epoch:3d}/{self.epochs}  loss {record.loss:.4f}"
        if record.validation_loss is not None:
            text += f"  validation loss {record.validation_loss:.4f}"
        if record.validation_metric is not None:
            text += f"  validation {self.metric} {record.validation_metric:.4f}"
        say(("\r" if self.on_terminal else "") + text, nl=not self.line_is_open)

    def close(self) -> None:
        """End the line that was written over, where training stopped before its last epoch."""
        if self.line_is_open:
            say("")
            self.line_is_open = False


def _report(dataset: Dataset, parts: Split, network: NeuralNetwork, history: History, options: dict[str, Any]) -> None:
    from trainer.doubts import training_doubts

    out = Path(options["out"])
    test_score = float(network.score(parts.test.x, parts.test.y))
    predicted, names = network.predict(parts.test.x), dataset.class_names
    doubts = training_doubts(predicted, parts.test.y, parts.train.y, test_score, names)
    for text in doubts:
        echo(f"warning: {text}", err=True)
    facts = {
        "file": str(out),
        "file_bytes": out.stat().st_size,
        "data": dataset.name,
        "rows": len(dataset.x),
        "epochs": len(history.records),
        "best_epoch": history.best_epoch,
        "test_score": test_score,
        "warnings": doubts,
    }
    if options["as_json"]:
        return echo_json(facts)
    name = "accuracy" if dataset.is_classification else "R^2"
    echo(f"test {name} {test_score:.4f} on rows it never saw; best epoch {history.best_epoch}")
    echo(f"wrote {out} ({facts['file_bytes']:,} bytes, float32)")
    echo(f"next: smallnet export {out} --calibrate {options['spec']} --out build/")
    return None
