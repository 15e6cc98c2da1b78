"""From a table and a user's choices to rows, labels and schema; what was decided is told."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.schema import Column, Schema
from tests.trainer.tables import table
from trainer.data.tables.choices import Choices
from trainer.data.tables.columns import choose
from trainer.datasets import load_dataset

N = 24
FLOATS = np.random.default_rng(0).normal(size=(3, N))
KINDS = ["walk", "run", "sit"] * 8
T = table("id ax sex ay label", np.arange(N) + 1, FLOATS[0], ["F", "M"] * 12, FLOATS[1], KINDS)


def test_a_table_becomes_rows_labels_and_a_schema():
    """The index is left out, texts become inputs, the label is found; all of it is told."""
    chosen = choose(T, Choices(one_hot=("auto",)), "d.csv")
    assert chosen.schema == Schema((Column("ax"), Column("sex", ("F", "M")), Column("ay")), ("label",))
    np.testing.assert_array_equal(chosen.x[:, 0], FLOATS[0].astype(np.float32))
    np.testing.assert_array_equal(chosen.x[:, 1:3], np.tile([[1, 0], [0, 1]], (12, 1)))
    assert chosen.labels == KINDS
    reading = chosen.reading
    assert (reading.label, reading.label_reason, reading.rows, reading.dropped) == (("label",), "by its name", N, 0)
    assert reading.left_out == (("id", "counts the rows"),)
    assert reading.one_hot == ("sex",)


def test_features_that_are_named_are_taken_as_they_are():
    """In the order given, an index too, without a doubt; all others are left alone."""
    chosen = choose(T, Choices(features=("ay", "id")), "d.csv")
    assert chosen.schema.feature_names == ("ay", "id")
    assert chosen.reading.left_out == ()
    assert chosen.reading.warnings == ()


def test_columns_that_are_dropped_are_gone():
    """They are neither label nor feature, nor refused for what they hold."""
    chosen = choose(T, Choices(drop=("sex", "label"), label=("ay",)), "d.csv")
    assert (chosen.schema.feature_names, chosen.schema.targets) == (("ax",), ("ay",))
    with pytest.raises(InputError, match="column 4 'ay' is both dropped and asked for"):
        choose(T, Choices(drop=("sex", "ay"), label=("ay",)), "d.csv")
    with pytest.raises(InputError, match="no column is left to learn from"):
        choose(T, Choices(drop=("sex", "ay", "ax"), label=("label",)), "d.csv")


def test_an_index_is_kept_where_nothing_else_is_there():
    """A curve over 1, 2, 3 ... is learned from its numbers."""
    chosen = choose(table("x y", np.arange(N), FLOATS[0]), Choices(), "d.csv")
    assert chosen.schema.feature_names == ("x",)


def test_an_empty_column_is_left_out_with_a_word():
    """Trailing separators, a column that was never filled."""
    chosen = choose(table("ax gap label _", FLOATS[0], [None] * N, KINDS, [None] * N), Choices(), "d.csv")
    assert chosen.reading.left_out == (("gap", "is empty"), ("column 4", "is empty"))
    assert (chosen.x.shape, chosen.labels) == ((N, 1), KINDS)


GAPS = table("ax ay label", [None, *FLOATS[0][1:]], FLOATS[1], [*KINDS[:2], None, *KINDS[3:]])


def test_missing_cells_are_refused_by_row_and_column():
    """The label first, without which nothing is learned; each with how many, and with what helps."""
    with pytest.raises(InputError, match=r"d.csv: row 4: the label, column 3 'label', has no value there \(1 row"):
        choose(GAPS, Choices(), "d.csv")
    labelled = table("ax ay label", [None, None, *FLOATS[0][2:]], FLOATS[1], KINDS)
    with pytest.raises(
        InputError, match=r"row 2: column 1 'ax' has no value there \(2 of 24 rows in all\); --missing drop .*mean"
    ):
        choose(labelled, Choices(), "d.csv")
    mostly = table("ax ay label", [*FLOATS[0][:2], *[None] * (N - 2)], FLOATS[1], KINDS)
    with pytest.raises(InputError, match="--drop ax leaves the column out"):
        choose(mostly, Choices(), "d.csv")


def test_rows_with_missing_cells_are_dropped_or_filled():
    """A row without a label is never learned from; labels stay beside their rows."""
    dropped = choose(GAPS, Choices(missing="drop"), "d.csv")
    assert dropped.kept.tolist() == [1, *range(3, N)]
    assert dropped.labels == [KINDS[row] for row in dropped.kept]
    assert dropped.reading.dropped == 2
    filled = choose(GAPS, Choices(missing="mean"), "d.csv")
    assert filled.kept.tolist() == [0, 1, *range(3, N)]
    assert filled.x[0, 0] == np.float32(FLOATS[0][[1, *range(3, N)]].mean())
    assert (filled.reading.dropped, filled.reading.filled) == (1, 1)
    with pytest.raises(InputError, match="each row lacks a value in some column"):
        choose(table("a b label", [None, 1.0], [1.0, None], ["x", "y"]), Choices(missing="drop"), "d.csv")


def test_several_labels_are_targets_or_classes_of_their_names():
    """Numbers are targets; a 1 in each row, and else 0, is a class of the column's name, unless targets are wanted."""
    two = choose(table("ax t u", *FLOATS), Choices(label=("t", "u")), "d.csv")
    np.testing.assert_array_equal(two.labels, FLOATS[1:].T)
    one = np.arange(N) % 2
    hot = table("ax cat dog", FLOATS[0], one, 1 - one)
    classes = choose(hot, Choices(label=("cat", "dog")), "d.csv")
    assert (classes.classes, classes.labels.tolist()) == (("cat", "dog"), (1 - one).tolist())
    values = choose(hot, Choices(label=("cat", "dog"), target="regression"), "d.csv")
    assert values.classes is None
    assert values.labels.shape == (N, 2)
    with pytest.raises(InputError, match="--label names 2 columns, of which column 2 'label' holds text"):
        choose(table("ax label u", FLOATS[0], KINDS, FLOATS[1]), Choices(label=("label", "u")), "d.csv")


