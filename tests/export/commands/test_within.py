"""What is said of a choice of precisions: each candidate, and the check of the files."""

from __future__ import annotations

import math

from export.commands.within import WrittenCheck, check_text, target_text, trial_text
from export.quantization import AllowedDrop, Trial


def test_a_candidate_is_told_with_what_chance_may_have_won():
    """So that a drop of nothing that is not within explains itself."""
    trial = Trial({"a": "int8", "b": "int4"}, 1234, 0.0, -30.0, False, "points", reserve=1.2)
    assert trial_text(trial) == "auto: int8 with b int4: 1,234 bytes of weights, drop 0.00 +- 1.20 points"
    taken = Trial({"a": "int8"}, 20, 0.0, -30.0, True, "points")
    assert trial_text(taken) == "auto: int8: 20 bytes of weights, drop 0.00 points, within"
    lost = Trial({"a": "int8"}, 20, math.inf, math.inf, False, "dB")
    assert trial_text(lost).endswith("drop all is lost")
    refused = Trial({"a": "float16"}, 0, None, math.inf, False, "dB", "a weight is too large")
    assert trial_text(refused) == "auto: float16: refused, a weight is too large"


def test_the_worst_target_is_named():
    """By its name where the data have one, else by its number."""
    trial = Trial({"a": "int8"}, 20, 5.5, -30.0, False, "percent", reserve=0.5, target=1)
    assert trial_text(trial, ("power", "strain")).endswith("drop 5.50 +- 0.50 percent ('strain')")
    assert trial_text(trial).endswith("drop 5.50 +- 0.50 percent (output 1)")
    assert target_text(None, ("power",)) == ""
    check = WrittenCheck(
        40, "rmse of the worst output on 40 rows", 1.004, 1.0, AllowedDrop("rmse", 1.0), True, "'strain'"
    )
    assert not check.ok
    assert check_text(check) == (
        "a drop of 1.004 percent in the artifact and 1.00 percent in ONNX, 1.00 percent allowed: rmse of the worst "
        "output on 40 rows ('strain') that the choice did not see"
    )
