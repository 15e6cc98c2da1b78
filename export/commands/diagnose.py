"""`smallnet diagnose`."""

from __future__ import annotations

import click

from edge_runtime.console import (
    FILE,
    cap,
    echo,
    echo_json,
    json_option,
    max_bytes_option,
    note,
    verdict_width,
    wide_option,
    width_for,
    wrapped,
)
from export.commands.data import rows_for_export
from export.commands.options import DATA_HELP, OUTPUT_HELP, load_any, run_limit_options
from export.diagnosis import diagnose
from export.quantization import PRECISIONS
from export.verification import RunLimits

_PRECISION_HELP = "What MODEL is shrunk to where no SMALL is given (default: int8)."


@click.command("diagnose")
@click.argument("model_path", metavar="MODEL.npz|MODEL.onnx", type=FILE)
@click.argument("small_path", metavar="[SMALL.npz|SMALL.onnx]", type=FILE, required=False)
@click.option(
    "--data", "spec", type=FILE, required=True, help=f"Rows with their labels, if there are any: {DATA_HELP}."
)
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
    precision: str | None,
    output: str | None,
    max_bytes: int | None,
    max_memory: int | None,
    max_seconds: float,
    as_json: bool,
    wide: bool,
) -> None:
    """Say which layer of a network shrinking broke, and what mends it.

    MODEL is the float model, SMALL what was made of it; without SMALL it is shrunk as 'export' does. The training rows
    of the data calibrate, the rows that 'train' held out judge. The layers stand in a table, the most damaged first.
    Below it is what was tried, each remedy on the same rows, and a sentence: the layer, the remedy and what it gave, or
    "nothing to mend". The exit status is 0 in either case.

    Example: smallnet diagnose digits.npz --data digits
    """
    if small_path is not None and precision is not None:
        raise click.UsageError(f"{small_path} and --precision {precision} found, expected one of the two")
    limits = RunLimits(max_memory, max_seconds)
    model = load_any(model_path, max_bytes, limits, output)
    small = None if small_path is None else load_any(small_path, max_bytes, limits)
    rows = rows_for_export(model, spec, **cap(max_bytes))
    if rows.note:
        note(rows.note)
    judged, labels = (rows.held_out, None) if rows.test is None else rows.test
    found = diagnose(model, judged, labels, small=small, precision=precision or "int8", calibration=rows.calibration)
    for text in found.notes:
        note(text)
    if as_json:
        echo_json({"file": model_path, "small_file": small_path, **found.as_dict()})
    else:
        echo(f"{found.table(width_for(wide))}\n\n{wrapped(found.verdict, verdict_width(wide))}")
