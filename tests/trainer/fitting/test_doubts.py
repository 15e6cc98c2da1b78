"""A training that ends like success and is worth nothing says so, in a line and in JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.command import run_command
from trainer import EpochRecord, History
from trainer.fitting.doubts import history_doubts, training_doubts

LABELS = np.array([0] * 6 + [1] * 3 + [2])


@pytest.mark.parametrize(("right", "lines"), [(7, 0), (6, 1), (5, 1)], ids=["better than", "as good as", "worse than"])
def test_no_better_than_the_most_frequent_class_is_said(right, lines):
    """The class is the most frequent one of the training rows; its share is that of the held-out rows."""
    predicted = np.where(np.arange(10) < right, LABELS, (LABELS + 1) % 3)
    found = training_doubts(predicted, LABELS, np.array([0, 0, 1]), right / 10, ("a", "b", "c"))
    assert len(found) == lines
    if lines:
        assert f"test accuracy {right / 10:.4f} is no better" in found[0]
        assert "'a' (0.6000)" in found[0]


def test_one_class_for_all_is_said_unless_there_is_one_only():
    """By its name, or its number if it has none."""
    ones = np.ones(10, np.int64)
    found = training_doubts(ones, LABELS, np.array([1, 1, 0]), 0.3)
    assert found[-1] == "all 10 held-out rows are answered with one class, '1'"
    assert not any("answered with" in text for text in training_doubts(ones, ones, np.array([0, 1, 0]), 1.0))


def test_one_class_for_all_brings_advice_where_it_stands_alone():
    """Better than the most frequent class of training, but one answer for all: what to try is said, once."""
    found = training_doubts(np.ones(10, np.int64), np.array([1] * 6 + [0] * 4), np.array([0, 0, 1]), 0.6, ("a", "b"))
    assert len(found) == 1
    assert found[0].startswith("all 10 held-out rows are answered with one class, 'b'; look at the data, or try")
    both = training_doubts(np.zeros(10, np.int64), np.array([1] * 6 + [0] * 4), np.array([0, 0, 1]), 0.4)
    assert sum("look at the data" in text for text in both) == 1


@pytest.mark.parametrize("held", [0, 1])
def test_held_out_rows_of_one_class_are_what_is_doubted(held):
    """A network that answers all of them rightly is not called worthless: the figure is, and what to do is said."""
    truth = np.full(7, held)
    (found,) = training_doubts(truth, truth, np.array([0, 0, 1]), 1.0, ("cat", "dog"))
    assert found == (
        f"all 7 held-out rows are of one class, '{('cat', 'dog')[held]}': test accuracy 1.0000 says nothing about the "
        "others; give more rows of each class"
    )


def test_wrong_answers_to_rows_of_one_class_are_doubted_too():
    """Always answering that class would be right more often."""
    truth = np.zeros(4, np.int64)
    found = training_doubts(np.array([0, 0, 1, 0]), truth, np.array([0, 0, 1]), 0.75)
    assert "test accuracy 0.7500 is no better than always answering the most frequent class '0' (1.0000)" in found[0]
    assert "held-out rows are of one class, '0'" in found[1]


@pytest.mark.parametrize(("score", "lines"), [(0.01, 0), (0.0, 1), (-16.0, 1)])
def test_a_regression_worse_than_the_mean_is_said(score, lines):
    """R^2 of 0 or below, with the figure."""
    found = training_doubts(np.zeros(3), np.array([0.5, 1.0, 2.0]), np.zeros(3), score)
    assert len(found) == lines
    assert all(f"R^2 {score:.4f}" in text for text in found)


@pytest.mark.parametrize("kind", ["regression", "noise"])
def test_the_command_says_it_and_ends_as_before(kind, tmp_path):
    """A warning line on standard error and a list in JSON; status 0, for the file was written as asked."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = (rng.random(300) < 0.2).astype(int) if kind == "noise" else x[:, 0] * 1e6
    np.savez(tmp_path / "d.npz", x=x, y=y)
    rate = ["--learning-rate", "0.000001" if kind == "noise" else "50", "--optimizer", "sgd", "--patience", "3"]
    result = run_command(
        "train", "--data", tmp_path / "d.npz", "--epochs", "3", "--out", tmp_path / "m.npz", "--json", *rate
    )
    if result.exit_code != 0:  # it diverged, and says so in its own words
        assert "error: " in result.stderr
        return
    doubts = json.loads(result.stdout)["warnings"]
    assert doubts
    assert all(f"warning: {text}" in result.stderr for text in doubts)


def test_a_good_training_brings_no_warning(tmp_path):
    """The digits: an empty list."""
    result = run_command("train", "--epochs", "5", "--out", tmp_path / "m.npz", "--json")
    assert json.loads(result.stdout)["warnings"] == []
    assert "warning" not in result.stderr


@pytest.mark.parametrize("rate", ["1000", "100"])
def test_a_learning_rate_that_ruins_the_digits_is_announced(rate, tmp_path):
    """Chance accuracy never ends like success."""
    result = run_command("train", "--learning-rate", rate, "--epochs", "5", "--out", tmp_path / "m.npz")
    assert "warning: test accuracy" in result.stderr or result.exit_code == 1


def test_a_loss_that_never_moved_is_said():
    """After three epochs or more; one that moved, and a short run, are not doubted."""

    def history(*losses):
        return History([EpochRecord(number, 0.1, loss, 0.5) for number, loss in enumerate(losses, 1)])

    (text,) = history_doubts(history(0.6931, 0.69311, 0.69309))
    assert text.startswith("the training loss never moved (0.6931 in the first epoch, 0.6931 in the last)")
    assert history_doubts(history(0.7, 0.69, 0.68)) == []
    assert history_doubts(history(0.7, 0.7)) == []
