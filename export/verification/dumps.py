"""Compare what a device computed, written as .npy files, with what the model says it must."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import read_file, read_npy_bytes
from edge_runtime.layers import QuantizedDense
from edge_runtime.model import Model
from edge_runtime.reference import LOGITS, logits, tensor_bounds, trace
from export.verification.comparison import TensorCheck, Tensors, rows_to_compare, same_bits, within
from export.verification.report import Report

DEVICE = "device"


def verify_dumps(model: Model, folder: str | os.PathLike[str], x: ArrayLike | None = None) -> Report:
    """Compare a folder of `TENSOR.npy` files with the model's own tensors.

    Files are named as in `edge_runtime.reference.trace` (`dense0.output.npy`, `dense1.scaled.npy`, ...); `logits.npy`
    and `output.npy` stand for the last layer's values before and after its activation. Any of them may be missing. x:
    the rows that the device was given, by default the model's test vectors. int8 tensors and logits must have the same
    bits, float ones must lie within the bound of `edge_runtime.reference.bounds`.

    Raises InputError for a folder without such files, and for a file of an unknown name, a wrong shape or dtype.
    """
    rows = rows_to_compare(model, x)
    expected = _expected(model, rows)
    paths = sorted(Path(folder).glob("*.npy"))
    if not paths:
        raise InputError(f"{folder}: no .npy files; write one per tensor, named like {next(iter(expected))}.npy")
    found = {path.name.removesuffix(".npy"): _read(path, expected) for path in paths}
    return compare_tensors(model, rows, found, "dumps", DEVICE)


def compare_tensors(model: Model, rows: NDArray[np.float32], found: Tensors, form: str, level: str) -> Report:
    """What somebody computed for these rows, by name, beside what the model says; the rules are those above.

    form, level: what the report and its checks are called.
    """
    expected, bounds = _expected(model, rows), _bounds(model, rows)
    checks = [_check(level, name, expected, found, bounds) for name in expected if name in found]
    ends = [(expected[name], found[name]) for name in ("logits", "output") if name in found]
    changed = max((int(np.sum(a.argmax(axis=1) != b.argmax(axis=1))) for a, b in ends), default=0)
    largest = max((check.max_abs_error for check in checks if check.tensor in ("logits", "output")), default=0.0)
    return Report(form, len(rows), tuple(checks), changed, largest)


def _expected(model: Model, rows: NDArray[np.float32]) -> Tensors:
    tensors = trace(model, rows)
    last = model.layers[-1].name
    return {**tensors, "logits": logits(model, tensors), "output": tensors[f"{last}.output"]}


def _read(path: Path, expected: Tensors) -> NDArray[Any]:
    name = path.name.removesuffix(".npy")
    if name not in expected:
        raise InputError(f"{path}: the model has no tensor '{name}'; it has {', '.join(expected)}")
    found = read_npy_bytes(read_file(path), str(path))
    wanted = expected[name]
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        raise InputError(
            f"{path}: {found.dtype} {found.shape} found, expected {wanted.dtype} {wanted.shape}: "
            "one row for each row that the device was given"
        )
    return found


def _check(level: str, name: str, expected: Tensors, found: Tensors, bounds: dict[str, NDArray[Any]]) -> TensorCheck:
    """By the bound where the tensor has one that is not zero; bit for bit otherwise."""
    bound = bounds.get(name)
    if bound is None or not bound.any():
        return same_bits(level, name, expected, found)
    return within(level, name, expected[name], found[name], bound)


def _bounds(model: Model, rows: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Bounds by tensor name; those of integer tensors in steps of their grid."""
    bounds = tensor_bounds(model, rows)
    last = model.layers[-1]
    bounds |= {"output": bounds[f"{last.name}.output"], f"{last.name}.scaled": bounds[LOGITS]}
    for layer in model.layers:
        if isinstance(layer, QuantizedDense) and layer.final_grid is not None:
            bounds[f"{layer.name}.output"] = np.rint(bounds[f"{layer.name}.output"] / layer.final_grid.scale)
    return bounds
