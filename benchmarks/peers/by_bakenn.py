"""`python by_bakenn.py NETWORK.npz FOLDER portable|cmsis-nn`: bakeNN's C of an int8 network, by the Python that has it.

NETWORK.npz: n_layers; for each layer weightK (n_in, n_out), biasK, weight_scaleK (n_out,); scales, zero_points of the
n_layers + 1 grids of activations, on the uint8 grid; bakeNN's is 128 lower.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bakenn
import numpy as np
from bakenn.ir import DType, Layout, LinearOp, PerTensorQParams, QuantizedGraph, TensorType
from bakenn.ir.types import PerAxisQParams
from bakenn.quantization.fixedpoint import ARITHMETIC_PROFILE


def main(network: str, folder: str, path: str) -> None:
    """Write the files."""
    with np.load(network) as arrays:
        graph = as_graph(arrays)
    options = bakenn.CBackendOptions()
    if path == "cmsis-nn":
        policy = bakenn.KernelPolicy.STATIC_PRIORITY
        options = bakenn.CBackendOptions(kernel_policy=policy, enable_cmsis_nn=True, target=bakenn.CORTEX_M4)
    bakenn.compile(graph, Path(folder), model_name="net", backend_options=options)


def as_graph(arrays: np.lib.npyio.NpzFile) -> QuantizedGraph:
    """The network as bakeNN holds it: the same integers."""
    n_layers = int(arrays["n_layers"])
    scales, zero_points = arrays["scales"], arrays["zero_points"]
    grids = [PerTensorQParams(float(s), int(z) - 128) for s, z in zip(scales, zero_points, strict=True)]
    values = {"value0": TensorType((1, len(arrays["weight0"])), DType.INT8, Layout.NC, grids[0])}
    constants: dict[str, np.ndarray] = {}
    ops = []
    for k in range(n_layers):
        weight, scale = arrays[f"weight{k}"].T, arrays[f"weight_scale{k}"].astype(np.float32).astype(np.float64)
        weight_grid, bias_grid = _axis(scale), _axis(scale * grids[k].scale)
        values[f"weight{k}"] = TensorType(weight.shape, DType.INT8, Layout.OI, weight_grid)
        values[f"bias{k}"] = TensorType((len(weight),), DType.INT32, Layout.C, bias_grid)
        values[f"value{k + 1}"] = TensorType((1, len(weight)), DType.INT8, Layout.NC, grids[k + 1])
        constants |= {f"weight{k}": np.ascontiguousarray(weight), f"bias{k}": arrays[f"bias{k}"]}
        lowest = grids[k + 1].zero_point if k + 1 < n_layers else -128  # ReLU
        names = (f"dense{k}", f"value{k}", f"weight{k}", f"bias{k}", f"value{k + 1}")
        ops.append(LinearOp(*names, activation_min=lowest, activation_max=127))
    outputs = (f"value{n_layers}",)
    return QuantizedGraph("net", values, constants, tuple(ops), ("value0",), outputs, ARITHMETIC_PROFILE)


def _axis(scale: np.ndarray) -> PerAxisQParams:
    scales = tuple(float(np.float32(value)) for value in scale)
    return PerAxisQParams(scales=scales, zero_points=(0,) * len(scales), axis=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
