import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import InputError
from tests.trainer.samples import PLAIN, blobs, small_network
from trainer import ConfigurationError, NeuralNetworkModel
from trainer.data.preprocessing import (
    as_truth,
    check_finite,
    checked_rows,
    class_weights,
    encode_targets,
    one_hot,
)
from trainer.losses import LOSSES

CROSS_ENTROPY, BINARY, SQUARED = LOSSES["cross_entropy"], LOSSES["binary_cross_entropy"], LOSSES["mse"]
SINGLE = np.dtype(np.float32)


def test_rows_are_copied_only_when_they_must_be():
    """float32 rows in C order are used as they are; others are converted; the caller's array is never changed."""
    x = np.random.default_rng(0).random((6, 3)).astype(np.float32)
    assert checked_rows(x, 3, SINGLE) is x
    converted = checked_rows(np.asfortranarray(x), 3, SINGLE)
    assert converted.flags.c_contiguous
    assert (converted == x).all()
    assert checked_rows([[1, 2, 3]], 3, SINGLE).dtype == np.float32
    assert checked_rows([1, 2, 3], 3, SINGLE).shape == (1, 3)
    with pytest.raises(InputError, match=r"column 0 .*: 1e\+300 is beyond float32"):
        checked_rows([[1e300, 0, 0]], 3, SINGLE)


def test_large_finite_values_are_finite():
    """Values whose sum overflows are not mistaken for infinite ones."""
    check_finite(np.full((3, 3), 3e38, np.float32), "x")
    with pytest.raises(InputError, match=r"x row 1, column 2 \(counted from 0\): nan is"):
        check_finite(np.array([[0, 0, 0], [0, 0, np.nan]]), "x")


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_one_hot_rows_have_one_1_at_the_label(labels):
    """Rows sum to 1 and their largest entry is the label."""
    rows = one_hot(labels, 7)
    assert rows.dtype == np.float32
    assert (rows.sum(axis=1) == 1).all()
    assert (rows.argmax(axis=1) == labels).all()


def test_label_smoothing_spreads_the_share():
    """1 - e + e / k for the label, e / k for the others; e / 2 for one sigmoid output."""
    targets = encode_targets([2, 0], 2, 4, CROSS_ENTROPY, SINGLE, label_smoothing=0.2)
    np.testing.assert_allclose(targets.values[0], [0.05, 0.05, 0.85, 0.05], rtol=1e-6)
    assert targets.labels.tolist() == [2, 0]
    binary = encode_targets([1, 0], 2, 1, BINARY, SINGLE, label_smoothing=0.2)
    np.testing.assert_allclose(binary.values[:, 0], [0.9, 0.1], rtol=1e-6)
    with pytest.raises(ConfigurationError, match="label_smoothing is for class labels"):
        encode_targets(np.zeros((2, 3)), 2, 3, SQUARED, SINGLE, label_smoothing=0.1)


def test_label_smoothing_and_class_weights_change_training():
    """Smoothing bounds the confidence; a weight of 0 forgets a class."""
    x, y = blobs()
    plain, smooth, forgetful = (small_network(epochs=60, learning_rate=0.3) for _ in range(3))
    plain.fit(x, y)
    smooth.fit(x, y, label_smoothing=0.3)
    forgetful.fit(x, y, class_weight=[1.0, 1.0, 0.0])
    assert smooth.predict_proba(x).max() < plain.predict_proba(x).max()
    assert (forgetful.predict(x) != 2).mean() > (plain.predict(x) != 2).mean()


def test_class_weights():
    """ "balanced" is scikit-learn's formula; lists and mappings are taken as they are; others are refused."""
    labels = np.array([0, 0, 0, 1, 2, 2])
    utils = pytest.importorskip("sklearn.utils.class_weight")
    expected = utils.compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(labels, 3, "balanced"), expected)
    assert class_weights(labels, 3, {1: 5.0}).tolist() == [1, 5, 1]
    targets = encode_targets(labels, 6, 3, CROSS_ENTROPY, SINGLE, class_weight=[1.0, 2.0, 3.0])
    assert targets.weight[:, 0].tolist() == [1, 1, 1, 2, 3, 3]
    assert class_weights(labels, 3, np.array([1.0, 2.0, 0.5])).tolist() == [1, 2, 0.5]
    for wrong in (5, np.array(5.0), None):
        with pytest.raises(ConfigurationError, match="expected 'balanced' or a number per class"):
            class_weights(labels, 3, wrong)
    with pytest.raises(ConfigurationError, match=r"class_weight\[1\] is -1"):
        class_weights(labels, 3, [1.0, -1.0, 1.0])
    with pytest.raises(ConfigurationError, match="class_weight is for class labels"):
        encode_targets(np.zeros((2, 3)), 2, 3, SQUARED, SINGLE, class_weight="balanced")


