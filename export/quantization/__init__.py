"""A float32 model becomes one with smaller weights, in one precision or in several."""

from export.quantization.automatic import Choice, Trial, choose_within, mix_text, quantize_within
from export.quantization.calibration import calibrate, float_model, rows_that_fit
from export.quantization.doubts import (
    LEAST_DB,
    LEAST_DB_INT8,
    MOST_CHANGED,
    Fidelity,
    calibration_doubts,
    comparison_doubts,
    counts_alike,
    decisions,
    fidelity_doubts,
    has_targets_apart,
    is_classifier,
    measure_fidelity,
    row_doubts,
    worst_output,
)
from export.quantization.drops import METRICS, AllowedDrop, judged_answers
from export.quantization.equalization import STEPS_OF_OCTAVE, nearest_factor
from export.quantization.fidelity import even_db, even_error, finite, sqnr_db, squared_error, varies
from export.quantization.float16 import BEYOND, LARGEST, lost_weights, scale_for_float16
from export.quantization.labels import checked_labels
from export.quantization.mixes import LADDER
from export.quantization.quantizer import PRECISIONS, Quantized, longest_notes, quantize, quantize_beside
from export.quantization.ranges import METHODS
from export.quantization.recipe import FLOATS, INTEGERS, KEPT, ROUNDINGS, QuantizationWarning, Switches
from export.quantization.stored_ranges import StoredRanges
from export.quantization.storing import with_ranges
from export.quantization.test_rows import DEFAULT_ROWS, spread_places, with_test_vectors
from export.quantization.units import float_outputs, float_stretches

__all__ = [
    "AllowedDrop",
    "BEYOND",
    "Choice",
    "DEFAULT_ROWS",
    "FLOATS",
    "Fidelity",
    "INTEGERS",
    "KEPT",
    "LADDER",
    "LARGEST",
    "LEAST_DB",
    "LEAST_DB_INT8",
    "METHODS",
    "METRICS",
    "MOST_CHANGED",
    "PRECISIONS",
    "QuantizationWarning",
    "Quantized",
    "ROUNDINGS",
    "STEPS_OF_OCTAVE",
    "StoredRanges",
    "Switches",
    "Trial",
    "calibrate",
    "judged_answers",
    "calibration_doubts",
    "checked_labels",
    "choose_within",
    "comparison_doubts",
    "counts_alike",
    "decisions",
    "even_db",
    "even_error",
    "fidelity_doubts",
    "finite",
    "float_model",
    "float_outputs",
    "float_stretches",
    "has_targets_apart",
    "is_classifier",
    "longest_notes",
    "lost_weights",
    "measure_fidelity",
    "mix_text",
    "nearest_factor",
    "quantize",
    "quantize_beside",
    "quantize_within",
    "row_doubts",
    "rows_that_fit",
    "scale_for_float16",
    "spread_places",
    "sqnr_db",
    "squared_error",
    "varies",
    "with_ranges",
    "with_test_vectors",
    "worst_output",
]
