"""Files of tables as data sets, and further files read as the first one was."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.schema import Schema
from trainer.datasets import files_of, for_autoencoder, load_another, load_dataset

N = 24
X = np.random.default_rng(0).normal(size=(N, 2)).round(3)
KINDS = ["walk", "run", "sit"] * 8


def text(names, *columns, sep=","):
    lines = [sep.join(names.split())] if names else []
    return "\n".join([*lines, *(sep.join(map(str, row)) for row in zip(*columns, strict=True))]) + "\n"


def write(path, content):
    path.write_text(content)
    return path


def test_a_label_anywhere_is_found_and_said(tmp_path):
    """By its name, and what was decided is in the data set."""
    data = load_dataset(write(tmp_path / "d.csv", text("u label v", X[:, 0], KINDS, X[:, 1])))
    assert data.class_names == ("run", "sit", "walk")
    assert data.feature_names == ("u", "v")
    assert data.schema.targets == data.reading.label == ("label",)
    assert data.reading.task_reason == "3 different texts"
    assert data.notes == ()


def test_python_has_the_commands_choices(tmp_path):
    """label, drop, features, one_hot and missing."""
    path = write(tmp_path / "d.csv", text("u kind day v", X[:, 0], KINDS, ["2024-05-03"] * N, [*X[1:, 1], "?"]))
    data = load_dataset(path, label="u", drop="day", one_hot=["kind"], missing="mean")
    assert data.feature_names == ("kind=run", "kind=sit", "kind=walk", "v")
    assert data.reading.filled == 1
    assert load_dataset(path, label="kind", features=["u"]).x.shape == (N, 1)


def test_choices_of_columns_are_refused_where_there_are_none(tmp_path):
    """Arrays are taken whole."""
    np.savez(tmp_path / "d.npz", x=X, y=np.arange(N) % 2)
    with pytest.raises(InputError, match="--label, --drop is for columns of a table"):
        load_dataset(tmp_path / "d.npz", label="y", drop=1)


@pytest.fixture
def trained(tmp_path):
    """What a model knows of its data: label first, a column of texts, whole file."""
    names = "label sex u v"
    data = load_dataset(write(tmp_path / "d.csv", text(names, KINDS, ["F", "M"] * 12, *X.T)), one_hot="auto")
    return data, Schema.parse(data.schema.text())


def another(path, trained, **options):
    data, schema = trained
    return load_another(path, schema=schema, target="class", class_names=data.class_names, **options)


def test_another_file_gives_the_same_rows_and_classes(tmp_path, trained):
    """In another order, with fewer classes and other columns beside them."""
    data, _ = trained
    rows = np.array([2, 5, 7])
    columns = [X[rows, 1], ["x"] * 3, X[rows, 0], [KINDS[row] for row in rows], [["F", "M"][row % 2] for row in rows]]
    found = another(write(tmp_path / "new.csv", text("v place u label sex", *columns, sep=";")), trained)
    np.testing.assert_array_equal(found.x, data.x[rows])
    np.testing.assert_array_equal(found.y, data.y[rows])
    assert found.class_names == data.class_names
    assert any("does not know: 'place'" in note for note in found.reading.notes)
    assert not any("label" in note for note in found.reading.notes)


def test_labels_that_lack_or_are_unknown_are_refused_if_they_are_needed(tmp_path, trained):
    """By name and row; else the rows come without labels, which is said."""
    without = write(tmp_path / "a.csv", text("sex u v", ["F"] * N, *X.T))
    with pytest.raises(InputError, match="no column 'label', which is the label; the file has 'sex', 'u', 'v'; name"):
        another(without, trained)
    assert another(without, trained, needs_labels=False).y.shape == (N, 0)
    strange = write(tmp_path / "b.csv", text("label sex u v", ["run", "fly", *["run"] * 22], ["F"] * N, *X.T))
    with pytest.raises(InputError, match="row 3: label 'fly' is none of the classes that the model knows"):
        another(strange, trained)
    found = another(strange, trained, needs_labels=False)
    assert found.y.shape == (N, 0)
    assert "the labels were not read" in found.reading.notes[-1]
    empty = write(tmp_path / "c.csv", text("label sex u v", ["run", "NA", *["run"] * 22], ["F"] * N, *X.T))
    with pytest.raises(InputError, match=r"row 3: the label, 'label', has no value there \(1 rows in all\)"):
        another(empty, trained)


def test_unknown_labels_are_counted_and_their_column_is_named(tmp_path, trained):
    """Texts and numbers alike, with what to do."""
    for label in ("fly", 7, 0.5):
        content = text("label sex u v", ["run", label, label, *["run"] * 21], ["F"] * N, *X.T)
        with pytest.raises(InputError, match=f"row 3: label '{label}' is none of .*; 2 of 24 rows have such labels in"):
            another(write(tmp_path / "b.csv", content), trained)


def test_labels_for_tuning_may_be_missing_but_not_strange(tmp_path, trained):
    """A file without them is read; one in which some are no classes of the model is not, and says what to do."""
    without = write(tmp_path / "a.csv", text("sex u v place", ["F"] * N, *X.T, ["here"] * N))
    assert another(without, trained, for_tuning=True).y.shape == (N, 0)
    whole = another(write(tmp_path / "d.csv", text("label sex u v", KINDS, ["F"] * N, *X.T)), trained, for_tuning=True)
    assert whole.y.shape == (N,)
    content = text("label sex u v", ["run", "fly", *["run"] * 22], ["F"] * N, *X.T)
    with pytest.raises(InputError) as raised:
        another(write(tmp_path / "b.csv", content), trained, for_tuning=True)
    assert "1 of 24 rows have such labels in 'label': rename them, or leave the label out: rows" in str(raised.value)
    content = text("label sex u v", ["run", "NA", *["run"] * 22], ["F"] * N, *X.T)
    with pytest.raises(InputError, match=r"'label', has no value there .* leave such rows out, or leave the label out"):
        another(write(tmp_path / "c.csv", content), trained, for_tuning=True)


def test_labels_for_tuning_under_another_name_are_found(tmp_path, trained):
    """By the classes that most of their rows hold; another column of texts is none, nor is a twice-named label read."""
    renamed = write(tmp_path / "a.csv", text("sort sex u v", ["fly", *KINDS[1:]], ["F"] * N, *X.T))
    with pytest.raises(InputError) as raised:
        another(renamed, trained, for_tuning=True)
    assert "column 'sort' holds the model's classes in 23 of 24 rows, expected them in 'label'; rename it, or" in str(
        raised.value
    )
    assert another(renamed, trained, needs_labels=False).y.shape == (N, 0)
    twice = write(tmp_path / "b.csv", text("label label sex u v", KINDS, KINDS, ["F"] * N, *X.T))
    with pytest.raises(InputError, match="2 columns 'label', expected each of 'label' once"):
        another(twice, trained, for_tuning=True)


def test_targets_for_tuning_are_numbers_and_all_there(tmp_path):
    """A text among them is counted, one of two columns alone is refused, and an autoencoder needs neither."""
    y = np.arange(N) * 1.5
    data = load_dataset(write(tmp_path / "d.csv", text("u v p q", *X.T, y, -y)), label=["p", "q"], target="regression")
    one = load_dataset(tmp_path / "d.csv", label="p", drop="q", target="regression")
    strange = write(tmp_path / "e.csv", text("u v p", *X.T, [*y[:22], "low", "high"]))
    with pytest.raises(
        InputError, match=r"row 24: label 'low' is no number, as .*; 2 of 24 rows have such labels in 'p'"
    ):
        load_another(strange, schema=one.schema, target="regression", for_tuning=True)
    with pytest.raises(InputError, match="no column 'q', expected each of 'p', 'q' once"):
        load_another(strange, schema=data.schema, target="regression", for_tuning=True)
    found = load_another(strange, schema=data.schema, target="autoencoder", for_tuning=True)
    assert found.x.shape == (N, 2)


def test_rows_are_left_out_as_they_were_in_the_training(tmp_path):
    """For a missing value or label; labels stay beside their rows."""
    content = text("u v label", ["?", *X[1:, 0]], X[:, 1], [*KINDS[:3], "", *KINDS[4:]])
    path = write(tmp_path / "d.csv", content)
    data = load_dataset(path, missing="drop")
    assert (len(data), data.reading.rows, data.reading.dropped) == (N - 2, N, 2)
    found = another(path, (data, data.schema))
    np.testing.assert_array_equal(found.x, data.x)
    np.testing.assert_array_equal(found.y, data.y)
    assert found.reading.dropped == 2


def test_a_file_without_names_is_read_by_the_places_of_the_first(tmp_path):
    """Label first, as in the training."""
    path = write(tmp_path / "d.csv", text("", KINDS, *X.T))
    data = load_dataset(path, label=1)
    found = another(path, (data, data.schema))
    np.testing.assert_array_equal(found.x, data.x)
    np.testing.assert_array_equal(found.y, data.y)


def test_numbers_as_labels_are_the_models_classes(tmp_path):
    """By their value, whichever of them occur; targets stay targets."""
    data = load_dataset(write(tmp_path / "d.csv", text("u v label", *X.T, [3, 5, 7] * 8)))
    found = another(write(tmp_path / "e.csv", text("u v label", *X[:2].T, [7, 5.0])), (data, data.schema))
    assert found.y.tolist() == [2, 1]
    data = load_dataset(write(tmp_path / "f.csv", text("u v label", *X.T, [3, 5, 7] * 8)), target="regression")
    found = load_another(tmp_path / "f.csv", schema=data.schema, target="regression")
    np.testing.assert_array_equal(found.y, data.y)


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [((), [5, 9, 5], None), (("a", "b", "c"), [2, 0, 2], [2, 0, 2]), (("5", "9"), [9, 9, 5], [1, 1, 0])],
)
def test_arrays_are_read_by_the_models_classes_too(tmp_path, names, labels, expected):
    """By their names, or as their indices; by themselves where the model knows none."""
    np.savez(tmp_path / "d.npz", x=X[:3], y=np.array(labels))
    found = load_another(tmp_path / "d.npz", schema=None, target="class", class_names=names)
    assert found.y.tolist() == ([0, 1, 0] if expected is None else expected)
    np.savez(tmp_path / "d.npz", x=X[:1], y=np.array([5]))
    with pytest.raises(InputError, match="label '5' is none of the classes that the model knows"):
        load_another(tmp_path / "d.npz", schema=None, target="class", class_names=("a", "b"))


def test_the_test_part_of_arrays_for_tuning_stays(tmp_path):
    """With classes as the model knows them; one that it does not know is refused there too."""
    path, known = tmp_path / "d.npz", {"schema": None, "target": "class", "class_names": ("a", "b", "c")}
    np.savez(path, x_train=X[:4], y_train=["c", "a", "a", "c"], x_test=X[4:6], y_test=["c", "c"])
    found = load_another(path, **known, for_tuning=True)
    assert (found.y.tolist(), found.test.y.tolist()) == ([2, 0, 0, 2], [2, 2])
    assert found.class_names == found.test.class_names == ("a", "b", "c")
    np.savez(path, x_train=X[:4], y_train=["c", "a", "a", "c"], x_test=X[4:6], y_test=["c", "fly"])
    with pytest.raises(InputError, match=r"its test part: row 1 .*: label 'fly' is none of the classes"):
        load_another(path, **known, for_tuning=True)


def test_a_class_is_learned_as_normal_only_if_nothing_speaks_against_it(tmp_path):
    """A smaller class of that name is warned of; 0 below a larger 1, and two names of what is normal, are refused."""

    def loaded(*states):
        path = write(tmp_path / "n.csv", text("u v label", *X.T, [*states] * (N // 3)))
        return load_dataset(path, target="autoencoder").reading

    assert (loaded("1", "1", "-1").normal, loaded("0", "0", "1").normal) == ("1", "0")
    assert loaded("1", "1", "-1").warnings == ()
    assert "'ok' is learned as normal, though it is the smaller class" in loaded("ok", "bad", "bad").warnings[-1]
    with pytest.raises(InputError, match="8 rows are '0' and 16 are '1': which is normal"):
        loaded("0", "1", "1")
    with pytest.raises(InputError, match="'good', 'ok' are all names of what is normal, expected one"):
        loaded("good", "ok", "bad")


def test_an_autoencoder_learns_what_is_normal(tmp_path):
    """If the label says so by its name: other rows are left out, here and later, and counted. Unknown ones stay."""
    states = ["ok", "broken", "ok", ""] * 6
    data = load_dataset(write(tmp_path / "d.csv", text("u v label", *X.T, states)), target="autoencoder")
    kept = [row for row in range(N) if states[row] != "broken"]
    np.testing.assert_array_equal(data.x, X[kept].astype(np.float32))
    assert data.y is not None
    assert (data.reading.normal, data.reading.strange, data.class_names) == ("ok", 6, ())
    states = ["ok", "broken"] * 12
    other = write(tmp_path / "e.csv", text("u v label", *X.T, states))
    found = for_autoencoder(load_another(other, schema=data.schema, target="autoencoder", needs_labels=False))
    np.testing.assert_array_equal(found.x, X[::2].astype(np.float32))
    np.testing.assert_array_equal(found.y, found.x)
    assert found.reading.notes[-1] == "12 rows left out, whose label is not 'ok'"
    kinds = load_dataset(write(tmp_path / "f.csv", text("u v label", *X.T, KINDS)), target="autoencoder")
    assert (len(kinds), kinds.reading.strange) == (N, 0)


# a folder with a file for each class


def test_a_folder_with_a_file_for_each_class_is_a_data_set(tmp_path):
    """The files' names are the classes, columns are found by name, as in the first; other files are left alone."""
    write(tmp_path / "walk.csv", text("u v", *X[:10].T))
    write(tmp_path / "run.csv", text("v u", *X[10:, ::-1].T, sep=";"))
    write(tmp_path / ".hidden.csv", "x")
    write(tmp_path / "notes.md", "x")
    data = load_dataset(tmp_path)
    assert data.class_names == ("run", "walk")
    np.testing.assert_array_equal(data.x, X[[*range(10, N), *range(10)], ::-1].astype(np.float32))
    assert np.bincount(data.y).tolist() == [14, 10]
    assert [path.name for path in files_of(tmp_path)] == ["run.csv", "walk.csv"]
    assert "2 files, a class each" in data.reading.notes[0]
    assert data.reading.label_reason == "the names of the files"
    found = another(tmp_path, (data, data.schema))
    np.testing.assert_array_equal(found.y, data.y)


