"""Proof that two files compute the same: every tensor is compared, by a stated rule."""

from export.verification.c_program import stated_artifact, verify_c
from export.verification.comparison import TensorCheck, rows_to_compare
from export.verification.dumps import verify_dumps
from export.verification.foreign_session import RunLimits
from export.verification.import_check import random_rows, verify_import
from export.verification.onnx_session import VERSION, make_session
from export.verification.report import Report
from export.verification.row_count import rows_within
from export.verification.supported_opset import check_opset
from export.verification.verify import verify, verify_content

__all__ = [
    "Report",
    "RunLimits",
    "TensorCheck",
    "VERSION",
    "check_opset",
    "make_session",
    "random_rows",
    "rows_to_compare",
    "rows_within",
    "stated_artifact",
    "verify",
    "verify_c",
    "verify_content",
    "verify_dumps",
    "verify_import",
]
