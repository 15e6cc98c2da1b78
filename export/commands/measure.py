"""Measure a model on this machine: latency percentiles, throughput over batch sizes, load time, memory."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edge_runtime.artifact import MODEL_MAX_BYTES, load
from edge_runtime.engine import Engine, Limits
from edge_runtime.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (50, 90, 99)
BATCHES = (1, 8, 32, 256)
WARM_UP = 5  # calls before the first that counts, at most
LEAST_CALLS = 3  # that count, however long they take
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
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas_threads": blas_threads(),
    }


def blas_threads() -> str:
    """As the environment states it; it is read when NumPy is imported, and nothing here changes it."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    return next((os.environ[name] for name in names if os.environ.get(name)), "as the BLAS decides")


def _cpu() -> str:
    """The processor's own name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith(("model name", "Model"))]
    except OSError:
        names = []
    return f"{platform.machine()} {names[0] if names else platform.processor()}".strip()


def measure(
    calls: dict[str, Call],
    n_in: int,
    batches: Sequence[int],
    seconds: float = 0.5,
    on_call: Callable[[int, int], None] | None = None,
) -> list[Latency]:
    """Time every engine on every batch size, in turns of one call, after a warm-up. calls: {name: rows -> outputs}.

    The rows are random numbers. seconds: spent on each batch size and engine, but for at least `LEAST_CALLS` calls; the
    warm-up before takes as long at most, but for its first call, and ends after `WARM_UP`. on_call: told the batch size
    and the calls made of it, before each.
    """
    tell = on_call or (lambda _batch, _count: None)
    rng = np.random.default_rng(0)
    results = []
    for batch in batches:
        x = rng.normal(size=(batch, n_in)).astype(np.float32)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in _rounds(seconds * len(calls), 1, WARM_UP):
            for call in calls.values():
                tell(batch, 0)
                call(x)
        for count in _rounds(seconds * len(calls), LEAST_CALLS):
            for name, call in calls.items():
                tell(batch, count)
                started = time.perf_counter()
                call(x)
                times[name].append(time.perf_counter() - started)
        for name, values in times.items():
            p50, p90, p99 = (float(value) for value in np.percentile(values, PERCENTILES))
            results.append(Latency(name, batch, len(values), p50, p90, p99))
    return results


def _rounds(seconds: float, least: int, most: float = math.inf) -> Iterator[int]:
    """Count for so many seconds, but `least` times at least and `most` times at most."""
    deadline, count = time.perf_counter() + seconds, 0
    while count < least or (count < most and time.perf_counter() < deadline):
        yield count
        count += 1


def plan_facts(engine: Engine) -> dict[str, Any]:
    """The plan that an engine follows, as plain data: what explains its speed.

    block: rows that go through the network together. widened_each_run: the layers whose weights are widened at each
    run, `tile_rows` of the `rows` of the matrix at a time.
    """
    plan, layers = engine.plan, engine.model.layers
    widened = [
        {"layer": step.name, "tile_rows": step.tile_rows, "rows": layer.n_in}
        for step, layer in zip(plan.steps, layers, strict=True)
        if step.lean
    ]
    return {"total_bytes": plan.total_bytes, "block": plan.block, "widened_each_run": widened}


def engine_call(engine: Engine) -> Call:
    """An engine as `measure` calls it: a single row goes in as a vector, as a device would give it."""
    return lambda x: engine.run(x[0] if len(x) == 1 else x)


def session_call(session: Any) -> Call:
    """The same of a session of onnxruntime."""
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})


def load_seconds(
    path: str | os.PathLike[str],
    limits: Limits,
    repeats: int = 5,
    *,
    mmap: bool = False,
    max_bytes: int = MODEL_MAX_BYTES,
    backend: str = "numpy",
) -> float:
    """Median seconds from the file to a compiled engine, with the file in the system's cache and after a warm-up."""
    return median_seconds(lambda: Engine(load(path, mmap=mmap, max_bytes=max_bytes), limits, backend), repeats)


def median_seconds(call: Callable[[], Any], repeats: int = 5) -> float:
    """Median seconds of a call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def default_batches(limits: Limits) -> list[int]:
    """Those of `BATCHES` that the limits allow."""
    most = limits.max_batch if limits.over == "refuse" else None
    return [batch for batch in BATCHES if most is None or batch <= most]


def batches_for(model: Model, limits: Limits, wanted: Sequence[int] | None = None) -> list[int]:
    """The batch sizes to measure: those that are wanted, or those of `BATCHES` that the limits allow.

    Raises InputError for a wanted one that an engine with these limits would refuse.
    """
    if wanted is None:
        return default_batches(limits)
    for batch in wanted:
        limits.require_batch(batch)
    return list(wanted)
