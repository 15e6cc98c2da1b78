"""Time of inference in NumPy beside onnxruntime, one thread: networks x precisions x batch sizes.

In each round every engine has its turn; the figures are medians over rounds. `products` is the time of the bare matrix
products of the same shapes by `np.dot`. Inputs are random; ReLU between layers, softmax at the end (the autoencoder:
linear). "lean" widens the int8 weights at each run instead of keeping float32 copies.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks._process import run_in_one_thread

NETWORKS = {
    "64-32-10": (64, 32, 10),
    "784-64-10": (784, 64, 10),
    "784-128-64-10": (784, 128, 64, 10),
    "640-128x4-8-128x4-640": (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640),
    "784-1024-1024-10": (784, 1024, 1024, 10),
}
KINDS = ("float32", "int8", "int8 lean")
BATCHES = (1, 32, 256)


def main(argv: list[str]) -> int:
    """Print one line per network, kind and batch size: microseconds of both engines and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks infer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.05, help="time of one turn (default %(default)s)")
    options = parser.parse_args(argv)
    status = run_in_one_thread("infer", argv)
    if status is not None:
        return status
    import numpy as np
    import onnxruntime

    print(
        f"one thread, median of {options.rounds} rounds; {platform.machine()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, onnxruntime {onnxruntime.__version__}"
    )
    print(f"{'network':24} {'kind':10} {'batch':>5} {'NumPy us':>10} {'ORT us':>10} {'ratio':>6} {'x products':>11}")
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
    return {name: statistics.median(values) for name, values in seconds.items()}


def _calls(sizes: tuple[int, ...], kind: str, batch: int) -> dict[str, Callable[[], Any]]:
    """What is timed: our engine, onnxruntime's session, and the bare products."""
    import numpy as np

    from edge_runtime import Engine, Limits
    from export.onnx_writer.writer import to_onnx
    from export.quantization.quantizer import quantize
    from export.verification.onnx_session import make_session
    from tests.networks import random_model, random_rows

    last = "linear" if sizes[0] == sizes[-1] else "softmax"
    float_model = random_model(list(sizes), ["relu"] * (len(sizes) - 2) + [last])
    rows = np.abs(random_rows(max(BATCHES), sizes[0]))
    model = quantize(float_model, rows, "float32" if kind == "float32" else "int8", "minmax")
    engine = Engine(model, Limits(lean=kind == "int8 lean"))
    session = make_session(to_onnx(model))
    x = rows[:batch]
    ours = x[0] if batch == 1 else x
    return {
        "numpy": lambda: engine.run(ours),
        "onnxruntime": lambda: session.run(None, {"input": x}),
        "products": _bare_products(float_model, ours),
    }


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
    ratio, products = seconds["numpy"] / seconds["onnxruntime"], seconds["numpy"] / seconds["products"]
    print(
        f"{name:24} {kind:10} {batch:5} {seconds['numpy'] * 1e6:10.1f} {seconds['onnxruntime'] * 1e6:10.1f} "
        f"{ratio:6.2f} {products:11.2f}",
        flush=True,
    )
