"""`smallnet diff`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
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
)
from edge_runtime.model import Model
from export.commands.data import all_rows, rows_for_export
from export.commands.held_out import held_out_doubt
from export.commands.options import DATA_HELP, OUTPUT_HELP, load_any, run_limit_options
from export.diagnosis import compare_models, difference_text, row_difference, rows_of_their_own
from export.verification import RunLimits

_DATA_HELP = f"Rows to answer: {DATA_HELP} (default: the stored test vectors, else random rows)."
_ALL_HELP = """Answer all rows of the data, not those alone that 'train' held out. Of more rows than 64 MiB of values
hold, or 4,096, so many are answered, spread evenly over all."""


@click.command("diff")
@click.argument("first_path", metavar="FIRST.npz|FIRST.onnx", type=FILE)
@click.argument("second_path", metavar="SECOND.npz|SECOND.onnx", type=FILE)
@click.option("--data", "spec", type=FILE, help=_DATA_HELP)
@click.option("--all-rows", "is_whole", is_flag=True, help=_ALL_HELP)
@click.option("--output", metavar="NAME", help=OUTPUT_HELP)
@max_bytes_option
@run_limit_options
@json_option
@wide_option
def diff_command(
    first_path: str,
    second_path: str,
    spec: str | None,
    is_whole: bool,
    output: str | None,
    max_bytes: int | None,
    run_limits: RunLimits,
    as_json: bool,
    wide: bool,
) -> None:
    """Say where two models differ: layers, grids, arrays in every bit, metadata, and what they answer.

    With data, the rows that 'train' held out are answered: scores of both, decisions that flip, decibels between the
    outputs (before the last activation if both end in the same one), and the first tensor that differs: bit by bit if
    both have the same tensors, else the values that differ most, in the units of both. Without data the rows are stored
    test vectors, or random ones, which say little of accuracy; which they are is said.

    Exit status 0 if the models are the same in every bit, 1 if they differ, 2 for wrong usage or bad input. "Written
    otherwise, the same bits" is 1 too: layers hold other numbers that gave no other tensor on these rows, as those of
    an ONNX file, whose grids are parts of products; 'verify' shows that it is so.

    Example: smallnet diff digits.npz exported/digits.int8.npz --data digits
    """
    if is_whole and spec is None:
        raise click.UsageError("--all-rows found, and no --data whose rows these are")
    first, second = (load_any(path, max_bytes, run_limits, output) for path in (first_path, second_path))
    rows, labels, what, notes = _rows(first, second, spec, is_whole, max_bytes)
    for text in notes:
        note(text)
    found = replace(compare_models(first, second), rows=row_difference(first, second, rows, labels, what))
    if as_json:
        sizes = [Path(path).stat().st_size for path in (first_path, second_path)]
        echo_json({"first": first_path, "second": second_path, "file_bytes": sizes, "notes": notes, **found.as_dict()})
    else:
        echo(difference_text(found, width_for(wide)))
    if not found.same:
        raise click.exceptions.Exit(1)


def _rows(
    first: Model, second: Model, spec: str | None, is_whole: bool, max_bytes: int | None
) -> tuple[Any, Any, str, list[str]]:
    """Rows to answer, their labels or None, what they are, and what to know of them."""
    if spec is None:
        rows, what = rows_of_their_own(first, second)
        return rows, None, what, []
    name = Path(spec).name
    if is_whole:
        rows, labels, text = all_rows(first, spec, **cap(max_bytes))
        return rows, labels, f"all of {name}", [text] if text else []
    found = rows_for_export(first, spec, **cap(max_bytes))
    notes = [text for text in (found.note, held_out_doubt(first, found)) if text]
    return *found.judged, f"held out of {name}", notes
