"""A learning rate that is too high, on the command line."""

import numpy as np

from tests.command import run_command
from trainer.checkpoint import read_checkpoint


def test_a_training_that_overflows_says_where_and_saves_no_nan(tmp_path):
    """One line with epoch and layer, exit status 2, no model; the checkpoint holds finite numbers."""

    arguments = ["--optimizer", "sgd", "--learning-rate", 1e30, "--epochs", 5, "--checkpoint", tmp_path / "c"]
    result = run_command("train", *arguments, "--out", tmp_path / "m.npz")
    assert result.exit_code == 2
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "in epoch " in last
    assert "of layer 'dense" in last
    assert "lower the learning rate" in last
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]
    _, arrays = read_checkpoint(tmp_path / "c")
    assert all(np.isfinite(array).all() for array in arrays.values())
