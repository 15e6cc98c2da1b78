"""What a whole process costs, from its start to the first answer: wall and processor time and peak memory, cold.

Fresh processes take turns: Python alone, NumPy imported, edge_runtime imported, and for each network a script that
loads a model and answers once, with edge_runtime and with onnxruntime. Wall time is taken in the parent, around the
child; processor time (user and system) and the peak (VmHWM) are the child's. On a machine that does other things too,
processor time is the steadier of the two. The files are in the system's cache, and all modules are compiled to bytecode
as in an installation, whatever PYTHONDONTWRITEBYTECODE says. Then, in one process, the time to load an artifact beside
the time to create a session, in turns. Linux.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._process import run_in_one_thread

NETWORKS = {"64-32-10": (64, 32, 10), "784-64-10": (784, 64, 10), "784-1024-1024-10": (784, 1024, 1024, 10)}
PRECISIONS = ("float32", "int8")
_PEAK = """
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
_OURS = """
import sys
import numpy as np
import edge_runtime
model = edge_runtime.load(sys.argv[1])
edge_runtime.Engine(model).run(np.zeros(model.n_in, np.float32))
"""
_ORT = """
import sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
session.run(None, {entry.name: np.zeros((1, entry.shape[1]), np.float32)})
"""
_BASE = {"python": "pass", "import numpy": "import numpy", "import edge_runtime": "import numpy, edge_runtime"}


def main(argv: list[str]) -> int:
    """Print milliseconds and megabytes of each kind of process, the ratios to onnxruntime, and the load times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks footprint", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="processes of each kind (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    if not sys.platform.startswith("linux"):
        raise SystemExit("peak memory is read from /proc: Linux only")
    status = run_in_one_thread("footprint", argv)
    if status is not None:
        return status
    with tempfile.TemporaryDirectory() as folder:
        files = _write_models(Path(folder))
        commands = {name: (code, "") for name, code in _BASE.items()}
        for network, (artifact, graph) in files.items():
            commands[f"{network} edge_runtime"] = (_OURS, artifact)
            commands[f"{network} onnxruntime"] = (_ORT, graph)
        processes = _measure(commands, options.rounds, _with_bytecode(folder))
        loads = {network: _load_seconds(*paths) for network, paths in files.items()}
    facts = _facts(processes, loads, list(files), options.rounds)
    print(json.dumps(facts, indent=2) if options.json else _text(facts))
    return 0


def _write_models(folder: Path) -> dict[str, tuple[str, str]]:
    """{network and precision: (artifact, ONNX file)}."""
    import numpy as np

    from edge_runtime import save
    from export.onnx_writer.writer import write_onnx
    from export.quantization.quantizer import quantize
    from export.quantization.test_rows import with_test_vectors
    from tests.networks import random_model, random_rows

    files = {}
    for name, sizes in NETWORKS.items():
        rows = np.abs(random_rows(100, sizes[0]))
        full = random_model(list(sizes), ["relu"] * (len(sizes) - 2) + ["softmax"])
        for precision in PRECISIONS:
            model = with_test_vectors(quantize(full, rows, precision, "minmax"), rows)
            stem = folder / f"{name}.{precision}"
            save(model, f"{stem}.npz")
            write_onnx(model, f"{stem}.onnx")
            files[f"{name} {precision}"] = (f"{stem}.npz", f"{stem}.onnx")
    return files


def _with_bytecode(folder: str) -> dict[str, str]:
    """The environment of processes that keep bytecode, in a folder of their own: the first round fills it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return environment | {"PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode")}


def _measure(
    commands: dict[str, tuple[str, str]], rounds: int, environment: dict[str, str]
) -> dict[str, dict[str, list[float]]]:
    """What each process of a kind took, in the order of the rounds; the kinds take turns. The first does not count."""
    found: dict[str, dict[str, list[float]]] = {
        name: {"seconds": [], "cpu_seconds": [], "peak_rss_bytes": []} for name in commands
    }
    said = time.monotonic()
    for turn in range(rounds + 1):
        for name, (code, path) in commands.items():
            values = _run(code, path, environment)
            for key, value in zip(found[name], values, strict=True):
                found[name][key] += [value] if turn else []
        if time.monotonic() - said > 5:
            said = time.monotonic()
            print(f"round {turn} of {rounds}", file=sys.stderr, flush=True)
    return found


