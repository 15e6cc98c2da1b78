"""The commands of a device: run, inspect, selftest, devices, bundle. They need NumPy and click, no more."""

from __future__ import annotations

from typing import Any

import click

from edge_runtime.artifact import load
from edge_runtime.console.bundle import write_bundle
from edge_runtime.console.inspection import describe
from edge_runtime.console.options import cap, force_option, json_option, limit_options, load_limited, max_bytes_option
from edge_runtime.console.output_files import check_output, check_rows_output
from edge_runtime.console.progress import echo, echo_json, warn_of_range
from edge_runtime.console.reports import devices_table, fit_text, inspection_text, selftest_text
from edge_runtime.console.typed import typed_path
from edge_runtime.device_profiles import devices, estimate
from edge_runtime.engine import Engine, require_stored_batch
from edge_runtime.engine import selftest as replay
from edge_runtime.files import read_rows, write_rows


@click.command()
@click.argument("model_path", metavar="MODEL.npz")
@click.option("--input", "input_path", required=True, help="Rows to run: .npy, .npz, .csv, or - for standard input.")
@click.option("--output", "output_path", default="-", show_default=True, help=".npy, .csv, or - for standard output.")
@click.option("--classes", is_flag=True, help="Write the class of each row instead of all outputs.")
@force_option
@limit_options
@max_bytes_option
def run(
    model_path: str,
    input_path: str,
    output_path: str,
    classes: bool,
    force: bool,
    max_bytes: int | None,
    **limits: Any,
) -> None:
    """Run a model on rows of raw values.

    Example: smallnet run digits.int8.npz --input x.csv --output y.csv
    """
    check_rows_output(output_path, [input_path, model_path], force=force)
    model, wanted = load_limited(model_path, max_bytes=max_bytes, **limits)
    engine = Engine(model, wanted)
    rows = read_rows(input_path, n_in=model.n_in, **cap(max_bytes))
    warn_of_range(model, rows)
    if classes:
        if model.metadata.get("target") in ("regression", "autoencoder"):
            raise click.UsageError("the model gives values and not classes; leave --classes out")
        write_rows(output_path, engine.predict(rows), class_names=model.class_names or None)
    else:
        write_rows(output_path, engine.run(rows), class_names=model.class_names or None)


@click.command()
@click.argument("model_path", metavar="MODEL.npz")
@max_bytes_option
@json_option
def inspect(model_path: str, max_bytes: int | None, as_json: bool) -> None:
    """Show a model's layers, memory and devices, and account for every byte of its file.

    Example: smallnet inspect build/digits.int8.npz
    """
    facts = describe(model_path, **cap(max_bytes))
    if as_json:
        echo_json(facts)
    else:
        echo(inspection_text(facts))


@click.command()
@click.argument("model_path", metavar="MODEL.npz")
@limit_options
@max_bytes_option
@json_option
def selftest(model_path: str, as_json: bool, **limits: Any) -> None:
    """Replay the stored test vectors: does this machine compute what was tested? Exit status 1 if not.

    Example: smallnet selftest build/digits.int8.npz
    """
    model, wanted = load_limited(model_path, **limits)
    require_stored_batch(model, wanted)
    result = replay(model, wanted)
    if as_json:
        echo_json({**vars(result), "ok": result.ok})
    else:
        echo(selftest_text(result))
    if not result.ok:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("model_path", metavar="MODEL.npz")
@click.option("-o", "--out", default="app.pyz", show_default=True, help="The file to write.")
@force_option
@max_bytes_option
def bundle(model_path: str, out: str, force: bool, max_bytes: int | None) -> None:
    """Write one file that holds the runtime and the model, for a device with Python and NumPy alone.

    There: python app.pyz --selftest, python app.pyz --input x.csv

    Example: smallnet bundle build/digits.int8.npz -o app.pyz
    """
    check_output(out, "bundle", force=force, sources=[model_path])
    size = write_bundle(model_path, out, **cap(max_bytes))
    echo(f"wrote {out} ({size:,} bytes); try: python {typed_path(out)} --selftest")


@click.command("devices")
@click.argument("model_path", metavar="[MODEL.npz]", required=False)
@json_option
def devices_command(model_path: str | None, as_json: bool) -> None:
    """List the device profiles; with a model, which of them it fits and the time predicted for it.

    Example: smallnet devices build/digits.int8.npz
    """
    profiles = devices()
    if model_path is None:
        facts, text = [vars(profile) for profile in profiles.values()], devices_table(profiles.values())
    else:
        model = load(model_path)
        facts = [vars(estimate(model, name)) for name in profiles]
        text = fit_text(facts)
    if as_json:
        echo_json(facts)
    else:
        click.echo(text)
