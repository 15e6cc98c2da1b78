"""`smallnet score`, and the same figures from the other commands."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_runtime import Engine, load, save
from edge_runtime.schema import Schema
from export.onnx_writer.writer import write_onnx
from export.quantization.quantizer import quantize
from tests.command import run_command
from tests.compilers import needs_compiler
from tests.networks import random_model

N = 120
RANDOM = np.random.default_rng(0)
KINDS = np.array(["run", "sit", "walk"])[np.arange(N) % 3]
X = (np.eye(3)[np.arange(N) % 3] + RANDOM.normal(size=(N, 3)) * 0.05).round(3)


def write(path, names, *columns):
    lines = [",".join(names.split()), *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def facts_of(*arguments):
    result = run_command(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier, a regression and an autoencoder with their tables, and the classifier's exports."""
    base = tmp_path_factory.mktemp("score")
    write(base / "kinds.csv", "label u v w", KINDS, *X.T)
    write(base / "price.csv", "u v w price", *X.T, (X @ [1.0, 2.0, 3.0]).round(4))
    common = ["--epochs", 30, "--standardize", "per-feature", "--learning-rate", 0.02, "--hidden", 8]
    for name, data, *more in (
        ("kinds", "kinds"), ("price", "price"), ("auto", "kinds", "--target", "autoencoder"),
    ):  # fmt: skip
        out = base / f"{name}.npz"
        assert run_command("train", "--data", base / f"{data}.csv", "--out", out, *common, *more).exit_code == 0
    export = ["export", base / "kinds.npz", "--calibrate", base / "kinds.csv", "--out", base / "out"]
    assert run_command(*export, "--precision", "all").exit_code == 0
    return base


def test_a_classifier_is_judged_on_all_rows(folder):
    """Accuracy, balanced accuracy, and which class is taken for which."""
    result = run_command("score", folder / "kinds.npz", "--data", folder / "kinds.csv")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "accuracy 1.0000, balanced accuracy 1.0000 (120 rows)"
    assert lines[1].split() == ["true", "class", "run", "sit", "walk"]
    assert lines[3].split() == ["run", "40", "0", "0"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ["out/kinds.int8.npz", "out/kinds.float16.npz", "out/kinds.int8.onnx"])
def test_every_export_is_judged_as_the_model_is(folder, name):
    """The schema and the classes travel with the artifact and the ONNX file."""
    assert Schema.of(load(folder / "out" / "kinds.int8.npz")) == Schema.of(load(folder / "kinds.npz"))
    shuffled = write(folder / "shuffled.csv", "w label v u", X[:, 2], KINDS, X[:, 1], X[:, 0])
    found = facts_of("score", folder / name, "--data", shuffled)
    assert found["scores"]["accuracy"] == 1.0
    assert found["scores"]["class_names"] == ["run", "sit", "walk"]
    assert found["rows"] == N


def test_a_regression_is_judged_in_the_units_of_its_target(folder):
    """As NumPy computes it."""
    found = facts_of("score", folder / "price.npz", "--data", folder / "price.csv")["scores"]
    truth = (X @ [1.0, 2.0, 3.0]).round(4)
    error = Engine(load(folder / "price.npz")).run(X.astype(np.float32))[:, 0] - truth.astype(np.float32)
    assert found["rmse"] == [pytest.approx(np.sqrt(np.mean(np.square(error))), rel=1e-5)]
    assert found["mae"] == [pytest.approx(np.mean(np.abs(error)), rel=1e-5)]
    assert found["targets"] == ["price"]


def test_commands_use_the_same_names(folder):
    """train, export, verify and score."""
    train = facts_of("train", "--data", folder / "kinds.csv", "--out", folder / "again.npz", "--epochs", 3)
    export = facts_of("export", folder / "kinds.npz", "--calibrate", folder / "kinds.csv", "--out", folder / "out2")
    pair = [folder / "out" / f"kinds.int8.{kind}" for kind in ("npz", "onnx")]
    verify = facts_of("verify", *pair, "--data", folder / "kinds.csv")
    score = facts_of("score", pair[0], "--data", folder / "kinds.csv")
    names = score["scores"].keys()
    assert train["scores"].keys() == export["before"]["scores"].keys() == verify["scores"].keys() == names
    assert export["exported"][0]["scores"].keys() == names
    assert verify["scores"] == score["scores"]
    assert export["score"] == "accuracy"


