import numpy as np
import pytest

from edge_runtime.input_range import clipped_share, range_warning
from export.quantizer import quantize
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
