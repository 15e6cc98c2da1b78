"""`smallnet diff`: exit status 0 for the same bits, 1 for others, 2 for trouble."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, save
from export import quantize, write_onnx
from tests.command import run_command
from tests.networks import random_model, random_rows

MODEL = replace(random_model([6, 8, 3], ["relu", "softmax"]), metadata={"target": "class"})
ROWS = random_rows(200, 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, what was made of it, and labelled rows."""
    folder = tmp_path_factory.mktemp("diff")
    small = quantize(MODEL, ROWS, method="minmax")
    save(MODEL, folder / "m.npz")
    save(MODEL, folder / "again.npz")
    save(small, folder / "s.npz")
    write_onnx(MODEL, folder / "m.onnx")
    write_onnx(small, folder / "s.onnx")
    np.savez(folder / "rows.npz", x=ROWS, y=np.arange(200) % 3)
    return folder


def test_the_same_bits_give_status_0(folder):
    """Of two files."""
    result = run_command("diff", folder / "m.npz", folder / "again.npz")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "the same in every bit"
    assert "random normal rows" in result.stdout


def test_a_difference_gives_status_1_and_what_the_rows_say(folder):
    """Layers, scores of both, decisions that flip, decibels."""
    result = run_command("diff", folder / "m.npz", folder / "s.npz", "--data", folder / "rows.npz", "--wide")
    assert result.exit_code == 1
    assert "layer 'dense0': kind Dense -> QuantizedDense; precision float32 -> int8" in result.stdout
    assert "on 40 rows (held out of rows.npz): accuracy 0." in result.stdout
    assert "decisions flip, " in result.stdout
    assert "tensor that differs most: dense" in result.stdout


def test_what_an_onnx_file_does_not_say_is_a_difference_although_the_bits_agree(folder):
    """Test vectors are lost; no tensor differs, which one line says in place of layers that are spelled otherwise."""
    result = run_command("diff", folder / "s.npz", folder / "s.onnx", "--wide")
    assert result.exit_code == 1
    assert "test vectors" in result.stdout
    assert "no tensor differs" in result.stdout
    assert "layer 'dense" not in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last.startswith("written otherwise, the same bits on ")
    assert last.endswith(" rows: activation, output grid, input grid of layers, 2 other facts")


def test_all_rows_of_data_are_answered_if_that_is_asked_for(folder):
    """As rows that no model saw need none held out; of no data there are none."""
    models = (folder / "m.npz", folder / "s.npz")
    result = run_command("diff", *models, "--data", folder / "rows.npz", "--all-rows", "--wide")
    assert result.exit_code == 1
    assert "on 200 rows (all of rows.npz): accuracy 0." in result.stdout
    result = run_command("diff", *models, "--all-rows")
    assert result.exit_code == 2
    assert "--all-rows found, and no --data" in result.stderr


def test_how_many_of_many_rows_are_answered_is_said(folder, tmp_path):
    """In text, in JSON and in the help."""
    np.savez(tmp_path / "many.npz", x=np.tile(ROWS, (25, 1)))
    arguments = ("diff", folder / "m.npz", folder / "s.npz", "--data", tmp_path / "many.npz", "--all-rows")
    result = run_command(*arguments, "--wide")
    assert "on 4,096 of the 5,000 rows (all of many.npz), spread evenly: " in result.stdout
    facts = json.loads(run_command(*arguments, "--json").stdout)["rows"]
    assert (facts["rows"], facts["rows_in_all"]) == (4096, 5000)
    assert "or 4,096, so many are answered" in " ".join(run_command("diff", "--help").stdout.split())


def test_outputs_behind_other_activations_are_compared_as_they_come(folder, tmp_path):
    """And it is said that they are."""
    last = replace(MODEL.layers[1], activation=Activation("linear"))
    save(replace(MODEL, layers=(MODEL.layers[0], last)), tmp_path / "linear.npz")
    arguments = ("diff", folder / "m.npz", tmp_path / "linear.npz", "--data", folder / "rows.npz")
    result = run_command(*arguments, "--wide")
    assert " dB between the outputs after their activations (softmax and linear); " in result.stdout
    assert "no error" not in result.stdout
    assert json.loads(run_command(*arguments, "--json").stdout)["rows"]["activations"] == ["softmax", "linear"]


def test_rows_without_their_labels_are_not_those_that_train_held_out(folder, tmp_path):
    """Which is said, and in JSON."""
    trained = replace(MODEL, metadata={"target": "class", "seed": "3"})
    save(trained, tmp_path / "trained.npz")
    np.savez(tmp_path / "x.npz", x=ROWS)
    result = run_command("diff", tmp_path / "trained.npz", folder / "m.npz", "--data", tmp_path / "x.npz", "--json")
    said = "the rows that 'train' held out cannot be found again without their labels"
    assert json.loads(result.stdout)["notes"][1].startswith(said)
    assert said in " ".join(result.stderr.split())


def test_json_has_all_of_it(folder):
    """As plain data, which JSON can hold."""
    result = run_command("diff", folder / "m.npz", folder / "s.onnx", "--json")
    facts = json.loads(result.stdout, parse_constant=pytest.fail)
    assert facts["same"] is False
    assert facts["facts"]["precision"] == ["float32", "int8"]
    assert facts["layers"][0]["facts"]["activation"][0] == "relu"
    assert facts["rows"]["tensor"]["name"].endswith(".output")
    assert facts["file_bytes"][0] == (folder / "m.npz").stat().st_size


def test_trouble_gives_status_2(folder):
    """A file that is not there, and one that is no model."""
    assert run_command("diff", folder / "m.npz", folder / "nothing.npz").exit_code == 2
    assert run_command("diff", folder / "m.npz", folder / "rows.npz").exit_code == 2
