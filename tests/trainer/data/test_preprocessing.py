import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_runtime import InputError
from tests.trainer.samples import blobs, small_network
from trainer import ConfigurationError, NeuralNetworkModel
from trainer.data.preprocessing import (
    as_truth,
    check_finite,
    checked_rows,
    class_weights,
    encode_targets,
    learn_standardization,
    one_hot,
)
from trainer.losses import LOSSES

CROSS_ENTROPY, BINARY, SQUARED = LOSSES["cross_entropy"], LOSSES["binary_cross_entropy"], LOSSES["mse"]
SINGLE = np.dtype(np.float32)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(2, 60), n_in=st.integers(1, 8), seed=st.integers(0, 2**31), power=st.integers(-6, 6))
def test_standardized_rows_have_mean_0_and_variance_1(rows, n_in, seed, power):
    """Per feature, or for all values together, whatever the scale."""
    rng = np.random.default_rng(seed)
    x = ((rng.standard_normal((rows, n_in)) + rng.standard_normal(n_in)) * 10.0**power).astype(np.float32)
    spread = x.std(axis=0, dtype=np.float64)
    assume((spread > 0.01 * 10.0**power).all())  # two rows may be nearly the same
    per_feature = learn_standardization(x, "per-feature")
    assert per_feature.mean.shape == (n_in,)
    z = (x.astype(np.float64) - per_feature.mean) * per_feature.inv_std
    slack = 1e-6 * np.abs(x).max(axis=0) / spread + 1e-5  # mean is rounded to float32
    assert (np.abs(z.mean(axis=0)) <= slack).all()
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-4)
    together = learn_standardization(x, "global")
    assert together.mean.shape == (1,)
    np.testing.assert_allclose(together.mean, x.mean(dtype=np.float64), rtol=1e-5, atol=1e-6 * 10.0**power)
    np.testing.assert_allclose(together.inv_std, 1 / x.std(dtype=np.float64), rtol=1e-4)


def test_constant_features_keep_their_scale():
    """A feature without variance gets inv_std 1: it becomes 0, not NaN. Also where float noise hides in its sum."""
    x = np.random.default_rng(0).random((3000, 3)).astype(np.float32)
    x[:, 1], x[:, 2] = 0.1, 0.0
    learned = learn_standardization(x, "per-feature")
    assert learned.inv_std[1] == learned.inv_std[2] == 1
    assert learned.inv_std[0] != 1
    assert learn_standardization(np.full((5, 2), 7.0), "global").inv_std[0] == 1


def test_standardization_is_learned_in_pieces():
    """More rows than one piece give what one pass would."""
    x = np.random.default_rng(0).random((5000, 3)).astype(np.float32)
    learned = learn_standardization(x, "per-feature")
    np.testing.assert_allclose(learned.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(learned.inv_std, 1 / x.std(axis=0, dtype=np.float64), rtol=1e-6)


def test_standardization_is_learned_from_training_rows_only():
    """Validation rows are transformed by it but do not change it; "none" keeps what is there."""
    x, y = blobs()
    network = small_network(kind=NeuralNetworkModel)
    network.fit(x, y, epochs=1, standardize="per-feature", validation_data=(x * 100, y))
    learned = network.preprocessing
    np.testing.assert_allclose(learned.mean, x.mean(axis=0), atol=1e-5)
    network.fit(x * 3, y, epochs=1)
    assert network.preprocessing is learned


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
    weighted.fit(x, y, epochs=1, batch_size=30, learning_rate=0.1, class_weight={1: 2.0})
    rate = 0.1 * len(twice) / 30
    repeated.fit(x[twice], y[twice], epochs=1, batch_size=len(twice), learning_rate=rate)
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


@pytest.mark.parametrize(("mode", "where"), [("global", r"\Ax varies"), ("per-feature", r"\Acolumn 1 of x")])
def test_values_too_small_to_standardize_are_named(mode, where):
    """Where 1 / standard deviation is beyond float32, the message says what varies by how much and what to do."""
    x = np.linspace(0, 1e-40, 20, dtype=np.float32).reshape(10, 2) * np.float32([0, 1])
    with pytest.raises(InputError, match=where + r".* by \d(\.\d)?e-41, .*beyond float32's range; scale the data up"):
        learn_standardization(x, mode)
    assert learn_standardization(x * np.float32(1e20), mode) is not None


@pytest.mark.parametrize("value", [1.0, -3e4, 1e-30])
def test_a_feature_is_constant_if_it_varies_by_float_noise(value):
    """A spread of a ten-millionth of the mean is noise and stays as it is; a hundred times that is a signal."""
    wiggle = np.array([-1.0, 1.0] * 50)
    for spread, is_constant in ((0.9e-7, True), (0.0, True), (1e-5, False)):
        x = (value * (1 + spread * wiggle))[:, None]
        found = learn_standardization(x, "per-feature")
        assert (found.inv_std[0] == 1) == is_constant
        assert found.mean[0] == np.float32(value)


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


def test_standardization_has_three_names():
    """And "none" is none."""
    x = np.arange(6.0).reshape(3, 2)
    assert learn_standardization(x, "none") is None
    found = refused(lambda: learn_standardization(x, "all"), ConfigurationError)
    assert found == "standardize is 'all', expected one of none, global, per-feature"
    for mode, mean, std in (("global", [2.5], [np.sqrt(35 / 12)]), ("per-feature", [2, 3], [np.sqrt(8 / 3)] * 2)):
        learned = learn_standardization(x, mode)
        assert learned.mean.dtype == learned.inv_std.dtype == np.float32
        np.testing.assert_allclose(learned.mean, mean, rtol=1e-6)
        np.testing.assert_allclose(learned.inv_std, 1 / np.array(std), rtol=1e-6)


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
