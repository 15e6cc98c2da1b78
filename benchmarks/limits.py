"""Does a simulated limit hold? speed_factor beside the clock: an engine slowed N times takes N times as long.

For each network and batch size the plain and the slowed engines take turns, in an order that changes from round to
round; what takes less than a millisecond is called so often that a round takes one. Two ratios: the quickest rounds of
the slowed engine to those of the plain one (other processes disturb these least, and yet they do), and, call by call,
the whole to the work in it (median). Each is to be the factor within 5 %. Exit status 1 where the second is not, for
runs of more than a millisecond; all are printed, with their deviations. The factor 1.000001 shows what slowing costs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks._process import run_in_one_thread
from benchmarks.infer import NETWORKS

FACTORS = (1.000001, 1.5, 3.0, 10.0)
CASES = (
    ("4-4-3", "float32", 1),
    ("4-4-3", "int8", 1),
    ("64-32-10", "int8", 1),
    ("640-128x4-8-128x4-640", "int8", 256),
    ("784-128-64-10", "float32", 1024),
    ("784-1024-1024-10", "float32", 32),
    ("784-1024-1024-10", "int8", 256),
)
TOLERANCE, SHORTEST_S = 0.05, 1e-3


def main(argv: list[str]) -> int:
    """Print one line per case and factor: milliseconds of both engines, their ratio, and how far it is off."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks limits", description=__doc__)
    parser.add_argument("--rounds", type=int, default=61, help="rounds (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    status = run_in_one_thread("limits", argv)
    if status is not None:
        return status
    from export.commands.measure import conditions

    rows = [row for case in CASES for row in _measure(*case, options.rounds)]
    facts: dict[str, Any] = {"conditions": {**conditions(), "rounds": options.rounds}, "rows": rows}
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in facts["conditions"].items()))
        print(
            f"{'network':24} {'kind':8} {'batch':>5} {'plain ms':>9} {'factor':>6} {'slowed ms':>9} {'to plain':>8} "
            f"{'off':>6} {'to its work':>11} {'off':>6}"
        )
        for row in rows:
            print(
                f"{row['network']:24} {row['precision']:8} {row['batch']:5} {row['plain_s'] * 1e3:9.4f} "
                f"{row['factor']:6.3g} {row['slowed_s'] * 1e3:9.4f} {row['to_plain']:8.2f} "
                f"{row['to_plain'] / row['factor'] - 1:6.1%} {row['to_work']:11.3f} "
                f"{row['to_work'] / row['factor'] - 1:6.1%}"
            )
    judged = [row for row in rows if row["plain_s"] >= SHORTEST_S]
    missed = [row for row in judged if abs(row["to_work"] / row["factor"] - 1) > TOLERANCE]
    return 1 if missed else 0


def _measure(network: str, precision: str, batch: int, count: int) -> list[dict[str, Any]]:
    """One row for each factor."""
    import numpy as np

    import edge_runtime.engine.engine
    from edge_runtime import Engine, Limits
    from export.quantization.quantizer import quantize
    from tests.networks import random_model, random_rows

    sizes = NETWORKS.get(network) or tuple(int(n) for n in network.split("-"))
    rows = np.abs(random_rows(batch, sizes[0]))
    model = quantize(random_model(list(sizes), ["relu"] * (len(sizes) - 1)), rows, precision, "minmax")
    engines = {factor: Engine(model, Limits(speed_factor=factor)) for factor in (1.0, *FACTORS)}
    totals: dict[float, list[float]] = {factor: [] for factor in engines}
    work: dict[float, list[float]] = {factor: [] for factor in engines}
    stretch = edge_runtime.engine.engine._stretch
    calls = max(1, int(SHORTEST_S / min(_seconds(engines[1.0], rows, 1) for _ in range(20))))
    order = random.Random(0)
    for _ in range(count):
        for factor in order.sample(sorted(engines), len(engines)):
            totals[factor].append(_seconds(engines[factor], rows, calls) / calls)
            if factor > 1.0:
                edge_runtime.engine.engine._stretch = _noted(stretch, work[factor], started := time.perf_counter())
                engines[factor].run(rows)
                work[factor][-1] = (time.perf_counter() - started) / work[factor][-1]
                edge_runtime.engine.engine._stretch = stretch
    plain = min(totals[1.0])
    return [
        {
            "network": network,
            "precision": precision,
            "batch": batch,
            "factor": factor,
            "plain_s": plain,
            "slowed_s": min(totals[factor]),
            "to_plain": min(totals[factor]) / plain,
            "to_work": statistics.median(work[factor]),
        }
        for factor in FACTORS
    ]


def _seconds(engine: Any, rows: Any, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        engine.run(rows)
    return time.perf_counter() - started


def _noted(stretch: Callable[..., Any], seconds: list[float], called: float) -> Callable[..., Any]:
    """`stretch`, which adds to `seconds` how long the work took that it is to stretch."""

    def noted(started: float, ended: float, factor: float) -> None:
        seconds.append(ended - called)
        stretch(started, ended, factor)

    return noted
