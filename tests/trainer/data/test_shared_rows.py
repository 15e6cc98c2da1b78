"""Rows of the test that stand among the training rows too."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.command import run_command
from trainer.data.shared_rows import shared_rows
from trainer.datasets import Dataset, split

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def text_of(rows):
    return "a,b,c,label\n" + "".join(f"{a:.4f},{b:.4f},{c:.4f},{'yn'[int(a > 0)]}\n" for a, b, c in rows)


def test_rows_are_the_same_with_their_label():
    """Features and label alike; another label is another row, and -0 is 0."""
    x = X.copy()
    x[:2, 0] = 0.0, -0.0
    x[1, 1:] = x[0, 1:]
    parts = split(Dataset(np.vstack([x, x]), np.hstack([Y, Y]), ("n", "y")), seed=0)
    assert shared_rows(split(Dataset(X, Y, ("n", "y")), seed=0)) == 0
    assert shared_rows(parts) > len(parts.test) / 2
    one = type(parts)(parts.train.take(np.array([0])), parts.train.take(np.array([0])), parts.train.take(np.array([0])))
    assert shared_rows(one) == 1
    other = Dataset(one.test.x, 1 - one.test.y, ("n", "y"))
    assert shared_rows(type(parts)(one.train, one.validation, other)) == 0


@pytest.mark.parametrize("new", [0, 4])
def test_a_test_file_that_was_learned_from_is_said(tmp_path, new):
    """With how many of its rows; and its score is not called one of rows that it never saw."""
    (tmp_path / "d.csv").write_text(text_of(X[:50]))
    (tmp_path / "t.csv").write_text(text_of(X[: 50 + new]))
    command = ("train", "--data", tmp_path / "d.csv", "--test", tmp_path / "t.csv", "--epochs", "2")
    result = run_command(*command, "--out", tmp_path / "m.npz")
    assert f"warning: 50 of {50 + new} rows of --test are in --data too" in result.stderr
    assert "on rows it never saw" not in result.stdout
    assert f"on {50 + new} rows, 50 of them seen in the training" in result.stdout


def test_repeated_rows_in_both_parts_are_noted(tmp_path):
    """Their count stands in the block and in the JSON; a file without them says nothing."""
    command = ("train", "--data", tmp_path / "d.csv", "--epochs", "2", "--out", tmp_path / "m.npz", "--json")
    (tmp_path / "d.csv").write_text(text_of(np.vstack([X, X])))
    facts = json.loads(run_command(*command).stdout)
    assert facts["rows_shared"] > 0
    assert any(
        f"{facts['rows_shared']} of 24 held-out rows stand among the training" in note for note in facts["notes"]
    )
    (tmp_path / "d.csv").write_text(text_of(X))
    facts = json.loads(run_command(*command).stdout)
    assert (facts["rows_shared"], facts["notes"]) == (0, [])
