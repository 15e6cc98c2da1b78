import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_runtime import InputError
from tests.trainer.samples import blobs, small_network
from trainer import ConfigurationError, DataWarning, NeuralNetworkModel
from trainer.data.standardization import (
    chosen_standardization,
    dominated_columns,
    learn_standardization,
    merged_columns,
    standardization_notes,
)


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


def test_constant_features_have_no_effect():
    """A feature without variance gets the factor 0, whatever comes later. Also where float noise hides in its sum."""
    x = np.random.default_rng(0).random((3000, 3)).astype(np.float32)
    x[:, 1], x[:, 2] = 0.1, 0.0
    learned = learn_standardization(x, "per-feature")
    assert learned.inv_std.tolist()[1:] == [0, 0]
    assert learned.inv_std[0] > 0
    assert not learned(np.float32([[0.5, 1013.25, -7]]))[0, 1:].any()
    assert learn_standardization(np.full((5, 2), 7.0), "global").inv_std[0] == 0


def test_standardization_is_learned_in_pieces():
    """More rows than one piece give what one pass would."""
    x = np.random.default_rng(0).random((5000, 3)).astype(np.float32)
    learned = learn_standardization(x, "per-feature")
    np.testing.assert_allclose(learned.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(learned.inv_std, 1 / x.std(axis=0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize(("mode", "where"), [("global", r"\Ax varies"), ("per-feature", r"\Acolumn 1 of x")])
def test_values_too_small_to_standardize_are_named(mode, where):
    """Where 1 / standard deviation is beyond float32, the message says what varies by how much and what to do."""
    x = np.linspace(0, 1e-40, 20, dtype=np.float32).reshape(10, 2) * np.float32([0, 1])
    with pytest.raises(InputError, match=where + r".* by \d(\.\d)?e-41, .*beyond float32's range; scale the data up"):
        learn_standardization(x, mode)
    assert learn_standardization(x * np.float32(1e20), mode) is not None


@pytest.mark.parametrize("value", [1.0, -3e4, 1e-30])
def test_a_feature_is_constant_if_it_varies_by_float_noise(value):
    """A spread of a ten-millionth of the mean is noise and is left out; a hundred times that is a signal."""
    wiggle = np.array([-1.0, 1.0] * 50)
    for spread, is_constant in ((0.9e-7, True), (0.0, True), (1e-5, False)):
        x = (value * (1 + spread * wiggle))[:, None]
        found = learn_standardization(x, "per-feature")
        assert (found.inv_std[0] == 0) == is_constant
        assert found.mean[0] == np.float32(value)


def test_standardization_has_names():
    """And "none" is none."""
    x = np.arange(6.0).reshape(3, 2)
    assert learn_standardization(x, "none") is None
    with pytest.raises(
        ConfigurationError, match=r"^standardize is 'all', expected one of auto, none, global, per-feature$"
    ):
        learn_standardization(x, "all")
    for mode, mean, std in (("global", [2.5], [np.sqrt(35 / 12)]), ("per-feature", [2, 3], [np.sqrt(8 / 3)] * 2)):
        learned = learn_standardization(x, mode)
        assert learned.mean.dtype == learned.inv_std.dtype == np.float32
        np.testing.assert_allclose(learned.mean, mean, rtol=1e-6)
        np.testing.assert_allclose(learned.inv_std, 1 / np.array(std), rtol=1e-6)


def test_standardization_is_learned_from_training_rows_only():
    """Validation rows are transformed by it but do not change it; "none" keeps what is there."""
    x, y = blobs()
    network = small_network(kind=NeuralNetworkModel)
    network.fit(x, y, epochs=1, standardize="per-feature", validation_data=(x * 100, y))
    learned = network.preprocessing
    np.testing.assert_allclose(learned.mean, x.mean(axis=0), atol=1e-5)
    network.fit(x * 3, y, epochs=1)
    assert network.preprocessing is learned


def test_tables_are_standardized_by_feature_and_images_as_one():
    """One scale for three axes, and for 64 columns that reach the same bounds; else each column its own."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, 64)) * (rng.random(64) < 0.8)  # some never lit
    pixels[0], pixels[1] = 0, np.where(rng.random(64) < 0.7, 255, 80) * pixels.any(axis=0)
    table = rng.normal(size=(50, 80)) * 10.0 ** rng.integers(-3, 4, 80)
    expected = {"global": [pixels, pixels / 255, rng.random((9, 4, 2))], "per-feature": [table, pixels[:, :63]]}
    for mode, arrays in expected.items():
        for x in arrays:
            assert chosen_standardization(x, "auto") == mode
            assert len(learn_standardization(x, "auto").mean) == (1 if mode == "global" else x.shape[1])
    assert chosen_standardization(table, "none") == "none"


@pytest.mark.parametrize("columns", [1, 4, 63])
def test_a_small_table_is_never_taken_for_an_image(columns):
    """Not even where all columns run from 0 to 1."""
    x = np.random.default_rng(0).random((30, columns))
    x[0], x[1] = 0, 1
    assert chosen_standardization(x, "auto") == "per-feature"


def test_scale_is_learned_in_float64():
    """From float64 values that float32 rounds: mean and spread are those of the values as they were given."""
    x = 1e6 + np.random.default_rng(0).normal(size=(2000, 1)) * 0.5
    learned = learn_standardization(x, "per-feature")
    assert learned.inv_std[0] == pytest.approx(1 / x.std(), rel=1e-6)
    assert learned.mean[0] == np.float32(x.mean())


def test_columns_whose_values_merge_are_named():
    """With their number, the step of float32 there, what becomes of the values, and what to do."""
    x = np.random.default_rng(5).normal(size=(1500, 3))
    x[:, 1] = 1e6 + 0.05 * x[:, 1]
    found = merged_columns(x)
    assert found.startswith(
        "column 1 (counted from 0) of x: float32 cannot tell values apart that differ by less than "
    )
    assert "0.062, so 1,500 different values become " in found
    assert "subtract a number near 1e+06 in float64" in found
    assert merged_columns(x[:, [0, 2]]) is None
    assert merged_columns(x.astype(np.float32)) is None  # nothing is lost any more
    times = 1714730000000000 + np.arange(1500)[:, None] * [1, 10**9]
    assert merged_columns(times).startswith("column 0 ")
    with pytest.warns(DataWarning, match="column 1 .* different values become") as caught:
        NeuralNetworkModel([3, 2], ["softmax"]).fit(x, x[:, 0] > 0, epochs=1)
    assert caught[0].filename == __file__


def test_what_was_done_is_said():
    """In a line, and in one more for columns that do not vary."""
    x = np.random.default_rng(0).random((9, 10))
    assert standardization_notes(None) == ["inputs are taken as they are"]
    assert standardization_notes(learn_standardization(x, "global")) == [
        "inputs standardized by one mean and one scale"
    ]
    x[:, 3] = 5
    assert standardization_notes(learn_standardization(x, "auto")) == [
        "inputs standardized feature by feature",
        "column 3 (counted from 0) of x does not vary and will be ignored",
    ]
    x[:, 1:] = 5
    assert standardization_notes(learn_standardization(x, "auto"))[1] == (
        "columns (9) 1, 2, 3, 4, 5, 6, ... (counted from 0) of x do not vary and will be ignored"
    )


def test_a_value_that_dwarfs_its_column_is_named():
    """All others become the same once standardized; a rare 1 among zeros and an outlier of 30 are no such thing."""
    x = np.random.default_rng(0).normal(size=(200, 4))
    x[7, 2] = 1e30
    x[:, 3] = 0
    x[9, 3] = 1
    x[11, 0] = 30
    found = dominated_columns(x, learn_standardization(x, "per-feature"))
    assert found.startswith("column 2 (counted from 0) of x: one value (1e+30) is so large that all others become the ")
    assert found.endswith("mend or drop its row")
    assert dominated_columns(x[:, [0, 1, 3]], learn_standardization(x[:, [0, 1, 3]], "per-feature")) is None
    assert dominated_columns(x, learn_standardization(x, "global")) is None


def test_an_ignored_feature_comes_back_as_its_mean():
    """The inverse of a standardization divides by no 0."""
    x = np.random.default_rng(0).normal(size=(20, 3))
    x[:, 1] = 1013.25
    learned = learn_standardization(x, "per-feature")
    np.testing.assert_allclose(learned.inverse(learned(x.astype(np.float32))), x, rtol=1e-5, atol=1e-5)
