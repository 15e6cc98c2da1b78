"""What a device's commands print: results as plain data in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from edge_runtime.console.messages import wrapped
from edge_runtime.device_profiles import DeviceProfile
from edge_runtime.engine import SelfTest
from edge_runtime.files import fit_table, printable, shortened
from edge_runtime.numerics import FEWEST_BITS
from edge_runtime.schema import KEY

_LONGEST_NOTE = 60  # letters of an entry of the metadata that is JSON


def inspection_text(facts: dict[str, Any], width: int | None = None) -> str:
    """All that `edge_runtime.console.inspection.inspect_file` found, and the devices' estimates under "devices".

    width: letters that a line may have, None for any number; so in all functions here.
    """
    sizes = "-".join(str(size) for size in facts["layer_sizes"])
    lines = [
        f"{facts['file']}: {facts['precision']} {sizes}, {facts['macs']:,} MACs, {facts['file_bytes']:,} bytes",
        f"preprocessing: {facts['preprocessing']}; test vectors: {facts['test_vectors']:,}",
        *(f"{printable(key)}: {_in_short(value)}" for key, value in facts["metadata"].items() if key != KEY),
        *map(printable, facts["table"]),
    ]
    memory = facts["memory"]
    temporary = f" + {memory['temporary_bytes']:,} B temporary" if memory["temporary_bytes"] else ""
    engine = (
        f"memory of an engine: {memory['weight_bytes']:,} B weights + {memory['other_bytes']:,} B others in the file + "
        f"{memory['widened_bytes']:,} B widened copies + {memory['arena_bytes']:,} B arena ({memory['block']} rows)"
        f"{temporary} = {memory['total_bytes']:,} B"
    )
    return "\n\n".join(
        [
            wrapped("\n".join(lines), width),
            _layers_table(facts, width),
            wrapped(engine, width),
            _bytes_table(facts, width),
            fit_text(facts["devices"], width),
        ]
    )


def _in_short(value: str) -> str:
    """What is meant for programs, as long JSON is, is cut: --json has it whole."""
    text = printable(value)
    return shortened(text, _LONGEST_NOTE) if text.startswith("{") else text


def fit_text(estimates: list[dict[str, Any]], width: int | None = None) -> str:
    """Which devices a model fits, what is left there, predicted time and energy. estimates: `vars` of `Estimate`."""
    title = (
        "devices, one row at a time, all predicted; bytes left beside the model: on microcontrollers as the C that "
        "'smallnet export MODEL --format c' writes, with an interpreter if it writes none, elsewhere with Python and "
        "NumPy (negative: missing; '-': weights are held in RAM, or no figure is known):"
    )
    rows = [
        {
            "device": entry["device"],
            "fits": "yes" if entry["fits"] else "no",
            "flash": "-" if entry["flash_left_bytes"] is None else f"{entry['flash_left_bytes']:,}",
            "ram": f"{entry['ram_left_bytes']:,}",
            "flash_short": "-" if entry["flash_left_bytes"] is None else in_units(entry["flash_left_bytes"]),
            "ram_short": in_units(entry["ram_left_bytes"]),
            "ms": f"{entry['latency_s'] * 1e3:.3f}",
            "uj": "-" if entry["energy_j"] is None else f"{entry['energy_j'] * 1e6:.1f}",
            "kernels": entry["kernel_class"],
            "weakest": entry["weakest"],
        }
        for entry in estimates
    ]
    columns = {"device": "device", "fits": "fits", "flash": "flash left", "ram": "RAM left", "ms": "predicted ms"}
    columns |= {"uj": "predicted uJ", "kernels": "assumed", "weakest": "weakest figure"}
    narrow = {"device": "device", "fits": "fits", "flash": "flash left", "ram": "RAM left", "ms": "ms", "uj": "uJ"}
    narrower = {**narrow, "flash_short": "flash", "ram_short": "RAM"}
    narrower = {key: narrower[key] for key in ("device", "fits", "flash_short", "ram_short", "ms", "uj")}
    return f"{wrapped(title, width)}\n{fit_table(rows, width, columns, narrow, narrower)}"


def devices_table(profiles: Iterable[DeviceProfile], width: int | None = None) -> str:
    """The profiles that predictions are made for."""
    rows = [
        {
            "name": profile.name,
            "core": profile.core,
            "short": re.split(r" \(|,", profile.core)[0],
            "mhz": f"{profile.clock_hz / 1e6:.0f}",
            "ram": f"{profile.ram_bytes:,}",
            "ram_short": in_units(profile.ram_bytes),
            "flash": "-" if profile.flash_bytes is None else f"{profile.flash_bytes:,}",
            "flash_short": "-" if profile.flash_bytes is None else in_units(profile.flash_bytes),
            "int8": f"{profile.macs_per_cycle['int8']:.3g}",
            "confidence": profile.confidence.get("macs_per_cycle.int8", ""),
        }
        for profile in profiles
    ]
    columns = {"name": "device", "core": "core", "mhz": "MHz", "ram": "RAM bytes", "flash": "flash bytes"}
    columns |= {"int8": "int8 MACs/cycle", "confidence": "confidence"}
    narrow = {"name": "device", "short": "core", "mhz": "MHz", "ram_short": "RAM", "flash_short": "flash"}
    narrow |= {"int8": "MACs/cycle"}
    return fit_table(rows, width, columns, narrow, {key: narrow[key] for key in narrow if key != "short"})


def in_units(count: int) -> str:
    """Bytes as people say them: 144 KiB, 1.2 MiB, 512 MiB."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while abs(size) >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.1f} {units[0]}" if size != round(size) and abs(size) < 100 else f"{size:,.0f} {units[0]}"


