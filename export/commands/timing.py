"""Seconds per inference of both engines, taken in turns so that a busy machine is unfair to neither."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engine import Engine
from edge_runtime.model import Model
from export.verification import make_session

ROUNDS, RUNS = 9, 200


def side_by_side(model: Model, onnx_path: Any, row: NDArray[np.float32]) -> dict[str, float]:
    """Median seconds of one row at a time on one thread, for "numpy" and "onnxruntime". row: float32 (n_in,)."""
    import onnx

    engine = Engine(model)
    session = make_session(onnx.load(onnx_path))
    name = session.get_inputs()[0].name
    batch = row.reshape(1, -1)
    calls: dict[str, Callable[[], Any]] = {
        "numpy": lambda: engine.run(row),
        "onnxruntime": lambda: session.run(None, {name: batch}),
    }
    return medians(calls)


def medians(calls: dict[str, Callable[[], Any]], rounds: int = ROUNDS, runs: int = RUNS) -> dict[str, float]:
    """Median over rounds of the mean seconds of `runs` calls, after a warm-up. Calls take turns in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        _time(call, runs // 10)
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(_time(call, runs))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _time(call: Callable[[], Any], runs: int) -> float:
    started = time.perf_counter()
    for _ in range(runs):
        call()
    return (time.perf_counter() - started) / max(runs, 1)
