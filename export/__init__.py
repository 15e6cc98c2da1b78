"""Read anybody's ONNX, shrink a model to int8, int4 or float16, write ONNX or C, and prove that both compute the same.

Names are loaded when they are first used, so that `smallnet --help` does not wait for onnx and onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.lazy import lazy_names
from edge_runtime.version import __version__ as __version__

if TYPE_CHECKING:
    from export.c_writer import write_c
    from export.diagnosis import Diagnosis, diagnose
    from export.onnx_reader import read_onnx
    from export.onnx_writer import write_onnx
    from export.quantization import quantize, quantize_within, with_ranges
    from export.verification import Report, verify, verify_import

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "c_writer": ("write_c",),
        "diagnosis": ("Diagnosis", "diagnose"),
        "onnx_reader": ("read_onnx",),
        "onnx_writer": ("write_onnx",),
        "quantization": ("quantize", "quantize_within", "with_ranges"),
        "verification": ("Report", "verify", "verify_import"),
    },
)[:2]

__all__ = [
    "Diagnosis",
    "Report",
    "diagnose",
    "quantize",
    "quantize_within",
    "read_onnx",
    "verify",
    "verify_import",
    "with_ranges",
    "write_c",
    "write_onnx",
]
