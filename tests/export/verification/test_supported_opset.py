"""An opset that the installed onnxruntime does not run is refused before anything is computed."""

import onnx
import pytest

from edge_runtime.errors import QuantizationError
from export.verification import supported_opset
from export.verification.supported_opset import check_opset
from tests.opsets import int4_opsets


def test_what_runs_is_taken():
    """Every opset that the installed versions run, with 4-bit weights too."""
    for opset in int4_opsets():
        for form in ("integer", "qgemm", "qdq"):
            check_opset(form, opset)
            check_opset(form, opset, is_int4=True)


@pytest.mark.parametrize(
    ("newest", "newest_of_int4", "is_int4", "words"),
    [
        (22, 22, False, "expected 13 to 22, the newest that onnxruntime .* runs: what"),
        (22, 20, True, "expected 13 to 20, the newest that onnxruntime .* runs: what"),
        (23, 20, True, "expected 13 to 20, the newest that onnxruntime .* runs with 4-bit weights: what"),
        (23, 20, False, None),
    ],
)
def test_the_newest_that_runs_is_named(monkeypatch, newest, newest_of_int4, is_int4, words):
    """For 4-bit weights by itself: an onnxruntime before 1.23 reads opset 21 and runs no int4."""
    monkeypatch.setattr(
        supported_opset, "_runs", lambda form, opset, is_int4: opset <= (newest_of_int4 if is_int4 else newest)
    )
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 26)
    if words is None:
        check_opset("integer", 23, is_int4=is_int4)
        return
    with pytest.raises(QuantizationError, match=f"opset is 23, {words}"):
        check_opset("integer", 23, is_int4=is_int4)
