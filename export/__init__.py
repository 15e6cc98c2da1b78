"""Read anybody's ONNX, shrink a model to int8 or float16, write it as ONNX, and prove that both compute the same.

Names are loaded when they are first used, so that `smallnet --help` does not wait for onnx and onnxruntime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.import_check import verify_import
    from export.onnx_reader import read_onnx
    from export.onnx_writer import write_onnx
    from export.quantizer import quantize
    from export.report import Report
    from export.verification import verify

_HOMES = {
    "quantize": "export.quantizer",
    "write_onnx": "export.onnx_writer",
    "read_onnx": "export.onnx_reader",
    "verify_import": "export.import_check",
    "verify": "export.verification",
    "Report": "export.report",
}

__all__ = ["Report", "quantize", "read_onnx", "verify", "verify_import", "write_onnx"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
