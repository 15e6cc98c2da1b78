"""What the commands train and write."""

import json

import numpy as np
import pytest

from edge_runtime import Engine, load
from tests.command import run_command
from trainer.datasets import load_dataset, split

X = np.random.default_rng(0).normal(size=(60, 3))
LABELS = {
    "texts": (np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)], "class"),
    "whole numbers": ((X[:, 0] > 0).astype(int), "class"),
    "decimals": (X @ [1.5, -2.0, 0.25], "regression"),
}


@pytest.mark.parametrize("labels", LABELS)
def test_what_the_labels_decided_is_kept_in_the_model(labels, tmp_path):
    """A regression that nobody named gives no classes later, and counts no decisions."""
    y, target = LABELS[labels]
    lines = [",".join([*(f"{value:.4f}" for value in row), str(label)]) for row, label in zip(X, y, strict=True)]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "m.npz"
    assert run_command("train", "--data", tmp_path / "d.csv", "--epochs", "3", "--out", out).exit_code == 0
    assert load(out).metadata["target"] == target
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    result = run_command("run", out, "--input", tmp_path / "x.npy", "--classes")
    if target == "class":
        assert (result.exit_code, result.stderr) == (0, "")
    else:
        assert result.exit_code == 2
        assert "the model gives values and not classes; leave --classes out" in result.stderr


def test_an_autoencoder_stays_one(tmp_path):
    """As it was asked for."""
    out = tmp_path / "m.npz"
    assert run_command("train", "--target", "autoencoder", "--epochs", "1", "--out", out).exit_code == 0
    assert load(out).metadata["target"] == "autoencoder"


@pytest.mark.parametrize(("mean", "spread"), [(1e9, 0.5), (101_325, 0.05)])
def test_scores_are_those_of_the_model_that_is_written(mean, spread, tmp_path):
    """Of a target that float32 cannot hold: the real error, a line that says why, and a baseline that is not 1."""
    y = mean + spread * (X @ [1.5, -2.0, 0.25])
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), repr(float(label))]) for row, label in zip(X, y, strict=True)
    ]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "m.npz"
    result = run_command("train", "--data", tmp_path / "d.csv", "--epochs", "60", "--out", out, "--json")
    facts, parts = json.loads(result.stdout), split(load_dataset(tmp_path / "d.csv"))
    error = Engine(load(out)).run(parts.test.x).astype(np.float64) - parts.test.y
    assert facts["scores"]["rmse"] == pytest.approx([np.sqrt(np.square(error).mean())])
    assert facts["scores"]["rmse"][0] > np.spacing(np.float32(mean)) / 100
    assert facts["baselines"]["constant"] <= 0
    assert sum("the answers are float32" in text for text in facts["warnings"]) == 1


def test_a_constant_target_is_said(tmp_path):
    """In a line, with its value; no R^2 of it is 1."""
    (tmp_path / "d.csv").write_text("\n".join(f"{a:.4f},{b:.4f},{c:.4f},0.1" for a, b, c in X) + "\n")
    result = run_command("train", "--data", tmp_path / "d.csv", "--epochs", "2", "--out", tmp_path / "m.npz", "--json")
    facts = json.loads(result.stdout)
    assert any("the label is constant: 0.1 in all 60 rows" in text for text in facts["warnings"])
    assert (facts["scores"]["r2"], facts["baselines"]["constant"]) == (0, 0)
