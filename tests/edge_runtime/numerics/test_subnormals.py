from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import Engine, Limits, load, save
from edge_runtime.numerics.subnormals import TINY, count_subnormals, flushed
from edge_runtime.reference.bounds import tensor_bounds
from edge_runtime.reference.trace import trace
from export.quantization.quantizer import quantize
from tests.networks import SUBNORMALS, random_rows, with_subnormals, zeroed

BITS = st.integers(0, 2**32 - 1)


@given(st.lists(BITS, min_size=1, max_size=40))
def test_counting_and_flushing_by_bits_is_what_the_numbers_say(bits):
    """Any bit patterns: zeros, the smallest and largest subnormal, NaN and infinities are told apart."""
    array = np.array(bits, np.uint32).view(np.float32)
    expected = (np.abs(array) < TINY) & (array != 0)
    assert count_subnormals(array) == expected.sum()
    np.testing.assert_array_equal(
        flushed(array).view(np.uint32), np.where(expected, np.float32(0), array).view(np.uint32)
    )


def test_the_edges_of_the_range():
    """The largest subnormal is flushed, the smallest normal number is kept, and so are both zeros with their signs."""
    largest = np.nextafter(TINY, np.float32(0))
    found = flushed(np.float32([largest, -largest, TINY, -TINY, 0.0, -0.0, 1e-45]))
    np.testing.assert_array_equal(found, np.float32([0, 0, TINY, -TINY, 0, 0, 0]))
    assert np.signbit(found).tolist() == [False, False, False, True, False, True, False]
    assert not count_subnormals(np.float16([6e-8]))  # a subnormal half is a normal float32


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("lean", [False, True])
def test_an_engine_computes_with_zeros_in_their_place_and_counts_the_copy(tmp_path, mmap, lean):
    """The bits of a network without them, read or mapped, lean or not; the plan grows by that one layer's weights."""
    model, rows = with_subnormals(), random_rows(70, 784)
    save(model, tmp_path / "m.npz")
    save(zeroed(model), tmp_path / "z.npz")
    found = Engine(load(tmp_path / "m.npz", mmap=mmap), Limits(lean=lean))
    expected = Engine(load(tmp_path / "z.npz", mmap=mmap), Limits(lean=lean))
    for x in (rows, rows[0]):
        np.testing.assert_array_equal(found.run(x), expected.run(x))
    copy = model.layers[0].weight.nbytes
    assert found.plan.widened_bytes == expected.plan.widened_bytes + copy
    assert found.plan.total_bytes == expected.plan.total_bytes + copy
    assert found._backend._constants[0].weight.nbytes == copy
    if lean:
        assert found._backend._constants[1].weight is found.model.layers[1].weight


def test_the_change_is_within_its_bound():
    """Each weight by less than 1.18e-38; outputs by less than the bound, even where all weights are subnormal."""
    model = with_subnormals(784 * 64)
    change = np.abs(zeroed(model).layers[0].weight.astype(np.float64) - model.layers[0].weight)
    assert 0 < change.max() < 1.18e-38
    model = replace(model, layers=(replace(model.layers[0], bias=np.zeros(64, np.float32)), *model.layers[1:]))
    rows = random_rows(20, 784)
    with np.errstate(under="ignore"):
        plain, quick = trace(model, rows), trace(zeroed(model), rows)
    for name, bound in tensor_bounds(model, rows).items():
        if name in plain:
            assert (np.abs(plain[name].astype(np.float64) - quick[name]) <= bound).all(), name
    assert np.abs(plain["dense0.output"].astype(np.float64) - quick["dense0.output"]).max() > 0


@pytest.mark.parametrize("batch", [1, 32])
def test_they_cannot_slow_an_engine(batch):
    """No call is given one: rows of 1e30, with which each would be seen in the sums, find zeros in their place."""
    model = with_subnormals(784 * 64)
    model = replace(model, layers=(replace(model.layers[0], bias=np.zeros(64, np.float32)), *model.layers[1:]))
    rows = np.full((batch, 784), 1e30, np.float32)
    x = rows if batch > 1 else rows[0]
    found = Engine(model).run(x)
    np.testing.assert_array_equal(found, Engine(zeroed(model)).run(x))
    with np.errstate(under="ignore"):
        assert np.abs(trace(model, rows)["dense0.output"]).max() > 1e-9
    assert all(not count_subnormals(constants.weight) for constants in Engine(model)._backend._constants[:1])


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic"])
def test_a_quantized_model_has_none_and_says_how_many_there_were(precision):
    """What is shipped needs no copy on the device; a model without any is the same as ever."""
    model, rows = with_subnormals(), random_rows(50, 784)
    small = quantize(model, rows, precision, "minmax")
    assert small.metadata["subnormal_weights_set_to_0"] == str(SUBNORMALS)
    assert sum(count_subnormals(layer.weight) for layer in small.layers) == 0
    plain = quantize(zeroed(model), rows, precision, "minmax")
    assert "subnormal_weights_set_to_0" not in plain.metadata
    for ours, theirs in zip(small.layers, plain.layers, strict=True):
        for name, array in ours.arrays().items():
            np.testing.assert_array_equal(array, theirs.arrays()[name])
