"""`smallnet train`: the trainer's command, and what it has besides where the quantizer is at hand: fine-tuning."""

from __future__ import annotations

import inspect
from typing import Any

import click
from click.core import ParameterSource

from edge_runtime.console import FILE
from export.commands.fine_tuning import TRAINED_IN, run_fine_tuning
from export.commands.ranged import ranged
from trainer.cli import run_training
from trainer.cli import train as train_floats

_FROM_HELP = "With --quantization-aware: the float model to start from, an artifact or an ONNX file."
_AWARE_HELP = (
    "Shrink that model, and let it learn on in the integers that it will run on, for 20 epochs if --epochs says "
    "nothing else. Its columns, labels and standardization are kept."
)
_ADDED = """With --from and --quantization-aware a trained model goes on learning in int8 or int4: --out is then the
small one, ready for 'smallnet export'. Otherwise the ranges that its tensors have on the training rows, but no row, are
stored with the model: with them 'smallnet export' needs no data."""
# options of a training from the start; what is theirs here, the model says
_OF_A_START = (
    "label", "target", "drop", "features", "one_hot", "missing", "hidden", "activation", "l2", "dropout", "standardize",
    "checkpoint", "resume",
)  # fmt: skip
_SETTINGS = (
    "epochs", "batch_size", "learning_rate", "optimizer", "schedule", "label_smoothing", "patience", "monitor",
    "class_weight", "augment",
)  # fmt: skip


@click.pass_context
def _train(context: click.Context, source: str | None, quantization_aware: str | None, **options: Any) -> Any:
    if source is None and quantization_aware is None:
        return run_training(options, ranged)
    if source is None or quantization_aware is None:
        found, missing = "--from", "--quantization-aware int8"
        if source is None:
            found, missing = "--quantization-aware", "--from model.npz, which 'smallnet train' writes"
        raise click.UsageError(f"{found} is given alone, expected both or none: add {missing}")
    given = {name for name in options if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    for name in _OF_A_START:
        if name in given:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is for a training from the start, found it with --from; leave it out"
            )
    settings = {name: options[name] for name in _SETTINGS if name in given}
    return run_fine_tuning(source, quantization_aware, settings, options)


def _documented(text: str) -> str:
    """The trainer's help with what is added, before its example."""
    return inspect.cleandoc(text).replace("Example: ", f"{_ADDED}\n\nExample: ")


train_command = click.Command(
    "train",
    callback=_train,
    params=[
        click.Option(["--from", "source"], type=FILE, help=_FROM_HELP),
        click.Option(["--quantization-aware"], type=click.Choice(tuple(TRAINED_IN)), help=_AWARE_HELP),
        *train_floats.params,
    ],
    help=_documented(train_floats.help or ""),
)
