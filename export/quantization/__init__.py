"""A float32 model becomes a float16 or an int8 one."""

from export.quantization.doubts import (
    MOST_CHANGED,
    Fidelity,
    calibration_doubts,
    comparison_doubts,
    fidelity_doubts,
    measure_fidelity,
    row_doubts,
)
from export.quantization.fidelity import finite
from export.quantization.quantizer import PRECISIONS, Quantized, longest_notes, quantize, quantize_beside
from export.quantization.ranges import METHODS
from export.quantization.recipe import ROUNDINGS, QuantizationWarning, Switches
from export.quantization.test_rows import DEFAULT_ROWS, with_test_vectors

__all__ = [
    "DEFAULT_ROWS",
    "PRECISIONS",
    "Fidelity",
    "METHODS",
    "MOST_CHANGED",
    "ROUNDINGS",
    "QuantizationWarning",
    "Quantized",
    "Switches",
    "calibration_doubts",
    "comparison_doubts",
    "fidelity_doubts",
    "finite",
    "longest_notes",
    "measure_fidelity",
    "quantize",
    "quantize_beside",
    "row_doubts",
    "with_test_vectors",
]
