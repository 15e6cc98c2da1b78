"""`smallnet verify`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click

from edge_runtime.artifact import MODEL_MAX_BYTES
from edge_runtime.console import (
    FILE,
    Progress,
    cap,
    echo,
    echo_json,
    json_option,
    limit_options,
    load_limited,
    max_bytes_option,
    note,
    verdict_width,
    wide_option,
    width_for,
    wrapped,
)
from edge_runtime.engine import require_stored_batch
from edge_runtime.errors import InputError
from edge_runtime.files import read_file
from export.commands.data import labeled_rows, load_rows
from export.commands.options import DATA_HELP, OUTPUT_HELP, run_limit_options, say_warnings
from export.commands.reports import report_table
from export.quantization import comparison_doubts
from export.verification import RunLimits, rows_to_compare, stated_artifact, verify, verify_c, verify_dumps
from trainer.report import scores_line
from trainer.scores import chance_doubts

_C_HELP = """A C file of export --format c, in place of the ONNX file: it is compiled and run. MODEL.npz may be left out
if it lies beside."""


@click.command("verify")
@click.argument("model_path", metavar="MODEL.npz", type=FILE, required=False)
@click.argument("other_path", metavar="MODEL.onnx|FOLDER", type=FILE, required=False)
@click.option("--c", "c_path", metavar="NAME.c", type=FILE, help=_C_HELP)
@click.option("--data", "spec", type=FILE, help=f"Rows to compare on: {DATA_HELP} (default: the stored test vectors).")
@click.option("--output", metavar="NAME", help=OUTPUT_HELP)
@limit_options
@max_bytes_option
@run_limit_options
@json_option
@wide_option
def verify_command(
    model_path: str | None,
    other_path: str | None,
    c_path: str | None,
    spec: str | None,
    output: str | None,
    max_bytes: int | None,
    run_limits: RunLimits,
    as_json: bool,
    wide: bool,
    **limits: Any,
) -> None:
    """Compare every tensor of an artifact with its ONNX file in onnxruntime. Exit status 1 when a rule is broken.

    Two levels: onnxruntime's default, and with graph optimizations disabled. int8 tensors and logits must have the same
    bits; float layers must stay within a bound that follows from their weights. An ONNX file that was written by
    something else is compared by its outputs; of a file whose integer operators may saturate on some processors without
    optimizations, the second level is left out, which is said.

    In place of the ONNX file, a folder may be named that holds what a device computed: one .npy for each tensor that it
    wrote down, named as in this command's table (logits.npy and output.npy for the last layer).

    With --c, a C file is compiled by the compiler of this machine (CC, cc, gcc, clang, or the package ziglang), run on
    the rows and compared by the same rules.

    Example: smallnet verify digits.int8.npz digits.int8.onnx --data digits
    """
    model_path, other_path = _files(model_path, other_path, c_path)
    model, wanted = load_limited(model_path, max_bytes=max_bytes, **limits)
    rows, labelled = None, None
    notes: tuple[str, ...] = ()
    if spec is None:
        require_stored_batch(model, wanted)
    else:
        dataset = load_rows(model, spec, **cap(max_bytes))
        rows, labelled, notes = dataset.x, labeled_rows(model, dataset), dataset.reading.notes
        for text in notes:
            note(text)
        wanted.require_batch(len(rows))
    if c_path is not None:
        artifact = bytes(read_file(model_path, max_bytes=max_bytes or MODEL_MAX_BYTES))
        report = verify_c(model, c_path, rows, artifact=artifact, max_seconds=run_limits.max_seconds)
    elif Path(other_path).is_dir():
        report = verify_dumps(model, other_path, rows)
    else:
        with Progress("comparing") as on_rows:
            report = verify(
                model, other_path, rows, limits=wanted, on_rows=on_rows, run_limits=run_limits, output=output
            )
    doubts = [*comparison_doubts(model, rows_to_compare(model, rows)), *report.notes]
    scores = None if labelled is None else labelled.scores(model)
    doubts += [] if scores is None else chance_doubts(scores)
    say_warnings(doubts)
    if as_json:
        figures = None if scores is None else scores.as_dict()
        echo_json({**report.as_dict(), "scores": figures, "notes": list(notes), "warnings": doubts})
    else:
        echo(report_table(report, width_for(wide), verdict_width(wide)))
    if scores is not None and not as_json:
        echo(wrapped(f"the artifact's {scores_line(scores.as_dict())} ({scores.rows:,} rows)", verdict_width(wide)))
    if not report.ok:
        raise click.exceptions.Exit(1)


def _files(model_path: str | None, other_path: str | None, c_path: str | None) -> tuple[str, str]:
    """The artifact and what is compared with it, out of what was given."""
    if c_path is None:
        if model_path is None or other_path is None:
            raise click.UsageError(
                "expected MODEL.npz and what to compare it with: an ONNX file, a folder, or --c NAME.c"
            )
        return model_path, other_path
    if other_path is not None:
        raise click.UsageError(f"--c {c_path} and {other_path} found, expected one of the two")
    return model_path or _artifact_beside(c_path), c_path


def _artifact_beside(c_path: str) -> str:
    """The artifact that a C file was written from, if it lies in the same folder."""
    wanted = stated_artifact(c_path)
    for path in sorted(Path(c_path).parent.glob("*.npz")):
        if hashlib.sha256(bytes(read_file(path, max_bytes=MODEL_MAX_BYTES))).hexdigest() == wanted:
            return str(path)
    raise InputError(
        f"{c_path}: the artifact that it was written from is not beside it; give it: MODEL.npz --c {c_path}"
    )
