"""What a quantizer is given and what it gives back: arrays in files, so that each tool may have a Python of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Task(NamedTuple):
    """A chain of dense layers with ReLU between them, the rows to calibrate with, and those to answer.

    All float32. weights: of (n_in, n_out). biases: of (n_out,). calibration, test: (n, n_in), as the first layer takes
    them.
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    calibration: np.ndarray
    test: np.ndarray


Setting = Callable[[Task], np.ndarray]


def save_task(task: Task, path: Path) -> None:
    """The task as an `.npz`."""
    layers: dict[str, Any] = {f"weight{k}": weight for k, weight in enumerate(task.weights)}
    layers |= {f"bias{k}": bias for k, bias in enumerate(task.biases)}
    np.savez(path, calibration=task.calibration, test=task.test, **layers)


def load_task(path: str) -> Task:
    """What `save_task` wrote."""
    with np.load(path) as arrays:
        count = sum(name.startswith("weight") for name in arrays.files)
        weights, biases = ([arrays[f"{kind}{k}"] for k in range(count)] for kind in ("weight", "bias"))
        return Task(weights, biases, arrays["calibration"], arrays["test"])


def answer(package: str, settings: Mapping[str, Setting]) -> None:
    """Be the program `python -m benchmarks.peers.by_NAME TASK.npz OUT.npz`; without arguments, say the version.

    settings: by "PRECISION: NAME", a function that gives the logits of the test rows, (n, n_out). What one raises is
    noted, and the others go on.
    """
    if len(sys.argv) == 1:
        print(metadata.version(package))
        return
    task = load_task(sys.argv[1])
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name, setting in settings.items():
        try:
            found[name] = np.asarray(setting(task), np.float32)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
    np.savez(sys.argv[2], **found, failed=np.array(json.dumps(failed)))


def batches(rows: np.ndarray, size: int = 1) -> Iterator[np.ndarray]:
    """The rows, so many at a time, all batches of the same size: a rest is left out."""
    for start in range(0, len(rows) - size + 1, size):
        yield rows[start : start + size]


def write_onnx(task: Task, path: Path, opset: int = 21) -> None:
    """The float network as Gemm and Relu, which quantizers know best. Input "x", output "y"."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "x"
    last = len(task.weights) - 1
    for k, (weight, bias) in enumerate(zip(task.weights, task.biases, strict=True)):
        constants += [numpy_helper.from_array(weight, f"weight{k}"), numpy_helper.from_array(bias, f"bias{k}")]
        given = "y" if k == last else f"sum{k}"
        nodes.append(helper.make_node("Gemm", [value, f"weight{k}", f"bias{k}"], [given], f"gemm{k}"))
        if k < last:
            value = f"value{k}"
            nodes.append(helper.make_node("Relu", [given], [value], f"relu{k}"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("x", len(task.weights[0])), ("y", len(task.biases[-1])))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(model, path)


def run_onnx(path: Path, rows: np.ndarray) -> np.ndarray:
    """The answers of onnxruntime to rows, of its file as it comes."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: rows})[0]


def in_folder(work: Callable[[Task, Path], np.ndarray]) -> Setting:
    """A setting that writes files: into a folder that is gone afterwards."""

    def run(task: Task) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            return work(task, Path(folder))

    return run
