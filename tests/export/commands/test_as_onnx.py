import json

import numpy as np
import onnx
import pytest

from edge_runtime import load, save
from export import quantize, verify
from tests.command import run_command
from tests.networks import random_model, random_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Artifacts of three precisions, and rows with labels."""
    folder = tmp_path_factory.mktemp("small")
    model, rows = random_model((6, 8, 2), ["relu", "softmax"], standardize=True), random_rows(60, 6)
    for precision in ("int8", "int4", "int8-dynamic"):
        save(quantize(model, rows, precision, "minmax"), folder / f"m.{precision}.npz")
    save(model, folder / "m.npz")
    np.savez(folder / "rows.npz", x=rows, y=(rows[:, 0] > 0).astype(np.int64))
    return folder


@pytest.mark.parametrize("precision", ["int8", "int4", "int8-dynamic"])
def test_a_small_artifact_is_written_as_it_is(folder, tmp_path, precision):
    """As ONNX beside it, verified, without data and without another artifact; the precision need not be said."""
    artifact = folder / f"m.{precision}.npz"
    done = run_command("export", artifact, "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [f"m.{precision}.onnx"]
    assert verify(load(artifact), tmp_path / f"m.{precision}.onnx", random_rows(40, 6, 3)).ok
    facts = json.loads(done.stdout)
    assert facts["note"] == "no data given: compared on 256 random rows"
    (exported,) = facts["exported"]
    assert (exported["precision"], exported["verified"], exported["values_differing"]) == (precision, True, 0)
    assert exported["onnx_bytes"] == (tmp_path / f"m.{precision}.onnx").stat().st_size


def test_data_judge_it_too(folder, tmp_path):
    """With their labels, on the rows that were held out; C and ONNX are written together."""
    command = ["export", folder / "m.int8.npz", "--calibrate", folder / "rows.npz", "--out", tmp_path]
    done = run_command(*command, "--format", "onnx", "--format", "c")
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.int8.onnx", "m_int8.c", "m_int8.h"]
    lines = done.stdout.splitlines()
    assert lines[-2].startswith("ok: 60 rows, 0 of ")
    assert lines[-1].startswith("accuracy ")


def test_what_it_cannot_be_is_refused(folder, tmp_path):
    """Another precision, a form that does not exist for it, and a file that is somebody else's."""
    other = run_command("export", folder / "m.int8.npz", "--precision", "float16", "--out", tmp_path)
    assert (other.exit_code, "is int8 already; start from the float32 model" in other.stderr) == (2, True)
    (tmp_path / "m.int8.onnx").write_text("a text")
    refused = run_command("export", folder / "m.int8.npz", "--out", tmp_path)
    assert (refused.exit_code, "is not an ONNX file" in refused.stderr) == (2, True)
    assert (tmp_path / "m.int8.onnx").read_text() == "a text"
    assert run_command("export", folder / "m.int8.npz", "--out", tmp_path, "--force").exit_code == 0
    onnx.checker.check_model(onnx.load(tmp_path / "m.int8.onnx"))


def test_a_file_that_does_not_compute_the_same_is_not_written(folder, tmp_path, monkeypatch):
    """Exit status 1, and the first tensor that differs."""
    import export.commands.as_onnx as command

    other = load(folder / "m.int4.npz")
    monkeypatch.setattr(command, "to_onnx", lambda model, *_, **__: _wrong(other))
    done = run_command("export", folder / "m.int4.npz", "--out", tmp_path)
    assert done.exit_code == 1
    assert "values break their rule" in done.stderr
    assert done.stdout.startswith("FAILED: ")
    assert not list(tmp_path.iterdir())


def _wrong(model):
    """The ONNX of the model with another bias."""
    from export.onnx_writer import to_onnx

    proto = to_onnx(model)
    for tensor in proto.graph.initializer:
        if tensor.name.endswith("dense0.bias"):
            array = onnx.numpy_helper.to_array(tensor) + 99
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return proto


def test_a_model_in_other_integers_is_no_start(folder, tmp_path):
    """What it is, and what to start from; no advice to bring data, which would not help."""
    small = tmp_path / "s.npz"
    save(quantize(random_model([4, 3], ["linear"]), random_rows(40, 4), "int4"), small)
    done = run_command("export", small, "--precision", "int8", "--out", tmp_path)
    assert done.exit_code == 2
    assert "s.npz is int4 already; start from the float32 model that it was made of" in done.stderr
    assert "--calibrate" not in done.stderr
