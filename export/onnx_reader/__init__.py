"""Anybody's dense ONNX file becomes a model."""

from export.onnx_reader.inputs import Input
from export.onnx_reader.nodes import LONGEST_WORD, Unsupported, in_few_letters
from export.onnx_reader.protobuf import check_counts, take_in_external
from export.onnx_reader.reader import OUTPUT_KEY, Imported, import_bytes, import_onnx, read_onnx
from export.onnx_reader.steps import Int8Product, Seen
from export.onnx_reader.values import ANY_ROWS

__all__ = [
    "ANY_ROWS",
    "Imported",
    "Input",
    "Int8Product",
    "LONGEST_WORD",
    "OUTPUT_KEY",
    "Seen",
    "Unsupported",
    "check_counts",
    "import_bytes",
    "import_onnx",
    "in_few_letters",
    "read_onnx",
    "take_in_external",
]