def test_what_was_noticed_of_the_data_is_said_and_in_json(folder):
    """A column that the model does not know is named by verify and score, in a line and under `notes`."""
    data = write(folder / "more.csv", "label u v w battery", KINDS, *X.T, np.arange(N) % 5)
    pair = [folder / "out" / f"kinds.int8.{kind}" for kind in ("npz", "onnx")]
    for command in (["verify", *pair], ["score", pair[1]]):
        result = run_command(*command, "--data", data, "--json")
        assert "'battery'" in result.stderr
        assert any("'battery'" in text for text in json.loads(result.stdout)["notes"])


def test_an_autoencoder_is_judged_by_its_errors(folder):
    """Their distribution, the threshold of its training, and how well they tell strange rows, if labels say which."""
    metadata = load(folder / "auto.npz").metadata
    assert metadata["threshold_false_alarms"] == "0.01"
    assert "deviation" in metadata["threshold_unit"]
    found = facts_of("score", folder / "auto.npz", "--data", folder / "kinds.csv")["errors"]
    assert found["threshold"] == float(metadata["threshold"])
    assert found["normal"] == "run"
    assert 0 <= found["auc"] <= 1
    strange = write(folder / "strange.csv", "u v w state", *np.r_[X, X[:9] * 9].T, ["normal"] * N + ["broken"] * 9)
    found = facts_of("score", folder / "auto.npz", "--data", strange, "--label", "state", "--false-alarms", 0.05)
    assert (found["errors"]["auc"], found["errors"]["caught"], found["errors"]["alarms"]) == (1.0, 1.0, 0.05)
    unlabelled = write(folder / "plain.csv", "u v w", *X.T)
    assert facts_of("score", folder / "auto.npz", "--data", unlabelled)["errors"]["auc"] is None


def test_an_autoencoder_has_the_scores_that_training_judges_it_by(folder, tmp_path):
    """R^2, RMSE and MAE of its inputs, the figures of the training's test rows; the text has them first."""
    rows = write(tmp_path / "rows.csv", "label u v w", KINDS[:60], *X[:60].T)
    command = ["train", "--data", folder / "kinds.csv", "--test", rows, "--target", "autoencoder", "--epochs", 3]
    trained = facts_of(*command, "--out", tmp_path / "m.npz")
    found = facts_of("score", tmp_path / "m.npz", "--data", rows)
    for name in ("rows", "r2", "rmse", "mae"):
        assert found["scores"][name] == pytest.approx(trained["scores"][name])
    said = run_command("score", tmp_path / "m.npz", "--data", rows).stdout
    assert said.startswith(f"R^2 {found['scores']['r2']:.4f}, RMSE ")
    assert "errors of reconstruction: median" in said


def test_a_threshold_is_of_autoencoders_alone(folder):
    """A classifier has none, and a model that was trained elsewhere must be given one."""
    result = run_command("score", folder / "kinds.npz", "--data", folder / "kinds.csv", "--false-alarms", 0.1)
    assert (result.exit_code, "--false-alarms is for autoencoders" in result.stderr) == (2, True)
    model = load(folder / "auto.npz")
    for text in ("", "nan", "inf", "high"):
        model.metadata["threshold"] = text
        save(model, folder / "bare.npz")
        result = run_command("score", folder / "bare.npz", "--data", folder / "kinds.csv")
        assert (result.exit_code, "the model holds no threshold" in result.stderr) == (2, True)


def test_no_better_than_chance_is_said(folder):
    """By score, verify and export, in a line of warning; the model still is what it is."""
    write(folder / "wrong.csv", "label u v w", np.roll(KINDS, 1), *X.T)
    result = run_command("score", folder / "kinds.npz", "--data", folder / "wrong.csv")
    assert (
        "warning: accuracy 0.0000 of 120 rows is no better than always answering their most frequent" in result.stderr
    )
    pair = [folder / "out" / f"kinds.int8.{kind}" for kind in ("npz", "onnx")]
    assert "no better than" in run_command("verify", *pair, "--data", folder / "wrong.csv").stderr
    export = ["export", folder / "kinds.npz", "--calibrate", folder / "wrong.csv", "--out", folder / "out3"]
    assert "no better than" in run_command(*export).stderr


