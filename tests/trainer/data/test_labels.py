"""From labels as people write them to class indices or targets; what does not fit is refused by row."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime import InputError
from trainer.data.labels import checked_names, decide_target, encode_labels, label_doubts, unicode_texts


def where(row):
    return f"d.csv: row {row + 1}"


def encoded(labels, target="auto", names=None, **options):
    if isinstance(labels, list) and not all(isinstance(label, str) for label in labels):
        labels = np.array(labels)
    return encode_labels(labels, target, names, where, "d.csv", **options)


def test_texts_are_classes_in_sorted_order():
    """The indices of the distinct texts, sorted; names are the texts."""
    indices, names = encoded(["b", "a", "c", "a"])
    assert (indices.tolist(), indices.dtype, names) == ([1, 0, 2, 0], np.int64, ("a", "b", "c"))


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.int64, np.float16, np.float64])
def test_whole_numbers_are_classes_whatever_their_dtype(dtype):
    """Distinct numbers in order, named by their digits; a column is taken as a list."""
    labels = np.array([7, 3, 7, 5], dtype)
    for shaped in (labels, labels[:, None]):
        indices, names = encoded(shaped)
        assert (indices.tolist(), indices.dtype, names) == ([2, 0, 2, 1], np.int64, ("3", "5", "7"))


def test_truth_values_are_two_classes():
    """False is the first one."""
    indices, names = encoded([True, False, True])
    assert (indices.tolist(), names) == ([1, 0, 1], ("0", "1"))


def test_negative_classes_are_sorted_as_numbers():
    """-10 comes before -9, and before 2."""
    assert encoded([2, -9, -10])[1] == ("-10", "-9", "2")


def test_names_make_labels_their_indices():
    """Of numbers: each within the names. Of texts: each one of them; names that no row has stay."""
    names = ("no", "yes", "perhaps")
    for labels in ([1, 0, 1], ["yes", "no", "yes"]):
        indices, found = encoded(labels, names=names)
        assert (indices.tolist(), found) == ([1, 0, 1], names)


@pytest.mark.parametrize("labels", [[0.5, 1.0], [[1, 2], [3, 4]]])
def test_fractions_and_tables_are_targets(labels):
    """float32 (n, k), without names."""
    targets, names = encoded(labels)
    assert (targets.dtype, names) == (np.float32, ())
    np.testing.assert_array_equal(targets, np.array(labels).reshape(2, -1))


def test_whole_numbers_are_targets_if_that_is_asked_for():
    """A regression takes any number; a class takes whole floats."""
    assert encoded([3, 4], "regression")[0].tolist() == [[3.0], [4.0]]
    assert encoded([3.0, 4.0], "class")[0].tolist() == [0, 1]
    assert encoded([3.0, 4.0], "regression")[0].flags.c_contiguous


WRONG = {
    "a fraction as class": (np.array([1.0, 2.5]), "class", None, "d.csv: row 2: label 2.5 is not a whole number below "
                            "2^53; mend it or ask for regression"),
    "a number too large": (np.array([1.0, 2.0**53]), "class", None, "d.csv: row 2: label 9007199254740992.0 is not a "
                           "whole number below 2^53"),
    "NaN among classes": (np.array([1.0, np.nan]), "auto", None, "d.csv: row 2: label nan is not a whole number"),
    "a large integer": (np.array([1, 1 << 53]), "auto", None, "d.csv: row 2: label 9007199254740992 is not a whole"),
    "a table as class": (np.zeros((2, 3)), "class", None, "d.csv: labels have shape (2, 3), expected one class a row, "
                         "(n,); or ask for regression"),
    "a text as number": (["1", "x"], "regression", None, "d.csv: row 2: label 'x' is not a number; mend it or ask for "
                         "classes"),
    "a text of blanks": (["a", " "], "auto", None, "d.csv: row 2: the label is missing; fill it in or drop the row"),
    "outside of names": (np.array([0, 2]), "auto", ("a", "b"), "d.csv: row 2: label 2 is out of range, expected 0 to 1 "
                         "for 2 class names"),
    "below names": (np.array([0, -1]), "auto", ("a", "b"), "d.csv: row 2: label -1 is out of range"),
    "not in names": (["a", "c"], "auto", ("a", "b"), "d.csv: row 2: label 'c' is not in class_names"),
    "infinite target": (np.array([[1.0, 2.0], [3.0, np.inf]]), "regression", None, "d.csv: row 2: the label is NaN, "
                        "inf or beyond float32's range; mend or drop the row"),
    "beyond float32": (np.array([0.5, 1e39]), "auto", None, "d.csv: row 2: the label is NaN, inf or beyond"),
    "no target": (np.zeros((2, 0)), "regression", None, "d.csv: labels have shape (2, 0), expected at least one number "
                  "a row"),
    "complex": (np.array([1j, 2]), "auto", None, "d.csv: labels are complex128 (2,), expected numbers or text of shape "
                "(n,)"),
    "three axes": (np.zeros((2, 2, 2)), "auto", None, "d.csv: labels are float64 (2, 2, 2), expected numbers or text"),
    "a table of texts": (np.array([["a", "b"]]), "auto", None, "d.csv: labels are <U1 (1, 2), expected numbers or"),
    "one class": (np.array([4, 4]), "auto", None, "d.csv: every row has the same label, expected at least two classes; "
                  "add rows of another class"),
}  # fmt: skip


@pytest.mark.parametrize(("labels", "target", "names", "words"), WRONG.values(), ids=WRONG)
def test_labels_that_do_not_fit_are_refused_by_row(labels, target, names, words):
    """The first wrong one; what was found, expected, and what to do."""
    with pytest.raises(InputError) as caught:
        encoded(labels, target, names)
    assert str(caught.value).startswith(words)


def test_the_largest_whole_numbers_are_classes():
    """2^53 - 1 of either sign."""
    most = (1 << 53) - 1
    assert encoded([most, -most, most])[1] == (str(-most), str(most))


def test_one_class_is_taken_where_nothing_is_trained():
    """Rows to run or to verify with may all be alike; without rows there is nothing to refuse."""
    assert encoded([4, 4], for_training=False)[1] == ("4",)
    assert encoded(np.zeros(0, np.int64), names=("a", "b"))[0].size == 0


def test_classes_that_hardly_repeat_are_refused():
    """More than 20 with less than two rows each; 20, or two rows each, are taken."""
    assert len(encoded(np.arange(20), "class")[1]) == 20
    assert len(encoded(np.tile(np.arange(21), 2), "class")[1]) == 21
    with pytest.raises(InputError, match=r"^d\.csv: 21 classes in 41 rows, so they hardly repeat; expected"):
        encoded(np.r_[np.arange(21), np.arange(20)], "class")


def test_targets_of_more_than_a_gibibyte_are_refused():
    """Rows times classes, before they are made: 2^28 are taken, a row more is not."""
    names = tuple(str(index) for index in range(1 << 13))
    labels = np.arange((1 << 15) + 1) % (1 << 13)
    assert len(encoded(labels[:-1], names=names)[0]) == 1 << 15
    with pytest.raises(InputError, match=r"^d\.csv: 32,769 rows x 8,192 classes, expected 268,435,456 at most, which"):
        encoded(labels, names=names)


@pytest.mark.parametrize(
    ("labels", "target", "reason"),
    [
        (["a", "b", "a"], "class", "2 different texts"),
        ([True, False], "class", "2 different texts"),
        ([7, 3, 7, 5], "class", "3 different whole numbers (--target regression takes them as values)"),
        (np.arange(20), "class", "20 different whole numbers"),  # without a gap, from 0
        (np.arange(1, 21), "class", "20 different whole numbers"),
        (np.arange(2, 22), "regression", "20 different whole numbers, many for classes (--target class makes them"),
        (np.arange(21), "regression", "21 different whole numbers"),
        (np.repeat(np.arange(26), 5), "class", "26 different"),
        (np.repeat(np.arange(26), 4), "regression", "26 different"),
        (np.repeat(np.arange(101), 9), "regression", "101 different"),
        (np.r_[np.repeat(np.arange(25), 40), 25], "regression", "26 different"),  # a count of things, with rare ends
        (np.repeat(np.arange(0, 60, 3), 2), "class", "20 different"),
        (np.repeat(np.arange(0, 63, 3), 9), "regression", "21 different"),
        (np.arange(16) * 1000, "regression", "16 different"),  # prices
        ([0.5, 1.0], "regression", "numbers with decimals"),
        ([1.0, 2.0], "class", "2 different"),
        ([[1, 2], [3, 4]], "regression", "2 targets a row"),
    ],
)
def test_what_labels_are_is_decided_by_one_rule_and_said(labels, target, reason):
    """Texts and few whole numbers are classes; an option that is given decides before any rule, and so do names."""
    labels = labels if isinstance(labels[0], str) else np.array(labels)
    found = decide_target(labels, "auto")
    assert found[0] == target
    assert found[1].startswith(reason.removesuffix("them"))
    assert decide_target(labels, "regression") == ("regression", "as --target says")
    assert decide_target(np.arange(50), "auto", ["a"] * 50) == ("class", "class_names name them")


def test_classes_of_a_single_row_and_labels_that_count_are_doubted():
    """A class that cannot be both learned and tested; an index in the place of the label."""
    y, names = encoded(["a", "a", "b", "c"])
    assert label_doubts(y, names) == ["2 of 3 classes have a single row each ('b', 'c'): learned or tested, never both"]
    assert label_doubts(*encoded(["a", "a", "b", "b"])) == []
    assert label_doubts(*encoded(np.arange(30.0) + 1, "regression")) == [
        "the label counts the rows, from 1 on: is it an index?"
    ]
    assert label_doubts(*encoded(np.arange(30.0) ** 2, "regression")) == []


def test_names_are_printable_short_and_told_apart():
    """1 to 256 characters; the whole list comes back."""
    assert checked_names(["ü", "x" * 256], "m") == ("ü", "x" * 256)
    for name in ("", " ", "a\nb", "\x1b[31m", "x" * 257):
        with pytest.raises(InputError, match=r"^m: name .*, expected 1 to 256 printable characters; rename it$"):
            checked_names(["a", name], "m")
    with pytest.raises(InputError, match=r"^m: name 'b' appears twice; rename one$"):
        checked_names(["a", "b", "c", "b", "a"], "m")


def test_texts_of_fixed_width_become_str():
    """Plain str, as JSON and messages want them; other kinds and shapes are refused."""
    found = unicode_texts(np.array(["a", "bc"]), "y")
    assert found == ["a", "bc"]
    assert all(type(text) is str for text in found)
    for wrong in (np.array([b"a"]), np.array([["a"]]), np.array([1])):
        with pytest.raises(InputError, match=r"^y: .*, expected fixed-width unicode text of shape \(n,\)$"):
            unicode_texts(wrong, "y")


@pytest.mark.parametrize("names", [None, ("a", "b", "c")])
def test_an_array_of_texts_is_as_a_list_of_them(names):
    """Of fixed width, as .npz files hold it; a column of them too."""
    for labels in (np.array(["b", "a", "c", "a"]), np.array([["b"], ["a"], ["c"], ["a"]])):
        for target in ("auto", "class"):
            indices, found = encode_labels(labels, target, names, where, "y")
            assert (indices.tolist(), found) == ([1, 0, 2, 0], ("a", "b", "c"))
            assert indices.dtype == np.int64


def said(call):
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_a_refusal_shows_what_was_wrong_and_no_more():
    """The name or label in quotes, cut where it is long; with the file's name, or the row's."""
    long = "x" * 300
    shown = f"'{'x' * 100}"
    for call, start, end in (
        (lambda: checked_names(["a", ""], "m"), "m: name '', ", "rename it"),
        (lambda: checked_names([long], "m"), "m: name 'xxx", "rename it"),
        (lambda: checked_names([long[:200]] * 2, "m"), "m: name 'xxx", " appears twice; rename one"),
        (lambda: encoded(["a", long], names=("a", "b")), "d.csv: row 2: label 'xxx", " is not in class_names"),
        (lambda: encoded(["1", long], "regression"), "d.csv: row 2: label 'xxx", "mend it or ask for classes"),
        (lambda: encoded(["a", "b"], names=("a", "a")), "d.csv: name 'a' appears twice; rename one", ""),
        (lambda: encoded([0, 1], names=("a", "a")), "d.csv: name 'a' appears twice; rename one", ""),
        (lambda: encoded(np.r_[np.arange(257), np.arange(256)], "class"), "d.csv: 257 classes in 513 rows, so they "
         "hardly repeat; expected the label in the last column (y), or ask for regression", ""),
        (lambda: encoded(np.zeros((1 << 15) + 1, int) + (np.arange((1 << 15) + 1) == 0),
                         names=tuple(map(str, range(1 << 13)))),
         "d.csv: 32,769 rows x 8,192 classes, expected 268,435,456 at most, which a training holds as float32 targets; "
         "use fewer rows or classes", ""),
    ):  # fmt: skip
        text = said(call)
        assert text.startswith(start)
        assert text.endswith(end)
        assert shown not in text


def test_one_row_is_one_class():
    """With which nothing can be told apart."""
    assert said(lambda: encoded([7])).startswith("d.csv: every row has the same label")


def test_numbers_as_texts_are_no_regression_targets():
    """Texts that are all numbers were read as numbers before: the first row is named."""
    assert said(lambda: encoded(["1", "2"], "regression")).startswith("d.csv: row 1: label '1' is not a number")


@pytest.mark.filterwarnings("error")
def test_odd_floats_are_judged_without_a_warning():
    """NaN, infinities and numbers beyond float32, in each width of float."""
    for dtype in (np.float16, np.float32, np.float64):
        for labels in ([1, np.nan], [1, np.inf], [1.5, -np.inf]):
            assert said(lambda labels=labels, dtype=dtype: encoded(np.array(labels, dtype))).startswith("d.csv: row 2")
