"""`smallnet import`."""

from __future__ import annotations

import os
from typing import Any

import click

from edge_runtime.console import (
    FILE,
    cap,
    check_output,
    echo,
    echo_json,
    force_option,
    json_option,
    max_bytes_option,
    refuse_inputs,
    verdict_width,
    wide_option,
    width_for,
)
from export.commands.data import load_rows
from export.commands.import_many import import_many, many_table, require_for_many, tasks_of
from export.commands.importing import checked, on_data
from export.commands.options import DATA_HELP, OUTPUT_HELP, run_limit_options, say_warnings, test_vectors_option
from export.commands.reports import import_facts, import_table
from export.onnx_reader import import_onnx
from export.verification import RunLimits
from trainer.datasets import files_of

_OUT_HELP = "The artifact to write, an .npz; for a folder or several files, a folder of them."


@click.command("import")
@click.argument("paths", metavar="MODEL.onnx|FOLDER", type=FILE, nargs=-1, required=True)
@click.option("--out", type=FILE, help=_OUT_HELP)
@click.option("--data", "spec", type=FILE, help=f"Real rows to check and to take test vectors from: {DATA_HELP}.")
@click.option("--output", metavar="NAME", help=OUTPUT_HELP)
@test_vectors_option
@force_option
@max_bytes_option
@run_limit_options
@json_option
@wide_option
def import_command(
    paths: tuple[str, ...],
    out: str | None,
    spec: str | None,
    output: str | None,
    test_vectors: int,
    force: bool,
    max_bytes: int | None,
    run_limits: RunLimits,
    as_json: bool,
    wide: bool,
) -> None:
    """Take a dense network from PyTorch, scikit-learn, Keras or any other ONNX file.

    The imported model is run beside the file in onnxruntime on random rows, and on real ones where some are given; it
    is written only if the outputs agree. Exit status 1 if they do not. onnxruntime runs the file in a process of its
    own, within --max-memory and --max-seconds.

    Of a folder or several files a table says which are read, and which are refused and why; limits are for each file.
    Artifacts are written where --out names a folder. Exit status 1 if not all are read.

    Example: smallnet import model.onnx --out model.npz
    """
    if len(paths) > 1 or os.path.isdir(paths[0]):
        require_for_many(output, spec, out)
        found = import_many(tasks_of(paths, out, force=force), run_limits, test_vectors, cap(max_bytes))
        _say(found, many_table(found, out, verdict_width(wide)), as_json)
        return
    path = paths[0]
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    if not out.endswith(".npz"):
        raise click.UsageError(f"--out is {out!r}, expected the name of an .npz file")
    check_output(out, "artifact", force=force, sources=[path, *(files_of(spec) if spec else [])])
    source = import_onnx(path, output=output, **cap(max_bytes))
    refuse_inputs(out, source.external_files)
    result = checked(source, path, run_limits)
    if spec is not None:
        result = on_data(result, path, spec, load_rows(source.model, spec, **cap(max_bytes)).x, run_limits)
    if result.ok:
        result.save(out, test_vectors)
    facts = {**import_facts(source, result.reports, out if result.ok else None), "warnings": result.doubts()}
    say_warnings(facts["warnings"])
    _say(facts, import_table(facts, width_for(wide), verdict_width(wide)), as_json)


def _say(facts: dict[str, Any], table: str, as_json: bool) -> None:
    """What came of it; exit status 1 where that is not all that was asked for."""
    if as_json:
        echo_json(facts)
    else:
        echo(table)
    if not facts["ok"]:
        raise click.exceptions.Exit(1)
