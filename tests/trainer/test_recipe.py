"""What the commands train and write."""

import numpy as np
import pytest

from edge_runtime import load
from tests.command import run_command

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
