"""Which activation a function is."""

import numpy as np
import pytest

from edge_runtime.numerics import DEFINITIONS, Activation
from export.onnx_reader.layers.functions import recognized

SMOOTH = sorted(
    name for name, known in DEFINITIONS.items() if not known.is_over_row and known.error and known.is_bounded
)


@pytest.mark.parametrize("scale", [1e-3, 1e-5, 2e-6, 1e-6, 1e-7, 1e-9])
@pytest.mark.parametrize("name", SMOOTH)
def test_a_curve_of_a_very_small_multiple_is_no_line_with_ends(name, scale):
    """sigmoid(x / 1e6), behind integers of millions, is no hard_sigmoid: it would be a tenth away from it."""
    curve = Activation(name)
    found = recognized(lambda x: curve(x * scale))
    x = np.linspace(-3.0, 3.0, 101) / scale
    assert found is None or np.abs(found(x) - curve(x * scale)).max() < 1e-6


@pytest.mark.parametrize("alpha", [0.01, 0.25, 1.5])
def test_a_sum_of_a_line_and_a_magnitude_is_read_with_float32_constants(alpha):
    """((1 + a) x + (1 - a) |x|) / 2 is rounded in parts of x, though its values below 0 are small beside x."""
    above, below = np.float32((1 + alpha) / 2), np.float32((1 - alpha) / 2)
    found = recognized(lambda x: float(above) * x + float(below) * np.abs(x))
    assert isinstance(found, Activation)
    assert found.name == "leaky_relu"
    assert dict(found.params)["alpha"] == pytest.approx(alpha, rel=1e-5)
