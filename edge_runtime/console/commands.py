"""The commands of a device: run, inspect, selftest, devices, bundle. They need NumPy and click, no more."""

from __future__ import annotations

from typing import Any

import click

from edge_runtime.artifact import load
from edge_runtime.console.bundle import write_bundle
from edge_runtime.console.device import Job, prove, run_rows
from edge_runtime.console.inspection import inspect_file
from edge_runtime.console.messages import echo, echo_json, is_quiet, width_for
from edge_runtime.console.options import (
    FILE,
    backend_option,
    cap,
    force_option,
    json_option,
    limit_options,
    load_limited,
    max_bytes_option,
    wide_option,
)
from edge_runtime.console.output_files import check_output
from edge_runtime.console.reports import devices_table, fit_text, inspection_text
from edge_runtime.console.typed import typed_path, typed_python
from edge_runtime.console.wording import HELP
from edge_runtime.device_profiles import devices, estimate

_NATIVE_HELP = "Add the kernels that this machine's C compiler makes, for machines of its kind; others take NumPy."


@click.command()
@click.argument("model_path", metavar="MODEL.npz", type=FILE)
@click.option("--input", "input_path", type=FILE, required=True, help=HELP["input"])
@click.option("--output", "output_path", type=FILE, default="-", show_default=True, help=HELP["output"])
@click.option("--classes", is_flag=True, help=HELP["classes"])
@click.option("--jsonl", is_flag=True, help=HELP["jsonl"])
@force_option
@backend_option
@limit_options
@max_bytes_option
def run(
    model_path: str,
    input_path: str,
    output_path: str,
    classes: bool,
    jsonl: bool,
    force: bool,
    backend: str,
    max_bytes: int | None,
    **limits: Any,
) -> None:
    """Run a model on rows of raw values.

    Lines on standard input are answered one by one, as they come.

    Example: smallnet run digits.int8.npz --input x.csv --output y.csv
    """
    job = Job(input_path, output_path, classes, force, max_bytes, jsonl, backend)
    run_rows(job, [model_path], lambda: load_limited(model_path, max_bytes=max_bytes, **limits))


@click.command()
@click.argument("model_path", metavar="MODEL.npz", type=FILE)
@max_bytes_option
@json_option
@wide_option
def inspect(model_path: str, max_bytes: int | None, as_json: bool, wide: bool) -> None:
    """Show a model's layers, memory and devices, and where each byte of its file goes.

    Example: smallnet inspect build/digits.int8.npz
    """
    facts = inspect_file(model_path, **cap(max_bytes))
    if as_json:
        echo_json(facts)
    else:
        echo(inspection_text(facts, width_for(wide)))


@click.command("selftest")
@click.argument("model_path", metavar="MODEL.npz", type=FILE)
@backend_option
@limit_options
@max_bytes_option
@json_option
def selftest_command(model_path: str, backend: str, as_json: bool, **limits: Any) -> None:
    """Replay the stored test vectors: does this machine compute what was tested? Exit status 1 if not.

    Example: smallnet selftest build/digits.int8.npz
    """
    status = prove(*load_limited(model_path, **limits), backend, as_json=as_json)
    if status:
        raise click.exceptions.Exit(status)


@click.command()
@click.argument("model_path", metavar="MODEL.npz", type=FILE)
@click.option("-o", "--out", type=FILE, default="app.pyz", show_default=True, help="The file to write.")
@click.option("--native", is_flag=True, help=_NATIVE_HELP)
@force_option
@max_bytes_option
def bundle(model_path: str, out: str, native: bool, force: bool, max_bytes: int | None) -> None:
    """Write one file that holds the runtime and the model, for a device with Python and NumPy alone.

    There: python app.pyz --selftest, python app.pyz --input x.csv

    Example: smallnet bundle build/digits.int8.npz -o app.pyz
    """
    check_output(out, "bundle", force=force, sources=[model_path])
    size = write_bundle(model_path, out, native=native, **cap(max_bytes))
    echo(
        f"wrote {out} ({size:,} bytes)"
        + ("" if is_quiet() else f"; try: {typed_python()} {typed_path(out)} --selftest")
    )


@click.command("devices")
@click.argument("model_path", metavar="[MODEL.npz]", type=FILE, required=False)
@json_option
@wide_option
def devices_command(model_path: str | None, as_json: bool, wide: bool) -> None:
    """List the device profiles; with a model, which of them it fits and the time predicted for it.

    Example: smallnet devices build/digits.int8.npz
    """
    profiles = devices()
    if model_path is None:
        facts, text = (
            [vars(profile) for profile in profiles.values()],
            devices_table(profiles.values(), width_for(wide)),
        )
    else:
        model = load(model_path)
        facts = [vars(estimate(model, name)) for name in profiles]
        text = fit_text(facts, width_for(wide))
    if as_json:
        echo_json(facts)
    else:
        echo(text)
