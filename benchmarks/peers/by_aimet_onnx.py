"""AIMET (Qualcomm) for ONNX: min-max and TF-enhanced grids, cross-layer equalization, sequential MSE and AdaRound.

It simulates in floats: values are what its grids allow. The output is on a grid too.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.task import Setting, Task, answer, batches, in_folder, write_onnx

BATCH = 200
ITERATIONS = 1000  # of AdaRound, by layer


def quantized(weights: str, activations: str, scheme: str, remedy: str, task: Task, folder: Path) -> np.ndarray:
    """The answers of AIMET's simulation."""
    import aimet_onnx
    import onnx

    write_onnx(task, folder / "float.onnx", opset=17)
    model = onnx.load(folder / "float.onnx")
    if remedy == "equalized":
        from aimet_onnx.cross_layer_equalization import equalize_model

        equalize_model(model)
    inputs = [{"x": batch} for batch in batches(task.calibration, BATCH)]
    simulation = aimet_onnx.QuantizationSimModel(
        model,
        param_type=getattr(aimet_onnx, weights),
        activation_type=getattr(aimet_onnx, activations),
        quant_scheme=scheme,
        providers=["CPUExecutionProvider"],
    )
    if remedy == "sequential mse":
        aimet_onnx.apply_seq_mse(simulation, inputs[:5])
    if remedy == "adaround":
        aimet_onnx.apply_adaround(simulation, inputs, num_iterations=ITERATIONS)
    simulation.compute_encodings(inputs)
    return _run(simulation, task.test)


def _run(simulation: Any, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([simulation.session.run(None, {"x": batch})[0] for batch in batches(rows, BATCH)])


def settings() -> dict[str, Setting]:
    """By name."""
    bits = {"int8": ("int8", "int8"), "int4": ("int4", "int8"), "int8-a16": ("int8", "int16")}
    remedies = {
        "int8": ("min-max", "tf-enhanced", "equalized", "adaround"),
        "int4": ("min-max", "sequential mse", "adaround"),
        "int8-a16": ("min-max", "adaround"),
    }
    found = {}
    for precision, names in remedies.items():
        for remedy in names:
            scheme = "tf_enhanced" if remedy == "tf-enhanced" else "min_max"
            found[f"{precision}: {remedy}"] = in_folder(partial(quantized, *bits[precision], scheme, remedy))
    return found


if __name__ == "__main__":
    answer("aimet-onnx", settings())
