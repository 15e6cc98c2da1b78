import array

import numpy as np
import pytest

from edge_runtime import Dense, Engine, Model, Standardization, TestVectors, load, save
from edge_runtime.engine.model_bytes import held_bytes

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


def test_standardization_and_test_vectors_are_held_too():
    """Each array by its bytes where it stands alone."""
    layer = Dense("a", WEIGHT, np.zeros(2, np.float32), "linear")
    scaling = Standardization(np.zeros(3, np.float32), np.ones(3, np.float32))
    vectors = TestVectors(np.ones((5, 3), np.float32), np.ones((5, 2), np.float32))
    assert held_bytes(Model((layer,))) == (24 + 8, 0)
    assert held_bytes(Model((layer,), scaling)) == (24 + 8 + 24, 0)
    assert held_bytes(Model((layer,), scaling, test_vectors=vectors)) == (24 + 8 + 24 + 60 + 40, 0)


def test_arrays_of_one_buffer_are_counted_once():
    """Weights and bias out of one file that was read whole: its bytes, and not theirs twice."""
    whole = np.frombuffer(bytes(1000), np.float32)
    model = Model((Dense("a", whole[:6].reshape(3, 2), whole[6:8], "linear"),))
    assert held_bytes(model) == (1000, 0)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_is_held_whole_or_mapped_whole(tmp_path, mapped):
    """Read into memory it is allocated; mapped it is not."""
    save(Model((Dense("a", WEIGHT, np.zeros(2, np.float32), "linear"),)), tmp_path / "model.npz")
    size = (tmp_path / "model.npz").stat().st_size
    assert held_bytes(load(tmp_path / "model.npz", mmap=mapped)) == ((0, size) if mapped else (size, 0))
