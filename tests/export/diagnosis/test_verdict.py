"""The sentence that decides."""

from __future__ import annotations

import math

import pytest

from export import diagnose
from export.diagnosis import verdict
from export.diagnosis.answers import Answers
from export.diagnosis.findings import Finding
from export.diagnosis.remedies import Remedy
from tests.networks import random_model, random_rows

FLOAT, SMALL = Answers(360, math.inf, 0, 350), Answers(360, 12.0, 40, 320)
VALUES = Answers(360, 30.0)
ODD = Finding("dense1", "saturation", "its range saturates")
MEND = Remedy("keeping 'dense1' in float16", "--keep dense1=float16", Answers(360, 38.0, 2, 349))


@pytest.fixture
def layer_errors():
    """Of a layer of some network."""
    model = random_model([12, 24, 5], ["relu", "softmax"])
    rows = random_rows(60, 12)
    return diagnose(model, rows, calibration=rows, method="minmax").layers[0]


def test_nothing_to_mend():
    """With what is lost all the same, and what costs nothing if it gives half of the noise."""
    plain = "nothing to mend: int8 gives 30.0 dB at the outputs"
    better, hardly, refused = (
        Remedy("making it anew (mse)", "--method auto", answers)
        for answers in (Answers(360, 33.0), Answers(360, 32.9), None)
    )
    assert verdict.sound("int8", Answers(360, math.inf), VALUES, []) == plain
    assert verdict.sound("int8", Answers(360, math.inf), VALUES, [hardly, refused]) == plain
    more = "making it anew (mse) (--method auto) gives 33.0 dB in place of 30.0 dB"
    assert verdict.sound("int8", Answers(360, math.inf), VALUES, [better]) == f"{plain}; {more}"


def test_a_layer_that_is_odd_and_harms_nothing():
    """Is named, and is not said to cost anything."""
    text = verdict.harmless("int8", ODD, FLOAT, Answers(360, 30.0, 1, 350))
    assert text == (
        "layer 'dense1': its range saturates; nothing is lost by it on these rows: int8 loses 0 decisions of 360 "
        "(accuracy 0.9722 -> 0.9722; 1 changed, +-2 by chance), 30.0 dB at the outputs"
    )


def test_nothing_and_a_figure_above_0_are_never_said_together():
    """Of a layer that is odd: what is lost is within chance, or little."""
    within = verdict.harmless("int8", ODD, FLOAT, Answers(360, 30.0, 3, 349))
    assert "; no more than chance may lose is lost by it on these rows: int8 loses 1 decision of 360, within" in within
    little = verdict.harmless("int8", ODD, Answers(360, math.inf, 0), Answers(360, 30.0, 3))
    assert "; little is lost by it on these rows: int8 loses 3 decisions of 360, 30.0 dB" in little


def test_a_loss_with_its_layer_and_its_remedy(layer_errors):
    """The layer, what is wrong with it if that is known, what is lost, what was tried and what it gave."""
    found = verdict.broken("int8", layer_errors, ODD, FLOAT, SMALL, [MEND], MEND)
    assert found == (
        "layer 'dense1': its range saturates; int8 loses 30 decisions of 360 (accuracy 0.9722 -> 0.8889; 40 changed "
        "(11.1%), +-13 by chance), 12.0 dB at the outputs, expected at least 20; keeping 'dense1' in float16 "
        "(--keep dense1=float16) wins 29 right answers back (accuracy 0.8889 -> 0.9694, 38.0 dB)"
    )
    found = verdict.broken("int8", layer_errors, None, FLOAT, SMALL, [MEND], None)
    made_there = f"layer '{layer_errors.name}': most of the error is made there, "
    assert found.startswith(made_there)
    assert " dB by it alone, and accuracy falls by 8.3 points; int8 loses 30 decisions of 360 (accuracy" in found
    assert "12.0 dB at the outputs; --keep" in found
    doubted = verdict.broken("int8", layer_errors, None, Answers(9, math.inf), Answers(9, 5.5), [], None)
    assert " by it alone, and 5.5 dB are left at the outputs, expected at least 20; int8 gives 5.5 dB at " in doubted
    assert found.endswith("; --keep dense1=float16 was tried and wins nothing back")
    assert verdict.broken("int8", layer_errors, None, FLOAT, SMALL, [], None).endswith("; nothing was tried")
    untried = Remedy("learning on", "smallnet train --quantization-aware int8", None)
    found = verdict.broken("int8", layer_errors, None, FLOAT, SMALL, [MEND, MEND, untried], None)
    assert found.endswith(
        f"; {MEND.option} and {MEND.option} were tried, and none wins anything back; not tried: {untried.option}"
    )
