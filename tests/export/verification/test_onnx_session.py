"""Sessions as this project uses them."""

from __future__ import annotations

import pytest
from onnx import helper

from edge_runtime import ArtifactError
from export.onnx_writer import to_onnx
from export.verification.onnx_session import LEVELS, make_session
from tests.networks import random_model


@pytest.mark.parametrize("level", LEVELS)
def test_threads_of_a_session_sleep_while_they_wait(level):
    """onnxruntime lets them turn in circles otherwise, and a comparison in two threads takes ten times the work."""
    options = make_session(to_onnx(random_model([3, 2], ["relu"])), level, threads=2).get_session_options()
    assert options.intra_op_num_threads == 2
    for kind in ("intra", "inter"):
        assert options.get_session_config_entry(f"session.{kind}_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    ("domain", "opset", "ir_version", "expected"),
    [
        (
            "ai.onnx.ml",
            900,
            8,
            r": opset 900 of domain ai\.onnx\.ml found, expected \d+ at most; export it with an older",
        ),
        (
            "com.microsoft",
            900,
            8,
            r": opset 900 of domain com\.microsoft found, expected 1 at most; export it with an old",
        ),
        (
            "",
            900,
            8,
            r": opset 900 of domain ai\.onnx found, expected \d+ at most; export it with an older opset, or inst",
        ),
        (
            "ai.onnx.ml",
            1,
            900,
            r": Unsupported model IR version: 900, .*; set model\.ir_version = 8 with onnx and save it",
        ),
        (
            "ai.onnx.ml",
            1,
            None,
            r": Missing model IR version; set model\.ir_version = 8 with onnx and save it again, or ins",
        ),
    ],
)
def test_a_version_that_onnxruntime_does_not_read_is_refused_with_what_to_do(domain, opset, ir_version, expected):
    """In a line without the names of its sources: what was found, the newest that it reads, and how to get there."""
    model = to_onnx(random_model([3, 2], ["relu"]))
    kept = [entry for entry in model.opset_import if entry.domain != domain]
    del model.opset_import[:]
    model.opset_import.extend([*kept, helper.make_opsetid(domain, opset)])
    model.ClearField("ir_version")
    if ir_version is not None:
        model.ir_version = ir_version
    with pytest.raises(ArtifactError, match=f"^onnxruntime .* refuses the model{expected}") as refused:
        make_session(model)
    assert len(str(refused.value)) < 200
