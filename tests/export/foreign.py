"""ONNX graphs as other tools spell them: text for the nodes, arrays for the constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

from export.onnx_reader.reader import Imported, import_onnx
from export.verification.import_check import verify_import

_RNG = np.random.default_rng(7)


def normal(*shape: int, scale: float = 0.5) -> np.ndarray:
    """Normal float32 numbers, different ones at each call."""
    return (_RNG.normal(size=shape) * scale).astype(np.float32)


W1, B1, W2, B2 = normal(6, 5), normal(5), normal(5, 3), normal(3)
CONSTANTS = {"W1": W1, "B1": B1, "W2": W2, "B2": B2}


def graph(
    nodes: str,
    opset: int = 13,
    source: str = "float[N,6] x",
    target: str = "float[N,3] y",
    functions: str = "",
    domains: str = "",
    **constants: np.ndarray,
) -> onnx.ModelProto:
    """A model of nodes in onnx's text form. constants: initializers, beside W1, B1, W2 and B2 where they are named."""
    header = f'<ir_version: 8, opset_import: ["" : {opset}, "ai.onnx.ml" : 1, "com.microsoft" : 1{domains}]>'
    proto = parser.parse_model(f"{header} g ({source}) => ({target}) {{ {nodes} }} {functions}")
    used = {name for node in proto.graph.node for name in node.input}
    wanted = {**{name: array for name, array in CONSTANTS.items() if name in used}, **constants}
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in wanted.items())
    return proto


def imported(proto: onnx.ModelProto, folder: Path, levels: tuple[str, ...] = ("default", "disabled")) -> Imported:
    """Read a graph, and hold the model against the file in onnxruntime, within its bound, on 256 random rows."""
    path = folder / "foreign.onnx"
    path.write_bytes(proto.SerializeToString())
    return checked(path, levels)


def checked(path: Path, levels: tuple[str, ...] = ("default", "disabled")) -> Imported:
    """As `imported`, for a file."""
    found = import_onnx(path)
    report = verify_import(found.model, path, levels=levels, imported=found)
    assert report.ok, [
        (check.level, check.differing, check.max_abs_error, check.largest_bound) for check in report.checks
    ]
    assert all(check.compared > 0 for check in report.checks)
    return found


def activations(found: Imported) -> list[str]:
    """The names of the layers' activations."""
    return [layer.activation.name for layer in found.model.layers]
