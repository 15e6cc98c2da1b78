import array
import mmap

import numpy as np
import pytest

from edge_runtime import Dense, Engine, Model, Standardization, TestVectors, load, save
from edge_runtime.numerics.ownership import FileMap, frozen, is_frozen
from tests.memory import traced
from tests.networks import random_model

ONES = np.ones((2, 2), np.float32)


def read_only_view(writable):
    view = writable[:]
    view.setflags(write=False)
    return view


def owner_with_an_older_view(writable):
    """The array itself is read-only, and a view that was taken before is not."""
    return writable.setflags(write=False) or writable


def of_another_buffer(writable):
    return np.frombuffer(memoryview(writable).toreadonly(), np.float32).reshape(writable.shape)


def broadcast(writable):
    return np.broadcast_to(writable, writable.shape)


@pytest.mark.parametrize("make", [read_only_view, owner_with_an_older_view, of_another_buffer, broadcast])
def test_a_model_does_not_follow_later_writes(make):
    """Whatever the memory is that its arrays were read-only views of: weights, standardization and test vectors."""
    memory = {name: np.ones((2, 2), np.float32) for name in ("weight", "inputs", "outputs")}
    memory |= {name: np.ones(2, np.float32) for name in ("bias", "mean", "inv_std")}
    writers = {name: values[:] for name, values in memory.items()}
    given = {name: make(values) for name, values in memory.items()}
    model = Model(
        (Dense("a", given["weight"], given["bias"], "linear"),),
        Standardization(given["mean"], given["inv_std"]),
        test_vectors=TestVectors(given["inputs"], given["outputs"]),
    )
    engine, x = Engine(model), np.float32([[2, 3]])
    before = engine.run(x)
    for values in writers.values():
        values[...] = 77
    np.testing.assert_array_equal(engine.run(x), before)
    np.testing.assert_array_equal(Engine(model).run(x), before)
    assert model.test_vectors.inputs.max() == model.test_vectors.outputs.max() == 1


def test_nobody_can_make_an_array_of_a_model_writable():
    """The flag cannot be turned back: the memory is no array's."""
    layer = Dense("a", ONES, np.zeros(2, np.float32), "linear")
    for values in (layer.weight, layer.bias):
        with pytest.raises(ValueError, match="WRITEABLE"):
            values.setflags(write=True)


@pytest.mark.parametrize("owner", [bytes, bytearray])
def test_bytes_are_frozen_and_bytearrays_are_not(owner):
    """Through a view of a view too."""
    values = np.frombuffer(owner(ONES.tobytes()), np.float32)
    view = values.reshape(2, 2)[:1]
    view.setflags(write=False)
    assert is_frozen(view) is (owner is bytes)
    assert (frozen(view) is view) is (owner is bytes)
    buffer = np.frombuffer(memoryview(array.array("f", [1.0])).toreadonly(), np.float32)
    assert not is_frozen(buffer)


@pytest.mark.parametrize("access", [mmap.ACCESS_READ, mmap.ACCESS_WRITE, mmap.ACCESS_COPY])
def test_a_map_of_the_callers_file_is_copied(tmp_path, access):
    """A read-only map too: another map of the same file may be written to."""
    path = tmp_path / "ones"
    path.write_bytes(ONES.tobytes())
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=access)
    for values in (np.frombuffer(mapped, np.float32).reshape(2, 2), np.memmap(path, np.float32, "r", shape=(2, 2))):
        values.setflags(write=False)
        layer = Dense("a", values, np.zeros(2, np.float32), "linear")
        engine = Engine(Model((layer,)))
        assert not is_frozen(values)
        np.memmap(path, np.float32, "r+")[:] = 7
        assert layer.weight.tolist() == [[1, 1], [1, 1]]
        assert engine.run(np.ones(2, np.float32)).tolist() == [2, 2]
        np.memmap(path, np.float32, "r+")[:] = 1


def test_the_map_of_an_artifact_is_kept(tmp_path):
    """As `load(mmap=True)` makes it: weights are not copied."""
    path = tmp_path / "ones"
    path.write_bytes(ONES.tobytes())
    with open(path, "rb") as file:
        mapped = FileMap(file.fileno())
    values = np.frombuffer(mapped, np.float32).reshape(2, 2)
    assert is_frozen(values)
    assert np.shares_memory(Dense("a", values, np.zeros(2, np.float32), "linear").weight, values)


def test_frozen_copies_are_in_c_order_and_native():
    """A transposed or big-endian view of bytes is copied once more, with the same values."""
    values = np.frombuffer(np.arange(6, dtype=">f4").tobytes(), ">f4").reshape(2, 3)
    for view in (values, values.T, np.frombuffer(values.astype("<f4").tobytes(), "<f4").reshape(2, 3).T):
        copy = frozen(view)
        assert copy is not view
        assert copy.flags.c_contiguous
        assert copy.dtype.isnative
        assert is_frozen(copy)
        np.testing.assert_array_equal(copy, view)


@pytest.mark.parametrize("mapped", [False, True])
def test_loading_and_remaking_copy_no_weights(tmp_path, mapped):
    """An artifact's arrays stay views of the file's bytes or of its map, through variants of the model too."""
    model = random_model([300, 300], ["linear"])
    save(model, tmp_path / "model.npz")
    nbytes = model.layers[0].weight.nbytes
    with traced() as peak:
        loaded = load(tmp_path / "model.npz", mmap=mapped)
        assert peak() < (0 if mapped else nbytes) + 100_000
    with traced() as peak:
        again = Dense("a", *loaded.layers[0].arrays().values(), "linear")
        assert peak() < 100_000
    assert np.shares_memory(again.weight, loaded.layers[0].weight)
