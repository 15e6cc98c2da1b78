"""Measure a model on this machine: latency percentiles, throughput over batch sizes, load time, memory."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edge_runtime.artifact import DEFAULT_MAX_BYTES, load
from edge_runtime.engine import Engine
from edge_runtime.limits import Limits
from edge_runtime.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (50, 90, 99)
BATCHES = (1, 8, 32, 256)
Call: TypeAlias = "Callable[[NDArray[np.float32]], Any]"


@dataclass(frozen=True)
class Latency:
    """Calls of one engine with one batch size. Seconds per call; rows_per_second from the median."""

    engine: str
    batch: int
    calls: int
    p50_s: float
    p90_s: float
    p99_s: float

    @property
    def rows_per_second(self) -> float:
        """Throughput at the median."""
        return self.batch / self.p50_s


def conditions() -> dict[str, str]:
    """What a measurement depends on and a reader must know."""
    threads = os.environ.get("OMP_NUM_THREADS") or os.environ.get("OPENBLAS_NUM_THREADS") or "as the BLAS decides"
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas_threads": threads,
    }


def measure(calls: dict[str, Call], n_in: int, batches: Sequence[int], seconds: float = 0.5) -> list[Latency]:
    """Time every engine on every batch size, in turns of one call, after a warm-up. calls: {name: rows -> outputs}.

    The rows are random numbers. seconds: spent on each batch size and engine, at least 20 calls.
    """
    rng = np.random.default_rng(0)
    results = []
    for batch in batches:
        x = rng.normal(size=(batch, n_in)).astype(np.float32)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for call in calls.values():
            for _ in range(5):
                call(x)
        deadline = time.perf_counter() + seconds * len(calls)
        while time.perf_counter() < deadline or len(next(iter(times.values()))) < 20:
            for name, call in calls.items():
                started = time.perf_counter()
                call(x)
                times[name].append(time.perf_counter() - started)
        for name, values in times.items():
            p50, p90, p99 = (float(value) for value in np.percentile(values, PERCENTILES))
            results.append(Latency(name, batch, len(values), p50, p90, p99))
    return results


def engine_call(engine: Engine) -> Call:
    """An engine as `measure` calls it: a single row goes in as a vector, as a device would give it."""
    return lambda x: engine.run(x[0] if len(x) == 1 else x)


def load_seconds(
    path: str | os.PathLike[str], limits: Limits, repeats: int = 5, max_bytes: int = DEFAULT_MAX_BYTES
) -> float:
    """Median seconds from the file to a compiled engine, with the file in the system's cache."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        Engine(load(path, max_bytes=max_bytes), limits)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def batches_for(model: Model, limits: Limits, wanted: Sequence[int] = BATCHES) -> list[int]:
    """The batch sizes to measure that a limit on the batch allows."""
    most = limits.max_batch or max(wanted)
    return [batch for batch in wanted if batch <= most] or [1]
