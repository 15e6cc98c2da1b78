import numpy as np
import pytest

from edge_runtime import Activation, Dense, Elementwise, Model
from edge_runtime.device_profiles.c_footprint import CODE_BYTES, STAGE_CODE_BYTES, c_code_bytes, c_ram_bytes
from export import quantize
from tests.networks import random_model, random_rows


def small(sizes, precision, standardize=False):
    model = random_model(sizes, ["relu"] * (len(sizes) - 2) + ["linear"], standardize=standardize)
    return quantize(model, random_rows(20, sizes[0]), precision, "minmax")


@pytest.mark.parametrize(
    ("sizes", "precision", "standardize", "expected"),
    [
        ((784, 64, 10), "int8", True, 784 + 64),
        ((640, 128, 128, 8, 128, 640), "int8", False, 640 + 128 + 128),
        ((8, 5), "int8", False, 8),
        ((8, 5), "float32", False, 0),
        ((8, 6, 5), "float16", False, 4 * 6),
        ((8, 6, 7, 5), "float32", True, 4 * (8 + 6)),  # the standardized input and the second layer by turns
    ],
)
def test_ram_is_the_input_and_two_buffers(sizes, precision, standardize, expected):
    """A byte for a code and four for a value; the rows and the outputs are the program's own."""
    assert c_ram_bytes(small(sizes, precision, standardize)) == expected


def test_stages_take_no_memory_but_that_of_their_input():
    """They add their code once."""
    one, stage = np.ones(6, np.float32), Activation("linear")
    maps = [Elementwise(name, one * 2, one, stage) for name in ("a", "b")]
    dense = random_model((6, 6, 6), ["relu", "linear"]).layers
    model = Model((dense[0], *maps, dense[1]))
    assert c_ram_bytes(model) == 4 * 6
    assert c_code_bytes(model) == CODE_BYTES["float32"] + STAGE_CODE_BYTES[Elementwise]
    assert isinstance(model.layers[0], Dense)
