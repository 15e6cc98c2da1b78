"""`smallnet import`, and `smallnet export` of an ONNX file: what is written, and when nothing is."""

from __future__ import annotations

import json

import numpy as np
import onnx

from edge_runtime import load
from tests.command import run_command
from tests.export.foreign import graph, normal
from tests.export.onnx_reader.test_exporters import keras_style
from tests.networks import random_rows


def run(*arguments):
    return run_command(*arguments)


def test_the_import_command_verifies_and_writes(tmp_path):
    """An artifact with test vectors, checked on random rows and on the given ones; --json says so."""
    path = keras_style(tmp_path)
    np.savez(tmp_path / "rows.npz", x=random_rows(40, 16), y=np.arange(40) % 4)
    result = run("import", path, "--out", tmp_path / "k.npz", "--data", tmp_path / "rows.npz", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.output)
    assert facts["ok"]
    assert [check["rows"] for check in facts["checks"].values()] == [256, 40]
    assert len(load(tmp_path / "k.npz").test_vectors.inputs) == 8
    assert "agree with onnxruntime" in run("import", path, "--out", tmp_path / "k.npz").output


def test_the_import_command_writes_nothing_that_differs(tmp_path, monkeypatch):
    """Exit status 1, and no file, when the imported model computes something else."""
    import export.commands.import_ as command

    def wrong(path, **options):
        found = original(path, **options)
        other = type(found.model)((*found.model.layers[:-1], _shifted(found.model.layers[-1])))
        return type(found)(**{**vars(found), "model": other})

    original = command.import_onnx
    monkeypatch.setattr(command, "import_onnx", wrong)
    result = run("import", keras_style(tmp_path), "--out", tmp_path / "k.npz")
    assert result.exit_code == 1, result.output
    assert "OUTPUTS DIFFER" in result.output
    assert not (tmp_path / "k.npz").exists()


def _shifted(layer):
    return type(layer)(
        layer.name, layer.weight, layer.bias + np.arange(layer.n_out, dtype=np.float32) / 1000, layer.activation
    )


def test_the_export_command_takes_onnx(tmp_path):
    """From somebody's file to verified int8 in one command."""
    np.savez(tmp_path / "rows.npz", x=random_rows(200, 16), y=np.arange(200) % 4)
    result = run("export", keras_style(tmp_path), "--calibrate", tmp_path / "rows.npz", "--out", tmp_path / "build")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "build" / "keras.int8.npz").exists()


def test_the_import_command_refuses_in_one_line(tmp_path):
    """Exit status 2 and the node's name for what is no chain; nothing is written."""
    onnx.save(
        graph("h = Gemm(x, V) r = Relu(h) y = Add(r, x)", target="float[N,6] y", V=normal(6, 6)), tmp_path / "r.onnx"
    )
    result = run("import", tmp_path / "r.onnx", "--out", tmp_path / "r.npz")
    assert result.exit_code == 2
    assert "residual Add" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "r.npz").exists()
