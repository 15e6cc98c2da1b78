import array

import numpy as np
import pytest

from edge_runtime import Dense, Engine, Model
from edge_runtime.held import held_bytes

WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)


class OtherLibrarys:
    """An array of another library, which says where its memory is and not how much of it there is."""

    def __init__(self, values):
        self._values = values
        self.__array_interface__ = values.__array_interface__


def read_only(values):
    values = values.view()
    values.setflags(write=False)
    return values


@pytest.mark.parametrize(
    ("weight", "nbytes"),
    [
        (read_only(WEIGHT), 24),
        (np.frombuffer(np.arange(100, dtype=np.float32).tobytes(), np.float32)[:6].reshape(3, 2), 400),
        (np.frombuffer(WEIGHT.tobytes() + bytes(8), np.float32, 6).reshape(3, 2), 32),
        (np.frombuffer(memoryview(array.array("f", range(6))).toreadonly(), np.float32).reshape(3, 2), 24),
        (read_only(np.asarray(OtherLibrarys(WEIGHT))), 24),
    ],
    ids=["own", "part of a larger one", "bytes", "array.array", "another library"],
)
def test_the_owner_of_an_array_counts_whole_whoever_it_is(weight, nbytes):
    """NumPy's and Python's owners with all their bytes, another library's with those that the array sees."""
    bias = np.zeros(2, np.float32)
    bias.setflags(write=False)
    model = Model((Dense("a", weight, bias, "linear"),))
    assert held_bytes(model) == (nbytes + bias.nbytes, 0)
    np.testing.assert_array_equal(Engine(model).run([1, 0, 0]), [0, 1])
