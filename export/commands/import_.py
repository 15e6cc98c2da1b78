"""`smallnet import`."""

from __future__ import annotations

from dataclasses import replace

import click

from edge_runtime.artifact import save
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
from edge_runtime.version import made_with
from export.commands.data import load_rows
from export.commands.options import DATA_HELP, OUTPUT_HELP, run_limit_options, say_warnings, test_vectors_option
from export.commands.reports import import_facts, import_table
from export.onnx_reader import import_onnx
from export.onnx_writer import foreign_doubts, saturating_layers
from export.quantization import comparison_doubts, row_doubts, with_test_vectors
from export.verification import RunLimits, random_rows, verify_import
from trainer.datasets import files_of


@click.command("import")
@click.argument("model_path", metavar="MODEL.onnx", type=FILE)
@click.option("--out", type=FILE, required=True, help="The artifact to write, an .npz.")
@click.option("--data", "spec", type=FILE, help=f"Real rows to check and to take test vectors from: {DATA_HELP}.")
@click.option("--output", metavar="NAME", help=OUTPUT_HELP)
@test_vectors_option
@force_option
@max_bytes_option
@run_limit_options
@json_option
@wide_option
def import_command(
    model_path: str,
    out: str,
    spec: str | None,
    output: str | None,
    test_vectors: int,
    force: bool,
    max_bytes: int | None,
    max_memory: int | None,
    max_seconds: float,
    as_json: bool,
    wide: bool,
) -> None:
    """Take a dense network from PyTorch, scikit-learn, Keras or any other ONNX file.

    The imported model is run beside the file in onnxruntime on random rows, and on real ones where some are given; it
    is written only if the outputs agree. Exit status 1 if they do not. onnxruntime runs the file in a process of its
    own, within --max-memory and --max-seconds.

    Example: smallnet import model.onnx --out model.npz
    """
    if not out.endswith(".npz"):
        raise click.UsageError(f"--out is {out!r}, expected the name of an .npz file")
    check_output(out, "artifact", force=force, sources=[model_path, *(files_of(spec) if spec else [])])
    source, allowed = import_onnx(model_path, output=output, **cap(max_bytes)), RunLimits(max_memory, max_seconds)
    refuse_inputs(out, source.external_files)
    model, rows = source.model, random_rows(source)
    reports = {"random": verify_import(model, model_path, rows, imported=source, run_limits=allowed)}
    if spec is not None:
        dataset = load_rows(model, spec, **cap(max_bytes))
        rows = dataset.x
        reports[spec] = verify_import(model, model_path, rows, imported=source, run_limits=allowed)
    is_ok = all(report.ok for report in reports.values())
    if is_ok:
        stated = replace(model, metadata={**model.metadata, **made_with()})
        save(with_test_vectors(stated, rows, test_vectors), out)
    notes = dict.fromkeys(note for report in reports.values() for note in report.notes)
    doubts = [
        *(comparison_doubts(model, rows) if spec else row_doubts(model, rows)),
        *foreign_doubts(saturating_layers(source.int8_products)),
        *notes,
    ]
    facts = {**import_facts(source, reports, out if is_ok else None), "warnings": doubts}
    say_warnings(facts["warnings"])
    if as_json:
        echo_json(facts)
    else:
        echo(import_table(facts, width_for(wide), verdict_width(wide)))
    if not is_ok:
        raise click.exceptions.Exit(1)
