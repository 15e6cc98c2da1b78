"""Which layer quantization broke, what mends it, and where two models differ."""

from export.diagnosis.difference import compare_models
from export.diagnosis.difference_report import difference_text
from export.diagnosis.examination import diagnose
from export.diagnosis.on_rows import row_difference, rows_of_their_own
from export.diagnosis.report import Diagnosis

__all__ = ["Diagnosis", "compare_models", "diagnose", "difference_text", "row_difference", "rows_of_their_own"]
