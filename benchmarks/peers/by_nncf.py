"""NNCF's post-training quantization of ONNX files: two kinds of grids, biases corrected fast or layer by layer.

It has no static form of 4-bit weights or 16-bit inputs.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nncf
import numpy as np
import onnx

from benchmarks.peers.task import Setting, Task, answer, batches, in_folder, run_onnx, write_onnx

PRESETS = {"symmetric inputs": nncf.QuantizationPreset.PERFORMANCE, "mixed": nncf.QuantizationPreset.MIXED}
BATCH = 200


def quantized(preset: str, is_fast: bool, task: Task, folder: Path) -> np.ndarray:
    """The answers of the network that NNCF makes."""
    write_onnx(task, folder / "float.onnx")
    rows = [{"x": batch} for batch in batches(task.calibration, BATCH)]
    small = nncf.quantize(
        onnx.load(folder / "float.onnx"),
        nncf.Dataset(rows),
        preset=PRESETS[preset],
        subset_size=len(rows),
        fast_bias_correction=is_fast,
    )
    onnx.save(small, folder / "small.onnx")
    return run_onnx(folder / "small.onnx", task.test)


def settings() -> dict[str, Setting]:
    """By name."""
    return {
        f"int8: {preset}, {'fast ' if is_fast else ''}bias correction": in_folder(partial(quantized, preset, is_fast))
        for preset in PRESETS
        for is_fast in (True, False)
    }


if __name__ == "__main__":
    answer("nncf", settings())