def test_weighted_training_is_repeated_rows():
    """A class of weight 2 trains as if each of its rows came twice, with the step scaled to the same number of rows."""
    x, y = blobs(rows=30)
    config = {"train_dtype": "float64"}
    weighted, repeated = (small_network(kind=NeuralNetworkModel, config=config) for _ in range(2))
    twice = np.concatenate([np.arange(30), np.flatnonzero(y == 1)])
    weighted.fit(x, y, epochs=1, batch_size=30, learning_rate=0.1, class_weight={1: 2.0}, **PLAIN)
    rate = 0.1 * len(twice) / 30
    repeated.fit(x[twice], y[twice], epochs=1, batch_size=len(twice), learning_rate=rate, **PLAIN)
    for a, b in zip(weighted.weights, repeated.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_what_counts_as_labels():
    """Whole numbers for several outputs, 0 and 1 for one sigmoid; probabilities and columns are targets."""
    assert encode_targets([0, 1], 2, 3, SQUARED, SINGLE).labels.tolist() == [0, 1]
    assert encode_targets([[0], [1]], 2, 3, CROSS_ENTROPY, SINGLE).labels.tolist() == [0, 1]
    assert encode_targets([0.0, 1.0], 2, 1, BINARY, SINGLE).labels.tolist() == [0, 1]
    assert encode_targets([True, False], 2, 1, BINARY, SINGLE).labels.tolist() == [1, 0]
    assert encode_targets([0.5, 1.0], 2, 1, BINARY, SINGLE).labels is None
    assert encode_targets([3, 4], 2, 1, SQUARED, SINGLE).labels is None
    assert encode_targets(np.eye(3), 3, 3, CROSS_ENTROPY, SINGLE).labels.tolist() == [0, 1, 2]


def refused(call, kind=InputError):
    """What a call is refused with."""
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_rows_that_are_none_are_refused():
    """The shape that was found and the one that is expected; the name is the caller's."""
    for wrong, shape in ((np.zeros((2, 4)), "(2, 4)"), (np.zeros(4), "(4,)"), (np.zeros((1, 2, 3)), "(1, 2, 3)")):
        assert refused(lambda wrong=wrong: checked_rows(wrong, 3, SINGLE)) == f"x has shape {shape}, expected (rows, 3)"
    assert refused(lambda: checked_rows(np.zeros(1), 1, SINGLE)) == "x has shape (1,), expected (rows, 1)"
    assert refused(lambda: checked_rows(np.zeros((0, 3)), 3, SINGLE, "rows")) == "rows has no rows, expected at least 1"
    assert checked_rows([1.0, 2.0], 2, SINGLE).tolist() == [[1, 2]]
    assert refused(lambda: checked_rows([["a", "b", "c"]], 3, SINGLE, "rows")).startswith("rows ")
    found = refused(lambda: checked_rows([[1, 2, 3], [4, np.inf, 6]], 3, SINGLE, "rows"))
    assert found == "rows row 1, column 1 (counted from 0): inf is not a finite number; mend or drop the row"
    found = refused(lambda: checked_rows([[0.0, -1e39, 0.0]], 3, SINGLE))
    assert found == "x row 0, column 1 (counted from 0): -1e+39 is beyond float32's range; mend or drop the row"
    assert checked_rows([[1e39]], 1, np.dtype(np.float64)).tolist() == [[1e39]]


def test_truth_has_a_row_for_each_row():
    """One value is none; NaN is refused in a list, and left to the loss's own check in a table."""
    assert refused(lambda: as_truth(3)) == "y is 3, expected a label, or targets, for each row of x"
    assert refused(lambda: as_truth("x" * 99, "held y")).startswith("held y is 'xxx")
    assert len(refused(lambda: as_truth("x" * 99))) < 100
    assert refused(lambda: as_truth([1, np.nan], "held y")).startswith("held y row 1 (counted from 0): nan is not")
    assert np.isnan(as_truth([[1, np.nan]])).any()
    assert as_truth(["a", "b"]).tolist() == ["a", "b"]
    masked = np.ma.array([1, 2], mask=[False, True])
    assert refused(lambda: as_truth(masked, "held y")).startswith("held y")


def test_one_hot_rows_have_a_dtype_and_a_range():
    """float32 unless another is asked for; labels are whole numbers below the number of classes."""
    assert one_hot([1], 2).dtype == np.float32
    assert one_hot([2, 0], 3, np.float64).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot([2, 0], 3, np.float64).dtype == np.float64
    assert one_hot(np.zeros(0, int), 3).shape == (0, 3)
    assert refused(lambda: one_hot([0, 3], 3)) == "y holds labels from 0 to 3, expected 0 to 2"
    assert refused(lambda: one_hot([-1, 1], 3)) == "y holds labels from -1 to 1, expected 0 to 2"
    assert refused(lambda: one_hot([0, 1.5], 3)) == "y holds values such as 1.5, expected whole numbers as labels"
    for wrong, found in ((["a"], "<U1 and shape (1,)"), ([[0, 1]], "int64 and shape (1, 2)")):
        expected = f"y has dtype {found}, expected whole numbers (rows,)"
        assert refused(lambda wrong=wrong: one_hot(wrong, 3)) == expected
    assert refused(lambda: one_hot([0.0, np.inf], 3)).startswith("y row 1 (counted from 0): inf is")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_targets_have_the_dtype_of_training(dtype):
    """Of labels, of one output, of values, and of weights; smoothed ones too."""
    kind = np.dtype(dtype)
    for y, n_out, loss, extra in (
        ([0, 1], 3, CROSS_ENTROPY, {"label_smoothing": 0.1, "class_weight": "balanced"}),
        ([0, 1], 1, BINARY, {"label_smoothing": 0.1, "class_weight": {0: 2}}),
        ([0.5, 0.25], 1, SQUARED, {}),
    ):
        found = encode_targets(y, 2, n_out, loss, kind, **extra)
        assert found.values.dtype == dtype
        assert found.values.shape == (2, n_out)
        assert found.metric_name == ("accuracy" if extra else "mean_absolute_error")
        if extra:
            assert found.labels.dtype == np.int64
            assert (found.weight.dtype, found.weight.shape) == (dtype, (2, 1))
        else:
            assert (found.labels, found.weight) == (None, None)


def test_a_weight_for_one_output_is_of_two_classes():
    """Yes and no."""
    found = encode_targets([1, 0, 1], 3, 1, BINARY, SINGLE, class_weight=[2.0, 5.0])
    assert found.weight.tolist() == [[5], [2], [5]]
    assert found.values.tolist() == [[1], [0], [1]]


def test_targets_that_do_not_fit_are_refused_in_their_own_words():
    """By the caller's name for them."""

    def encode(y, n_out=3, loss=CROSS_ENTROPY, rows=2, **extra):
        return lambda: encode_targets(y, rows, n_out, loss, SINGLE, what="held y", **extra)

    for call, words in (
        (encode([0, 1, 2]), "held y has shape (3,), expected 2 rows, one for each row of x"),
        (encode([0, 3]), "held y holds labels from 0 to 3, expected 0 to 2"),
        (encode([0, 2], 1, BINARY), "held y holds labels from 0 to 2, expected 0 to 1"),
        (encode([[0.5, 0.5, 0.5], [1, 0, 0]]), "held y row 0 sums to 1.5, expected 1 for loss 'cross_entropy'"),
        (encode([[1, 0, 0], [0.5, 0.25, 0]]), "held y row 1 sums to 0.75, expected 1 for loss 'cross_entropy'"),
        (encode([[1.5, -0.5, 0], [1, 0, 0]]), "held y holds values from -0.5 to 1.5, expected 0 to 1 for loss "
                                              "'cross_entropy'"),
        (encode([[0.5], [1.25]], 1, BINARY), "held y holds values from 0.5 to 1.25, expected 0 to 1 for loss "
                                             "'binary_cross_entropy'"),
        (encode([[-0.25], [0.5]], 1, BINARY), "held y holds values from -0.25 to 0.5, expected 0 to 1 for loss "
                                              "'binary_cross_entropy'"),
        (encode(np.zeros((2, 2))), "held y has shape (2, 2), expected (rows, 3)"),
        (encode(3), "held y is 3, expected a label, or targets, for each row of x"),
    ):  # fmt: skip
        assert refused(call) == words
    for extra, words in (
        ({"label_smoothing": 0.1}, "label_smoothing is for class labels, found other targets; leave it at 0"),
        ({"class_weight": "balanced"}, "class_weight is for class labels, found other targets; leave it at None"),
    ):
        assert refused(encode(np.zeros((2, 3)), 3, SQUARED, **extra), ConfigurationError) == words
    for weights, words in (
        ("even", "class_weight is 'even', expected 'balanced' or a number per class"),
        (5, "class_weight is 5, expected 'balanced' or a number per class"),
        ([1, 2], "class_weight has 2 numbers, expected 3"),
        ({3: 1.0}, "class_weight names class 3, expected 0 to 2"),
        ({1: -1.0}, "class_weight[1] is -1.0, expected a finite number at least 0"),
    ):
        assert refused(encode([0, 1], class_weight=weights), ConfigurationError) == words
    assert encode([[1, 5e-4, 0], [1, 0, 0]])().labels.tolist() == [0, 0]  # sums within a thousandth are rounding
    assert encode(np.full((2, 3), 9.0), 3, SQUARED)().values.tolist() == [[9] * 3] * 2


def test_the_balance_counts_classes_that_are_there():
    """rows / (classes * count): a class without rows is none, and has a weight that nothing uses."""
    assert class_weights(np.array([0, 0, 0, 2]), 3, "balanced").tolist() == [4 / 6, 2, 2]
    assert class_weights(np.array([0, 0, 0, 1]), 3, "balanced").tolist() == [4 / 6, 2, 4 / 2]


def test_two_outputs_take_labels_as_more_do():
    """A list or a column; one output takes a column as its values."""
    for y in ([1, 0], [[1], [0]]):
        found = encode_targets(y, 2, 2, CROSS_ENTROPY, SINGLE)
        assert (found.labels.tolist(), found.values.tolist()) == ([1, 0], [[0, 1], [1, 0]])
    assert encode_targets([[1], [0]], 2, 1, SQUARED, SINGLE).labels is None
