"""Which plan an engine follows within its limits, or why there is none."""

from __future__ import annotations

from edge_runtime.engine.limits import Limits
from edge_runtime.engine.plan import MemoryPlan
from edge_runtime.engine.plan_choice import fastest_plan, smallest_plan, usual_plan
from edge_runtime.model import Model


def make_plan(model: Model, limits: Limits) -> MemoryPlan:
    """The fastest plan within `limits.ram_bytes`. Raises BudgetExceeded if even the smallest is larger.

    So it does if the artifact is larger than `limits.flash_bytes`.
    """
    if limits.flash_bytes is not None:
        from edge_runtime.engine.refusal import require_flash  # looks at every byte of the artifact: for those who ask

        require_flash(model, limits.flash_bytes)
    if limits.ram_bytes is None:
        return usual_plan(model, limits)
    smallest = smallest_plan(model, limits)
    if smallest.total_bytes > limits.ram_bytes:
        from edge_runtime.engine.refusal import ram_refusal  # what a refusal says is worked out if there is one

        raise ram_refusal(model, limits, smallest)
    return fastest_plan(model, limits, smallest)
