"""Measure both engines side by side, and under the same memory limit of the operating system."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_runtime.artifact import MODEL_MAX_BYTES, load
from edge_runtime.console import bench_table, in_units, wrapped
from edge_runtime.device_profiles import estimate
from edge_runtime.engine import Engine, Limits
from edge_runtime.files import printable
from edge_runtime.model import Model
from export.commands.enforce import ENGINE_CODE, NUMPY_CODE, engine_arguments, run_limited
from export.commands.measure import (
    BATCHES,
    WARM_UP,
    Call,
    batches_for,
    conditions,
    engine_call,
    load_seconds,
    measure,
    median_seconds,
    plan_facts,
    session_call,
)

ORT_CODE = """
import os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ.get("ORT_DISABLE_TELEMETRY") or "1"
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
width = session.get_inputs()[0].shape[1]
session.run(None, {session.get_inputs()[0].name: np.zeros((int(sys.argv[2]), width), np.float32)})
"""


def bench(
    path: str | os.PathLike[str],
    limits: Limits,
    *,
    against: bool,
    enforce_bytes: int | None = None,
    batches: Sequence[int] | None = None,
    seconds: float = 0.5,
    on_call: Callable[[int, int], None] | None = None,
    mmap: bool = False,
    max_bytes: int = MODEL_MAX_BYTES,
    backend: str = "numpy",
) -> dict[str, Any]:
    """All that `smallnet bench` shows, as plain data.

    against: measure onnxruntime too, on the same model written as ONNX. enforce_bytes: run each engine once in a
    process of its own under this limit on its address space; 0 measures without a limit. batches: sizes to measure; by
    default those of `export.commands.measure.BATCHES` that the limits allow, and the conditions name the others.
    seconds, on_call: as `edge_runtime.bench.measure` takes them. mmap: map the artifact. max_bytes: limit on the file.
    backend: as for `Engine`. Where `limits` names a device, the prediction for it is added. Raises InputError for a
    batch that the limits refuse, and as `load` and `Engine` do.
    """
    model = load(path, mmap=mmap, max_bytes=max_bytes)
    sizes = batches_for(model, limits, batches)
    engine = Engine(model, limits, backend)
    ours = engine.backend
    calls: dict[str, Call] = {ours: engine_call(engine)}
    facts: dict[str, Any] = {
        "model": os.fspath(path),
        "precision": model.precision,
        "conditions": conditions() | {"warm_up": f"1 to {WARM_UP} calls"} | _left_out(sizes, limits, batches),
        "limits": dataclasses.asdict(limits) | {"mmap": mmap},
        "planned_bytes": engine.plan.total_bytes,
        "plan": plan_facts(engine),
        "backend": ours,
        "backend_reason": engine.backend_reason,
        "load_seconds": {ours: load_seconds(path, limits, mmap=mmap, max_bytes=max_bytes, backend=ours)},
    }
    processes = {ours: (ENGINE_CODE, engine_arguments(path, limits, mmap=mmap, backend=ours))}
    with tempfile.TemporaryDirectory() as folder:
        if against:
            onnx_path = Path(folder) / "model.onnx"
            calls["onnxruntime"] = _onnxruntime_call(model, onnx_path, facts)
            processes["onnxruntime"] = (ORT_CODE, [str(onnx_path), "1"])
        rows = measure(calls, model.n_in, sizes, seconds, on_call)
        facts["latency"] = [{**vars(row), "rows_per_second": row.rows_per_second} for row in rows]
        facts["processes"] = _run_processes({"import numpy": (NUMPY_CODE, []), **processes}, 0)
        if limits.device is not None:
            facts["predicted"] = dataclasses.asdict(estimate(model, limits.device))
        if enforce_bytes is not None:
            facts["enforced"] = _run_processes(processes, enforce_bytes)
    return facts


def _left_out(sizes: Sequence[int], limits: Limits, wanted: Sequence[int] | None) -> dict[str, str]:
    """A condition that names the default batch sizes that were not measured, if there are any."""
    missing = [str(batch) for batch in BATCHES if wanted is None and batch not in sizes]
    return {"batches_left_out": f"{' and '.join(missing)} (max_batch is {limits.max_batch})"} if missing else {}


def _onnxruntime_call(model: Model, path: Path, facts: dict[str, Any]) -> Call:
    from export.onnx_writer import write_onnx
    from export.verification import VERSION, make_session

    write_onnx(model, path)
    session = make_session(str(path))
    facts["conditions"] |= {"onnxruntime": f"{VERSION}, one thread"}
    facts["load_seconds"]["onnxruntime"] = median_seconds(lambda: make_session(str(path)))
    return session_call(session)


def _run_processes(processes: dict[str, tuple[str, list[str]]], limit_bytes: int) -> dict[str, dict[str, Any]]:
    """What a fresh process with each engine needs to load its file and answer once. {} where that is not measured."""
    if limit_bytes == 0 and not sys.platform.startswith("linux"):
        return {}
    return {name: vars(run_limited(code, arguments, limit_bytes)) for name, (code, arguments) in processes.items()}


def conditions_text(facts: dict[str, Any]) -> str:
    """What was measured, where and how, in one line."""
    return f"{facts['model']} ({facts['precision']}): " + ", ".join(f"{k} {v}" for k, v in facts["conditions"].items())


def bench_text(facts: dict[str, Any], width: int | None = None) -> str:
    """The same for a person. width: letters that a line may have, None for any number."""
    loads = "; ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in facts["load_seconds"].items())
    lines = [
        conditions_text(facts),
        bench_table(facts["latency"], width),
        f"load and compile: {loads}\n{_plan_text(facts['plan'])}",
        "processes of their own that load the model and answer once (the first only imports NumPy):\n"
        + _processes_text(facts["processes"]),
    ]
    if "predicted" in facts:
        lines.append(_prediction(facts["predicted"]))
    if "enforced" in facts:
        lines.append(_processes_text(facts["enforced"]))
    return "\n\n".join(line if line is lines[1] else wrapped(line, width) for line in lines)


def _plan_text(plan: dict[str, Any]) -> str:
    """The plan in one line."""
    widened = ", ".join(map(_widened_text, plan["widened_each_run"])) or "no layer"
    return (
        f"planned memory of the engine: {plan['total_bytes']:,} B, for {plan['block']:,} rows at once; "
        f"widened at each run: {widened}"
    )


def _widened_text(step: dict[str, Any]) -> str:
    is_whole = step["tile_rows"] == step["rows"]
    tile = "whole" if is_whole else f"({step['tile_rows']:,} of {step['rows']:,} rows at a time)"
    return f"{printable(step['layer'])} {tile}"


def _processes_text(results: dict[str, dict[str, Any]]) -> str:
    return "\n".join(f"{name}, {_limit(result)}: {_outcome(result)}" for name, result in results.items()) or "-"


def _limit(result: dict[str, Any]) -> str:
    return f"limit {result['limit_bytes']:,} B" if result["limit_bytes"] else "no limit"


def _prediction(predicted: dict[str, Any]) -> str:
    energy = "" if predicted["energy_j"] is None else f", {predicted['energy_j'] * 1e6:.1f} uJ"
    return (
        f"predicted for {predicted['device']} ({predicted['kernel_class']}; weakest figure: "
        f"{predicted['weakest']}): {predicted['latency_s'] * 1e3:.3f} ms{energy} a row; "
        + ("fits" if predicted["fits"] else f"does not fit: {predicted['why_not']}")
    )


def _outcome(result: dict[str, Any]) -> str:
    if not result["ok"]:
        return f"did not run: {result['error']}"
    return (
        f"ran; {in_units(result['peak_rss_bytes'])} resident, "
        f"{in_units(result['peak_address_space_bytes'])} of address space"
    )
