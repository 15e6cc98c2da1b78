"""What an engine's plan and profile print as: they are tables, loaded by those who print them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_runtime.files import format_table

if TYPE_CHECKING:
    from edge_runtime.engine.plan import MemoryPlan
    from edge_runtime.engine.profiler import LayerTime


def plan_text(plan: MemoryPlan) -> str:
    """What `engine.plan` prints as: where its bytes are, and a row for each layer."""
    parts = {
        "weights": plan.weight_bytes,
        "beside them": plan.other_bytes,
        "widened": plan.widened_bytes,
        "arena": plan.arena_bytes,
        "temporary": plan.temporary_bytes,
    }
    columns = {
        "name": "layer",
        "kind": "precision",
        "stored_bytes": "stored bytes",
        "widened_bytes": "widened bytes",
        "tile": "widened at each run",
    }
    rows = [{**step._asdict(), "tile": f"{step.tile_rows:,} rows" if step.lean else "no"} for step in plan.steps]
    sums = ", ".join(f"{name} {value:,}" for name, value in parts.items() if value)
    return f"{plan.total_bytes:,} B, {plan.block:,} rows at once: {sums}\n{format_table(rows, columns)}"


def profile_table(profile: Sequence[LayerTime]) -> str:
    """What `engine.profile(x)` prints as: a row for each layer, and their sums."""
    columns = {
        "name": "layer",
        "us": "us",
        "share": "share",
        "calls": "calls",
        "weight_bytes": "stored bytes",
        "widened_bytes": "widened bytes",
    }
    rows = [vars(layer) for layer in profile]
    sums = {
        key: sum(row[key] for row in rows) for key in ("seconds", "share", "calls", "weight_bytes", "widened_bytes")
    }
    rows = [
        {**row, "us": f"{row['seconds'] * 1e6:.1f}", "share": f"{row['share']:.0%}"}
        for row in (*rows, {"name": "all layers", **sums})
    ]
    return format_table(rows, columns)
