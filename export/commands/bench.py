"""`smallnet bench`."""

from __future__ import annotations

from typing import Any

import click

from edge_runtime.console import (
    FILE,
    Progress,
    Size,
    backend_option,
    cap,
    echo,
    echo_json,
    json_option,
    limit_options,
    max_bytes_option,
    say_fallback,
    wide_option,
    width_for,
)
from edge_runtime.engine import Limits
from export.commands.bench_report import bench, bench_text
from export.commands.extras import require_extra
from export.commands.measure import default_batches

_ENFORCE_HELP = """Run each engine once in a process of its own under this limit on its address space (setrlimit),
and say what the process needed; 0 measures without a limit. Exit status 1 if our own did not run in it. Linux."""

_BESIDE_LIMITS = ("against", "enforce", "batches", "seconds", "mmap", "max_bytes", "backend")
_SECONDS_HELP = "Time for each engine and batch size, and for its warm-up at most; at least 3 calls, however slow."
_BATCH_HELP = "Batch size; may be given repeatedly (default: 1, 8, 32 and 256, those that the limits allow)."


@click.command("bench")
@click.argument("model_path", metavar="MODEL.npz", type=FILE)
@click.option("--against", type=click.Choice(["onnxruntime"]), help="Time another engine beside ours, in turns.")
@click.option("--enforce", type=Size(least=0), help=_ENFORCE_HELP)
@click.option("--batch", "batches", metavar="N", type=click.IntRange(1, 1 << 20), multiple=True, help=_BATCH_HELP)
@click.option("--seconds", metavar="S", default=0.5, show_default=True, help=_SECONDS_HELP)
@backend_option
@limit_options
@max_bytes_option
@json_option
@wide_option
def bench_command(model_path: str, as_json: bool, wide: bool, **options: Any) -> None:
    """Measure a model on this machine: latency percentiles, throughput, load time, memory; all after a warm-up.

    With --device its RAM and flash are kept, and the prediction for it is added.

    Example: smallnet bench build/digits.int8.npz --against onnxruntime
    """
    if not 0 <= options["seconds"] <= 3600:  # nan would never end either
        raise click.UsageError(f"--seconds is {options['seconds']}, expected 0 to 3600")
    if options["against"]:
        require_extra("export", "onnx", "onnxruntime")
    asked = {name: options.pop(name) for name in _BESIDE_LIMITS}
    limits = Limits(**options)
    sizes = asked["batches"] or default_batches(limits)
    with Progress("measuring") as progress:
        facts = bench(
            model_path,
            limits,
            against=asked["against"] is not None,
            enforce_bytes=asked["enforce"],
            batches=asked["batches"] or None,
            seconds=asked["seconds"],
            on_call=lambda batch, calls: progress(sizes.index(batch), len(sizes), f"batch {batch:,}, {calls:,} calls"),
            mmap=asked["mmap"],
            backend=asked["backend"],
            **cap(asked["max_bytes"]),
        )
    if as_json:
        echo_json(facts)
    else:
        say_fallback(facts["backend_reason"])
        echo(bench_text(facts, width_for(wide)))
    ours = facts.get("enforced", {}).get(facts["backend"])
    if ours is not None and not ours["ok"]:
        raise click.exceptions.Exit(1)
