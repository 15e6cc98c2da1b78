"""The same figures as scikit-learn's, by the names that every command uses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trainer.scores import (
    ClassScores,
    ValueScores,
    auc,
    chance_doubts,
    class_scores,
    error_scores,
    named_normal,
    normal_class,
    reconstruction_errors,
    scores_of,
    threshold_doubts,
    threshold_for,
    value_scores,
    worse_doubts,
)

metrics = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("seed", range(20))
def test_class_scores_are_those_of_scikit_learn(seed):
    """Accuracy, balanced accuracy over the classes that occur, and the counts."""
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 6))
    truth, answers = random.integers(0, max(1, count - seed % 2), 30), random.integers(0, count, 30)
    found = class_scores(truth, answers, [str(index) for index in range(count)])
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, answers))
    recall = metrics.recall_score(truth, answers, labels=np.unique(truth), average="macro", zero_division=0)
    assert found.balanced_accuracy == pytest.approx(recall)
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(truth, answers, labels=np.arange(count)))
    assert (found.name, found.value, found.rows) == ("accuracy", found.accuracy, 30)


def test_thousands_of_classes_are_not_counted_two_by_two():
    """The square of their number would not fit; the shares stay."""
    truth = np.arange(100_000)
    found = class_scores(truth, np.where(truth % 2, truth, 0), [str(index) for index in range(100_000)])
    assert (found.confusion, found.as_dict()["confusion"], len(found.counts)) == (None, None, 100_000)
    assert found.accuracy == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("outputs", [1, 3])
def test_value_scores_are_those_of_scikit_learn(seed, outputs):
    """R^2 as the mean over the outputs; RMSE and MAE of each, in its units."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=(25, outputs)) * [1e6, 1, 1e-3][:outputs]
    answers = truth + random.normal(size=truth.shape) * truth.std(axis=0)
    found = value_scores(truth, answers.astype(np.float32))
    answers = answers.astype(np.float32).astype(np.float64)
    assert found.r2 == pytest.approx(metrics.r2_score(truth, answers))
    assert found.rmse == pytest.approx(np.sqrt(metrics.mean_squared_error(truth, answers, multioutput="raw_values")))
    assert found.mae == pytest.approx(metrics.mean_absolute_error(truth, answers, multioutput="raw_values"))


def test_a_target_that_never_varies_counts_nothing():
    """R^2 divides by its spread: 0, whether it is met or not, because the mean meets it too."""
    assert value_scores(np.ones((4, 1)), np.ones((4, 1))).r2 == 0
    assert value_scores(np.ones((4, 1)), np.zeros((4, 1))).r2 == 0


def test_the_kind_of_the_labels_decides_which_scores_there_are():
    """Whole numbers are classes; both are plain data when asked."""
    classes = scores_of(np.array([0, 1, 1]), np.array([0, 1, 0]), ("a", "b"))
    values = scores_of(np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]]), ("t",))
    assert isinstance(classes, ClassScores)
    assert isinstance(values, ValueScores)
    assert json.loads(json.dumps(classes.as_dict())) == {
        "rows": 3, "accuracy": 2 / 3, "balanced_accuracy": 0.75, "class_names": ["a", "b"],
        "confusion": [[1, 0], [1, 1]],
    }  # fmt: skip
    assert json.loads(json.dumps(values.as_dict())) == {
        "rows": 2, "r2": -1.0, "rmse": [0.5**0.5], "mae": [0.5], "targets": ["t"]
    }  # fmt: skip


def test_answers_no_better_than_one_answer_are_doubted():
    """The most frequent class, the mean; rows of one class say nothing."""
    truth = np.array([0, 0, 0, 1])
    assert chance_doubts(class_scores(truth, truth, ("a", "b"))) == []
    (text,) = chance_doubts(class_scores(truth, truth * 0, ("a", "b")))
    assert text == (
        "accuracy 0.7500 of 4 rows is no better than always answering their most frequent class, 'a' (0.7500)"
    )
    assert chance_doubts(class_scores(truth * 0, truth * 0, ("a", "b"))) == []
    assert chance_doubts(value_scores(truth, truth + 0.1)) == []
    assert "R^2 0.0000 of 4 rows is no better than always answering their mean" in chance_doubts(
        value_scores(truth, truth * 0 + 0.25)
    )[0]  # fmt: skip


