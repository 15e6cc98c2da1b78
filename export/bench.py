"""Measure both engines side by side, and under the same memory limit of the operating system."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.artifact import DEFAULT_MAX_BYTES, load
from edge_runtime.bench import BATCHES, Call, batches_for, conditions, engine_call, load_seconds, measure
from edge_runtime.device_profiles import estimate
from edge_runtime.enforce import ENGINE_CODE, Enforced, run_limited
from edge_runtime.engine import Engine
from edge_runtime.limits import Limits
from edge_runtime.model import Model

ORT_CODE = """
import sys
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
    device: str | None = None,
    enforce_bytes: int | None = None,
    batches: Sequence[int] = BATCHES,
    seconds: float = 0.5,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> dict[str, Any]:
    """All that `smallnet bench` shows, as plain data.

    against: time onnxruntime too, on the same model written as ONNX. device: add the prediction for it. enforce_bytes:
    run each engine once in a process of its own under this limit on its address space; 0 measures without a limit.
    max_bytes: limit on the file.
    """
    model = load(path, max_bytes=max_bytes)
    engine = Engine(model, limits)
    calls: dict[str, Call] = {"numpy": engine_call(engine)}
    facts: dict[str, Any] = {"model": os.fspath(path), "precision": model.precision, "conditions": conditions()}
    with tempfile.TemporaryDirectory() as folder:
        onnx_path = Path(folder) / "model.onnx"
        if against:
            calls["onnxruntime"] = _onnxruntime_call(model, onnx_path, facts)
        rows = measure(calls, model.n_in, batches_for(model, limits, batches), seconds)
        facts["latency"] = [{**vars(row), "rows_per_second": row.rows_per_second} for row in rows]
        facts["load_seconds"] = load_seconds(path, limits, max_bytes=max_bytes)
        facts["planned_bytes"] = engine.plan.total_bytes
        if device is not None:
            facts["predicted"] = dataclasses.asdict(estimate(model, device))
        if enforce_bytes is not None:
            results = _enforce(path, onnx_path, limits, enforce_bytes, against)
            facts["enforced"] = {name: vars(result) for name, result in results.items()}
    return facts


def _onnxruntime_call(model: Model, path: Path, facts: dict[str, Any]) -> Call:
    import onnx
    import onnxruntime

    from export.onnx_session import make_session
    from export.onnx_writer import write_onnx

    write_onnx(model, path)
    session = make_session(onnx.load(path))
    facts["conditions"] |= {"onnxruntime": f"{onnxruntime.__version__}, one thread"}
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})


def _enforce(
    path: str | os.PathLike[str], onnx_path: Path, limits: Limits, limit_bytes: int, against: bool
) -> dict[str, Enforced]:
    arguments = [os.fspath(path), str(limits.ram_bytes or 0), "1"]
    results = {"numpy": run_limited(ENGINE_CODE, arguments, limit_bytes)}
    if against:
        results["onnxruntime"] = run_limited(ORT_CODE, [str(onnx_path), "1"], limit_bytes)
    return results


def bench_text(facts: dict[str, Any]) -> str:
    """The same for a person."""
    from edge_runtime.tables import bench_table

    lines = [
        f"{facts['model']} ({facts['precision']}): " + ", ".join(f"{k} {v}" for k, v in facts["conditions"].items()),
        bench_table(facts["latency"]),
        f"load and compile: {facts['load_seconds'] * 1e3:.2f} ms; planned memory: {facts['planned_bytes']:,} B",
    ]
    if "predicted" in facts:
        predicted = facts["predicted"]
        energy = "" if predicted["energy_j"] is None else f", {predicted['energy_j'] * 1e6:.1f} uJ"
        lines.append(
            f"predicted for {predicted['device']} ({predicted['kernel_class']}; weakest figure: "
            f"{predicted['weakest']}): {predicted['latency_s'] * 1e3:.3f} ms{energy} a row; "
            + ("fits" if predicted["fits"] else f"does not fit: {predicted['why_not']}")
        )
    for name, result in facts.get("enforced", {}).items():
        limit = f"limit {result['limit_bytes']:,} B" if result["limit_bytes"] else "no limit"
        if result["ok"]:
            outcome = (
                f"ran; the process needed {result['peak_rss_bytes']:,} B resident, "
                f"{result['peak_address_space_bytes']:,} B of address space"
            )
        else:
            outcome = f"did not run: {result['error']}"
        lines.append(f"{name}, a process of its own, {limit}: {outcome}")
    return "\n\n".join(lines)
