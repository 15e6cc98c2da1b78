"""Rows are enough to calibrate and to compare: labels are read where they are there, and used where they fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_runtime import save
from edge_runtime.errors import InputError
from export.export_rows import load_rows, rows_for_export
from export.onnx_writer import write_onnx
from tests.command import run_command
from tests.networks import random_model, random_rows
from trainer.datasets import load_dataset

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
