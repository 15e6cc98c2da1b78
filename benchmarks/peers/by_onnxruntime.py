"""onnxruntime's quantize_static: grids by min-max, percentile and entropy, one scale a channel or a layer.

Its answers are floats that stand on an 8-bit grid. "float output" leaves that grid out, as this project does.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from benchmarks.peers.task import Setting, Task, answer, batches, in_folder, run_onnx, write_onnx

METHODS = {
    "min-max": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
# of activations and weights, by name: onnxruntime 1.18 has no QInt4, and then fails at int4 alone
PRECISIONS = {"int8": ("QUInt8", "QInt8"), "int4": ("QUInt8", "QInt4"), "int8-a16": ("QUInt16", "QInt8")}
BATCH = 200


class Rows(CalibrationDataReader):
    """Calibration rows, a batch at a time."""

    def __init__(self, rows: np.ndarray) -> None:
        self._batches = batches(rows, BATCH)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the name of the input, None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


def quantized(
    precision: str,
    method: str,
    per_channel: bool,
    extra: dict[str, Any],
    task: Task,
    folder: Path,
) -> np.ndarray:
    """The answers of the network that quantize_static makes."""
    activations, weights = (getattr(QuantType, name) for name in PRECISIONS[precision])
    write_onnx(task, folder / "float.onnx")
    quantize_static(
        folder / "float.onnx",
        folder / "small.onnx",
        Rows(task.calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=activations,
        weight_type=weights,
        calibrate_method=METHODS[method],
        extra_options=extra,
    )
    return run_onnx(folder / "small.onnx", task.test)


def settings() -> dict[str, Setting]:
    """By name: 8-bit activations by all methods, 16-bit ones by the widest ranges."""
    found = {}
    for precision in PRECISIONS:
        for method in METHODS if precision != "int8-a16" else ["min-max"]:
            for per_channel in (True, False):
                for words, extra in (("", {}), (", float output", {"OpTypesToExcludeOutputQuantization": ["Gemm"]})):
                    name = f"{precision}: {method}, per {'channel' if per_channel else 'layer'}{words}"
                    found[name] = in_folder(partial(quantized, precision, method, per_channel, extra))
    return found


if __name__ == "__main__":
    answer("onnxruntime", settings())