def selftest_text(result: SelfTest, width: int | None = None) -> str:
    """The verdict, in one line unless it has to be narrower."""
    rule = "bit for bit" if result.exact else f"within {result.bound:.2g}"
    nans = f" ({result.nans} came out as NaN)" if result.nans else ""
    text = (
        f"{'ok' if result.ok else 'FAILED'}: {result.rows} rows, {result.values} values compared {rule}, "
        f"{result.differing} differ{nans}, largest difference {result.max_abs_error:.3g}, "
        f"{result.decisions_changed} decisions changed"
    )
    return wrapped(text, width)


def _layers_table(facts: dict[str, Any], width: int | None) -> str:
    rows = [
        {
            **layer,
            "precision": _precision_text(layer) if layer["macs"] else layer["kind"],
            "size": f"{layer['shape'][0]} -> {layer['shape'][1]}",
            "largest": layer.get("largest_accumulator", "-"),
        }
        for layer in facts["layers"]
    ]
    columns = {"name": "layer", "size": "size", "precision": "precision", "activation": "activation"}
    columns |= {"macs": "MACs", "bytes": "bytes"}
    narrow = {"name": "layer", "size": "size", "precision": "weights", "activation": "activation"}
    narrow |= {"macs": "MACs", "bytes": "bytes", "largest": "largest sum"}
    narrower = {key: narrow[key] for key in narrow if key not in ("precision", "largest")}
    return fit_table(rows, width, {**columns, "largest": "largest accumulator"}, narrow, narrower)


def _precision_text(layer: dict[str, Any]) -> str:
    """With the bits of its inputs, if they are more than 8."""
    bits = layer.get("input", {}).get("bits", FEWEST_BITS)
    return layer["precision"] if bits == FEWEST_BITS else f"{layer['precision']}: {bits} bits"


def _bytes_table(facts: dict[str, Any], width: int | None) -> str:
    rows = [{**member, "total": member["data_bytes"] + member["overhead_bytes"]} for member in facts["members"]]
    rows = [{**row, "content": f"{row['dtype']} {tuple(row['shape'])}"} for row in rows]
    end = {"name": "end of the zip directory", "content": "", "data_bytes": 0, "overhead_bytes": facts["end_bytes"]}
    rows.append({**end, "total": facts["end_bytes"]})
    total = {key: sum(row[key] for row in rows) for key in ("data_bytes", "overhead_bytes", "total")}
    rows.append({"name": "file", "content": "", **total})
    columns = {"name": "bytes of the file", "content": "content", "data_bytes": "data"}
    columns |= {"overhead_bytes": "headers", "total": "total"}
    return fit_table(rows, width, columns, {key: columns[key] for key in ("name", "content", "total")})


def bench_table(rows: list[dict[str, Any]], width: int | None = None) -> str:
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
    return fit_table(shown, width, {**columns, "rows": "rows/s", "calls": "calls"})