# autoencoders


def test_an_error_is_the_root_mean_square_over_the_scaled_features():
    """Each feature divided by its deviation, if the model knows it."""
    x, outputs = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32), np.array([[3.0, 4.0], [1.0, 1.0]], np.float32)
    np.testing.assert_allclose(reconstruction_errors(x, outputs), [np.sqrt(12.5), 0])
    np.testing.assert_allclose(reconstruction_errors(x, outputs, np.array([1.0, 0.5])), [np.sqrt(6.5), 0])


@pytest.mark.parametrize("false_alarms", [0.01, 0.05, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("rows", [1, 7, 100, 1000])
def test_a_threshold_keeps_the_rate_of_false_alarms(rows, false_alarms):
    """At most that share of the rows lies above it, and no smaller error would keep it."""
    errors = np.random.default_rng(rows).exponential(size=rows)
    threshold = threshold_for(errors, false_alarms)
    assert (errors > threshold).mean() <= false_alarms
    below = errors[errors < threshold]
    assert not len(below) or (errors > below.max()).mean() > false_alarms


@pytest.mark.parametrize("seed", range(10))
def test_auc_is_that_of_scikit_learn(seed):
    """Ties counted half."""
    random = np.random.default_rng(seed)
    values, positive = random.integers(0, 9, 40).astype(float), random.random(40) < 0.3
    assert auc(values, positive) == pytest.approx(metrics.roc_auc_score(positive, values))


def test_strange_rows_are_those_of_other_classes_than_the_normal_one():
    """Which is known by its name, else by its number of rows."""
    labels = np.array([0, 0, 0, 1])
    assert normal_class(labels, ("broken", "OK")) == 1
    assert normal_class(labels, ("a", "b")) == 0
    assert normal_class(labels, ("1", "0")) == 1
    assert named_normal(("-1", "1")) == 1  # scikit-learn's inliers
    assert named_normal(("0", "1", "2")) is None  # digits, most likely
    found = error_scores(np.array([1.0, 2.0, 3.0, 9.0]), 2.5, labels, ("a", "b"))
    assert (found.alarms, found.caught, found.auc, found.normal) == (pytest.approx(1 / 3), 1.0, 1.0, "a")
    alone = error_scores(np.array([1.0, 2.0, 3.0, 9.0]), 2.5)
    assert (alone.alarms, alone.caught, alone.auc, alone.quantiles["1"]) == (0.5, None, None, 9.0)
    assert error_scores(np.array([1.0, 2.0]), 1.5, np.array([1, 1]), ("a", "b")).auc is None


def test_a_threshold_on_too_few_rows_is_doubted():
    """One false alarm in a hundred needs a hundred rows."""
    assert threshold_doubts(100, 0.01) == []
    assert "set on 99 rows, expected 100 at least" in threshold_doubts(99, 0.01)[0]


@pytest.mark.parametrize("seed", range(20))
def test_what_chance_makes_of_equal_answers_is_no_loss_and_a_real_one_is_named(seed):
    """Classes and values: answers that err on other rows as often are not worse; those that err far more often are."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, 1000)
    wrong = (truth + 1) % 4
    before, equal = (np.where(random.permutation(1000) < 150, wrong, truth) for _ in range(2))
    worse = np.where(random.permutation(1000) < 260, wrong, truth)
    assert worse_doubts(truth, before, equal) == []
    assert worse_doubts(truth, worse, before) == []
    (text,) = worse_doubts(truth, before, worse)
    assert text.startswith("accuracy on 1,000 test rows is 0.7400, before it was 0.8500: worse by ")
    values = random.normal(size=(1000, 2)) * [1, 1e-6] + [0, 5]
    noise = random.normal(size=1000) * 3e-7
    near, turned, far = (values + np.stack([0 * noise, e], axis=1) for e in (noise, -noise[::-1], 2 * noise[::-1]))
    assert worse_doubts(values, near, near) == []
    assert worse_doubts(values, near, turned) == []
    (text,) = worse_doubts(values, near, far)
    assert text.startswith("R^2 on 1,000 test rows is ")
