"""onnxsim's quantizers: ranges by five methods, alone and with biases corrected.

Left out: its equalization, which is for convolutions, and its 4-bit weights, which come in groups of 32 with a scale
each beside inputs in floats: another precision.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxsim

from benchmarks.peers.task import Setting, Task, answer, batches, in_folder, run_onnx, write_onnx

QUANTIZERS = {"int8": onnxsim.quantize_static, "int8-a16": onnxsim.quantize_static_int16}
METHODS = ("minmax", "percentile", "entropy", "mse", "auto")
BATCH = 200


def quantized(precision: str, method: str, corrects: bool, task: Task, folder: Path) -> np.ndarray:
    """The answers of the network that onnxsim makes. It finds no ranges of tensors whose shapes the file leaves out."""
    write_onnx(task, folder / "float.onnx")
    model = onnx.shape_inference.infer_shapes(onnx.load(folder / "float.onnx"))
    rows = [{"x": batch} for batch in batches(task.calibration, BATCH)]
    small = QUANTIZERS[precision](model, rows, method=method)
    if corrects:
        small = onnxsim.correct_bias(model, small, rows)
    onnx.save(small, folder / "small.onnx")
    return run_onnx(folder / "small.onnx", task.test)


def settings() -> dict[str, Setting]:
    """By name: each method, alone and with biases corrected."""
    found = {}
    for precision in QUANTIZERS:
        for method in METHODS:
            for corrects in (False, True):
                name = f"{precision}: {method}{', bias correction' if corrects else ''}"
                found[name] = in_folder(partial(quantized, precision, method, corrects))
    return found


if __name__ == "__main__":
    answer("onnxsim", settings())
