"""What computes: NumPy, or compiled kernels where there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edge_runtime.arguments import INPUT_CHECKS
from edge_runtime.engine.calls import Program
from edge_runtime.engine.limits import Limits
from edge_runtime.engine.plan import MemoryPlan
from edge_runtime.errors import BudgetExceeded, NativeUnavailable
from edge_runtime.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.engine.profiler import RunProfile

BACKENDS = ("numpy", "native", "auto")


class Backend(Protocol):
    """A model with the memory to run it. name: "numpy" or "native"."""

    name: str
    plan: MemoryPlan

    def compile(self, rows: int | None, *, activate: bool) -> Program:
        """The program for `rows` rows, or for one row given as a vector where that is None."""

    def profile(self, rows: NDArray[Any], runs: int) -> RunProfile:
        """The time of each layer. Raises InputError where it cannot be told."""


def make_backend(model: Model, limits: Limits, wanted: str) -> tuple[Backend, str]:
    """The backend that is wanted, and with "auto" why it is not the native one, if it is not.

    Raises InputError for another name, NativeUnavailable and BudgetExceeded if what is wanted cannot be had.
    """
    reason = ""
    if INPUT_CHECKS.choice("backend", wanted, BACKENDS) != "numpy":
        from edge_runtime.engine.native_backend import NativeBackend  # each loads what it needs itself

        try:
            return NativeBackend(model, limits), ""
        except (NativeUnavailable, BudgetExceeded) as error:
            if wanted == "native":
                raise
            reason = str(error)
    from edge_runtime.engine.numpy_backend import NumpyBackend

    return NumpyBackend(model, limits), reason
