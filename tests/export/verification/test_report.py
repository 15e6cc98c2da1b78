from dataclasses import replace

import pytest

from export.verification.comparison import REPORTED, SAME_BITS, WITHIN_BOUND, TensorCheck
from export.verification.report import Report

CHECKS = (
    TensorCheck("default", "input.standardized", SAME_BITS, 1, 0, 0.0, 0.0),
    TensorCheck("default", "dense0.output", SAME_BITS, 20, 3, 2.0, 0.0, 0.25),
    TensorCheck("default", "dense1.output", WITHIN_BOUND, 300, 4, 0.5, 0.1),
    TensorCheck("default", "output", SAME_BITS, 4000, 5, 0.5, 0.0),
    TensorCheck("engine", "logits", SAME_BITS, 50000, 6, 0.5, 0.0),
)
REPORT = Report("integer", 7, CHECKS, 2, 0.5, (("a", "b"),))


def test_what_breaks_a_rule_is_counted_over_all_tensors():
    """Every check counts, and one value that differs is enough."""
    assert (REPORT.differing, REPORT.ok) == (18, False)
    one = Report("integer", 7, (CHECKS[0], replace(CHECKS[4], differing=1)), 0, 0.0)
    assert (one.differing, one.ok, one.first_diverging_layer) == (1, False, "logits")


def test_exact_values_are_those_of_int8_compared_bit_for_bit():
    """Not preprocessing, not what has a bound, not onnxruntime's output beside its own."""
    assert (REPORT.exact_compared, REPORT.exact_differing) == (50020, 9)


def test_the_first_tensor_that_breaks_its_rule_is_named():
    """In the order of the checks; none where all is well, whatever else is reported."""
    assert REPORT.first_diverging_layer == "dense0.output"
    well = Report("integer", 7, (CHECKS[0], TensorCheck("default", "output", REPORTED, 9, 0, 5.0, 1e9)), 1, 5.0)
    assert (well.first_diverging_layer, well.ok, well.differing) == (None, True, 0)


def test_nothing_compared_is_not_ok():
    """No check at all, no value in it, or the engine beside ourselves alone: none of them is a proof of the file."""
    agreeing = replace(CHECKS[4], differing=0)
    for checks in ((), (agreeing,), (agreeing, replace(CHECKS[0], compared=0))):
        assert not Report("foreign", 7, checks, 0, 0.0).ok
    assert Report("foreign", 7, (agreeing, CHECKS[0]), 0, 0.0).ok


def test_the_report_as_plain_data_has_every_figure():
    """Each field of the report and of each check, with the error in real units."""
    facts = REPORT.as_dict()
    assert {key: facts[key] for key in facts if key != "checks"} == {
        "ok": False,
        "form": "integer",
        "rows": 7,
        "differing": 18,
        "decisions_changed": 2,
        "max_abs_error": 0.5,
        "first_diverging_layer": "dense0.output",
        "session_config": {"a": "b"},
        "notes": [],
        "skipped_levels": [],
    }
    assert [check["tensor"] for check in facts["checks"]] == [check.tensor for check in CHECKS]
    assert facts["checks"][1] == {**vars(CHECKS[1]), "max_real_error": 0.5}


@pytest.mark.parametrize("tensor", ["a.accumulator", "a.scaled"])
def test_an_accumulator_has_no_error_in_real_units(tensor):
    """Its step differs from channel to channel; a tensor with a step is counted in it, others are real."""
    assert TensorCheck("default", tensor, SAME_BITS, 1, 1, 3.0, 0.0).max_real_error is None
    assert TensorCheck("default", "a.output", SAME_BITS, 1, 1, 3.0, 0.0).max_real_error == 3.0
    assert TensorCheck("default", "a.output", SAME_BITS, 1, 1, 3.0, 0.0, 0.5).max_real_error == 1.5
