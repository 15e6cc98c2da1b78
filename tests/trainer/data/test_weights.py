import numpy as np
import pytest

from edge_runtime import InputError
from tests.trainer.samples import PLAIN, all_bytes, blobs, small_network
from trainer import NeuralNetwork, NeuralNetworkModel, PrecisionConfig
from trainer.data import learn_standardization, weighted_rows


def whole_batch(**settings):
    """A network whose every step sees all rows, in float64: sums are then the same but for their rounding."""
    config = PrecisionConfig(train_dtype="float64")
    return NeuralNetwork([5, 7, 3], ["relu", "softmax"], precision_config=config, batch_size=1000, epochs=9, **settings)


@pytest.mark.parametrize("standardize", ["none", "global", "per-feature"])
def test_a_weight_counts_like_so_many_rows(standardize):
    """Weights 0, 1, 2, 3 give the network that rows left out, once, twice, three times give: in loss and scale."""
    x, y = blobs(rows=40)
    count = np.arange(40) % 4
    weighted, repeated = whole_batch(standardize=standardize), whole_batch(standardize=standardize)
    weighted.fit(x, y, sample_weight=count)
    repeated.fit(x.repeat(count, axis=0), y.repeat(count))
    np.testing.assert_allclose(weighted.forward(x), repeated.forward(x), rtol=1e-6 if standardize != "none" else 1e-9)


def test_weights_of_targets():
    """Regression is weighted as classification is."""
    x = np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32)
    targets, count = x @ [[1.0], [2.0]], np.arange(30) % 3
    networks = [
        NeuralNetworkModel([2, 1], ["linear"], precision_config=PrecisionConfig(train_dtype="float64"))
        for _ in range(2)
    ]
    networks[0].fit(x, targets, epochs=5, batch_size=100, sample_weight=count)
    networks[1].fit(x.repeat(count, axis=0), targets.repeat(count, axis=0), epochs=5, batch_size=100)
    np.testing.assert_allclose(networks[0].forward(x), networks[1].forward(x), rtol=1e-9)


@pytest.mark.parametrize("weight", [1, 3.5, [2] * 90, np.ones(90)], ids=str)
def test_equal_weights_change_no_bit(weight):
    """One number for all rows, or the same for each, is no weight at all."""
    x, y = blobs()
    plain, weighted = small_network(epochs=2), small_network(epochs=2)
    plain.fit(x, y)
    weighted.fit(x, y, sample_weight=weight)
    assert all_bytes(plain) == all_bytes(weighted)


def test_weights_of_rows_and_of_classes_are_multiplied():
    """class_weight and sample_weight together."""
    x, y = blobs()
    both, product = whole_batch(), whole_batch()
    weight = np.where(np.arange(90) % 2, 0.5, 1.5)
    both.fit(x, y, sample_weight=weight, class_weight=[1, 2, 4], **PLAIN)
    merged = weight * np.array([1, 2, 4])[y]
    product.fit(x, y, sample_weight=merged, class_weight=[merged.mean()] * 3, **PLAIN)
    np.testing.assert_allclose(both.forward(x), product.forward(x), rtol=1e-9)


def test_callers_arrays_are_not_written_to():
    """Rows and weights stay as they are; rows of no weight are left out of copies."""
    x, y, weight = np.arange(6.0).reshape(3, 2), np.array([0, 1, 1]), np.array([0.0, 1.0, 3.0])
    rows, labels, weights = weighted_rows(x, y, weight)
    assert (rows.tolist(), labels.tolist(), weights.tolist()) == ([[2, 3], [4, 5]], [1, 1], [0.5, 1.5])
    assert weight.tolist() == [0, 1, 3]
    assert weighted_rows(x, y, None)[0] is x


def test_the_scale_of_weighted_rows():
    """Mean and standard deviation of rows that are there so many times."""
    x = np.random.default_rng(0).standard_normal((50, 3))
    count = np.arange(50) % 3 + 1
    found = learn_standardization(x, "per-feature", count / count.mean())
    expected = learn_standardization(x.repeat(count, axis=0), "per-feature")
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(found.inv_std, expected.inv_std, rtol=1e-6)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, 2], r"sample_weight has shape \(2,\), expected \(90,\)"),
        ([-1] * 90, "sample_weight holds -1 at 0, expected finite numbers of at least 0"),
        ([1] * 89 + [np.nan], "sample_weight holds nan at 89"),
        ([0] * 90, "every sample weight is zero, expected some row that counts"),
        (["a"] * 90, "sample_weight has dtype <U1"),
    ],
    ids=["length", "negative", "nan", "zero", "text"],
)
def test_weights_that_are_none_are_refused(weight, message):
    """By name, with what was found."""
    x, y = blobs()
    with pytest.raises(InputError, match=message):
        small_network().fit(x, y, sample_weight=weight)
