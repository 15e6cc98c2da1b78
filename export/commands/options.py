"""Options and texts that several commands of the exporter share."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from edge_runtime.artifact import load
from edge_runtime.console import Size, cap, refuse_inputs, warn
from edge_runtime.errors import ArtifactError
from edge_runtime.model import Model
from export.onnx_reader import import_onnx
from export.verification import RunLimits, verify_import

DATA_HELP = "digits, an .npz, a table (.csv and its like) or a folder"
OUTPUT_HELP = "Which output of an ONNX file is meant, if it has several, or which tensor within it."
_MEMORY_HELP = "Memory that onnxruntime may take to run the file (default: 1G and 8 times its size; Linux only)."
_SECONDS_HELP = "Seconds that it may take to open the file, and to run 256 rows."


test_vectors_option = click.option(
    "--test-vectors",
    metavar="N",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    help="Rows stored for selftest.",
)


def run_limit_options(command: Any) -> Any:
    """The options that a command has which runs somebody's ONNX file, which it is given as `run_limits`."""

    @functools.wraps(command)
    def limited(*arguments: Any, max_memory: int | None, max_seconds: float, **options: Any) -> Any:
        return command(*arguments, run_limits=RunLimits(max_memory, max_seconds), **options)

    limit = click.FloatRange(min=0, min_open=True)
    seconds = click.option(
        "--max-seconds", metavar="S", type=limit, default=60.0, show_default=True, help=_SECONDS_HELP
    )
    return click.option("--max-memory", type=Size(), help=_MEMORY_HELP)(seconds(limited))


def say_warnings(texts: list[str]) -> None:
    """A line on standard error for each."""
    for text in texts:
        warn(text)


def load_any(
    path: str,
    max_bytes: int | None = None,
    run_limits: RunLimits | None = None,
    output: str | None = None,
    writes: Iterable[Path] = (),
) -> Model:
    """The model in an artifact or in an ONNX file; the latter is compared with onnxruntime first.

    writes: files that the command will write: none may be one that holds weights of the ONNX file.
    """
    if not path.lower().endswith(".onnx"):
        return load(path, **cap(max_bytes))

    source = import_onnx(path, output=output, **cap(max_bytes))
    for written in writes:
        refuse_inputs(written, source.external_files)
    report = verify_import(source.model, path, imported=source, run_limits=run_limits)
    if not report.ok:
        raise ArtifactError(
            f"{path}: {report.differing} outputs differ from onnxruntime's by more than their bound; "
            "see 'smallnet import'"
        )
    return source.model
