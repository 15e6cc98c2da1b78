"""What each ONNX operator does to constants and to the rows that flow through."""

from export.onnx_reader.operators.folding import FOLDED, is_folded
from export.onnx_reader.operators.older_opsets import require_todays_meaning
from export.onnx_reader.operators.origin import check_origins, with_origins
from export.onnx_reader.operators.table import HANDLERS, TAKE_ROW_NUMBERS

__all__ = [
    "FOLDED",
    "HANDLERS",
    "TAKE_ROW_NUMBERS",
    "check_origins",
    "is_folded",
    "require_todays_meaning",
    "with_origins",
]
