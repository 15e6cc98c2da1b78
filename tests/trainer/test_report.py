"""What a training says it has learned: one block, in narrow lines, and the same as plain data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_runtime import load
from tests.command import run_command
from trainer.report import confusion_text, scores_line
from trainer.scores import class_scores, value_scores

N = 120
RANDOM = np.random.default_rng(0)
KINDS = np.array(["run", "sit", "walk"])[np.arange(N) % 3]
X = (np.eye(3)[np.arange(N) % 3] + RANDOM.normal(size=(N, 3)) * 0.1).round(3)
FAST = ("--epochs", 3, "--hidden", 4)


def write(path, names, *columns):
    lines = [",".join(names.split()), *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def trained(tmp_path, data, *options):
    """The block by the first word of each line, the warnings, and the facts of the same training."""
    command = ["train", "--data", data, "--out", tmp_path / "m.npz", *FAST, *options]
    result = run_command(*command)
    assert result.exit_code == 0, result.stderr
    block = result.stdout[: result.stdout.index("\ntest ")]
    assert max(map(len, block.splitlines())) <= 80
    lines: dict[str, str] = {}
    for line in block.splitlines():
        key = line[:10].strip() or list(lines)[-1]
        lines[key] = f"{lines[key]} {line[10:]}" if key in lines else line[10:]
    facts = json.loads(run_command(*command, "--json").stdout)
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert [f"warning: {text}" for text in facts["warnings"]] == warnings
    return lines, warnings, facts


def test_a_classifier_says_label_task_rows_features_and_scores(tmp_path):
    """Each by name, with counts and with how it was decided."""
    data = write(tmp_path / "d.csv", "id label u v w", np.arange(N), KINDS, *X.T)
    lines, _, facts = trained(tmp_path, data)
    assert lines["label"] == "'label', by its name"
    assert lines["task"] == "3 classes: 3 different texts; rows of each: run 40, sit 40, walk 40"
    assert lines["rows"] == "84 to train, 12 to stop in time, 24 held out to test"
    assert lines["features"].startswith("3: u, v, w; standardized ")
    assert lines["left out"] == "'id' counts the rows (--features keeps it)"
    assert lines["scores"].startswith("accuracy ")
    assert "by always answering the most frequent class" in lines["baseline"]
    assert "without hidden layers" in lines["baseline"]
    assert (facts["label"], facts["task"], facts["classes"]) == (["label"], "class", {"run": 40, "sit": 40, "walk": 40})
    assert facts["rows"] == facts["rows_trained"] + facts["rows_validation"] + facts["rows_test"] == N
    assert facts["left_out"] == {"id": "counts the rows"}
    assert np.sum(facts["scores"]["confusion"]) == facts["rows_test"]
    assert 0 < facts["baselines"]["constant"] < 1


def test_a_regression_says_its_rule_and_its_units(tmp_path):
    """Whole numbers of many values are targets; the option that changes it is named."""
    price = np.round(X @ [1000, 2000, 3000])
    lines, _, facts = trained(tmp_path, write(tmp_path / "d.csv", "u v w price", *X.T, price))
    assert "the last column (--label names another)" in lines["label"]
    assert lines["task"].startswith("regression: ")
    assert "--target class makes them classes" in lines["task"]
    assert "RMSE" in lines["scores"]
    assert "by always answering the mean" in lines["baseline"]
    assert (facts["task"], facts["scores"]["targets"]) == ("regression", ["price"])


def test_what_was_done_to_columns_and_rows_is_said(tmp_path):
    """Texts, offsets, rows that were dropped, values that were filled in, notes of the file."""
    counter = 1e9 + RANDOM.normal(size=N).round(3)
    sensor = np.array(["a", "b"])[np.arange(N) % 2]
    columns = [sensor, counter.astype(object), X[:, 0], KINDS]
    columns[1][:2] = "NA"
    data = tmp_path / "d.csv"
    write(data, "sensor counter u label", *columns).write_text("# made by hand\n" + data.read_text())
    lines, _, facts = trained(tmp_path, data, "--one-hot", "auto", "--missing", "drop", "--class-weight", "balanced")
    assert "2 left out, which lack a value" in lines["rows"]
    assert "4: sensor=a, sensor=b, counter, u; " in lines["features"]
    assert "an input for each text of sensor" in lines["features"]
    assert "a constant subtracted from counter" in lines["features"]
    assert "weighted so that each class counts alike" in lines["task"]
    assert "comment" in lines["file"]
    assert (facts["rows_dropped"], facts["one_hot"], facts["offsets"]) == (2, ["sensor"], ["counter"])
    lines, _, facts = trained(tmp_path, data, "--one-hot", "auto", "--missing", "mean")
    assert "2 missing values filled in with the column's mean" in lines["rows"]


def test_a_weight_for_the_rare_class_finds_it(tmp_path):
    """Without it, what is rare is not worth an answer."""
    rare = (np.arange(600) % 30 == 0).astype(int)
    x = RANDOM.normal(size=(600, 2)) + 1.2 * rare[:, None]
    data = write(tmp_path / "d.csv", "u v label", *x.round(3).T, rare)
    common = ("--epochs", 20, "--standardize", "per-feature")
    plain = trained(tmp_path, data, *common)[2]["scores"]
    weighted = trained(tmp_path, data, *common, "--class-weight", "balanced")[2]["scores"]
    assert weighted["balanced_accuracy"] > plain["balanced_accuracy"] + 0.1
    result = run_command("train", "--data", data, "--target", "regression", "--class-weight", "balanced")
    assert (result.exit_code, "--class-weight is for classes" in result.stderr) == (2, True)


def test_a_model_no_better_than_none_is_a_warning(tmp_path):
    """A line that begins so on standard error, and stands in the JSON."""
    rare = np.where(np.arange(N) % 8, "usual", "rare")
    data = write(tmp_path / "d.csv", "u v w label", *RANDOM.normal(size=(3, N)).round(3), rare)
    _, warnings, _ = trained(tmp_path, data, "--epochs", 1, "--learning-rate", 1e-9)
    assert any("no better than always answering the most frequent class" in text for text in warnings)


def test_doubts_of_the_columns_are_warnings(tmp_path):
    """Numbers that never repeat, a class of one row."""
    kinds = KINDS.copy()
    kinds[5] = "fly"
    data = write(tmp_path / "d.csv", "serial u label", RANDOM.permutation(N) + 500, X[:, 0], kinds)
    _, warnings, _ = trained(tmp_path, data)
    assert any("'serial' holds another whole number in each row" in text for text in warnings)
    assert any("1 of 4 classes has a single row ('fly')" in text for text in warnings)


def test_the_model_remembers_how_tables_are_read(tmp_path):
    """In its metadata, with the label's name and its unit."""
    trained(tmp_path, write(tmp_path / "d.csv", "u v w temp[C]", *X.T, X[:, 0]))
    assert json.loads(load(tmp_path / "m.npz").metadata["schema"]) == {
        "columns": ["u", "v", "w"], "targets": ["temp[C]"], "units": ["C"],
    }  # fmt: skip


