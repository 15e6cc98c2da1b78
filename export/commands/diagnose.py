"""`smallnet diagnose`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from edge_runtime.console import (
    FILE,
    cap,
    echo,
    echo_json,
    json_option,
    max_bytes_option,
    note,
    wide_option,
    width_for,
    wrapped,
)
from edge_runtime.model import Model
from export.commands.data import all_rows, rows_for_export
from export.commands.held_out import held_out_doubt
from export.commands.options import DATA_HELP, OUTPUT_HELP, load_any, run_limit_options
from export.diagnosis import diagnose
from export.quantization import PRECISIONS
from export.verification import RunLimits

_PRECISION_HELP = "What MODEL is shrunk to where no SMALL is given (default: int8)."
_CALIBRATE_HELP = """Other data whose training rows calibrate (default: those of DATA). All rows of DATA judge then."""
_ALL_HELP = """Let all rows of DATA judge, not those alone that 'train' held out: for rows that MODEL never saw. Of more
rows than 64 MiB of values hold, or 4,096, so many are looked at, spread evenly over all."""


@click.command("diagnose")
@click.argument("model_path", metavar="MODEL.npz|MODEL.onnx", type=FILE)
@click.argument("small_path", metavar="[SMALL.npz|SMALL.onnx]", type=FILE, required=False)
@click.option(
    "--data", "spec", type=FILE, required=True, help=f"Rows with their labels, if there are any: {DATA_HELP}."
)
@click.option("--calibrate", type=FILE, help=_CALIBRATE_HELP)
@click.option("--all-rows", "is_whole", is_flag=True, help=_ALL_HELP)
@click.option("--precision", type=click.Choice(PRECISIONS[1:]), help=_PRECISION_HELP)
@click.option("--output", metavar="NAME", help=OUTPUT_HELP)
@max_bytes_option
@run_limit_options
@json_option
@wide_option
def diagnose_command(
    model_path: str,
    small_path: str | None,
    spec: str,
    calibrate: str | None,
    is_whole: bool,
    precision: str | None,
    output: str | None,
    max_bytes: int | None,
    run_limits: RunLimits,
    as_json: bool,
    wide: bool,
) -> None:
    """Say which layer of a network shrinking broke, and what mends it.

    MODEL is the float model, SMALL what was made of it; without SMALL it is shrunk as 'export' does. The training rows
    of the data calibrate, the rows that 'train' held out judge: without their labels these cannot be found again. The
    layers stand in a table, the most damaged first. Below it is what was tried, each remedy on the same rows, and a
    sentence: the layer, the remedy and what it gave, or "nothing to mend". The exit status is 0 in either case. --wide
    gives the sentence in one line.

    Example: smallnet diagnose digits.npz --data digits
    """
    if small_path is not None and precision is not None:
        raise click.UsageError(f"{small_path} and --precision {precision} found, expected one of the two")
    model = load_any(model_path, max_bytes, run_limits, output)
    small = None if small_path is None else load_any(small_path, max_bytes, run_limits)
    calibration, judged, labels, doubt = _rows(model, spec, calibrate, is_whole, max_bytes)
    found = diagnose(model, judged, labels, small=small, precision=precision or "int8", calibration=calibration)
    found = replace(found, notes=(*([doubt] if doubt else []), *found.notes))
    for text in found.notes:
        note(text)
    if as_json:
        echo_json({"file": model_path, "small_file": small_path, **found.as_dict()})
    else:
        echo(f"{found.table(width_for(wide))}\n\n{wrapped(found.verdict, width_for(wide))}")


def _rows(
    model: Model, spec: str, calibrate: str | None, is_whole: bool, max_bytes: int | None
) -> tuple[Any, Any, Any, str]:
    """Rows that calibrate, rows that judge, the labels of these or None, and what to know of their being held out."""
    rows = rows_for_export(model, calibrate or spec, **cap(max_bytes))
    if calibrate is None and not is_whole:
        if rows.note:
            note(rows.note)
        return rows.calibration, *rows.judged, held_out_doubt(model, rows)
    judged, labels, text = all_rows(model, spec, **cap(max_bytes))
    if text:
        note(text)
    return rows.calibration, judged, labels, ""
