"""`smallnet export`: what is asked for by its options, what is printed, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_runtime import load, save
from tests.command import run_command
from tests.networks import random_model, random_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A float32 model of three classes, and labelled rows for it."""
    folder = tmp_path_factory.mktemp("export")
    save(random_model((6, 12, 8, 3), ["relu", "tanh", "softmax"], standardize=True), folder / "net.npz")
    rows = random_rows(200, 6)
    np.savez(folder / "rows.npz", x=rows, y=(rows[:, 0] > 0).astype(np.int64) + (rows[:, 1] > 1))
    return folder


def export(folder, *more):
    return run_command("export", folder / "net.npz", "--calibrate", folder / "rows.npz", "--out", folder / "o", *more)


def test_layers_that_are_kept_are_said_and_written(folder):
    """In the file, in its metadata, under the table, and in the JSON by name."""
    done = export(folder, "--keep", "dense1=float16", "--keep", "dense2=float32")
    assert done.exit_code == 0, done.stderr
    assert "int8, mixed: int8 dense0; float16 dense1; float32 dense2" in done.stdout
    model = load(folder / "o" / "net.int8.npz")
    assert [layer.precision for layer in model.layers] == ["int8", "float16", "float32"]
    assert model.metadata["kept_layers"] == "dense1 float16, dense2 float32"
    (facts,) = json.loads(export(folder, "--keep", "dense1=float32", "--json").stdout)["exported"]
    assert facts["layers"] == {"dense0": "int8", "dense1": "float32", "dense2": "int8"}
    assert "mixed" not in export(folder).stdout


def test_a_mixed_artifact_is_written_as_c_as_it_is(folder, tmp_path):
    """As one of a single precision is, without data."""
    assert export(folder, "--keep", "dense1=float16").exit_code == 0
    done = run_command("export", folder / "o" / "net.int8.npz", "--format", "c", "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net_int8.c", "net_int8.h"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--keep", "dense1"], "--keep dense1 found, expected NAME=PRECISION such as dense1=float16"),
        (["--keep", "=int8"], "--keep =int8 found, expected NAME=PRECISION"),
        (["--keep", "dense1=half"], "--keep dense1=half found, expected NAME=PRECISION"),
        (["--keep", "dense1=int8", "--keep", "dense1=float16"], "--keep names dense1 twice"),
        (["--keep", "hidden=float16"], "keep names 'hidden', expected a layer of this network: one of 'dense0'"),
        (["--keep", "dense1=float16", "--precision", "float32"], "in precision float32, in which every layer stays"),
        (["--keep", "dense1=int8", "--precision", "float16"], "'int8' in precision float16, which looks at no"),
    ],
)
def test_a_layer_that_cannot_be_kept_is_refused_in_one_line(folder, options, said):
    """With exit status 2, and nothing is written."""
    done = run_command(
        "export", folder / "net.npz", "--calibrate", folder / "rows.npz", "--out", folder / "none", *options
    )
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr
    assert not (folder / "none").exists()
