"""What subnormal numbers cost: in the weights nothing, in the inputs of float networks still much.

784-64-10 with 11,000 subnormal weights beside the same with 0 in their place: the engine, and the bare matrix product
on the weights as stored. Then inputs of 1e-40 beside ordinary ones. Medians over rounds in which each has its turn.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks._process import run_in_one_thread

COUNT = 11_000


def main(argv: list[str]) -> int:
    """Print a ratio for each batch size; 1 where weights cost more than half as much again."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks subnormal", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    status = run_in_one_thread("subnormal", argv)
    if status is not None:
        return status
    facts = measure(options.rounds)
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in facts["conditions"].items()))
        columns = ("weights, engine", "weights, bare", "inputs, float32", "inputs, int8")
        print("batch  " + "  ".join(columns))
        for row in facts["rows"]:
            print(
                f"{row['batch']:5}  {row['weights']:14.2f}x  {row['bare']:12.1f}x  {row['float32_inputs']:14.1f}x"
                f"  {row['int8_inputs']:11.2f}x"
            )
    return 0 if all(row["weights"] <= 1.5 for row in facts["rows"]) else 1


def measure(rounds: int) -> dict[str, Any]:
    """The ratios as plain data."""
    import numpy as np

    from edge_runtime import Engine
    from export.quantization.quantizer import quantize
    from tests.networks import random_rows, with_subnormals, zeroed

    model = with_subnormals(COUNT)
    plain, rows = zeroed(model), np.abs(random_rows(256, 784))
    tiny = np.full_like(rows, 1e-40)
    ours, theirs = Engine(model), Engine(plain)
    int8 = Engine(quantize(plain, rows, "int8", "minmax"))
    weights = model.layers[0].weight, plain.layers[0].weight
    table = []
    for batch in (1, 32, 256):
        x, small = (rows[0], tiny[0]) if batch == 1 else (rows[:batch], tiny[:batch])
        pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "weights": (partial(ours.run, x), partial(theirs.run, x)),
            "bare": (partial(np.dot, x, weights[0]), partial(np.dot, x, weights[1])),
            "float32_inputs": (partial(theirs.run, small), partial(theirs.run, x)),
            "int8_inputs": (partial(int8.run, small), partial(int8.run, x)),
        }
        table.append({"batch": batch, **{name: _ratio(*pair, rounds) for name, pair in pairs.items()}})
    conditions = {"machine": platform.machine(), "Python": platform.python_version(), "NumPy": np.__version__}
    return {"conditions": {**conditions, "threads": 1, "subnormal weights": COUNT}, "rows": table}


def _ratio(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> float:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, seconds in zip((one, other), times, strict=True):
            seconds.append(min(timeit.repeat(call, number=20, repeat=3)))
    return statistics.median(times[0]) / statistics.median(times[1])
