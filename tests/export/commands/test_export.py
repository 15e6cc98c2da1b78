"""`smallnet export`: what is asked for by its options, what is printed, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, load, save
from export.commands.within import MOST_CHECKED
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
    assert "points, within" in done.stderr
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
    monkeypatch.setattr("export.commands.verified_pair.MOST_CHECKED", 1)
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
        (["--precision", "auto", "--max-drop", "1", "--keep", "dense9=int8"], "keep names 'dense9', expected a layer"),
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
    assert (done.exit_code, "add --calibrate DATA" in done.stderr) == (2, True)
    assert "the data that the model was trained on" in done.stderr


@pytest.mark.parametrize("options", [["--form", "qdq"], ["--form", "qgemm"], ["--format", "c"]])
def test_auto_takes_only_what_the_files_can_hold(folder, tmp_path, options):
    """Codes of more than 8 bits are written in the form integer alone: they are not tried for others."""
    done = run_command("export", folder / "net.npz", "--calibrate", folder / "rows.npz", "--out", tmp_path,
                       "--precision", "auto", "--max-drop", "10", "--metric", "sqnr", *options)  # fmt: skip
    assert done.exit_code in (0, 1), done.stderr
    assert "auto: int8: " in done.stderr
    assert "a16" not in done.stderr


def test_auto_keeps_layers_that_are_named(folder):
    """It chooses for the others; where the kept ones alone lose too much it says by how much."""
    done = auto(folder, "--max-drop", "25", "--keep", "dense1=float32")
    assert done.exit_code == 0, done.stderr
    model = load(folder / "o" / "net.auto.npz")
    assert (model.layers[1].precision, model.layers[0].precision) == ("float32", "int4")
    assert "dense1 float32" in model.metadata["kept_layers"]
    done = auto(folder, "--max-drop", "0", "--metric", "sqnr", "--keep", "dense0=int4")
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: with dense0 int4 kept, the best of the other layers' precisions (")
    assert "with dense0 int4) has a drop of " in last


def test_a_choice_that_does_not_hold_is_followed_by_the_next(folder, monkeypatch):
    """The next rung is made and checked; what did not hold is said, and stands in the metadata."""
    monkeypatch.setattr("export.quantization.drops.DropJudge.is_within", lambda judge, outputs: True)
    done = auto(folder, "--max-drop", "3", "--metric", "sqnr", "--json")
    assert done.exit_code == 0, done.stderr
    assert "auto: int4 does not hold: a drop of " in " ".join(done.stderr.split())
    (facts,) = json.loads(done.stdout)["exported"]
    assert facts["check"]["ok"]
    assert 0 < facts["check"]["refused_before"] < MOST_CHECKED
    assert facts["check"]["artifact_drop"] <= 3
    ladder = load(folder / "o" / "net.auto.npz").metadata["precision_ladder"]
    assert ladder.count("(more on other rows)") == facts["check"]["refused_before"]


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """A float32 model of three targets in units of their own, and rows for it: a loud one beside two quiet ones."""
    folder = tmp_path_factory.mktemp("units")
    model = random_model((6, 24, 3), ["tanh", "linear"], standardize=True)
    last, scale = model.layers[1], np.float32([1000, 0.01, 20])
    last = replace(last, weight=last.weight * scale, bias=last.bias * scale)
    save(replace(model, layers=(model.layers[0], last), metadata={"target": "regression"}), folder / "net.npz")
    rows = random_rows(600, 6)
    exact = Engine(load(folder / "net.npz")).run(rows)
    noise = np.random.default_rng(3).normal(size=exact.shape) * exact.std(axis=0) * 0.05
    np.savez(folder / "rows.npz", x=rows, y=(exact + noise).astype(np.float32))
    return folder


def test_each_target_counts_alike_and_the_worst_is_named(units):
    """No target's error grows by more than was allowed, however small its numbers are."""
    done = auto(units, "--max-drop", "5", "--per-tensor", "--json")
    assert done.exit_code == 0, done.stderr
    (facts,) = json.loads(done.stdout)["exported"]
    assert facts["choice"]["measured"] == "rmse of the worst output on 60 rows"
    assert facts["check"]["worst"].startswith(("output ", "'"))
    assert "points" not in facts["check"]["text"]
    with np.load(units / "rows.npz") as rows:
        x, y = rows["x"], rows["y"]
    before, after = (Engine(load(units / name)).run(x) - y for name in ("net.npz", "o/net.auto.npz"))
    grown = 100 * (np.sqrt(np.mean(after**2, axis=0) / np.mean(before**2, axis=0)) - 1)
    assert grown.max() < 6
    assert facts["scores"]["r2"] > 0.95


def test_help_says_what_is_kept_back_for_chance():
    """In a sentence, with the sign that the ladder has."""
    said = " ".join(run_command("export", "--help").stdout.split())
    assert "a drop and its standard error" in said


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--equalize"], "--equalize"),
        (["--method", "entropy", "--bias-correction"], "--method, --bias-correction"),
        (["--rounding", "compensated"], "--rounding compensated"),
    ],
)
@pytest.mark.parametrize("precision", ["float16", "int8-dynamic"])
def test_options_of_calibrated_grids_are_refused_where_there_are_none(folder, options, named, precision):
    """Rather than left out silently; beside a precision that has some they hold for that one."""
    done = export(folder, "--precision", precision, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{named} given with {precision}, which looks at no rows: expected one of int8, int4" in done.stderr
    assert export(folder, "--precision", precision, "--precision", "int8", *options).exit_code == 0


def test_warnings_of_a_file_stand_only_where_it_is_written(folder):
    """Of 4-bit weights that ONNX holds as int8, where C alone is asked for."""
    both = [export(folder, "--precision", "int4", "--format", name).stderr for name in ("c", "onnx")]
    assert ["as int8" in text for text in both] == [False, True]


def test_a_network_that_grows_is_said_with_its_bytes(folder):
    """Tables of activations may take more than the weights of a small network."""
    done = export(folder, "--precision", "int8-a16")
    assert done.exit_code == 0
    assert "warning: int8-a16: 8," in done.stderr
    assert "more than the " in done.stderr
    assert "more than the " not in export(folder, "--precision", "float16").stderr
