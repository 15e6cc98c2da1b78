"""`smallnet import` of folders and of several files: one table, whatever single files hold."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_runtime import Dense, Elementwise, LayerNorm, Model, load
from edge_runtime.numerics import Activation
from export.commands import import_many
from export.commands.importing import network_text
from tests.command import run_command
from tests.export.foreign import graph, normal

SOUND = "h = Gemm(x, W1, B1) r = Relu(h) y = Gemm(r, W2, B2)"
BOMB = "v = Tile(one, many) w = MatMul(v, v) h = Gemm(x, W1, B1) y = MatMul(h, w)"


def test_a_network_is_told_with_its_stages_without_weights():
    """LayerNorm and limits of each feature are no "linear" layers."""
    linear, relu, gelu = map(Activation.of, ("linear", "relu", "gelu"))
    three, two = (np.ones((2, width), np.float32) for width in (3, 2))
    stages = (LayerNorm("n", *three, 0.0, linear), Elementwise("e", *three, linear))
    dense = Dense("d", np.ones((3, 2), np.float32), two[0], relu)
    model = Model((*stages, dense, LayerNorm("m", *two, 0.0, gelu)))
    assert network_text(model) == "float32 3-3-3-2-2 LayerNorm, Elementwise, relu, LayerNorm gelu"


@pytest.fixture
def policies(tmp_path):
    """A folder as people have it: sound files at two depths, and of each kind of trouble one."""
    folder = tmp_path / "policies"
    (folder / "walker").mkdir(parents=True)
    (folder / ".cache").mkdir()
    for name in ("a.onnx", "walker/b.ONNX", ".cache/hidden.onnx"):
        onnx.save(graph(SOUND), folder / name)
    residual = graph("h = Gemm(x, V) r = Softmax(h) y = Mul(r, h)", target="float[N,6] y", V=normal(6, 6))
    onnx.save(residual, folder / "residual.onnx")
    many = np.array([1 << 20, 1 << 20])
    onnx.save(graph(BOMB, one=np.ones((1, 1), np.float32), many=many), folder / "bomb.onnx")
    (folder / "damaged.onnx").write_bytes(b"nothing of this kind")
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "notes.txt").write_text("no network")
    return folder


def facts_of(*arguments, status):
    result = run_command("import", *arguments, "--json")
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def test_a_folder_becomes_one_table(policies, tmp_path):
    """Every .onnx file below it, hidden folders aside, sorted; read or refused and why; nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    facts = facts_of(policies, status=1)
    found = {os.path.relpath(entry["path"], policies): entry for entry in facts["files"]}
    assert list(found) == ["a.onnx", "bomb.onnx", "damaged.onnx", "empty.onnx", "residual.onnx", "walker/b.ONNX"]
    assert [name for name, entry in found.items() if entry["result"] == "read"] == ["a.onnx", "walker/b.ONNX"]
    assert (facts["ok"], facts["read"], facts["refused"], facts["differing"]) == (False, 2, 4, 0)
    assert found["a.onnx"]["network"] == "float32 6-5-3 relu, linear"
    assert found["a.onnx"]["checks"]["random"]["ok"]
    assert found["residual.onnx"]["reason"].startswith("node 'y' (Mul, output 'y'): ")
    assert "the file is empty" in found["empty.onnx"]["reason"]
    assert not any(str(policies) in entry["reason"] for entry in found.values() if entry["reason"])
    assert sorted(tmp_path.rglob("*")) == before


def test_the_table_has_a_line_for_each_file(policies):
    """With the reason in full where no terminal cuts it, then the counts and that nothing was written."""
    result = run_command("import", policies)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["file", "result", "network,", "or", "why", "not"]
    assert [line.split()[1] for line in lines[2:8]] == ["read", "refused", "refused", "refused", "refused", "read"]
    assert any("residual.onnx  refused  node 'y' (Mul, output 'y'): " in line for line in lines)
    assert lines[-2:] == ["6 files: 2 read, 4 refused", "nothing was written"]
    assert not any("--wide" in line for line in lines)


def test_on_a_terminal_a_line_is_cut_and_begins_with_the_operator():
    """Of 60 letters most would be the node's name; --wide is named where something is refused."""
    entry = {"path": "a.onnx", "network": None, "warnings": ["w"], "result": "refused"}
    entry["reason"] = "node '/a/long/name' (Mul, output '/a/long/output'): residual Mul: it joins two branches"
    facts = {"ok": False, "read": 0, "refused": 1, "differing": 0, "files": [entry]}
    text = import_many.many_table(facts, None, 60)
    assert "refused  Mul: residual Mul: it joins" in text
    assert max(map(len, text.splitlines())) <= 60
    assert "1 files: 0 read, 1 refused, reasons in full with --wide\n1 with warnings, which --json lists" in text


