"""Which layer quantization broke, what mends it, and where two models differ."""

from export.diagnosis.examination import diagnose
from export.diagnosis.report import Diagnosis

__all__ = ["Diagnosis", "diagnose"]