@pytest.mark.parametrize("count", [2, 5, 10, 12, 30])
def test_which_class_is_taken_for_which_fits_the_width(count):
    """A table where it is narrow enough, else the most frequent pairs, most frequent first."""
    names = [f"class {index}" for index in range(count)]
    truth = np.arange(count * 4) % count
    answers = np.where(truth == 1, 0, truth)
    text = confusion_text(class_scores(truth, answers, names).as_dict())
    assert max(map(len, text.splitlines())) <= 80
    if count <= 5:
        assert len(text.splitlines()) == count + 2
    if count == 30:
        assert text == "mistakes  'class 1' taken for 'class 0' 4 times"
    assert confusion_text(value_scores(np.ones(3), np.ones(3)).as_dict()) == ""


def test_scores_of_several_targets_are_listed_by_name():
    """Up to a dozen; of more the means."""
    truth = np.arange(12.0).reshape(4, 3)
    line = scores_line(value_scores(truth, truth + np.array([1, 2, 3]), ("a", "b", "c")).as_dict())
    assert "'a' RMSE 1, MAE 1; 'b' RMSE 2, MAE 2; 'c' RMSE 3, MAE 3" in line
    assert "RMSE 2, MAE 2 (means of 3 targets)" in scores_line(
        value_scores(truth, truth + np.array([1, 2, 3])).as_dict()
    )
