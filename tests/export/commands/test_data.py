"""Rows are enough to calibrate and to compare: labels are read where they are there, and used where they fit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Standardization, save
from edge_runtime.errors import InputError
from edge_runtime.schema import Column, Schema
from export.commands.data import load_rows, rows_for_export, target_of
from export.onnx_writer.writer import write_onnx
from tests.command import run_command
from tests.networks import random_model, random_rows
from trainer.datasets import load_dataset, split

X = random_rows(60, 5)
MODEL = random_model([5, 6, 3], ["relu", "softmax"])
LABELS = {
    "none": None,
    "one class": np.full(60, 7),
    "one text": np.full(60, "cat"),
    "the model's": np.arange(60) % 3,
}


def written(folder, kind, labels):
    """X in a file of its own, with labels or without."""
    path = folder / f"rows.{kind}"
    if kind == "npz":
        np.savez(path, x=X, **({} if labels is None else {"y": labels}))
        return str(path)
    lines = [[str(value) for value in row] for row in X]
    for row, label in zip(lines, [] if labels is None else labels.tolist(), strict=False):
        row.append(str(label))
    path.write_text("\n".join(",".join(row) for row in lines))
    return str(path)


@pytest.mark.parametrize("kind", ["npz", "csv"])
@pytest.mark.parametrize("labels", LABELS)
def test_rows_are_read_with_any_labels_or_none(tmp_path, kind, labels):
    """All columns of a CSV where the model takes as many; the last one is left out where it takes one less."""
    dataset = load_rows(MODEL, written(tmp_path, kind, LABELS[labels]))
    np.testing.assert_array_equal(dataset.x, X)


@pytest.mark.parametrize("kind", ["npz", "csv"])
@pytest.mark.parametrize("labels", ["none", "one class", "one text"])
def test_without_labels_that_fit_there_is_no_accuracy(tmp_path, kind, labels):
    """And a note says why, while there are rows to calibrate on and to compare on."""
    rows = rows_for_export(MODEL, written(tmp_path, kind, LABELS[labels]))
    assert rows.test is None
    assert "no accuracy" in rows.note
    assert len(rows.calibration) >= 40
    assert len(rows.compared) == 60


def test_a_table_is_read_by_the_models_columns(tmp_path):
    """In any order, with texts as categories; labels that the model does not know are said, and not used."""
    columns = (Column("b"), Column("kind", ("u", "v")), Column("a"), Column("c"))
    model = replace(MODEL, class_names=("x", "y", "z"), metadata={"schema": Schema(columns, ("label",)).text()})
    for labels, count in ((["x", "y", "z"], 60), (["p", "q", "r"], 0)):
        lines = ["a,label,c,kind,b"]
        lines += [f"{row[0]},{labels[i % 3]},{row[2]},{'uv'[i % 2]},{row[1]}" for i, row in enumerate(X)]
        (tmp_path / "d.csv").write_text("\n".join(lines))
        dataset = load_rows(model, str(tmp_path / "d.csv"))
        hot = np.eye(2, dtype=np.float32)[np.arange(60) % 2]
        np.testing.assert_array_equal(dataset.x, np.c_[X[:, 1], hot, X[:, 0], X[:, 2]])
        assert np.count_nonzero(dataset.y >= 0) == count
        rows = rows_for_export(model, str(tmp_path / "d.csv"))
        assert (rows.test is not None) == bool(count)
        assert ("the labels were not read" in rows.note) == (not count)


def test_labels_that_fit_give_an_accuracy(tmp_path):
    """As before: the held-out rows with their classes."""
    rows = rows_for_export(MODEL, written(tmp_path, "npz", LABELS["the model's"]))
    assert rows.test is not None
    assert len(rows.test[0]) == 12


@pytest.mark.parametrize("labels", ["none", "one class", "one text"])
def test_training_still_needs_labels_of_two_classes(tmp_path, labels):
    """What calibration does without, training cannot."""
    with pytest.raises(InputError, match=r"'y'|two classes"):
        load_dataset(written(tmp_path, "npz", LABELS[labels]))


def test_labels_that_are_wrong_are_refused_all_the_same(tmp_path):
    """One label too few is a mistake in the file, not a file without labels."""
    np.savez(tmp_path / "rows.npz", x=X, y=np.arange(59))
    with pytest.raises(InputError, match="give one label a row"):
        load_rows(MODEL, str(tmp_path / "rows.npz"))


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_commands_take_rows_without_labels(tmp_path, kind):
    """`export --calibrate` of an ONNX file, `import --data` and `verify --data`, from start to end."""
    rows = written(tmp_path, kind, None)
    write_onnx(MODEL, tmp_path / "m.onnx")
    save(MODEL, tmp_path / "m.npz")
    for arguments in (
        ["export", tmp_path / "m.onnx", "--calibrate", rows, "--out", tmp_path / "build", "--json"],
        ["import", tmp_path / "m.onnx", "--data", rows, "--out", tmp_path / "i.npz", "--json"],
        ["verify", tmp_path / "m.npz", tmp_path / "m.onnx", "--data", rows, "--json"],
    ):
        result = run_command(*arguments)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)


def test_without_data_there_are_random_rows():
    """256 standard normal ones, the same each time, as they are after standardization; nothing is claimed of them."""
    rows = rows_for_export(MODEL, None)
    expected = np.random.default_rng(0).normal(size=(256, 5)).astype(np.float32)
    for part in (rows.calibration, rows.compared, rows.held_out):
        np.testing.assert_array_equal(part, expected)
        assert part.dtype == np.float32
    assert (rows.test, rows.note) == (None, "no data given: 256 random rows, no accuracy, no test vectors")
    model = replace(MODEL, preprocessing=Standardization(np.arange(5, dtype="f4") * 100, np.full(5, 0.1, "f4")))
    random = rows_for_export(model, None).compared
    np.testing.assert_allclose(model.preprocessing(random), expected, atol=1e-4)
    assert random.dtype == np.float32


@pytest.mark.parametrize(("count", "apart"), [(20, 4), (60, 12), (19, None)])
def test_each_fifth_row_without_labels_is_held_out(tmp_path, count, apart):
    """Calibration never sees it; below twenty rows the same rows serve for both, and the note says so."""
    np.savez(tmp_path / "rows.npz", x=X[:count])
    rows = rows_for_export(MODEL, str(tmp_path / "rows.npz"))
    np.testing.assert_array_equal(rows.compared, X[:count])
    assert rows.test is None
    if apart is None:
        np.testing.assert_array_equal(rows.calibration, X[:count])
        np.testing.assert_array_equal(rows.held_out, X[:count])
        assert rows.note == "the data has no labels: no accuracy; 19 rows are too few to hold some out"
    else:
        np.testing.assert_array_equal(rows.held_out, X[2:count:5])
        assert len(rows.held_out) == apart
        assert {row.tobytes() for row in rows.calibration} == {row.tobytes() for row in X[:count]} - {
            row.tobytes() for row in rows.held_out
        }
        assert rows.note == "the data has no labels: no accuracy"


@pytest.mark.parametrize("seed", ["0", "7", "nonsense", "-3", "9" * 19, "9" * 20])
@pytest.mark.parametrize("labels", ["the model's", "one class"])
def test_the_split_is_that_of_the_training(tmp_path, seed, labels):
    """By the seed in the metadata, 0 where it is none: calibrated on its training rows, judged on its test rows."""
    spec = written(tmp_path, "npz", LABELS[labels])
    number = int(seed) if seed.isdecimal() and len(seed) < 20 else 0
    parts = split(load_dataset(spec, for_training=False), seed=number)
    rows = rows_for_export(replace(MODEL, metadata={"seed": seed}), spec)
    np.testing.assert_array_equal(rows.calibration, parts.train.x)
    np.testing.assert_array_equal(rows.held_out, parts.test.x)
    np.testing.assert_array_equal(rows.compared, X)
    if labels == "one class":
        assert (rows.test, rows.note) == (None, "the data's labels are not the model's classes: no accuracy")
    else:
        np.testing.assert_array_equal(rows.test[0], parts.test.x)
        np.testing.assert_array_equal(rows.test[1], parts.test.y)
        assert rows.note == ""


@pytest.mark.parametrize(
    ("n_out", "names", "classes", "fits"),
    [
        (3, (), 3, True),
        (3, (), 2, True),
        (3, (), 4, False),
        (1, (), 2, True),
        (1, (), 3, False),
        (3, ("0", "1", "2"), 3, True),
        (3, ("a", "b", "c"), 3, False),
        (3, ("0", "1", "2"), 2, False),
    ],
)
def test_labels_fit_where_they_mean_the_outputs(tmp_path, n_out, names, classes, fits):
    """The same class names, or a model without names and no more classes than outputs; one output tells two apart."""
    model = replace(random_model([5, n_out], ["sigmoid"]), class_names=names)
    rows = rows_for_export(model, written(tmp_path, "npz", np.arange(60) % classes))
    assert (rows.test is not None) == fits


@pytest.mark.parametrize("n_out", [1, 2])
def test_targets_fit_where_there_are_as_many(tmp_path, n_out):
    """Decimal numbers are a regression's targets: its model has as many outputs."""
    np.savez(tmp_path / "rows.npz", x=X, y=X[:, :2] * 1.5)
    model = replace(random_model([5, n_out], ["linear"]), metadata={"target": "regression"})
    assert (rows_for_export(model, str(tmp_path / "rows.npz")).test is not None) == (n_out == 2)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, "auto"),
        ("class", "class"),
        ("regression", "regression"),
        ("autoencoder", "autoencoder"),
        ("auto", "auto"),
        ("else", "auto"),
    ],
)
def test_the_target_is_what_the_model_remembers(found, expected):
    """Text of somebody's file that names no target is none."""
    assert target_of(replace(MODEL, metadata={} if found is None else {"target": found})) == expected


