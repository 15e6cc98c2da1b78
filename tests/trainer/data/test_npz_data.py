"""Arrays by the names that libraries give them."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import InputError
from trainer.datasets import load_another, load_dataset

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("x", "y"), ("X", "y"), ("X", "Y"), ("x_train", "y_train"), ("X_train", "y_train"), ("data", "target"),
        ("train_images", "train_labels"), ("images", "labels"), ("features", "labels"), ("arr_0", "arr_1"),
    ],
)  # fmt: skip
def test_rows_and_labels_are_found(tmp_path, x, y):
    """As Keras, scikit-learn and NumPy call them."""
    np.savez(tmp_path / "d.npz", **{x: X, y: Y, "other": np.zeros(3)})
    data = load_dataset(tmp_path / "d.npz")
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)
    assert data.reading.label == (y,)
    assert data.test is None


@pytest.mark.parametrize("names", [("x_train", "y_train", "x_test", "y_test"), ("x", "y", "x_test", "y_test")])
def test_the_makers_test_part_stays_the_test(tmp_path, names):
    """With one list of classes for both."""
    np.savez(tmp_path / "d.npz", **dict(zip(names, (X[:4], Y[[0, 1, 0, 1]], X[4:], Y[[1, 2]]), strict=True)))
    data = load_dataset(tmp_path / "d.npz")
    assert (len(data), len(data.test), data.class_names) == (4, 2, ("0", "1", "2"))
    assert data.test.y.tolist() == [1, 2]
    auto = load_dataset(tmp_path / "d.npz", target="autoencoder")
    np.testing.assert_array_equal(auto.test.y, X[4:])


def test_parts_that_do_not_fit_are_refused(tmp_path):
    """Other features, another number of labels, texts beside numbers."""
    for arrays, message in (
        ({"x_test": X[:, :1], "y_test": Y}, "'x_train' has rows of 2, 'x_test' of 1"),
        ({"x_test": X, "y_test": Y[:3]}, "x_test has 6 rows, but y_test has shape"),
        ({"x_test": X, "y_test": Y.astype(str)}, "expected labels of one kind"),
    ):
        np.savez(tmp_path / "d.npz", x_train=X, y_train=Y, **arrays)
        with pytest.raises(InputError, match=message):
            load_dataset(tmp_path / "d.npz")


def test_numbers_that_float32_cannot_tell_apart_get_an_offset(tmp_path):
    """As in a table: in float64, for the test part too, and for further arrays by the model's offsets."""
    time = 1.7e15 + np.arange(6) * 1e5
    np.savez(tmp_path / "d.npz", x_train=np.c_[time, X], y_train=Y, x_test=np.c_[time + 7, X], y_test=Y)
    data = load_dataset(tmp_path / "d.npz")
    offset = data.schema.columns[0].offset
    assert offset
    np.testing.assert_array_equal(data.x[:, 0], (time - offset).astype(np.float32))
    np.testing.assert_array_equal(data.test.x[:, 0], (time + 7 - offset).astype(np.float32))
    assert data.reading.offsets == ("column 1",)
    np.savez(tmp_path / "e.npz", x=np.c_[time[:3] * 2, X[:3]], y=Y[:3])
    other = load_another(tmp_path / "e.npz", schema=data.schema, target="class", class_names=data.class_names)
    np.testing.assert_array_equal(other.x[:, 0], (time[:3] * 2 - offset).astype(np.float32))
    assert load_another(tmp_path / "e.npz", schema=None, target="class").schema.columns[0].offset != offset


def test_names_of_features_make_a_schema(tmp_path):
    """So that a table is read by them later."""
    np.savez(tmp_path / "d.npz", x=X, y=Y, feature_names=np.array(["u", "v"]))
    assert load_dataset(tmp_path / "d.npz").schema.feature_names == ("u", "v")
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    assert load_dataset(tmp_path / "d.npz").schema is None


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_labels_of_one_column_a_class_are_classes(tmp_path, dtype):
    """One 1 a row is the class, said; class_names name the columns, and --target regression takes them as values."""
    x, classes = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    y = np.eye(3)[classes].astype(dtype)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    data = load_dataset(tmp_path / "d.npz")
    assert (data.y.tolist(), data.class_names) == (classes.tolist(), ("0", "1", "2"))
    assert "one column of 0 and 1 for each of 3 classes (--target regression" in data.reading.task_reason
    assert load_dataset(tmp_path / "d.npz", target="regression").y.shape == (30, 3)
    assert load_another(tmp_path / "d.npz", schema=None, target="class", class_names=("0", "1", "2")).y.ndim == 1
    np.savez(tmp_path / "d.npz", x=x, y=y, class_names=np.array(["a", "b", "c"]))
    assert load_dataset(tmp_path / "d.npz").class_names == ("a", "b", "c")
    np.savez(tmp_path / "d.npz", x=x, y=y, class_names=np.array(["a", "b"]))
    with pytest.raises(InputError, match="one of 3 columns is 1 in each row, but class_names has 2"):
        load_dataset(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", x=x, y=np.c_[y[:, :2], np.ones(30)])
    assert load_dataset(tmp_path / "d.npz").y.shape == (30, 3)
