"""What each ONNX operator does to constants and to the rows that flow through."""

from export.onnx_reader.operators.constants import ELEMENTWISE, RANDOM
from export.onnx_reader.operators.table import apply

__all__ = ["ELEMENTWISE", "RANDOM", "apply"]
