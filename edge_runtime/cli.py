"""Commands for a device: run, inspect, selftest, devices. `python -m edge_runtime` needs NumPy and click, no more."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from typing import Any

import click

from edge_runtime.errors import BudgetExceeded, SmallnetError

_DISK_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}


class OneLineErrors(click.Group):
    """A group of commands that answers every expected failure with one line on standard error and an exit status.

    0: done. 1: a check failed, a budget does not hold, or the disk is full. 2: wrong usage or bad input. 130: Ctrl-C.
    """

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Run the command line and exit, or return its value when not `standalone_mode`."""
        run: Any = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **kwargs)
        try:
            status = run(*args, standalone_mode=False, **kwargs)
        except click.exceptions.Exit as stop:
            status = stop.exit_code
        except (click.Abort, KeyboardInterrupt):
            status = _fail("stopped by Ctrl-C", 130)
        except click.ClickException as error:
            status = _fail(_usage_text(error), 2)
        except BudgetExceeded as error:
            status = _fail(str(error), 1)
        except SmallnetError as error:
            status = _fail(str(error), 2)
        except BrokenPipeError:  # the reader of our output went away: not worth a word
            sys.stderr.close()
            status = 1
        except OSError as error:
            status = _fail(_os_text(error), 1 if error.errno in _DISK_FULL else 2)
        sys.exit(status if isinstance(status, int) else 0)


def _fail(text: str, status: int) -> int:
    click.echo("error: " + " ".join(text.split()), err=True)
    return status


def _usage_text(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see '{context.command_path} --help')" if context is not None else ""
    return error.format_message().rstrip(".") + hint


def _os_text(error: OSError) -> str:
    reason = error.strerror or str(error)
    advice = {
        errno.ENOENT: "; check the name",
        errno.EISDIR: "; expected a file",
        errno.EACCES: "; check the permissions",
        errno.ENOSPC: "; free some space, the old file is as it was",
    }
    return f"{error.filename or 'file'}: {reason}{advice.get(error.errno or 0, '')}"


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --ram-bytes, --speed-factor and --max-batch, for every command that runs a model."""
    for option in (
        click.option("--max-batch", type=int, help="Rows sent through the network in one call."),
        click.option(
            "--speed-factor", type=float, default=1.0, show_default=True, help="Make each run take N x as long."
        ),
        click.option("--ram-bytes", type=int, help="Refuse to run in more memory than this."),
    ):
        command = option(command)
    return command


def print_table(rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """Print rows under headings, numbers to the right. columns: {key in a row: heading}."""
    cells = [[str(row[key]) for key in columns] for row in rows]
    widths = [max(len(heading), *(len(line[i]) for line in cells)) for i, heading in enumerate(columns.values())]
    is_number = [all(line[i][:1].isdigit() or line[i][:1] in "-+" for line in cells) for i in range(len(widths))]

    def line(values: list[str]) -> str:
        parts = [v.rjust(w) if n else v.ljust(w) for v, w, n in zip(values, widths, is_number, strict=True)]
        return "  ".join(parts).rstrip()

    click.echo(line(list(columns.values())))
    click.echo("  ".join("-" * width for width in widths))
    for values in cells:
        click.echo(line(values))


def echo_json(value: Any) -> None:
    """Print one JSON object."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run small networks with NumPy alone."""


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@click.option("--input", "input_path", required=True, help="Rows to run: .npy, .npz, .csv, or - for standard input.")
@click.option("--output", "output_path", default="-", show_default=True, help=".npy, .csv, or - for standard output.")
@click.option("--classes", is_flag=True, help="Write the class of each row instead of all outputs.")
@limit_options
def run(
    model_path: str,
    input_path: str,
    output_path: str,
    classes: bool,
    ram_bytes: Any,
    speed_factor: float,
    max_batch: Any,
) -> None:
    """Run a model on rows of raw values.

    Example: smallnet run digits.int8.npz --input x.csv --output y.csv
    """
    from edge_runtime.artifact import load
    from edge_runtime.engine import Engine
    from edge_runtime.limits import Limits
    from edge_runtime.rows import read_rows, write_rows

    model = load(model_path)
    engine = Engine(model, Limits(ram_bytes=ram_bytes, speed_factor=speed_factor, max_batch=max_batch))
    rows = read_rows(input_path, n_in=model.n_in)
    if classes:
        write_rows(output_path, run_in_batches(engine.predict, rows, max_batch))
    else:
        write_rows(output_path, run_in_batches(engine.run, rows, max_batch), class_names=model.class_names or None)


