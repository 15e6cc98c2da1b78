"""A learning rate that is too high, on the command line."""

import re

import numpy as np

from edge_runtime import Engine, load
from tests.command import run_command
from trainer.fitting.checkpoint import read_checkpoint


def test_the_best_weights_before_the_overflow_are_written(tmp_path):
    """Those of an epoch that was finished: the artifact holds them, the one line says so, exit status 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 8)).astype(np.float32)
    np.savez(tmp_path / "reg.npz", x=x, y=x[:, 0] * 3 + rng.normal(size=2000))
    arguments = ["--optimizer", "sgd", "--learning-rate", 0.3, "--schedule", "constant", "--epochs", 40]
    arguments += [
        "--patience",
        40,
        "--standardize",
        "none",
        "--hidden",
        32,
        "--l2",
        0,
        "--data",
        tmp_path / "reg.npz",
        "--target",
        "regression",
    ]
    result = run_command("train", *arguments, "--out", tmp_path / "m.npz")
    assert result.exit_code == 1
    last = result.stderr.strip().splitlines()[-1]
    assert re.search(r"error: .* keeps its weights from epoch [1-9].*; wrote .*m.npz with these weights", last)
    assert np.isfinite(Engine(load(tmp_path / "m.npz")).run(x)).all()


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


def test_ctrl_c_writes_the_best_weights_so_far(tmp_path, monkeypatch):
    """Without a checkpoint: the artifact has them, the one line says so, exit status 130."""
    for epochs in (3, 0):
        count = [0]

        def stop(*told, count=count, epochs=epochs):
            count[0] += 1
            if count[0] > epochs:
                raise KeyboardInterrupt

        monkeypatch.setattr("trainer.cli.epoch_told", lambda *settings, stop=stop: stop)
        result = run_command("train", "--out", tmp_path / "m.npz")
        assert result.exit_code == 130
        last = result.stderr.strip().splitlines()[-1]
        assert re.search(
            r"error: stopped by Ctrl-C, wrote .*m\.npz with the weights of epoch [1-4]; with --check", last
        )
        assert load(tmp_path / "m.npz").n_in == 64
