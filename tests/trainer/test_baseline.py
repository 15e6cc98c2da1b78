"""What a network is compared with."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime import load
from tests.command import run_command
from trainer.baseline import Baselines, baseline_doubts, constant_baseline, linear_baseline
from trainer.datasets import Dataset, split
from trainer.scores import class_scores, value_scores

X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
CLASSES = (X @ [1.0, -2.0, 0.5] > 0.8).astype(np.int64)
OPTIONS = {
    "hidden": (8,), "activation": "relu", "l2": 0.0, "dropout": 0.0, "seed": 0, "epochs": 30, "batch_size": 32,
    "learning_rate": 0.01, "optimizer": "adam", "schedule": "constant", "patience": None, "standardize": "per-feature",
    "target": "auto",
}  # fmt: skip


def parts_of(y, names=()):
    return split(Dataset(X, y, names), seed=1)


def test_the_constant_answer_is_learned_from_the_training_rows():
    """The most frequent class, or the mean of each target."""
    parts = parts_of(CLASSES, ("no", "yes"))
    assert constant_baseline(parts, ("no", "yes")).value == pytest.approx(np.mean(parts.test.y == 0))
    found = constant_baseline(parts_of((X[:, :2] * np.float32(5)).astype(np.float32)), ())
    assert found.value <= 0.0
    assert len(found.rmse) == 2


def test_the_network_without_hidden_layers_is_trained_beside():
    """With the same options and rows; what is linear it learns as well."""
    linear = linear_baseline(parts_of(CLASSES, ("no", "yes")), OPTIONS, ("no", "yes"))
    assert linear.value > 0.9
    values = linear_baseline(parts_of((X @ np.float32([[1], [2], [3]])).astype(np.float32)), OPTIONS, ())
    assert values.value > 0.5


@pytest.mark.parametrize("other", [{"hidden": ()}, {"target": "autoencoder"}])
def test_there_is_none_where_it_says_nothing_new(other):
    """A network that has no hidden layers itself, an autoencoder."""
    assert linear_baseline(parts_of(CLASSES, ("no", "yes")), {**OPTIONS, **other}, ("no", "yes")) is None


def test_there_is_none_where_it_costs_much(monkeypatch):
    """Values times outputs are bounded."""
    monkeypatch.setattr("trainer.baseline.CHEAP", 100)
    assert linear_baseline(parts_of(CLASSES, ("no", "yes")), OPTIONS, ("no", "yes")) is None


def test_a_network_that_is_worse_than_the_linear_one_is_said():
    """In a line with both figures; a little worse is no news."""
    truth = np.arange(100) % 2
    good, bad = class_scores(truth, truth, ("a", "b")), class_scores(truth, truth * 0, ("a", "b"))
    (text,) = baseline_doubts(bad, Baselines(bad, good))
    assert "test accuracy 0.5000 is worse than that of the network without hidden layers (1.0000)" in text
    assert baseline_doubts(good, Baselines(bad, good)) == []
    assert baseline_doubts(bad, Baselines(bad, None)) == []
    assert baseline_doubts(value_scores(truth, truth), Baselines(bad, value_scores(truth, truth))) == []
    assert "--l2 0.1" in text
    assert "--hidden none" in text


@pytest.mark.parametrize("none", ["none", "0", "None"])
def test_a_network_without_hidden_layers_can_be_asked_for(none, tmp_path):
    """As the warning advises."""
    out = tmp_path / "m.npz"
    assert run_command("train", "--hidden", none, "--epochs", "1", "--out", out).exit_code == 0
    assert load(out).layer_sizes == (64, 10)
    refused = run_command("train", "--hidden", "32,none", "--out", out)
    assert "expected widths from 1 to 1,000,000 such as 32 or 128,64, or none" in refused.stderr