def run_in_batches(call: Callable[[Any], Any], rows: Any, max_batch: int | None) -> Any:
    """`call(rows)`, with no more than `max_batch` rows at a time."""
    import numpy as np

    if max_batch is None or len(rows) <= max_batch:
        return call(rows)
    return np.concatenate([call(rows[start : start + max_batch]) for start in range(0, len(rows), max_batch)])


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@json_option
def inspect(model_path: str, as_json: bool) -> None:
    """Show a model's layers, memory and devices, and account for every byte of its file.

    Example: smallnet inspect build/digits.int8.npz
    """
    from edge_runtime.artifact import load
    from edge_runtime.devices import devices, estimate
    from edge_runtime.inspection import describe

    facts = describe(model_path)
    model = load(model_path)
    facts["devices"] = [vars(estimate(model, name)) for name in devices()]
    if as_json:
        return echo_json(facts)
    sizes = "-".join(str(size) for size in facts["layer_sizes"])
    click.echo(f"{model_path}: {facts['precision']} {sizes}, {facts['macs']:,} MACs, {facts['file_bytes']:,} bytes")
    click.echo(f"preprocessing: {facts['preprocessing']}; test vectors: {facts['test_vectors']}")
    for key, value in facts["metadata"].items():
        click.echo(f"{key}: {value}")
    _print_layers(facts)
    _print_bytes(facts)
    click.echo("\nDevices, one row at a time, predicted (the runtime's own flash and RAM included):")
    _print_estimates(facts["devices"])
    return None


def _print_layers(facts: dict[str, Any]) -> None:
    rows = [
        {**layer, "size": f"{layer['shape'][0]} -> {layer['shape'][1]}", "certificate": layer.get("certificate", "-")}
        for layer in facts["layers"]
    ]
    click.echo()
    columns = {"name": "layer", "size": "size", "precision": "precision", "activation": "activation"}
    print_table(rows, {**columns, "macs": "MACs", "bytes": "bytes", "certificate": "largest accumulator"})
    memory = facts["memory"]
    click.echo(
        f"\nmemory of an engine: {memory['weight_bytes']:,} B weights + {memory['widened_bytes']:,} B widened copies + "
        f"{memory['arena_bytes']:,} B arena ({memory['block']} rows) = {memory['total_bytes']:,} B"
    )


def _print_bytes(facts: dict[str, Any]) -> None:
    rows = [{**member, "total": member["data_bytes"] + member["overhead_bytes"]} for member in facts["members"]]
    rows = [{**row, "dtype": f"{row['dtype']} {tuple(row['shape'])}"} for row in rows]
    end = {"name": "end of the zip directory", "dtype": "", "data_bytes": 0, "overhead_bytes": facts["end_bytes"]}
    rows.append({**end, "total": facts["end_bytes"]})
    total = {key: sum(row[key] for row in rows) for key in ("data_bytes", "overhead_bytes", "total")}
    rows.append({"name": "file", "dtype": "", **total})
    click.echo()
    columns = {"name": "bytes of the file", "dtype": "content", "data_bytes": "data"}
    print_table(rows, {**columns, "overhead_bytes": "headers", "total": "total"})


def _print_estimates(estimates: list[dict[str, Any]]) -> None:
    rows = [
        {
            "device": entry["device"],
            "fits": "yes" if entry["fits"] else f"no: {entry['why_not']}",
            "ms": f"{entry['latency_s'] * 1e3:.3f}",
            "uj": "-" if entry["energy_j"] is None else f"{entry['energy_j'] * 1e6:.1f}",
            "weakest": entry["weakest"],
        }
        for entry in estimates
    ]
    columns = {"device": "device", "ms": "predicted ms", "uj": "predicted uJ"}
    print_table(rows, {**columns, "weakest": "weakest figure", "fits": "fits"})


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@limit_options
@json_option
def selftest(model_path: str, ram_bytes: Any, speed_factor: float, max_batch: Any, as_json: bool) -> None:
    """Replay the stored test vectors: does this machine compute what was tested? Exit status 1 if not.

    Example: smallnet selftest build/digits.int8.npz
    """
    from edge_runtime.artifact import load
    from edge_runtime.limits import Limits
    from edge_runtime.selftest import selftest as replay

    limits = Limits(ram_bytes=ram_bytes, speed_factor=speed_factor, max_batch=max_batch)
    result = replay(load(model_path), limits)
    if as_json:
        echo_json({**vars(result), "ok": result.ok})
    else:
        rule = "bit for bit" if result.exact else f"within {result.bound:.2g}"
        click.echo(
            f"{'ok' if result.ok else 'FAILED'}: {result.rows} rows, {result.values} values compared {rule}, "
            f"{result.differing} differ, largest difference {result.max_abs_error:.3g}, "
            f"{result.decisions_changed} decisions changed"
        )
    if not result.ok:
        raise click.exceptions.Exit(1)


@main.command("devices")
@json_option
def devices_command(as_json: bool) -> None:
    """List the device profiles that predictions are made for.

    Example: smallnet devices --json
    """
    from edge_runtime.devices import devices

    profiles = devices().values()
    if as_json:
        return echo_json([vars(profile) for profile in profiles])
    rows = [
        {
            "name": profile.name,
            "core": profile.core,
            "mhz": f"{profile.clock_hz / 1e6:.0f}",
            "ram": f"{profile.ram_bytes:,}",
            "flash": "-" if profile.flash_bytes is None else f"{profile.flash_bytes:,}",
            "int8": f"{profile.macs_per_cycle['int8']:.3g}",
            "confidence": profile.confidence.get("macs_per_cycle.int8", ""),
        }
        for profile in profiles
    ]
    columns = {"name": "device", "core": "core", "mhz": "MHz", "ram": "RAM bytes", "flash": "flash bytes"}
    print_table(rows, {**columns, "int8": "int8 MACs/cycle", "confidence": "confidence"})
    return None
