"""Sessions as this project uses them."""

from __future__ import annotations

import pytest

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
