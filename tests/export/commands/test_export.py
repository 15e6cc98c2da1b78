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


def auto(folder, *more):
    return export(folder, "--precision", "auto", *more)


def test_auto_prints_its_ladder_and_checks_the_files(folder):
    """Each candidate, the choice in the metadata and the JSON, and the drop of both files on rows it did not see."""
    done = auto(folder, "--max-drop", "20")
    assert done.exit_code == 0, done.stderr
    assert "auto: int4: " in done.stderr
    assert "20.00 points allowed: accuracy on 40 rows that the choice did not see" in " ".join(done.stdout.split())
    model = load(folder / "o" / "net.auto.npz")
    assert model.metadata["precision_ladder"].startswith("accuracy on 20 rows, 20.00 points allowed: int4 ")
    assert (folder / "o" / "net.auto.onnx").is_file()
    (facts,) = json.loads(auto(folder, "--max-drop", "20", "--json").stdout)["exported"]
    assert facts["layers"] == {layer.name: layer.precision for layer in model.layers}
    assert (facts["choice"]["metric"], facts["choice"]["max_drop"], facts["choice"]["rows"]) == ("accuracy", 20.0, 20)
    (taken,) = [trial for trial in facts["choice"]["trials"] if trial["layers"] == facts["layers"]]
    assert taken["is_within"]
    assert facts["check"]["ok"]
    assert facts["check"]["artifact_drop"] == facts["check"]["onnx_drop"] <= 20


def test_a_drop_that_does_not_hold_on_the_written_files_is_said_with_its_figure(folder, tmp_path, monkeypatch):
    """Exit status 1, and nothing gets its name."""
    monkeypatch.setattr("export.quantization.drops.DropJudge.is_within", lambda judge, outputs: True)
    done = run_command("export", folder / "net.npz", "--calibrate", folder / "rows.npz", "--out", tmp_path / "o",
                       "--precision", "auto", "--max-drop", "0", "--metric", "sqnr")  # fmt: skip
    assert done.exit_code == 1
    assert "error: auto: a drop of " in done.stderr
    assert "dB in ONNX, 0.00 dB allowed: sqnr below float16's on 40 rows that the choice did not see" in done.stderr
    assert not (tmp_path / "o").exists()


def test_auto_without_labels_counts_decisions_that_change(folder, tmp_path):
    """And values are judged by their signal to noise."""
    np.savez(tmp_path / "x.npz", x=random_rows(200, 6))
    save(random_model((6, 12, 2), ["relu", "linear"]), tmp_path / "values.npz")
    for model, metric, drop in ((folder / "net.npz", "accuracy", 20), (tmp_path / "values.npz", "sqnr", 80)):
        done = run_command("export", model, "--calibrate", tmp_path / "x.npz", "--out", tmp_path, "--precision",
                           "auto", "--max-drop", drop, "--json")  # fmt: skip
        assert done.exit_code == 0, done.stderr
        (facts,) = json.loads(done.stdout)["exported"]
        assert facts["choice"]["metric"] == metric
        assert (facts["choice"]["rows"], facts["check"]["rows"], facts["check"]["is_apart"]) == (20, 20, True)
    assert "decisions changed" not in facts["check"]["text"]


def test_auto_of_few_rows_says_that_it_was_checked_on_the_same(folder, tmp_path):
    """Too few to keep some apart."""
    np.savez(tmp_path / "few.npz", x=random_rows(12, 6))
    done = run_command("export", folder / "net.npz", "--calibrate", tmp_path / "few.npz", "--out", tmp_path,
                       "--precision", "auto", "--max-drop", "50")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "12 rows of the choice, too few to keep some apart" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--precision", "auto"], "--precision auto without --max-drop found, expected what may be lost"),
        (["--max-drop", "1"], "--max-drop is given without --precision auto, expected both or none"),
        (["--metric", "sqnr"], "--metric is given without --precision auto, expected both or none"),
        (["--precision", "auto", "--max-drop", "1", "--keep", "dense0=int8"], "--keep is given with --precision auto"),
        (["--precision", "auto", "--max-drop", "-1"], "--max-drop"),
        (["--precision", "auto", "--max-drop", "nan"], "max_drop is nan, expected a finite number at least 0"),
        (["--precision", "auto", "--max-drop", "100"], "max_drop is 100.0, expected a finite number at least 0 and be"),
        (["--precision", "auto", "--max-drop", "1", "--metric", "rmse"], "metric 'rmse' found classes"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_in_one_line(folder, options, said):
    """With exit status 2."""
    done = export(folder, *options)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr


def test_auto_needs_data(folder):
    """The grids, the choice and the check are of real rows."""
    done = run_command("export", folder / "net.npz", "--precision", "auto", "--max-drop", "1")
    assert (done.exit_code, "add --calibrate" in done.stderr) == (2, True)


@pytest.mark.parametrize("options", [["--form", "qdq"], ["--form", "qgemm"], ["--format", "c"]])
def test_auto_takes_only_what_the_files_can_hold(folder, tmp_path, options):
    """Codes of more than 8 bits are written in the form integer alone: they are not tried for others."""
    done = run_command("export", folder / "net.npz", "--calibrate", folder / "rows.npz", "--out", tmp_path,
                       "--precision", "auto", "--max-drop", "10", "--metric", "sqnr", *options)  # fmt: skip
    assert done.exit_code in (0, 1), done.stderr
    assert "auto: int8: " in done.stderr
    assert "a16" not in done.stderr
