"""Where the time of a run goes, layer by layer."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.engine.arena import Arena
from edge_runtime.engine.buffers import Constants
from edge_runtime.engine.kernels import entry_steps
from edge_runtime.engine.plan import MemoryPlan
from edge_runtime.engine.program import layer_sections
from edge_runtime.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LayerTime:
    """One layer. seconds: median over the runs, for all rows. share: of the sum over the layers, 0 to 1.

    calls: NumPy calls. weight_bytes: as stored. widened_bytes: of the copies kept for the matrix product.
    """

    name: str
    seconds: float
    share: float
    calls: int
    weight_bytes: int
    widened_bytes: int


class RunProfile(list[LayerTime]):
    """The layers' profiles in their order; printed, a table."""

    def __repr__(self) -> str:
        """The sum, in one line."""
        return f"RunProfile({len(self):,} layers, {sum(layer.seconds for layer in self) * 1e6:.1f} us)"

    def __str__(self) -> str:
        from edge_runtime.engine.printing import profile_table  # for those who print it

        return profile_table(self)


def profile_layers(
    model: Model, plan: MemoryPlan, arena: Arena, constants: list[Constants], rows: NDArray[Any], runs: int
) -> RunProfile:
    """Time each layer's steps in the order of a run; the first includes preprocessing. rows: (n, n_in), one block."""
    count = None if len(rows) == 1 else len(rows)
    part = np.asarray(rows[0] if count is None else rows, np.float32)
    source = arena.view("ping", part.shape)
    enter, first = entry_steps(model, source)
    sections = layer_sections(model, plan, arena, constants, count, activate=True)
    sections[0] = (sections[0][0], [partial(enter, part), *first, *sections[0][1]])
    seconds: dict[str, list[float]] = {name: [] for name, _steps in sections}
    for _ in range(runs):
        for name, steps in sections:
            started = time.perf_counter()
            for step in steps:
                step()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    total = sum(medians.values()) or 1.0
    bytes_of = {step.name: (step.stored_bytes, step.widened_bytes) for step in plan.steps}
    return RunProfile(
        LayerTime(name, medians[name], medians[name] / total, len(steps), *bytes_of.get(name, (0, 0)))
        for name, steps in sections
    )
