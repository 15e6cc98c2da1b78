import numpy as np
import pytest

from edge_runtime import Activation, Elementwise, Model, QuantizedDense, QuantParams, Standardization
from edge_runtime.reference.input_range import clipped_share, range_warning
from export.quantization.quantizer import quantize
from tests.networks import random_model


@pytest.fixture(params=[False, True], ids=["raw", "standardized"])
def model(request):
    rows = np.random.default_rng(0).uniform(0, 1, (200, 10)).astype(np.float32)
    return quantize(random_model([10, 4], ["linear"], standardize=request.param), rows, method="minmax")


def test_rows_like_the_calibration_are_silent(model):
    """Values of 0 to 1 fed to a model of 0 to 1."""
    rows = np.random.default_rng(1).uniform(0, 1, (100, 10))
    assert clipped_share(model, rows) < 0.02
    assert range_warning(model, rows) is None


def test_pixels_of_0_to_255_fed_to_a_model_of_0_to_1_are_noticed(model):
    """The share of clipped values and what to do are in one line."""
    rows = np.random.default_rng(1).uniform(0, 255, (100, 10))
    text = range_warning(model, rows)
    assert text is not None
    assert "% of the input values are clipped" in text
    assert "feed raw values" in text
    assert clipped_share(model, rows) > 0.5


def test_float_models_and_no_rows_are_silent():
    """Nothing is clipped there."""
    assert range_warning(random_model([10, 4], ["linear"]), np.full((3, 10), 1e9)) is None


def grid_model(zero_point=55, standardization=None, scale=1.0):
    """One int8 layer on a grid from -zero_point to 255 - zero_point, in steps of `scale`."""
    grid = QuantParams(scale, zero_point)
    arrays = (np.ones((4, 1), np.int8), np.zeros(1, np.int32), np.ones(1, np.float32))
    return Model((QuantizedDense("a", *arrays, grid, None, "linear"),), standardization)


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ([-55, 200, 0, 1], 0.0),
        ([-56, 201, 0, 1], 0.0),
        ([-56.5, 0, 0, 1], 0.25),
        ([201.5, 0, 0, 1], 0.25),
        ([-1e9, 1e9, np.inf, -np.inf], 1.0),
    ],
)
def test_what_lies_more_than_a_step_beyond_the_grid_is_clipped(values, share):
    """On either side; a step beyond its ends is rounding."""
    assert clipped_share(grid_model(), np.float32([values])) == share


def test_no_rows_and_networks_without_a_grid_clip_nothing():
    """There is nothing to count, and no range."""
    assert clipped_share(grid_model(), np.zeros((0, 4))) == 0.0
    assert clipped_share(random_model([4, 1], ["linear"]), np.full((1, 4), 1e9)) == 0.0
    dynamic = quantize(random_model([4, 1], ["linear"]), precision="int8-dynamic")
    assert clipped_share(dynamic, np.full((1, 4), 1e9)) == 0.0


def test_one_value_in_twenty_is_not_yet_doubtful():
    """Above 5 % there is a warning, at 5 % none; the share and the range are in it."""
    rows = np.zeros((5, 4), np.float32)
    rows[0, 0] = 1e6
    assert range_warning(grid_model(), rows) is None
    rows[0, 1] = -1e6
    text = range_warning(grid_model(), rows)
    assert text.startswith("10.0% of the input values are clipped: they lie outside -55..200, the range that")


def test_the_range_is_named_in_the_callers_own_units():
    """One pair for all features is turned back; of one pair each the standardized range is named, and called so."""
    rows = np.full((2, 4), 1e6, np.float32)
    one = Standardization(np.float32([100]), np.float32([0.5]))
    assert "clipped: they lie outside -10..500, the" in range_warning(grid_model(55, one), rows)
    each = Standardization(np.full(4, 100, np.float32), np.full(4, 0.5, np.float32))
    assert "clipped: after standardization they lie outside -55..200" in range_warning(grid_model(55, each), rows)
    assert clipped_share(grid_model(55, one), np.float32([[500, 501, -10, 100]])) == 0.0
    assert clipped_share(grid_model(55, one), np.float32([[503, 100, -14, 100]])) == 0.5


def test_values_are_judged_behind_the_stages_at_the_start():
    """Where the grid is: a stage may bring large inputs into its range, and its name says where they lie."""
    stage = Elementwise("fit", np.full(4, 1e-3, np.float32), np.zeros(4, np.float32), Activation.of("linear"))
    model = Model((stage, *grid_model().layers))
    assert clipped_share(model, np.full((3, 4), 1e4, np.float32)) == 0
    text = range_warning(model, np.full((3, 4), 1e6, np.float32))
    assert text.startswith("100.0% of the input values are clipped: after 'fit' they lie outside -55..200, the range")
    assert range_warning(Model((stage,)), np.full((3, 4), 1e9)) is None
    assert clipped_share(model, np.full((0, 4), 1e9)) == 0
