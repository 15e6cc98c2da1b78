import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import load, save
from tests.command import run_command
from tests.host_c import build, outputs, reference_logits
from tests.networks import random_model, random_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A float32 model of two classes, rows for it, and what `export --format c` wrote."""
    folder = tmp_path_factory.mktemp("c")
    save(random_model((6, 8, 2), ["relu", "softmax"], standardize=True), folder / "my model.npz")
    rows = random_rows(60, 6)
    np.savez(folder / "rows.npz", x=rows, y=(rows[:, 0] > 0).astype(np.int64))
    done = export(folder, folder / "my model.npz", "--calibrate", folder / "rows.npz")
    assert done.exit_code == 0, done.stderr
    return folder


def export(folder, model, *more):
    return run_command("export", model, "--format", "c", "--out", folder / "out", *more)


def test_c_is_written_beside_the_artifact(folder):
    """NAME is made of the model's file and the precision; the header states the artifact's SHA-256; no ONNX."""
    names = sorted(path.name for path in (folder / "out").iterdir())
    assert names == ["my model.int8.npz", "my_model_int8.c", "my_model_int8.h"]
    sha256 = hashlib.sha256((folder / "out" / "my model.int8.npz").read_bytes()).hexdigest()
    assert sha256 in (folder / "out" / "my_model_int8.h").read_text()


def test_what_was_written_gives_the_engine_s_bits(folder, tmp_path):
    """Raw rows go in, and the stored vectors are part of it."""
    source = {suffix: (folder / "out" / f"my_model_int8{suffix}").read_bytes() for suffix in (".c", ".h")}
    renamed = {f"m{suffix}": text.replace(b"my_model_int8", b"m") for suffix, text in source.items()}
    renamed = {name: text.replace(b"MY_MODEL_INT8", b"M") for name, text in renamed.items()}
    model, rows = load(folder / "out" / "my model.int8.npz"), random_rows(30, 6)
    found = outputs(build(tmp_path, renamed), rows)
    expected = model.final_activation(reference_logits(model, rows))
    assert np.abs(found - expected).max() <= 2e-6


def test_an_int8_artifact_is_written_as_it_is(folder, tmp_path):
    """Without data, and to the same bytes."""
    artifact = folder / "out" / "my model.int8.npz"
    done = run_command("export", artifact, "--format", "c", "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    written = json.loads(done.stdout)["exported"][0]["c"]
    assert [Path(path).name for path in written] == ["my_model_int8.c", "my_model_int8.h"]
    for path in map(Path, written):
        assert path.read_bytes() == (folder / "out" / path.name).read_bytes()


def test_somebody_else_s_file_is_not_replaced(folder, tmp_path):
    """Without --force; our own is."""
    artifact = folder / "out" / "my model.int8.npz"
    (tmp_path / "my_model_int8.h").write_text("#pragma once\n")
    command = ["export", artifact, "--format", "c", "--out", tmp_path]
    refused = run_command(*command)
    assert (refused.exit_code, "is not a C file of ours" in refused.stderr) == (2, True)
    assert (tmp_path / "my_model_int8.h").read_text() == "#pragma once\n"
    assert run_command(*command, "--force").exit_code == 0
    assert run_command(*command).exit_code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "onnx", "--logits"], "--logits is given without a format of C"),
        (["--format", "c", "--precision", "int8-dynamic"], "int8-dynamic is not written as C"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(folder, options, said):
    """In one line, with exit status 2."""
    done = run_command("export", folder / "my model.npz", "--calibrate", folder / "rows.npz", *options)
    assert done.exit_code == 2
    assert said in done.stderr


def test_both_formats_are_written_together(folder, tmp_path):
    """Each once, however often it is asked for."""
    command = ["export", folder / "my model.npz", "--calibrate", folder / "rows.npz", "--out", tmp_path]
    assert run_command(*command, "--format", "c", "--format", "onnx", "--format", "c").exit_code == 0
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".c", ".h", ".npz", ".onnx"]


def test_a_page_needs_its_compiler_before_the_work(folder, tmp_path, monkeypatch):
    """Nothing is quantized or written where ziglang is missing."""
    monkeypatch.setattr("export.c_writer.web.importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("export.commands.export.require_extra", lambda *names: None)
    command = ["export", folder / "my model.npz", "--calibrate", folder / "rows.npz", "--format", "html"]
    done = run_command(*command, "--out", tmp_path / "new")
    assert (done.exit_code, "pip install ziglang" in done.stderr) == (2, True)
    assert not (tmp_path / "new").exists()
