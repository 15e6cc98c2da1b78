"""How a model runs: a plan of every byte within limits, compiled into NumPy calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edge_runtime.engine.backend import BACKENDS
    from edge_runtime.engine.budget import make_plan
    from edge_runtime.engine.engine import Engine
    from edge_runtime.engine.limits import OVER_BATCH, Limits
    from edge_runtime.engine.model_bytes import held_bytes
    from edge_runtime.engine.plan import MemoryPlan, is_dynamic
    from edge_runtime.engine.plan_choice import DYNAMIC_BATCH, smallest_plan
    from edge_runtime.engine.self_test import SelfTest, require_stored_batch, selftest

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "backend": ("BACKENDS",),
        "budget": ("make_plan",),
        "engine": ("Engine",),
        "limits": ("Limits", "OVER_BATCH"),
        "model_bytes": ("held_bytes",),
        "plan": ("MemoryPlan", "is_dynamic"),
        "plan_choice": ("DYNAMIC_BATCH", "smallest_plan"),
        "self_test": ("SelfTest", "require_stored_batch", "selftest"),
    },
)
