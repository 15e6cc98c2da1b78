import numpy as np
import pytest

from edge_runtime import Engine, Limits
from edge_runtime.engine import matmul as products
from edge_runtime.engine.buffers import Buffers, Constants
from edge_runtime.engine.matmul import (
    FEW_ROWS,
    LEAST_ROWS_AT_ONCE,
    UNPACKED_MULTIPLICATIONS,
    product_of_rows,
    product_steps,
    row_slices,
)
from edge_runtime.numerics import pack
from edge_runtime.reference.trace import logits, trace
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows

SHAPES = [(1, 64, 10), (31, 784, 64), (32, 784, 128), (33, 128, 640), (64, 128, 128), (65, 784, 64), (256, 20, 30)]


@pytest.mark.parametrize(("rows", "n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("avx512", [False, True])
def test_slices_are_all_the_rows_in_order(rows, n_in, n_out, avx512, monkeypatch):
    """None is left out or taken twice, whatever the processor."""
    monkeypatch.setattr(products, "has_avx512", lambda: avx512)
    taken = [row for part in row_slices(rows, n_in, n_out) for row in range(rows)[part]]
    assert taken == list(range(rows))


def test_few_rows_are_cut_below_the_size_that_is_repacked(monkeypatch):
    """On AVX-512 alone, and not into slices that would be too thin to be quick."""
    monkeypatch.setattr(products, "has_avx512", lambda: True)
    parts = list(row_slices(32, 784, 64))
    assert len(parts) == 2
    assert all((part.stop - part.start) * 784 * 64 <= UNPACKED_MULTIPLICATIONS for part in parts)
    assert len(list(row_slices(32, 784, 1024))) == 1  # a slice would have less than LEAST_ROWS_AT_ONCE rows
    assert UNPACKED_MULTIPLICATIONS // (784 * 1024) < LEAST_ROWS_AT_ONCE
    assert len(list(row_slices(256, 784, 64))) == 1  # many rows pay for the repacking
    monkeypatch.setattr(products, "has_avx512", lambda: False)
    assert len(list(row_slices(32, 784, 64))) == 1


@pytest.mark.parametrize(("rows", "n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("avx512", [False, True])
@pytest.mark.parametrize("by_rows", [False, True])
def test_the_product_of_the_users_rows_is_the_product(rows, n_in, n_out, avx512, by_rows, monkeypatch):
    """In both orientations, sliced or whole, from any memory layout; integers, so that each is exact."""
    monkeypatch.setattr(products, "has_avx512", lambda: avx512)
    rng = np.random.default_rng(rows)
    x = rng.integers(-9, 10, (rows, n_in)).astype(np.float32)
    weight = rng.integers(-9, 10, (n_in, n_out)).astype(np.float32)
    target = np.empty((rows, n_out) if by_rows else (n_out, rows), np.float32)
    product = product_of_rows(weight, target, rows, by_rows=by_rows)
    for layout in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        target[...] = np.nan
        product(layout)
        np.testing.assert_array_equal(target if by_rows else target.T, x.astype(np.int64) @ weight.astype(np.int64))


@pytest.mark.parametrize("avx512", [False, True])
@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("sizes", [[300, 70, 60, 10], [40, 130, 130, 5]])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_every_batch_gives_the_plain_bits_in_integers(sizes, lean, avx512, precision, monkeypatch):
    """By rows and feature-major, biases stacked or added, sliced or whole: one answer."""
    monkeypatch.setattr(products, "has_avx512", lambda: avx512)
    model = random_model(sizes, ["relu", "tanh", "softmax"], standardize=True)
    model = quantize(model, random_rows(100, sizes[0]), precision, "minmax")
    engine = Engine(model, Limits(lean=lean))
    rows = random_rows(256, sizes[0], seed=3)
    expected = logits(model, trace(model, rows))
    for count in (1, 2, 16, 32, 64, 128, 256):
        np.testing.assert_array_equal(engine.logits(rows[:count]), expected[:count])


@pytest.mark.parametrize("sizes", [[300, 70, 10], [40, 30, 5], [3000, 20, 4]])
@pytest.mark.parametrize("lean", [False, True])
def test_nan_counts_as_the_lowest_input_in_every_batch(sizes, lean):
    """The rows around a NaN keep their answers, and its own is that of the grid's minimum."""
    model = random_model(sizes, ["tanh", "softmax"])
    model = quantize(model, random_rows(100, sizes[0]), "int8", "minmax")
    engine = Engine(model, Limits(lean=lean))
    for count in (1, 2, 64, 128):
        rows = random_rows(count, sizes[0], seed=count)
        lowest = rows.copy()
        for row, column in ((0, 0), (count - 1, sizes[0] - 1), (count // 2, 7)):
            rows[row, column], lowest[row, column] = np.nan, -1e30
        np.testing.assert_array_equal(engine.run(rows), engine.run(lowest))
        np.testing.assert_array_equal(engine.logits(rows), logits(model, trace(model, rows)))


def test_as_many_rows_as_are_few_are_cut_and_one_more_is_not(monkeypatch):
    """64 rows of a large product go in slices, 65 go whole."""
    monkeypatch.setattr(products, "has_avx512", lambda: True)
    assert len(list(row_slices(FEW_ROWS, 200, 100))) > 1
    assert len(list(row_slices(FEW_ROWS + 1, 200, 100))) == 1
    assert len(list(row_slices(1, 5000, 5000))) == 1


@pytest.mark.parametrize("avx512", [False, True])
@pytest.mark.parametrize("tile_rows", [0, 1, 2, 3, 7, 20])
@pytest.mark.parametrize("rows", [None, 1, 5, 64])
@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("n_in", [20, 19])
def test_tiles_add_up_to_the_product(monkeypatch, avx512, tile_rows, rows, by_rows, has_bias, wide, n_in):
    """Kept widened, widened at once, and a few rows at a time with a rest; with and without float64 and a bias.

    An even number of rows at a time is taken from 4-bit weights too, with a last row that has a byte for itself.
    """
    monkeypatch.setattr(products, "has_avx512", lambda: avx512)
    monkeypatch.setattr(products, "UNPACKED_MULTIPLICATIONS", 1000)
    rng, dtype = np.random.default_rng(0), np.float64 if wide else np.float32
    weight, x = rng.integers(-8, 8, (n_in, 6)).astype(np.int8), rng.integers(-9, 10, (rows or 1, n_in))
    bias = rng.integers(-9, 10, 6).astype(dtype) if has_bias else None
    shape = (6,) if rows is None else (rows, 6) if by_rows else (6, rows)
    source = np.array(x[0] if rows is None else x.T, np.float32, order="F" if by_rows else "C")
    target = np.full(shape, np.nan, np.float32)
    tile_rows = min(tile_rows, n_in)
    buffers = Buffers(
        source=source,
        source_and_one=None,
        target=target,
        by_rows=by_rows and rows is not None,
        scratch=None,
        row=np.empty(rows or 1, np.float32),
        sums=None,
        wide_source=np.array(source, np.float64, order="F" if by_rows else "C") if wide else None,
        wide_target=np.full(shape, np.nan) if wide else None,
        indices=None,
        partial=np.full(shape, np.nan, dtype) if 0 < tile_rows < n_in else None,
        tile=np.full(tile_rows * 6, np.nan, dtype) if tile_rows else None,
        nibbles=np.empty((tile_rows + 1) // 2 * 6, np.uint8),
    )
    expected = x @ weight.astype(np.int64) + (0 if bias is None else bias.astype(np.int64))
    stored = [weight, pack(weight)] if tile_rows % 2 == 0 or tile_rows == n_in else [weight]
    for held in stored * 2 if tile_rows else [weight.astype(dtype)]:
        target[...] = np.nan
        for step in product_steps(Constants(held, bias, None, None, tile_rows), buffers):
            step()
        found = target[None] if rows is None else target if by_rows else target.T
        np.testing.assert_array_equal(found, expected)


def test_the_product_of_one_row_goes_into_its_buffer():
    """A vector, without an array of its own: NumPy makes one where a target is left out."""
    weight, target, x = np.float32([[1, 2], [3, 4], [5, 6]]), np.zeros(2, np.float32), np.float32([1, -1, 2])
    assert product_of_rows(weight, target, None, by_rows=False)(x) is target
    assert target.tolist() == [8, 10]


def test_a_product_that_is_not_cut_is_one_call(monkeypatch):
    """A list of parts costs more than the product of a small network; one that is cut gives a list."""
    monkeypatch.setattr(products, "has_avx512", lambda: True)
    for rows, count in ((4, None), (32, 2)):
        for by_rows in (False, True):
            target = np.empty((rows, 64) if by_rows else (64, rows), np.float32)
            product = product_of_rows(np.ones((784, 64), np.float32), target, rows, by_rows=by_rows)
            found = product(np.ones((rows, 784), np.float32))
            assert found is target if count is None else len(found) == count


@pytest.mark.parametrize(
    ("rows", "n_in", "n_out", "count"),
    [
        (10, 1000, 100, 1),  # 10^6 multiplications are not repacked
        (10, 1000, 101, 1),  # cut once a slice has 5 rows, too few
        (20, 1000, 100, 2),
        (16, 1000, 125, 2),  # slices of LEAST_ROWS_AT_ONCE rows
        (16, 1000, 126, 1),
        (9, 1000, 1001, 1),  # one row alone is too much: no cut helps
    ],
)
def test_rows_are_cut_at_the_stated_sizes(rows, n_in, n_out, count, monkeypatch):
    """As many multiplications as are not repacked stay together, and no slice is thinner than stated."""
    assert (UNPACKED_MULTIPLICATIONS, LEAST_ROWS_AT_ONCE) == (1_000_000, 8)
    monkeypatch.setattr(products, "has_avx512", lambda: True)
    assert len(list(row_slices(rows, n_in, n_out))) == count


def buffers_for(source, target, *, by_rows=False, ones=None, wide=None):
    """Buffers of one product."""
    wide_source, wide_target = wide or (None, None)
    return Buffers(
        source, ones, target, by_rows, None, np.empty(1, np.float32), None, wide_source, wide_target, *[None] * 3
    )


def test_a_bias_is_added_by_the_output_in_the_target():
    """Feature-major, by rows and for one row: no other array is written."""
    bias = np.float32([10, 20])
    constants = Constants(np.ones((3, 2), np.float32), bias, None, None, 0)
    for shape, by_rows in (((2,), False), ((2, 4), False), ((4, 2), True)):
        target = np.ones(shape, np.float32)
        (step,) = products.bias_steps(constants, buffers_for(np.empty(3), target, by_rows=by_rows))
        assert step() is target
        assert (target == 1 + (bias.reshape(-1, 1) if shape == (2, 4) else bias)).all()


@pytest.mark.parametrize("by_rows", [False, True])
def test_a_bias_over_the_weights_is_added_by_the_product(by_rows):
    """The source stands behind a row of ones: one call for both, in either orientation."""
    stacked = np.float32([[10, 20], [1, 2], [3, 4]])
    ones = np.float32([[1, 1, 1], [1, 0, 2], [0, 1, 3]])
    target = np.empty((3, 2) if by_rows else (2, 3), np.float32)
    constants = Constants(stacked[1:], stacked[0], stacked, None, 0)
    steps = product_steps(constants, buffers_for(ones[1:], target, by_rows=by_rows, ones=ones))
    assert len(steps) == 1
    for step in steps:
        step()
    np.testing.assert_array_equal(target if by_rows else target.T, ones.T @ stacked)
