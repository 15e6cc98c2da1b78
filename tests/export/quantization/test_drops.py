"""How much worse a network answers, in the unit of each metric, and what is allowed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_runtime import Engine, QuantizationError
from export.quantization.drops import METRICS, AllowedDrop, DropJudge, metric_for
from export.quantization.fidelity import sqnr_db
from tests.networks import random_model, random_rows

CLASSES = random_model([4, 3], ["softmax"])
VALUES = random_model([4, 2], ["linear"])
ROWS = random_rows(200, 4)
LABELS = Engine(CLASSES).predict(ROWS)
EXACT = Engine(CLASSES).run(ROWS)


def with_changes(count, first=0):
    """The outputs with another decision in so many rows."""
    found = EXACT.copy()
    found[first : first + count] = np.roll(found[first : first + count], 1, axis=1)
    return found


def test_accuracy_is_in_points_of_the_rows():
    """4 of 200 right classes lost are 2 points; classes won back make it less, and without labels all changes count."""
    judge = DropJudge(CLASSES, EXACT, LABELS, AllowedDrop("accuracy", 1.0))
    assert judge.drop(with_changes(4)) == 2.0
    assert judge.drop(EXACT) == 0.0
    wrong = LABELS.copy()
    wrong[:2] = with_changes(2)[:2].argmax(axis=1)
    assert DropJudge(CLASSES, EXACT, wrong, AllowedDrop("accuracy", 1.0)).drop(with_changes(4)) == 0.0
    unlabelled = DropJudge(CLASSES, EXACT, None, AllowedDrop("accuracy", 1.0))
    assert unlabelled.drop(with_changes(4)) == 2.0
    assert (judge.described, unlabelled.described) == ("accuracy on 200 rows", "decisions changed on 200 rows")


def test_a_single_output_decides_at_the_middle_of_its_sigmoid():
    """And at 0 where there is none."""
    for activation, middle in (("sigmoid", 0.5), ("linear", 0.0)):
        model = random_model([4, 1], [activation])
        exact = np.array([[middle + 0.1], [middle - 0.1], [middle + 0.3]], np.float32)
        judge = DropJudge(model, exact, np.array([1, 0, 1]), AllowedDrop("accuracy", 0.0))
        assert judge.drop(exact) == 0.0
        assert judge.drop(exact - np.float32(0.2)) == pytest.approx(100 / 3)


def test_a_choice_keeps_back_what_chance_may_have_won():
    """Of 9 decisions that changed, as many lost as won, three more may be lost on other rows."""
    labels = LABELS.copy()
    labels[:4] = with_changes(4)[:4].argmax(axis=1)
    found = with_changes(9)
    drop = DropJudge(CLASSES, EXACT, labels, AllowedDrop("accuracy", 0.0)).drop(found)
    for most, is_within in ((drop + 1.4, False), (drop + 1.6, True)):  # 3 of 200 rows are 1.5 points
        assert DropJudge(CLASSES, EXACT, labels, AllowedDrop("accuracy", most)).is_within(found) == is_within


def test_rmse_grows_by_percent_of_the_float_networks_own_error():
    """Twice the error is 100 percent more; of a network without any error nothing may be lost."""
    exact = Engine(VALUES).run(ROWS)
    targets = exact + 0.5
    judge = DropJudge(VALUES, exact, targets, AllowedDrop("rmse", 5.0))
    assert judge.drop(exact - np.float32(0.5)) == pytest.approx(100.0, rel=1e-5)
    assert judge.drop(exact + np.float32(0.25)) == pytest.approx(-50.0, rel=1e-5)
    perfect = DropJudge(VALUES, exact, exact, AllowedDrop("rmse", 5.0))
    assert (perfect.drop(exact), perfect.drop(exact + 1)) == (0.0, math.inf)


def test_sqnr_is_in_decibels_below_float16():
    """What float16 itself gives is no drop, nor is less noise; no reference is better than float32's own 24 bits."""
    exact = Engine(VALUES).run(ROWS)
    half, small = exact + np.float32(1e-3), exact + np.float32(1e-2)
    judge = DropJudge(VALUES, exact, None, AllowedDrop("sqnr", 15.0), half)
    assert judge.drop(small) == pytest.approx(sqnr_db(exact, half) - sqnr_db(exact, small))
    assert judge.drop(half) == judge.drop(exact) == 0.0
    assert not judge.is_within(small)
    same = DropJudge(VALUES, exact, None, AllowedDrop("sqnr", 15.0), exact)
    assert same.drop(half) == pytest.approx(144 - sqnr_db(exact, half))


def test_outputs_that_are_not_finite_lose_all():
    """By every metric."""
    broken = Engine(VALUES).run(ROWS)
    broken[3, 1] = np.nan
    for metric, labels in (("rmse", ROWS[:, :2]), ("sqnr", None)):
        judge = DropJudge(VALUES, Engine(VALUES).run(ROWS), labels, AllowedDrop(metric, 1.0))
        assert judge.drop(broken) == math.inf
        assert not judge.is_within(broken)
    assert AllowedDrop("rmse", 1.0).text(math.inf) == "all is lost"


def test_the_metric_is_what_the_labels_allow():
    """Accuracy for classes, given or decided, rmse for targets, else signal to noise."""
    assert metric_for(CLASSES, LABELS) == metric_for(CLASSES, None) == "accuracy"
    assert metric_for(VALUES, ROWS[:, :2]) == "rmse"
    assert metric_for(VALUES, None) == "sqnr"


@pytest.mark.parametrize("most", [-0.1, math.nan, math.inf, True, "1", None])
@pytest.mark.parametrize("metric", METRICS)
def test_a_drop_that_makes_no_sense_is_refused(metric, most):
    """Less than nothing, no number, any number."""
    with pytest.raises(QuantizationError, match=r"max_drop is .*, expected a finite number at least 0"):
        AllowedDrop(metric, most)


def test_what_a_metric_cannot_judge_is_refused_in_words():
    """All accuracy, an unknown metric, errors of classes, and classes of values."""
    with pytest.raises(
        QuantizationError, match=r"max_drop is 100.0, expected a finite number at least 0 and below 100"
    ):
        AllowedDrop("accuracy", 100.0)
    with pytest.raises(QuantizationError, match="metric is 'f1', expected one of accuracy, rmse, sqnr"):
        AllowedDrop("f1", 1.0)
    exact = Engine(VALUES).run(ROWS)
    refused = [
        (CLASSES, EXACT, LABELS, "rmse", "found classes, expected targets, floats (n, 3); try 'sqnr'"),
        (VALUES, exact, None, "rmse", "found no labels, expected targets, floats (n, 2); try 'sqnr'"),
        (VALUES, exact, exact, "accuracy", "found values, expected classes; try 'rmse' or 'sqnr'"),
        (VALUES, exact, None, "accuracy", "found values and no labels, expected classes; try 'sqnr'"),
    ]
    for model, outputs, labels, metric, said in refused:
        with pytest.raises(QuantizationError) as error:
            DropJudge(model, outputs, labels, AllowedDrop(metric, 1.0))
        assert said in str(error.value)
