"""The plan and the programs of a model that NumPy runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_runtime.engine.arena import Arena
from edge_runtime.engine.budget import make_plan
from edge_runtime.engine.buffers import make_constants
from edge_runtime.engine.calls import Program
from edge_runtime.engine.limits import Limits
from edge_runtime.engine.program import compile_program
from edge_runtime.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.engine.profiler import RunProfile


class NumpyBackend:
    """A model as NumPy calls. Raises BudgetExceeded as `make_plan`."""

    name = "numpy"

    def __init__(self, model: Model, limits: Limits) -> None:
        self._model, self.plan = model, make_plan(model, limits)
        self._constants = [
            make_constants(layer, step) for layer, step in zip(model.layers, self.plan.steps, strict=True)
        ]
        self._arena = Arena(self.plan.regions, self.plan.arena_bytes)

    def compile(self, rows: int | None, *, activate: bool) -> Program:
        """See `compile_program`."""
        return compile_program(self._model, self.plan, self._arena, self._constants, rows, activate=activate)

    def profile(self, rows: NDArray[Any], runs: int) -> RunProfile:
        """See `profile_layers`."""
        from edge_runtime.engine.profiler import profile_layers  # for those who ask

        return profile_layers(self._model, self.plan, self._arena, self._constants, rows, runs)