def test_artifacts_are_written_under_the_names_and_places_of_their_files(policies, tmp_path):
    """Those that are read, with test vectors; a second time they replace themselves."""
    for _ in range(2):
        facts = facts_of(policies, "--out", tmp_path / "out", "--test-vectors", "3", status=1)
        written = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.npz"))
        assert written == ["out/a.npz", "out/walker/b.npz"]
        assert [entry.get("file") for entry in facts["files"] if entry["result"] == "read"] == [
            str(tmp_path / name) for name in written
        ]
    assert len(load(tmp_path / "out" / "a.npz").test_vectors.inputs) == 3
    result = run_command("import", policies / "walker", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"1 files: 1 read, 0 refused\nwrote 1 artifacts to {tmp_path / 'out'}\n")


def test_each_file_has_the_limits_for_itself(policies, tmp_path):
    """One that is too large, or missing, is a line of the table; the others are read."""
    wide = graph(SOUND, W1=normal(6, 50_000), B1=normal(50_000), W2=normal(50_000, 3))
    onnx.save(wide, policies / "wide.onnx")
    paths = [policies / "wide.onnx", policies / "a.onnx", tmp_path / "missing.onnx", policies / "walker/b.ONNX"]
    facts = facts_of(*paths, "--max-bytes", "100K", status=1)
    assert [entry["result"] for entry in facts["files"]] == ["refused", "read", "refused", "read"]
    assert "raise --max-bytes" in facts["files"][0]["reason"]
    assert facts["files"][2]["reason"] == "No such file or directory; check the name"
    late = facts_of(*paths[:2], "--max-seconds", "0.000001", status=1)
    assert all("raise --max-seconds" in entry["reason"] for entry in late["files"])


def test_what_differs_is_neither_read_nor_written(policies, tmp_path, monkeypatch):
    """A line of its own kind, with how many outputs differ."""
    original = import_many.checked
    monkeypatch.setattr(import_many, "checked", lambda source, path, allowed: _moved(original(source, path, allowed)))
    result = run_command("import", policies / "walker", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "DIFFERS  2 outputs differ from onnxruntime's on random rows" in result.stdout
    assert result.stdout.endswith("1 files: 0 read, 0 refused, 1 DIFFER\nnothing was written\n")
    assert not list(tmp_path.rglob("*.npz"))


def _moved(found):
    """As if two outputs had been others."""
    report = found.reports["random"]
    checks = [type(check)(**{**vars(check), "differing": 2}) for check in report.checks]
    return type(found)(found.source, found.rows, {"random": type(report)(**{**vars(report), "checks": tuple(checks)})})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["F", "--output", "y"], "--output is for one file"),
        (["F", "--data", "digits"], "--data is for one file"),
        (["F", "--out", "x.npz"], "expected the name of a folder for several files"),
        (["F/walker", "F/walker", "--out", "out"], "would both be written to out"),
        (["F", "--out", "F/notes.txt"], "is a file, expected the name of a folder"),
        (["F/.cache/none"], "Missing option '--out'"),
        (["F/bare"], "no file ends in .onnx, expected one at least"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_work(policies, arguments, message, monkeypatch):
    """In one line, with exit status 2."""
    (policies / "bare").mkdir()
    monkeypatch.setattr(import_many, "import_onnx", None)
    result = run_command(
        "import", *(word.replace("F", str(policies), 1) if word[0] == "F" else word for word in arguments)
    )
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_file_that_is_no_artifact_is_replaced(policies, tmp_path):
    """Refused before any file is read; --force replaces it."""
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out" / "a.npz"
    kept.write_text("mine")
    refused = run_command("import", policies, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "a.npz exists and is not an artifact; add --force" in refused.stderr
    assert kept.read_text() == "mine"
    assert facts_of(policies, "--out", tmp_path / "out", "--force", status=1)["read"] == 2
    assert load(kept).layer_sizes == (6, 5, 3)


def test_a_pipe_in_a_folder_does_not_stop_the_table(tmp_path):
    """It would be waited for without an end."""
    os.mkfifo(tmp_path / "pipe.onnx")
    onnx.save(graph(SOUND), tmp_path / "a.onnx")
    assert [Path(entry["path"]).name for entry in facts_of(tmp_path, status=0)["files"]] == ["a.onnx"]


def test_a_folder_that_cannot_be_read_is_in_the_table(policies, monkeypatch):
    """As a line that is refused: left out without a word, its files would seem to be none."""
    scan = os.scandir

    def refusing(path):
        if os.path.basename(path) == "walker":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = {os.path.relpath(entry["path"], policies): entry for entry in facts_of(policies, status=1)["files"]}
    assert found["walker"]["result"] == "refused"
    assert found["a.onnx"]["result"] == "read"
    assert "walker/b.ONNX" not in found