def test_files_of_other_columns_in_a_folder_are_refused(tmp_path):
    """By the file's name; so is a label, which the files' names are."""
    write(tmp_path / "a.csv", text("u v", *X.T))
    write(tmp_path / "b.csv", text("u w", *X.T))
    with pytest.raises(InputError, match=r"b.csv: columns 'u', 'w', expected 'u', 'v' as in the first file"):
        load_dataset(tmp_path)
    write(tmp_path / "b.csv", text("u v", *X.T))
    with pytest.raises(InputError, match="the names of the files in a folder are the classes"):
        load_dataset(tmp_path, label="u")
    write(tmp_path / "b.tsv", text("u v", *X.T))
    with pytest.raises(InputError, match="two files of one name in its folder"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("rule", ["drop", "mean"])
def test_a_rule_for_missing_values_is_refused_beside_arrays(tmp_path, rule):
    """It would have no effect there."""
    np.savez(tmp_path / "d.npz", x=X, y=np.arange(N) % 2)
    for data in (tmp_path / "d.npz", "digits"):
        with pytest.raises(InputError, match=f"--missing {rule} is for tables; .* leave it out"):
            load_dataset(data, missing=rule)


def test_another_file_in_a_folder_of_classes_is_named(tmp_path):
    """With what is taken for the table of a class, whether it can be read as a table or not."""
    for name in ("walk", "run"):
        write(tmp_path / f"{name}.csv", text("u v", *X.T))
    for words in ("These rows were measured in May.\n\nAsk, before using them.\n", "note\n1\n2\n"):
        write(tmp_path / "README.txt", words)
        with pytest.raises(InputError, match=r"README.txt[:;] .*each file that ends in .csv, .* move others away"):
            load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["cat/a.csv", "dog/b.csv"], r"no data files, but 2 folders \('cat', 'dog'\), which are not looked into"),
        (["a.csv"], "a single table, 'a.csv': give that file itself, or one for each class"),
        (["a.png"], "no IDX files in it"),
    ],
)
def test_a_folder_that_is_no_data_set_says_what_is_expected(tmp_path, names, words):
    """A folder for each class, one table, nothing that is read."""
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, text("u v", *X.T))
    with pytest.raises(InputError, match=words + ".*expected train-images-idx3-ubyte.* or a table for each class"):
        load_dataset(tmp_path)
