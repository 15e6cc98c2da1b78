"""A model becomes an ONNX file."""

from export.onnx_writer.activation_tables import entry_range
from export.onnx_writer.int4 import FIRST_ONNXRUNTIME, has_int4, int4_doubts
from export.onnx_writer.int8_forms import FORMS, require_form_of_fine_codes
from export.onnx_writer.pair_saturation import (
    PRECISE,
    WITH_TRANSFORMATIONS,
    foreign_doubts,
    saturating_layers,
    saturation_doubts,
    session_config,
)
from export.onnx_writer.writer import OPSET, check_form, to_onnx, write_onnx

__all__ = [
    "FIRST_ONNXRUNTIME",
    "FORMS",
    "OPSET",
    "PRECISE",
    "WITH_TRANSFORMATIONS",
    "check_form",
    "entry_range",
    "foreign_doubts",
    "has_int4",
    "int4_doubts",
    "require_form_of_fine_codes",
    "saturating_layers",
    "saturation_doubts",
    "session_config",
    "to_onnx",
    "write_onnx",
]
