"""Batch sizes x precisions x networks x devices: one tidy CSV of what fits, what it takes here and there, and a plot.

Each row is one network in one precision with one batch size on one device, "none" for no device's limits. Bytes are the
engine's plan under the device's RAM and flash; `here_*` was measured on this machine with that plan (one thread;
a plan that several devices share is measured once); `predicted_*` is the device profile's prediction for one row.
Weights that a device holds in flash are mapped from the file. The plot needs matplotlib.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._process import run_in_one_thread
from benchmarks.infer import NETWORKS

PRECISIONS = ("float32", "float16", "int8", "int8-dynamic")
BATCHES = (1, 8, 32, 256)
COLUMNS = (
    "network", "macs", "precision", "artifact_bytes", "batch", "device", "ram_bytes", "flash_bytes", "fits", "missing",
    "planned_bytes", "block", "lean_layers", "here_us", "here_us_per_row", "predicted_ms_per_row",
    "predicted_uj_per_row", "predicted_fits",
)  # fmt: skip


def main(argv: list[str]) -> int:
    """Write sweep.csv and, where matplotlib is installed, sweep.png; print how far it is every few seconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sweep", description=__doc__)
    parser.add_argument("--out", default="sweep", help="files to write, without .csv and .png (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.05, help="time for each measurement (default %(default)s)")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="default: %(default)s")
    options = parser.parse_args(argv)
    unknown = set(options.networks.split(",")) - set(NETWORKS)
    if unknown:
        parser.error(f"networks {sorted(unknown)} found, expected some of {', '.join(NETWORKS)}")
    status = run_in_one_thread("sweep", argv)
    if status is not None:
        return status
    rows = sweep(options.networks.split(","), options.seconds)
    with open(f"{options.out}.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {options.out}.csv ({len(rows):,} rows)")
    try:
        from benchmarks._sweep_plot import plot
    except ImportError:
        print("no plot: matplotlib is not installed; pip install 'smallnet[plots]'", file=sys.stderr)
        return 0
    from export.commands.measure import conditions

    plot(rows, f"{options.out}.png", ", ".join(f"{name} {value}" for name, value in conditions().items()))
    print(f"wrote {options.out}.png")
    return 0


def sweep(networks: list[str], seconds: float) -> list[dict[str, Any]]:
    """All rows, in the order network, precision, batch, device."""
    from edge_runtime import devices

    names = ["none", *devices()]
    rows: list[dict[str, Any]] = []
    said = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for network, precision in itertools.product(networks, PRECISIONS):
            path = Path(folder) / f"{network}.{precision}.npz"
            _write_model(network, precision, path)
            measured: dict[Any, float] = {}
            for batch, device in itertools.product(BATCHES, names):
                rows.append({"network": network} | _row(path, precision, batch, device, measured, seconds))
                if time.monotonic() - said > 5:
                    said = time.monotonic()
                    print(f"{network} {precision}: batch {batch}, {len(rows):,} rows", file=sys.stderr, flush=True)
    return rows


def _write_model(network: str, precision: str, path: Path) -> None:
    import numpy as np

    from edge_runtime import save
    from export.quantization.quantizer import quantize
    from tests.networks import random_model, random_rows

    sizes = NETWORKS[network]
    last = "linear" if sizes[0] == sizes[-1] else "softmax"
    full = random_model(list(sizes), ["relu"] * (len(sizes) - 2) + [last])
    save(quantize(full, np.abs(random_rows(100, sizes[0])), precision, "minmax"), path)


def _row(
    path: Path, precision: str, batch: int, device: str, measured: dict[Any, float], seconds: float
) -> dict[str, Any]:
    """One row; `measured` remembers the time of each plan and batch size."""
    from edge_runtime import BudgetExceeded, Engine, Limits, devices, estimate, load

    profile = devices().get(device)
    model = load(path, mmap=profile is not None and profile.flash_bytes is not None)
    limits = Limits(device=None if profile is None else device, max_batch=batch)
    row: dict[str, Any] = {
        "macs": model.macs,
        "precision": precision,
        "artifact_bytes": path.stat().st_size,
        "batch": batch,
        "device": device,
        "ram_bytes": limits.ram_bytes,
        "flash_bytes": limits.flash_bytes,
    }
    try:
        engine = Engine(model, limits)
    except BudgetExceeded as error:
        row |= {"fits": "no", "missing": error.missing_bytes}
    else:
        key = (batch, engine.plan.block, *((step.lean, step.tile_rows) for step in engine.plan.steps))
        if key not in measured:
            measured[key] = _seconds(engine, batch, seconds)
        row |= {
            "fits": "yes",
            "missing": 0,
            "planned_bytes": engine.plan.total_bytes,
            "block": engine.plan.block,
            "lean_layers": sum(step.lean for step in engine.plan.steps),
            "here_us": round(measured[key] * 1e6, 2),
            "here_us_per_row": round(measured[key] * 1e6 / batch, 3),
        }
    if profile is not None:
        found = estimate(model, profile)
        row |= {
            "predicted_ms_per_row": round(found.latency_s * 1e3, 4),
            "predicted_uj_per_row": None if found.energy_j is None else round(found.energy_j * 1e6, 2),
            "predicted_fits": "yes" if found.fits else "no",
        }
    return row


def _seconds(engine: Any, batch: int, seconds: float) -> float:
    """Median seconds of one call, after a warm-up."""
    from tests.networks import random_rows

    rows = random_rows(batch, engine.model.n_in)
    x = rows[0] if batch == 1 else rows
    for _ in range(3):
        engine.run(x)
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times) < 5:
        started = time.perf_counter()
        engine.run(x)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
