"""What a device's commands print: results as plain data in, text out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edge_runtime.device_profiles import DeviceProfile
from edge_runtime.engine import SelfTest
from edge_runtime.files import format_table, printable


def inspection_text(facts: dict[str, Any]) -> str:
    """All that `edge_runtime.console.inspection.describe` found, and the devices' estimates under "devices"."""
    sizes = "-".join(str(size) for size in facts["layer_sizes"])
    lines = [
        f"{facts['file']}: {facts['precision']} {sizes}, {facts['macs']:,} MACs, {facts['file_bytes']:,} bytes",
        f"preprocessing: {facts['preprocessing']}; test vectors: {facts['test_vectors']:,}",
        *(f"{printable(key)}: {printable(value)}" for key, value in facts["metadata"].items()),
    ]
    memory = facts["memory"]
    temporary = f" + {memory['temporary_bytes']:,} B temporary" if memory["temporary_bytes"] else ""
    engine = (
        f"memory of an engine: {memory['weight_bytes']:,} B weights + {memory['other_bytes']:,} B others in the file + "
        f"{memory['widened_bytes']:,} B widened copies + {memory['arena_bytes']:,} B arena ({memory['block']} rows)"
        f"{temporary} = {memory['total_bytes']:,} B"
    )
    return "\n\n".join(
        ["\n".join(lines), _layers_table(facts), engine, _bytes_table(facts), fit_text(facts["devices"])]
    )


def fit_text(estimates: list[dict[str, Any]]) -> str:
    """Which devices a model fits, what is left there, predicted time and energy. estimates: `vars` of `Estimate`."""
    title = (
        "devices, one row at a time, all predicted; bytes left beside the model and a runtime "
        "(negative: missing; '-': weights are held in RAM, or no figure is known):"
    )
    rows = [
        {
            "device": entry["device"],
            "fits": "yes" if entry["fits"] else "no",
            "flash": "-" if entry["flash_left_bytes"] is None else f"{entry['flash_left_bytes']:,}",
            "ram": f"{entry['ram_left_bytes']:,}",
            "ms": f"{entry['latency_s'] * 1e3:.3f}",
            "uj": "-" if entry["energy_j"] is None else f"{entry['energy_j'] * 1e6:.1f}",
            "kernels": entry["kernel_class"],
            "weakest": entry["weakest"],
        }
        for entry in estimates
    ]
    columns = {"device": "device", "fits": "fits", "flash": "flash left", "ram": "RAM left", "ms": "predicted ms"}
    columns |= {"uj": "predicted uJ", "kernels": "assumed", "weakest": "weakest figure"}
    return f"{title}\n{format_table(rows, columns)}"


def devices_table(profiles: Iterable[DeviceProfile]) -> str:
    """The profiles that predictions are made for."""
    rows = [
        {
            "name": profile.name,
            "core": profile.core,
            "mhz": f"{profile.clock_hz / 1e6:.0f}",
            "ram": f"{profile.ram_bytes:,}",
            "flash": "-" if profile.flash_bytes is None else f"{profile.flash_bytes:,}",
            "int8": f"{profile.macs_per_cycle['int8']:.3g}",
            "confidence": profile.confidence.get("macs_per_cycle.int8", ""),
        }
        for profile in profiles
    ]
    columns = {"name": "device", "core": "core", "mhz": "MHz", "ram": "RAM bytes", "flash": "flash bytes"}
    return format_table(rows, {**columns, "int8": "int8 MACs/cycle", "confidence": "confidence"})


def selftest_text(result: SelfTest) -> str:
    """The verdict in one line."""
    rule = "bit for bit" if result.exact else f"within {result.bound:.2g}"
    nans = f" ({result.nans} came out as NaN)" if result.nans else ""
    return (
        f"{'ok' if result.ok else 'FAILED'}: {result.rows} rows, {result.values} values compared {rule}, "
        f"{result.differing} differ{nans}, largest difference {result.max_abs_error:.3g}, "
        f"{result.decisions_changed} decisions changed"
    )


def _layers_table(facts: dict[str, Any]) -> str:
    rows = [
        {
            **layer,
            "size": f"{layer['shape'][0]} -> {layer['shape'][1]}",
            "largest": layer.get("largest_accumulator", "-"),
        }
        for layer in facts["layers"]
    ]
    columns = {"name": "layer", "size": "size", "precision": "precision", "activation": "activation"}
    return format_table(rows, {**columns, "macs": "MACs", "bytes": "bytes", "largest": "largest accumulator"})


def _bytes_table(facts: dict[str, Any]) -> str:
    rows = [{**member, "total": member["data_bytes"] + member["overhead_bytes"]} for member in facts["members"]]
    rows = [{**row, "content": f"{row['dtype']} {tuple(row['shape'])}"} for row in rows]
    end = {"name": "end of the zip directory", "content": "", "data_bytes": 0, "overhead_bytes": facts["end_bytes"]}
    rows.append({**end, "total": facts["end_bytes"]})
    total = {key: sum(row[key] for row in rows) for key in ("data_bytes", "overhead_bytes", "total")}
    rows.append({"name": "file", "content": "", **total})
    columns = {"name": "bytes of the file", "content": "content", "data_bytes": "data"}
    return format_table(rows, {**columns, "overhead_bytes": "headers", "total": "total"})


def bench_table(rows: list[dict[str, Any]]) -> str:
    """Latency percentiles and throughput. rows: of `export.commands.measure`, as plain data."""
    shown = [
        {
            "engine": row["engine"],
            "batch": row["batch"],
            **{key: f"{row[f'{key}_s'] * 1e6:.1f}" for key in ("p50", "p90", "p99")},
            "rows": f"{row['rows_per_second']:,.0f}",
            "calls": row["calls"],
        }
        for row in rows
    ]
    columns = {"engine": "engine", "batch": "batch", "p50": "p50 us", "p90": "p90 us", "p99": "p99 us"}
    return format_table(shown, {**columns, "rows": "rows/s", "calls": "calls"})
