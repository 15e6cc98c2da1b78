"""How much worse a network answers, in the unit of each metric, and what is allowed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, QuantizationError
from export.quantization.drops import METRICS, AllowedDrop, DropJudge, drop_text, metric_for
from export.quantization.fidelity import even_db
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
    assert judge.drop(small) == pytest.approx(even_db(exact, half) - even_db(exact, small))
    assert judge.drop(half) == judge.drop(exact) == 0.0
    assert not judge.is_within(small)
    same = DropJudge(VALUES, exact, None, AllowedDrop("sqnr", 15.0), exact)
    assert same.drop(half) == pytest.approx(144 - even_db(exact, half))


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


def test_each_target_counts_alike():
    """The drop is that of the target whose error grows most, whatever its unit; signal to noise is even too."""
    model = replace(random_model([4, 3], ["linear"]), metadata={"target": "regression"})
    exact = Engine(model).run(ROWS)
    targets = exact + np.float32([1000, 0.01, 20])
    found = exact.copy()
    found[:, 1] -= np.float32(0.01)
    judge = DropJudge(model, exact, targets, AllowedDrop("rmse", 5.0))
    assert judge.drop(found) == pytest.approx(100.0, rel=1e-2)
    assert (judge.worst_target(found), judge.described) == (1, "rmse of the worst output on 200 rows")
    scaled = [values * np.float32([1000, 0.01, 20]) for values in (exact, exact + np.float32([0, 0.5, 0]))]
    even = DropJudge(model, scaled[0], None, AllowedDrop("sqnr", 5.0), scaled[0])
    plain = DropJudge(model, exact, None, AllowedDrop("sqnr", 5.0), exact)
    assert even.drop(scaled[1]) == pytest.approx(plain.drop(exact + np.float32([0, 0.5, 0])), rel=1e-3)


def test_the_parts_of_one_signal_are_judged_together():
    """Those of an autoencoder: a pixel that hardly varies says little."""
    model = replace(random_model([4, 4], ["linear"]), metadata={"target": "autoencoder"})
    exact = Engine(model).run(ROWS)
    judge = DropJudge(model, exact, exact + np.float32([1, 0.001, 1, 1]), AllowedDrop("rmse", 5.0))
    found = exact + np.float32([0, 0.01, 0, 0])
    assert judge.drop(found) < 0.1
    assert judge.worst_target(found) is None


@pytest.mark.parametrize("metric", ["rmse", "sqnr"])
def test_errors_keep_back_what_chance_may_have_won(metric):
    """As much as the drop differs from sample to sample, within a factor of 1.5: over 400 samples of 100 rows."""
    rng = np.random.default_rng(0)
    model = random_model([4, 1], ["linear"])
    drops, reserves = [], []
    for _sample in range(400):
        exact = rng.normal(size=(100, 1)).astype(np.float32)
        labels = exact + rng.normal(size=(100, 1)) * 0.3
        small, half = (exact + (rng.normal(size=(100, 1)) * size).astype(np.float32) for size in (0.05, 1e-4))
        judge = DropJudge(model, exact, labels if metric == "rmse" else None, AllowedDrop(metric, 5.0), half)
        drops.append(judge.drop(small))
        reserves.append(judge.reserve(small))
        assert judge.is_within(small) == (drops[-1] + reserves[-1] <= 5.0)
    assert 1 / 1.5 < np.std(drops) / np.mean(reserves) < 1.5
    assert judge.reserve(exact) == 0.0


def test_a_figure_has_as_many_digits_as_tell_it_from_what_is_allowed():
    """Two, unless a drop that is not allowed would read as the one that is."""
    allowed = AllowedDrop("rmse", 1.0)
    assert [allowed.text(drop) for drop in (0.996, 1.0, 1.004, 1.00004, 7.0)] == [
        "1.00 percent", "1.00 percent", "1.004 percent", "1.00004 percent", "7.00 percent"
    ]  # fmt: skip
    assert allowed.text(-0.001) == "0.00 percent"
    assert drop_text(0.5, "percent", 1.25) == "0.50 +- 1.25 percent"
