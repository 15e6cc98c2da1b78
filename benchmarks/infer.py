"""Time of inference beside onnxruntime, one thread: networks x precisions x batch sizes.

In each round every engine has its turn; the figures are medians over rounds, or with --best the least of them. "NumPy"
and "native" are this project's two backends. onnxruntime runs the graph that `export` writes by default; "QGemm" is the
int8 form that only onnxruntime knows; int8-a16 has none, nor compiled kernels. `products` is the time of the bare
matrix products of the same shapes by `np.dot`. Inputs are random; ReLU between layers, softmax at the end (the
autoencoder: linear). "lean" widens the weights at each run instead of keeping float32 copies, which the native backend
does not do; int4 is written as ONNX of opset 21, which has such tensors. What does not apply is "-".
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks._process import run_in_one_thread

NETWORKS = {
    "64-32-10": (64, 32, 10),
    "784-64-10": (784, 64, 10),
    "784-128-64-10": (784, 128, 64, 10),
    "640-128x4-8-128x4-640": (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640),
    "784-1024-1024-10": (784, 1024, 1024, 10),
}
KINDS = ("float32", "int8", "int8 lean", "int8-a16", "int4", "int4 lean")
BATCHES = (1, 32, 256)


def main(argv: list[str]) -> int:
    """Print one line per network, kind and batch size: microseconds of each engine and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks infer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.05, help="time of one turn (default %(default)s)")
    parser.add_argument(
        "--best", action="store_true", help="take each engine's best round, not the median: for a machine that is busy"
    )
    options = parser.parse_args(argv)
    status = run_in_one_thread("infer", argv)
    if status is not None:
        return status
    import numpy as np
    import onnxruntime

    print(
        f"one thread, {'best' if options.best else 'median'} of {options.rounds} rounds; {platform.machine()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, onnxruntime {onnxruntime.__version__}"
    )
    print(f"{'':40} {'microseconds':>37}   {'ratio to onnxruntime':>20} {'to QGemm':>8} {'x products':>11}")
    print(
        f"{'network':24} {'kind':9} {'batch':>5} {'NumPy':>9} {'native':>8} {'ORT':>9} {'QGemm':>8}"
        f"   {'NumPy':>10} {'native':>9} {'native':>8} {'NumPy':>11}"
    )
    for name, sizes in NETWORKS.items():
        for kind in KINDS:
            for batch in BATCHES:
                _print_line(name, kind, batch, _measure(sizes, kind, batch, options))
    return 0


def _measure(sizes: tuple[int, ...], kind: str, batch: int, options: Any) -> dict[str, float]:
    calls = _calls(sizes, kind, batch)
    runs = {name: max(1, int(options.seconds / max(1e-7, _seconds(call, 3)))) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, call in calls.items():
            seconds[name].append(_seconds(call, runs[name]))
    choose = min if options.best else statistics.median
    return {name: choose(values) for name, values in seconds.items()}


def _calls(sizes: tuple[int, ...], kind: str, batch: int) -> dict[str, Callable[[], Any]]:
    """What is timed: our engines, onnxruntime's sessions, and the bare products."""
    import numpy as np

    from edge_runtime import Engine, Limits
    from edge_runtime.errors import NativeUnavailable
    from export.onnx_writer.writer import to_onnx
    from export.quantization.quantizer import quantize
    from export.verification.onnx_session import make_session
    from tests.networks import random_model, random_rows

    last = "linear" if sizes[0] == sizes[-1] else "softmax"
    float_model = random_model(list(sizes), ["relu"] * (len(sizes) - 2) + [last])
    rows = np.abs(random_rows(max(BATCHES), sizes[0]))
    model = quantize(float_model, rows, kind.split()[0], "minmax")
    limits = Limits(lean=kind.endswith("lean"))
    x = rows[:batch]
    ours = x[0] if batch == 1 else x
    calls = {"numpy": _call_of(Engine(model, limits), ours)}
    with contextlib.suppress(NativeUnavailable):
        calls["native"] = _call_of(Engine(model, limits, "native"), ours)
    for name, form in {"onnxruntime": "integer", "qgemm": "qgemm"}.items():
        if name == "onnxruntime" or kind not in ("float32", "int8-a16"):
            session = make_session(to_onnx(model, form, opset=21 if kind.startswith("int4") else 13))
            calls[name] = partial(session.run, None, {"input": x})
    return {**calls, "products": _bare_products(float_model, ours)}


def _call_of(engine: Any, x: Any) -> Callable[[], Any]:
    return lambda: engine.run(x)


def _bare_products(model: Any, x: Any) -> Callable[[], None]:
    import numpy as np

    pairs, value = [], x
    for layer in model.layers:
        out = np.empty((*value.shape[:-1], layer.n_out), np.float32)
        pairs.append((value, layer.weight, out))
        value = out

    def run() -> None:
        for source, weight, out in pairs:
            np.dot(source, weight, out)

    return run


def _seconds(call: Callable[[], Any], runs: int) -> float:
    started = time.perf_counter()
    for _ in range(runs):
        call()
    return (time.perf_counter() - started) / runs


def _print_line(name: str, kind: str, batch: int, seconds: dict[str, float]) -> None:
    def time_of(engine: str) -> str:
        return f"{seconds[engine] * 1e6:.1f}" if engine in seconds else "-"

    def ratio(ours: str, theirs: str) -> str:
        return f"{seconds[ours] / seconds[theirs]:.2f}" if ours in seconds and theirs in seconds else "-"

    print(
        f"{name:24} {kind:9} {batch:5} {time_of('numpy'):>9} {time_of('native'):>8} {time_of('onnxruntime'):>9} "
        f"{time_of('qgemm'):>8}   {ratio('numpy', 'onnxruntime'):>10} {ratio('native', 'onnxruntime'):>9} "
        f"{ratio('native', 'qgemm'):>8} {ratio('numpy', 'products'):>11}",
        flush=True,
    )