def test_what_the_model_cannot_judge_is_refused(folder):
    """Other columns, labels that it does not know, a file without labels."""
    for name, names, columns, message in (
        ("a", "label u v", (KINDS, X[:, 0], X[:, 1]), "no column 'w'"),
        ("b", "label u v w", (["fly"] * N, *X.T), "label 'fly' is none of the classes"),
        ("c", "u v w", X.T, "no column 'label', which is the label"),
    ):
        data = write(folder / f"{name}.csv", names, *columns)
        result = run_command("score", folder / "kinds.npz", "--data", data)
        assert result.exit_code == 2
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_model_from_elsewhere_is_judged_by_arrays_and_by_a_label_that_is_named(tmp_path):
    """Without names its classes are the numbers of its outputs, even if some do not occur."""
    model = quantize(random_model([3, 8, 4], ["relu", "softmax"]), X.astype(np.float32))
    write_onnx(model, tmp_path / "m.onnx")
    answers = Engine(model).predict(X.astype(np.float32))
    np.savez(tmp_path / "d.npz", x=X, y=answers)
    assert facts_of("score", tmp_path / "m.onnx", "--data", tmp_path / "d.npz")["scores"]["accuracy"] == 1.0
    write(tmp_path / "d.csv", "kind a b c", answers, *X.T)
    found = facts_of("score", tmp_path / "m.onnx", "--data", tmp_path / "d.csv", "--label", "kind")
    assert found["scores"]["accuracy"] == 1.0
    assert found["scores"]["class_names"] == ["0", "1", "2", "3"]


def test_a_label_of_another_name_is_named(folder):
    """By its name or its number, beside the columns that the model knows by theirs."""
    renamed = write(folder / "renamed.csv", "u v w kind", *X.T, KINDS)
    for label in ("kind", "4", "-1"):
        found = facts_of("score", folder / "kinds.npz", "--data", renamed, "--label", label)
        assert found["scores"]["accuracy"] == 1.0


def test_data_with_a_test_part_of_its_own_are_judged_on_it(tmp_path):
    """Which training has not seen, and that is said."""
    model = random_model([3, 8, 4], ["relu", "softmax"])
    save(model, tmp_path / "m.npz")
    answers = Engine(model).predict(X.astype(np.float32))
    np.savez(tmp_path / "d.npz", x_train=X[:99], y_train=(answers[:99] + 1) % 4, x_test=X[99:], y_test=answers[99:])
    result = run_command("score", tmp_path / "m.npz", "--data", tmp_path / "d.npz")
    assert result.stdout.startswith("accuracy 1.0000, balanced accuracy 1.0000 (21 rows)")
    assert "its own test part" in result.stderr


def test_a_file_of_its_own_is_the_test(folder):
    """`train --test`: all other rows are trained on, and export does not call rows held out that were not."""
    out = folder / "tested.npz"
    half = write(folder / "half.csv", "label u v w", KINDS[:60], *X[:60].T)
    data = ["--data", half, "--test", folder / "kinds.csv", "--out", out]
    found = facts_of("train", *data, "--epochs", 5)
    assert (found["rows_trained"], found["rows_validation"], found["rows_test"]) == (54, 6, 120)
    assert found["test_data"] == "kinds"
    assert found["scores"]["rows"] == 120
    result = run_command("export", out, "--calibrate", half, "--out", folder / "out4", "--json")
    assert json.loads(result.stdout)["score"] is None
    assert "accuracy is of another file" in result.stderr.replace("\n  ", " ")


@needs_compiler
def test_kernels_judge_as_numpy_does(folder):
    """The scores are the same, and the JSON says what computed them."""
    arguments = ("score", folder / "kinds.npz", "--data", folder / "kinds.csv")
    native = facts_of(*arguments, "--backend", "native")
    assert native["backend"] == "native"
    assert native["scores"] == facts_of(*arguments)["scores"]
