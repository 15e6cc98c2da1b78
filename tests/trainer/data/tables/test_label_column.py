"""Which column is the label: as it is said, by its name, before pixels, else the last; and what else it may be."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import InputError
from tests.trainer.tables import table
from trainer.data.tables.choices import Choices
from trainer.data.tables.label_column import find_label

RANDOM = np.random.default_rng(0)
FLOATS = RANDOM.normal(size=(4, 40))
CLASSES = np.tile([0, 1, 2, 1], 10)
TEXTS = np.tile(["a", "b"], 20)


def found(names, *columns, **choices):
    data = table(names, *columns)
    return find_label(data, Choices(**choices), list(range(data.numbers.shape[1])), "d.csv")


def test_what_is_said_is_the_label():
    """Whatever other columns are called; several if several are named."""
    label = found("label x y", *FLOATS[:3], label=("y", 2))
    assert (label.places, label.reason) == ((2, 1), "as --label says")


@pytest.mark.parametrize("name", ["label", "Label", "CLASS", "target", "Species", "outcome", "diagnosis", "labels"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_column_of_such_a_name_is_the_label(name, place):
    """Wherever it stands, in any case; and that is said."""
    names = ["u", "v"]
    names.insert(place, name)
    label = found(" ".join(names), *FLOATS[:3])
    assert (label.places, label.reason, label.doubt) == ((place,), "by its name", "")


@pytest.mark.parametrize(
    ("names", "place"), [("y u v", 0), ("u v Y", 2), ("u y v", 2), ("x y z", 2), ("y z u", 2), ("u target y", 1)]
)
def test_y_is_the_label_at_either_end_alone(names, place):
    """It may be a coordinate: beside a z, and between others, it is one; a clearer name comes first."""
    assert found(names, *FLOATS[:3]).places == (place,)


def test_of_several_such_names_the_others_are_doubted():
    """The last column, if it is one of them; else the clearest name. The other would be learned from."""
    label = found("class u target", *FLOATS[:3])
    assert label.places == (2,)
    assert "'class' may be a label too" in label.doubt
    assert "--drop class" in label.doubt
    assert found("target label u", *FLOATS[:3]).places == (1,)


def test_else_the_last_column_is_the_label_and_that_is_said():
    """With the option that names another."""
    label = found("u v w", *FLOATS[:2], CLASSES)
    assert (label.places, label.reason) == ((2,), "the last column (--label names another)")
    assert found("", *FLOATS[:2], TEXTS).places == (2,)


def test_a_column_that_looks_much_more_like_classes_is_named():
    """Classes first, many values last: the last is learned, and the first is named with its option."""
    label = found("", CLASSES, *FLOATS[:3])
    assert label.places == (3,)
    assert label.doubt.endswith("column 1 looks like classes: if it is the label, --label 1")
    assert "--label kind" in found("u kind v", FLOATS[0], TEXTS, FLOATS[1]).doubt
    assert found("u kind v", FLOATS[0], TEXTS, CLASSES).doubt == ""
    assert found("u v w", *FLOATS[:3]).doubt == ""


def test_classes_beside_a_y_are_named():
    """A y at an end may be a coordinate: where another column looks like classes, that is said with its option."""
    label = found("defect x y", CLASSES % 2, *FLOATS[:2])
    assert (label.places, label.reason) == ((2,), "by its name")
    assert label.doubt.endswith("'defect' looks like classes: if it is the label, --label defect")
    assert found("y u kind", *FLOATS[:2], CLASSES).doubt.endswith("--label kind")
    assert found("defect x label", CLASSES % 2, *FLOATS[:2]).doubt == ""


def test_columns_that_are_classes_together_are_named():
    """One column of 0 and 1 for each class: the last alone would be learned, from the others."""
    hot = np.eye(3)[np.arange(40) % 3].T
    label = found("u cat dog fox", FLOATS[0], *hot)
    assert label.places == (3,)
    assert label.doubt.endswith("if they are the classes, --label cat --label dog --label fox")
    assert label.doubt.startswith("'cat', 'dog', 'fox' are 1 in one of them in each row and else 0")
    assert found("u cat dog", FLOATS[0], *hot[:2]).doubt == ""
    assert found("u v flag", *FLOATS[:2], hot[0]).doubt == ""


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e308])
def test_numbers_without_end_are_no_classes(value):
    """Nor are they subtracted from one another."""
    column = np.where(np.arange(40) % 2, value, -value)
    assert found("u v w", column, *FLOATS[:2]).doubt == ""
    assert found("", column, *FLOATS[:2]).places == (2,)


def images(pixels, label, first):
    """A table of images without names, with a border that is 0 mostly."""
    columns = [np.where(RANDOM.random(60) < 0.9, 0, 7), *RANDOM.integers(0, 256, (pixels - 2, 60)), np.zeros(60)]
    return [label, *columns] if first else [*columns, label]


@pytest.mark.parametrize("pixels", [64, 75, 784])
@pytest.mark.parametrize("first", [True, False])
def test_the_first_column_before_pixels_is_the_label(pixels, first):
    """As many pixels as an image has, of one range; a table of images whose label is last keeps it."""
    label = found("", *images(pixels, np.arange(60) % 10, first))
    assert label.places == ((0,) if first else (pixels,))
    assert ("pixels" in label.reason) == first


def test_columns_that_are_no_image_leave_the_last_one():
    """Fewer than 64 columns or another number, values below 0 or above 255, texts among them."""
    label = np.arange(60) % 10
    for columns in (
        images(50, label, True),
        images(49, label, True),
        images(65, label, True),
        [label, *(RANDOM.integers(-5, 256, (64, 60)))],
        [label, *(RANDOM.integers(0, 999, (64, 60)))],
        [label, *images(64, label, False)[:63], ["a", "b"] * 30],
    ):
        assert found("", *columns).places == (len(columns) - 1,)


def test_an_autoencoder_has_a_label_only_if_one_is_named():
    """By the option or by its name, so that it is not learned from."""
    assert found("u v w", *FLOATS[:3], target="autoencoder").places == ()
    assert found("u label w", *FLOATS[:3], target="autoencoder").places == (1,)
    assert found("u v w", *FLOATS[:3], target="autoencoder", label=("v",)).places == (1,)


def test_a_table_of_one_column_has_no_label():
    """Features and a label are two at least."""
    with pytest.raises(InputError, match="1 column, of which 1 can be learned from; expected features and"):
        found("u", FLOATS[0])