def _run(code: str, path: str, environment: dict[str, str]) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and peak resident bytes of one process."""
    started = time.perf_counter()
    command = [sys.executable, "-c", code + _PEAK, path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"a process ended with status {process.returncode}; its message is above")
    return seconds, usage.ru_utime + usage.ru_stime, int(output.split()[-1]) * 1024


def _load_seconds(artifact: str, graph: str, rounds: int = 101) -> dict[str, float]:
    """Median seconds of loading the artifact, with and without making an engine, and of creating a session."""
    import onnxruntime

    from edge_runtime import Engine, load

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    calls = {
        "load": lambda: load(artifact),
        "load_and_engine": lambda: Engine(load(artifact)),
        "session": lambda: onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _facts(processes: Any, loads: Any, networks: list[str], rounds: int) -> dict[str, Any]:
    """Medians; differences and ratios are medians of those of the same round."""
    import onnxruntime

    from export.commands.measure import conditions

    def paired(one: str, other: str, key: str, combine: Callable[[float, float], float]) -> float:
        pairs = zip(processes[one][key], processes[other][key], strict=True)
        return statistics.median(combine(a, b) for a, b in pairs)

    keys = ("seconds", "cpu_seconds", "peak_rss_bytes")
    ratios = {}
    for network in networks:
        names = (f"{network} edge_runtime", f"{network} onnxruntime")
        ratios[network] = {key: paired(*names, key, operator.truediv) for key in keys}
        for key in ("load", "load_and_engine"):
            ratios[network][key] = loads[network][key] / loads[network]["session"]
    return {
        "conditions": {**conditions(), "onnxruntime": onnxruntime.__version__, "rounds": rounds},
        "processes": {name: {key: statistics.median(found[key]) for key in keys} for name, found in processes.items()},
        "import_adds": {key: paired("import edge_runtime", "import numpy", key, operator.sub) for key in keys},
        "load_seconds": loads,
        "ratio_to_onnxruntime": ratios,
    }


def _text(facts: dict[str, Any]) -> str:
    lines = [", ".join(f"{name} {value}" for name, value in facts["conditions"].items()), ""]
    lines.append(f"{'process':40} {'wall ms':>8} {'cpu ms':>8} {'peak MB':>8}")
    for name, found in facts["processes"].items():
        lines.append(
            f"{name:40} {found['seconds'] * 1e3:8.1f} {found['cpu_seconds'] * 1e3:8.1f} "
            f"{found['peak_rss_bytes'] / 1e6:8.1f}"
        )
    adds = facts["import_adds"]
    lines.append(
        f"\nimport edge_runtime adds to import numpy: {adds['seconds'] * 1e3:.1f} ms wall, "
        f"{adds['cpu_seconds'] * 1e3:.1f} ms cpu, {adds['peak_rss_bytes'] / 1e6:.2f} MB\n"
    )
    lines.append(
        f"{'ratio to onnxruntime':26} {'wall':>5} {'cpu':>5} {'peak':>5} {'load':>5} {'+ engine':>8}   "
        f"{'load us':>8} {'session us':>10}"
    )
    for network, ratio in facts["ratio_to_onnxruntime"].items():
        load = facts["load_seconds"][network]
        lines.append(
            f"{network:26} {ratio['seconds']:5.2f} {ratio['cpu_seconds']:5.2f} {ratio['peak_rss_bytes']:5.2f} "
            f"{ratio['load']:5.2f} {ratio['load_and_engine']:8.2f}   {load['load'] * 1e6:8.0f} "
            f"{load['session'] * 1e6:10.0f}"
        )
    return "\n".join(lines)
