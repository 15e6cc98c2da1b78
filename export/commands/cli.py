"""The `smallnet` command: everything, from training to the verified file, by name. A command is loaded when it runs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

from edge_runtime.console import COMMANDS, LazyCommands, Place
from edge_runtime.version import __version__

if TYPE_CHECKING:
    from edge_runtime.errors import Alternative, BudgetExceeded

_HELP = """Train small dense networks, shrink them to int8, int4 or float16, prove that what runs is what was tested.

Try it: smallnet demo
"""
_PLACES = {
    "demo": Place("export.commands.demo", "demo", "Train, export, verify and time the digits, in under a minute."),
    "train": Place("export.commands.train", "train_command", "Train a float32 network and write it as an artifact."),
    "export": Place("export.commands.export", "export", "Shrink a model, write .npz and .onnx, and verify the pair."),
    "verify": Place(
        "export.commands.verify", "verify_command", "Compare every tensor of an artifact with its ONNX file."
    ),
    "score": Place("export.commands.score", "score", "Judge a model on a file of rows with their labels."),
    "diagnose": Place(
        "export.commands.diagnose", "diagnose_command", "Say which layer shrinking broke, and what mends it."
    ),
    "diff": Place("export.commands.diff", "diff_command", "Say where two models differ, in every bit."),
    "import": Place("export.commands.import_", "import_command", "Take a dense network from any ONNX file."),
    "bench": Place("export.commands.bench", "bench_command", "Measure latency, throughput, load time and memory."),
    **COMMANDS,
}


@click.group(cls=LazyCommands, places=_PLACES, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:  # noqa: D103  the help text above is its description
    pass


def _smaller_exports(error: BudgetExceeded) -> list[Alternative]:
    found: list[Alternative] = importlib.import_module("export.commands.smaller").smaller_exports(error)
    return found


main.advise = _smaller_exports
