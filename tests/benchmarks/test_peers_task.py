import json
import sys
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.peers import task as tasks
from benchmarks.peers.task import Task, answer, load_task, run_onnx, save_task, write_onnx


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    sizes = [5, 4, 3]
    weights = [rng.normal(size=pair).astype(np.float32) for pair in pairwise(sizes)]
    biases = [rng.normal(size=size).astype(np.float32) for size in sizes[1:]]
    return Task(weights, biases, *rng.normal(size=(2, 6, 5)).astype(np.float32))


def outputs(task):
    hidden = np.maximum(task.test @ task.weights[0] + task.biases[0], 0)
    return hidden @ task.weights[1] + task.biases[1]


def test_a_task_comes_back_from_its_file(task, tmp_path):
    """Each array as it was, the layers in their order."""
    save_task(task, tmp_path / "task.npz")
    found = load_task(tmp_path / "task.npz")
    for name in Task._fields:
        for before, after in zip(getattr(task, name), getattr(found, name), strict=True):
            np.testing.assert_array_equal(before, after)


def test_the_network_that_tools_get_computes_what_the_weights_say(task, tmp_path):
    """Gemm and Relu between two names, run by onnxruntime; within float32's rounding."""
    write_onnx(task, tmp_path / "network.onnx")
    np.testing.assert_allclose(run_onnx(tmp_path / "network.onnx", task.test), outputs(task), rtol=1e-5, atol=1e-6)


def test_what_one_setting_raises_is_noted_and_the_others_go_on(task, tmp_path, monkeypatch):
    """Outputs by the names of settings, and reasons of one line."""

    def broken(_task):
        raise RuntimeError("no such kernel\nand more")

    save_task(task, tmp_path / "task.npz")
    monkeypatch.setattr(sys, "argv", ["by_x", str(tmp_path / "task.npz"), str(tmp_path / "out.npz")])
    answer("numpy", {"int8: broken": broken, "int8: plain": outputs})
    with np.load(tmp_path / "out.npz") as arrays:
        assert set(arrays.files) == {"int8: plain", "failed"}
        np.testing.assert_array_equal(arrays["int8: plain"], outputs(task).astype(np.float32))
        assert json.loads(str(arrays["failed"])) == {"int8: broken": "RuntimeError: no such kernel"}


def test_without_arguments_the_version_is_said(monkeypatch, capsys):
    """So that a Python without the tool is told from one that has it."""
    monkeypatch.setattr(sys, "argv", ["by_x"])
    answer("numpy", {})
    assert capsys.readouterr().out.strip() == np.__version__


def test_batches_leave_a_rest_out():
    """All have the same size: some tools fix it by the first."""
    assert [len(batch) for batch in tasks.batches(np.zeros((7, 2)), 3)] == [3, 3]
