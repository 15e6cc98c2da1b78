"""Millions of inferences in one process: does memory grow, is the last answer the first one?

A float32, an int8 and a mixed network of 64-32-10 take turns, one row at a time; every thousandth call has a batch of 1
to 40 rows. Each answer to a row is compared with the first answer to it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._process import run_in_one_thread

ALLOWED_GROWTH = 1_000_000  # bytes
WARM_UP = 20_000  # inferences before memory is measured first: programs for all batch sizes, Python's free lists
STATM = Path("/proc/self/statm")


def main(argv: list[str]) -> int:
    """Print conditions, growth of resident memory and differing answers; 1 where either is too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--inferences", type=int, default=5_000_000, help="rows in all (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    if not STATM.exists():
        raise SystemExit(f"{STATM} not found: resident memory is measured on Linux")
    status = run_in_one_thread("soak", argv)
    if status is not None:
        return status
    facts = soak(options.inferences)
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in facts["conditions"].items()))
        print(
            f"{facts['inferences']:,} inferences in {facts['seconds']:.0f} s ({facts['microseconds']:.1f} us each): "
            f"{facts['differing']:,} answers differ from the first one; resident memory {facts['resident_before']:,} B "
            f"before, {facts['resident_after']:,} B after ({facts['growth']:+,} B), most {facts['resident_most']:,} B"
        )
    return 0 if facts["ok"] else 1


def networks() -> dict[str, Any]:
    """The models by precision."""
    from dataclasses import replace

    import numpy as np

    from edge_runtime import Activation, Dense
    from export.quantization.quantizer import quantize
    from tests.networks import random_model, random_rows

    whole = random_model([64, 32, 10], ["relu", "softmax"])
    int8 = quantize(whole, random_rows(200, 64), "int8", "minmax")
    eye = Dense("first", np.eye(64, dtype=np.float32), np.zeros(64, np.float32), Activation.of("linear"))
    return {"float32": whole, "int8": int8, "mixed": replace(int8, layers=(eye, *int8.layers))}


def soak(inferences: int) -> dict[str, Any]:
    """Run so many rows; the facts as plain data."""
    import numpy as np

    from edge_runtime import Engine
    from tests.networks import random_rows

    engines = [Engine(model) for model in networks().values()]
    rows = random_rows(41, 64)
    singles = list(rows)
    first = [[engine.run(row).tobytes() for row in singles] for engine in engines]
    # a batch's float32 answers differ in their last bits from a row's, so a batch is compared with the first batch
    first_batch = [[engine.run(rows[:size]).tobytes() for size in range(41)] for engine in engines]
    state = {"done": 0, "call": 0, "differing": 0}

    def run(until: int) -> None:
        while state["done"] < until:
            call = state["call"]
            which, place = call % 3, call // 3 % 41
            if call % 1000 == 999 and place:
                same = engines[which].run(rows[:place]).tobytes() == first_batch[which][place]
                state["done"] += place
            else:
                same = engines[which].run(singles[place]).tobytes() == first[which][place]
                state["done"] += 1
            state["differing"] += not same
            state["call"] += 1

    run(min(WARM_UP, inferences))
    gc.collect()
    before = most = resident()
    started = time.perf_counter()
    for part in range(1, 101):
        run(max(WARM_UP, inferences * part // 100))
        most = max(most, resident())
        if part % 5 == 0:
            print(f"soak: {state['done']:,} of {inferences:,}", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - started
    gc.collect()
    after = resident()
    timed = max(1, state["done"] - WARM_UP)
    return {
        "conditions": {
            "threads": 1,
            "machine": platform.machine(),
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "models": "64-32-10 float32, int8, mixed",
        },
        "inferences": state["done"],
        "differing": state["differing"],
        "seconds": seconds,
        "microseconds": seconds / timed * 1e6,
        "resident_before": before,
        "resident_after": after,
        "resident_most": most,
        "growth": after - before,
        "ok": not state["differing"] and max(after, most) - before < ALLOWED_GROWTH,
    }


def resident() -> int:
    """Bytes of this process in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