def test_a_table_without_names_is_known_by_its_places():
    """So that a table of the same columns is read by them."""
    chosen = choose(table("", KINDS, *FLOATS), Choices(label=(1,)), "d.csv")
    assert chosen.schema == Schema(
        (Column("column 2"), Column("column 3"), Column("column 4")), ("column 1",), table_width=4
    )


def test_a_feature_needs_a_name_of_its_own_where_there_is_a_header():
    """A name that lacks, or is there twice, is refused; not if no column of that name is used."""
    with pytest.raises(InputError, match=r"column 2 has no name in the header; .*--drop 2"):
        choose(table("ax _ label", *FLOATS[:2], KINDS), Choices(), "d.csv")
    with pytest.raises(InputError, match="name 'ax' appears twice"):
        choose(table("ax ax label", *FLOATS[:2], KINDS), Choices(), "d.csv")
    with pytest.raises(InputError, match="name 'ax' appears twice"):  # a further table would not say which is meant
        choose(table("ax ax label", *FLOATS[:2], KINDS), Choices(drop=(2,)), "d.csv")
    twice = table("u u ax label", *FLOATS, KINDS)
    assert choose(twice, Choices(drop=("u",)), "d.csv").x.shape == (N, 1)


def test_inputs_are_within_the_limit_of_bytes():
    """A column of texts can become many."""
    codes = table("code label", [f"c{row // 2:02d}" for row in range(N)], KINDS)
    assert choose(codes, Choices(one_hot=("code",)), "d.csv", max_bytes=4 * N * 12).x.shape == (N, 12)
    with pytest.raises(InputError, match="24 rows x 12 inputs, over the limit of 1,151 bytes"):
        choose(codes, Choices(one_hot=("code",)), "d.csv", max_bytes=4 * N * 12 - 1)


def test_an_autoencoder_learns_from_all_but_a_label_that_is_named():
    """Its label is remembered, for whoever scores it later; missing labels do not matter."""
    chosen = choose(GAPS, Choices(target="autoencoder", missing="mean"), "d.csv")
    assert (chosen.labels, chosen.x.shape, chosen.schema.targets) == (None, (N, 2), ("label",))


def test_a_class_that_is_called_as_missing_values_are_is_named(tmp_path):
    """In the refusal, and in a note where the rows are dropped: a class None is no missing value to its owner."""
    rows = "".join(f"{a:.3f},{b:.3f},{('None', 'Apnea')[i % 2]}\n" for i, (a, b) in enumerate(FLOATS[:2].T))
    (tmp_path / "d.csv").write_text("u,v,label\n" + rows + "1,2,\n3,4,Other\n5,6,Other\n")
    with pytest.raises(InputError, match=r"13 of 27 rows in all: 'None' in 12 rows is taken for missing"):
        load_dataset(tmp_path / "d.csv")
    notes = load_dataset(tmp_path / "d.csv", missing="drop").reading.notes
    assert any("'None' in 12 rows was taken for missing" in note for note in notes)
    (tmp_path / "d.csv").write_text("u,v,label\n" + rows.replace("None", "no") + "1,2,\n")
    with pytest.raises(InputError) as refused:
        load_dataset(tmp_path / "d.csv")
    assert "taken for missing" not in str(refused.value)
    (tmp_path / "d.csv").write_text("u,v,label\n" + rows)
    with pytest.raises(InputError, match=r"every row has the same label.*'None' in 12 rows was taken for missing"):
        load_dataset(tmp_path / "d.csv", missing="drop")
