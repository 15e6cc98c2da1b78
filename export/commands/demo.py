"""The whole chain on the bundled digits. A roof room, like the command line: it knows the trainer and the exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import onnx

from edge_runtime.artifact import save
from edge_runtime.console import (
    FILE,
    Progress,
    check_output,
    echo,
    echo_json,
    force_option,
    json_option,
    note,
    warn,
    wide_option,
    width_for,
)
from edge_runtime.engine import Engine
from edge_runtime.files import make_folder
from export.commands.export_files import ExportOptions
from export.commands.measure import engine_call, measure, session_call
from export.commands.pipeline import Exported, LabeledRows, check_export, export_model
from export.commands.ranged import ranged
from export.commands.reports import demo_files, demo_table
from export.quantization import finite
from export.verification import make_session
from trainer.cli import epoch_told
from trainer.datasets import files_of, load_dataset, split
from trainer.recipe import DEFAULTS, build_network, fit_network, trained_model


def run_demo(out: str, seed: int, *, force: bool = False) -> list[dict[str, Any]]:
    """Train 64-32-10 on the digits, export it in three precisions, verify and time them; one row per precision.

    out: folder for the files. force: replace files there that are something else. Takes a few seconds.
    Raises OutputRefused, OSError.
    """
    folder, precisions = Path(out), ["float32", "float16", "int8"]
    check_export(out, "digits", precisions, ExportOptions(), force=force, sources=files_of("digits"))
    trained = folder / "digits.npz"
    if folder.is_dir():
        check_output(trained, "artifact", force=force, sources=files_of("digits"))
    dataset = load_dataset("digits")
    parts = split(dataset, seed=seed)
    note(
        f"digits: {len(parts.train)} rows to train on, {len(parts.validation)} to decide when to stop, "
        f"{len(parts.test)} held out for the test"
    )
    options = {**DEFAULTS, "hidden": (32,), "seed": seed, "target": "auto"}
    network = build_network(parts.train, options)
    with Progress(after=0.0) as progress:
        fit_network(network, parts, options, epoch_told(progress, options["epochs"], is_classification=True))
    make_folder(folder)
    model = ranged(trained_model(network, parts.train, options), parts.train.x)
    save(model, trained)
    note("exporting float32, float16 and int8, verifying each file on all rows")
    results = export_model(
        model,
        precisions,
        parts.train.x,
        folder,
        "digits",
        evaluation=LabeledRows(parts.test.x, parts.test.y),
        verify_rows=dataset.x,
    )
    for text in (text for result in results for text in result.warnings):
        warn(text)
    note("timing both engines, one row at a time, one thread")
    return [_row(result, _seconds_a_row(result)) for result in results]


def _seconds_a_row(result: Exported) -> dict[str, float]:
    """Of both engines in turns, one row at a time, by their names."""
    session = make_session(onnx.load(result.onnx))
    calls = {"numpy": engine_call(Engine(result.model)), "onnxruntime": session_call(session)}
    return {found.engine: found.p50_s for found in measure(calls, result.model.n_in, (1,), seconds=0.1)}


def _row(result: Exported, seconds: dict[str, float]) -> dict[str, Any]:
    is_int8 = result.precision == "int8"
    return {
        "precision": result.precision,
        "artifact": str(result.artifact),
        "onnx": str(result.onnx),
        "artifact_bytes": result.artifact_bytes,
        "onnx_bytes": result.onnx_bytes,
        "test_accuracy": result.score,
        "sqnr_db": finite(result.fidelity.sqnr_db),
        "decisions_changed": result.decisions_changed,
        "max_abs_error": result.report.max_abs_error,
        "int8_values_compared": result.report.exact_compared if is_int8 else 0,
        "int8_values_differing": result.report.exact_differing if is_int8 else 0,
        "verified": result.report.ok,
        "warnings": list(result.warnings),
        "numpy_us": seconds["numpy"] * 1e6,
        "onnxruntime_us": seconds["onnxruntime"] * 1e6,
    }


@click.command()
@click.option("--out", type=FILE, default="smallnet-demo", show_default=True, help="Folder for the files.")
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the split and the training.",
)
@force_option
@json_option
@wide_option
def demo(out: str, seed: int, force: bool, as_json: bool, wide: bool) -> None:
    """Run the whole chain on the bundled digits: train, export three precisions, verify, time. Under a minute.

    Example: smallnet demo
    """
    rows = run_demo(out, seed, force=force)
    if as_json:
        echo_json({"rows": rows, "warnings": [text for row in rows for text in row["warnings"]]})
    else:
        echo(f"{demo_table(rows, width_for(wide))}\n\n{demo_files(rows, out)}")
    if not all(row["verified"] for row in rows):
        raise click.exceptions.Exit(1)