def test_an_autoencoder_is_judged_by_its_own_rows(tmp_path):
    """A CSV without labels has its targets too."""
    model = replace(random_model([5, 3, 5], ["relu", "linear"]), metadata={"target": "autoencoder"})
    rows = rows_for_export(model, written(tmp_path, "csv", None))
    np.testing.assert_array_equal(rows.test[0], rows.test[1])
    assert len(rows.held_out) == 12


@pytest.mark.parametrize("suffix", ["csv", "CSV", "tsv"])
def test_tables_without_labels_are_known_by_their_columns(tmp_path, suffix):
    """As many as the model has inputs, whatever the name's case; its name and place are kept."""
    path = tmp_path / f"rows.{suffix}"
    separator = "\t" if suffix == "tsv" else ","
    path.write_text("\n".join(separator.join(str(value) for value in row) for row in X))
    dataset = load_rows(MODEL, str(path))
    np.testing.assert_array_equal(dataset.x, X)
    assert (dataset.name, dataset.source, dataset.y.shape) == ("rows", str(path), (60, 0))


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_the_cap_on_bytes_is_kept(tmp_path, kind):
    """For every reader that may be tried."""
    spec = written(tmp_path, kind, None)
    for read in (load_rows, rows_for_export):
        with pytest.raises(InputError, match="max"):
            read(MODEL, spec, max_bytes=100)


def test_another_number_of_features_is_named(tmp_path):
    """With both numbers, and what to do."""
    np.savez(tmp_path / "rows.npz", x=X[:, :4])
    with pytest.raises(InputError, match=r"has 4 features a row, the model takes 5; give the data that it was trained"):
        load_rows(MODEL, str(tmp_path / "rows.npz"))
