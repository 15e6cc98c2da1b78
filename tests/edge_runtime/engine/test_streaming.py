"""Batches of int8-dynamic models that are larger than a block: one batch all the same, in the memory of a block."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime import Dense, Engine, InputError, Limits, Model, selftest
from edge_runtime.model import TestVectors
from export import quantize
from tests.memory import traced
from tests.networks import random_model, random_rows


def dynamic(sizes=(20, 12, 9, 3), final="softmax"):
    model = random_model(list(sizes), ["tanh"] * (len(sizes) - 2) + [final], standardize=True)
    return quantize(model, None, "int8-dynamic")


def rows_with_an_end(count, n_in=20, place=-1):
    """Rows of which one alone sets the ends of every grid."""
    rows = random_rows(count, n_in, count)
    rows[place] *= 40
    return rows


@pytest.mark.parametrize("count", [257, 300, 512, 513, 2000])
@pytest.mark.parametrize("place", [0, 255, 256, -1])
def test_a_batch_in_blocks_has_the_bits_of_the_whole(count, place):
    """run, logits and predict; the row that sets the grids stands in any block."""
    model, rows = dynamic(), rows_with_an_end(count, place=place)
    whole = Engine(model, Limits(max_batch=count))
    engine = Engine(model)
    np.testing.assert_array_equal(engine.run(rows), whole.run(rows))
    np.testing.assert_array_equal(engine.logits(rows), whole.logits(rows))
    np.testing.assert_array_equal(engine.predict(rows), whole.predict(rows))
    assert not np.array_equal(engine.run(rows)[:10], engine.run(rows[:10]))  # else nothing was shown


def test_batches_of_every_size_follow_one_another():
    """Large, small and one row, in float64 and turned memory too: programs of the one do not disturb the other."""
    model = dynamic()
    engine = Engine(model)
    for count in (700, 3, 257, 1, 256, 900, 700):
        rows = rows_with_an_end(count)
        expected = Engine(model, Limits(max_batch=count)).run(rows)
        np.testing.assert_array_equal(engine.run(rows), expected)
        np.testing.assert_array_equal(engine.run(np.asfortranarray(rows.astype(np.float64))), expected)


def test_float_layers_among_them_run_in_every_pass():
    """A mixed network: a float layer first, in the middle and last."""
    floats, quantized = random_model([20, 12, 9, 3], ["relu"] * 3), dynamic(final="relu")
    for pattern in ("fdf", "dfd", "ffd", "dff"):
        layers = tuple((floats if kind == "f" else quantized).layers[at] for at, kind in enumerate(pattern))
        model, rows = Model(layers), rows_with_an_end(600)
        assert any(isinstance(layer, Dense) for layer in model.layers)
        expected = Engine(model, Limits(max_batch=600)).run(rows)
        np.testing.assert_allclose(Engine(model).run(rows), expected, rtol=0, atol=0.2 * np.abs(expected).max())


def test_memory_does_not_grow_with_the_batch():
    """Beside the result: no copy of the rows, no arena for all of them."""
    model = dynamic()
    engine, rows = Engine(model), rows_with_an_end(40_000)
    engine.run(rows[:600])
    with traced() as most:
        engine.run(rows)
        peak = most()
    assert peak < 40_000 * model.n_out * 4 + 200_000


def test_a_limit_that_was_asked_for_is_kept():
    """max_batch refuses more rows, or makes each part a batch of its own."""
    model, rows = dynamic(), rows_with_an_end(600)
    with pytest.raises(InputError, match="input has 600 rows, the limit max_batch is 300"):
        Engine(model, Limits(max_batch=300)).run(rows)
    split = Engine(model, Limits(max_batch=300, over="split")).run(rows)
    parts = [Engine(model, Limits(max_batch=300)).run(rows[start : start + 300]) for start in (0, 300)]
    np.testing.assert_array_equal(split, np.concatenate(parts))


def test_values_that_no_grid_can_span_are_refused_in_any_block():
    """NaN in the last of many rows."""
    rows = random_rows(600, 20)
    rows[599, 3] = np.nan
    with pytest.raises(InputError, match="takes finite values only"):
        Engine(dynamic()).run(rows)


def test_more_test_vectors_than_a_block_are_one_batch():
    """The self-test takes them as they were stored."""
    model, rows = dynamic(), rows_with_an_end(400)
    outputs = Engine(model, Limits(max_batch=400)).logits(rows)
    assert selftest(model.with_test_vectors(TestVectors(rows, outputs))).ok
