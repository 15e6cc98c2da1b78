"""A mini-batch holds the right rows, and sums what they cost and how many are answered rightly."""

from __future__ import annotations

import numpy as np
import pytest

from tests.memory import traced
from trainer.data import Targets
from trainer.fitting.batches import Batch, Rows, batch_shapes
from trainer.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError

RNG = np.random.default_rng(5)
LABELS = np.array([0, 2, 1, 1, 0, 2, 2, 0, 1])


def rows_of(*, labels=True, weight=True, n_out=3, dtype=np.float32):
    """Nine rows of four features, no two alike."""
    x = RNG.normal(size=(9, 4)).astype(dtype)
    values = np.eye(3, dtype=dtype)[LABELS] if n_out == 3 else (LABELS[:, None] == 1).astype(dtype)
    known = (LABELS if n_out == 3 else (LABELS == 1).astype(np.int64)) if labels else None
    return Rows(x, Targets(values, known, np.arange(1.0, 10, dtype=dtype)[:, None] if weight else None))


def assert_holds(batch, rows, indices):
    """The batch is these rows, all of what belongs to them."""
    np.testing.assert_array_equal(batch.x, rows.x[indices])
    np.testing.assert_array_equal(batch.targets, rows.targets.values[indices])
    for name in ("weight", "labels"):
        source, found = getattr(rows.targets, name), getattr(batch, name)
        assert (found is None) == (source is None)
        if source is not None:
            np.testing.assert_array_equal(found, source[indices])


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("weight", [True, False])
def test_rows_are_gathered_in_any_order(labels, weight):
    """Features, targets, weights and labels stay together; a shorter last batch holds its own rows only."""
    rows = rows_of(labels=labels, weight=weight)
    batch = Batch(rows, 4, gathers=True)
    for indices in ([8, 0, 3, 3], [1, 2, 5, 4]):
        batch.gather(np.array(indices))
        assert batch.size == 4
        assert_holds(batch, rows, indices)
    batch.resize(2)
    batch.gather(np.array([7, 6]))
    assert batch.size == 2
    assert_holds(batch, rows, [7, 6])
    batch.resize(4)
    batch.gather(np.array([1, 1, 8, 2]))
    assert_holds(batch, rows, [1, 1, 8, 2])


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("weight", [True, False])
def test_rows_in_their_own_order_are_not_copied(labels, weight):
    """A view from a start on, as many as the batch's size."""
    rows = rows_of(labels=labels, weight=weight)
    batch = Batch(rows, 4, gathers=False)
    batch.view(3)
    assert_holds(batch, rows, slice(3, 7))
    assert np.may_share_memory(batch.x, rows.x)
    assert np.may_share_memory(batch.targets, rows.targets.values)
    batch.resize(1)
    batch.view(8)
    assert_holds(batch, rows, slice(8, 9))


def test_gathering_copies_each_row_once():
    """Straight into the batch's own arrays: nothing of their size is made on the way."""
    x, labels = np.ones((4000, 64), np.float32), np.zeros(4000, np.int64)
    targets = Targets(np.ones((4000, 32), np.float32), labels, np.ones((4000, 1), np.float32))
    batch = Batch(Rows(x, targets), 4000, gathers=True)
    indices = np.arange(4000)[::-1].copy()
    batch.gather(indices)
    with traced() as peak:
        batch.gather(indices)
        assert peak() < 4000  # a byte for each row would be the least copy


def test_a_batch_that_has_seen_no_rows_is_empty():
    """Where it is a view: no row stands in it before it is told from which one on."""
    rows = rows_of()
    batch = Batch(rows, 4, gathers=False)
    assert (batch.x.shape, batch.targets.shape) == ((0, 4), (0, 3))
    assert (batch.weight, batch.labels) == (None, None)


def test_gathered_rows_are_the_batchs_own():
    """Writing into them changes no data."""
    rows = rows_of()
    before = rows.x.copy()
    batch = Batch(rows, 4, gathers=True)
    batch.gather(np.arange(4))
    batch.x[:] = 0
    batch.targets[:] = 0
    np.testing.assert_array_equal(rows.x, before)
    assert rows.targets.values.any()


@pytest.mark.parametrize("size", [1, 3, 9])
@pytest.mark.parametrize("gathers", [True, False])
@pytest.mark.parametrize("weight", [True, False])
def test_right_answers_are_counted_without_their_weights(size, gathers, weight):
    """The loss is the weighted sum over rows; the metric counts rows whose largest output is their class."""
    rows = rows_of(weight=weight)
    batch = Batch(rows, size, gathers=gathers)
    batch.gather(np.arange(size)) if gathers else batch.view(0)
    a = RNG.dirichlet(np.ones(3), size).astype(np.float32)
    a[0] = np.eye(3)[LABELS[0]] * 0.98 + 0.01  # the first is right
    loss, right = batch.measure(CrossEntropy(), a)
    each = -np.log(a[np.arange(size), LABELS[:size]].astype(np.float64))
    assert loss == pytest.approx((each * (np.arange(1, size + 1) if weight else 1)).sum(), rel=1e-5)
    assert right == (a.argmax(axis=1) == LABELS[:size]).sum() >= 1
    assert isinstance(right, float)


def test_one_output_is_a_class_above_a_half():
    """Exactly a half is class 0."""
    rows = rows_of(n_out=1, weight=False)
    batch = Batch(rows, 9, gathers=False)
    batch.view(0)
    a = np.full((9, 1), 0.5, np.float32)
    assert batch.measure(BinaryCrossEntropy(), a)[1] == (LABELS != 1).sum()
    a[:] = np.nextafter(np.float32(0.5), np.float32(1))
    loss, right = batch.measure(BinaryCrossEntropy(), a)
    assert right == (LABELS == 1).sum()
    assert loss == pytest.approx(9 * np.log(2), rel=1e-5)


def test_values_are_measured_by_their_absolute_errors():
    """The mean over a row's outputs, summed over rows."""
    rows = rows_of(labels=False, weight=False)
    batch = Batch(rows, 5, gathers=False)
    batch.view(2)
    a = RNG.normal(size=(5, 3)).astype(np.float32)
    error = a.astype(np.float64) - rows.targets.values[2:7]
    loss, metric = batch.measure(MeanSquaredError(), a)
    assert loss == pytest.approx((error**2).mean(axis=1).sum(), rel=1e-5)
    assert metric == pytest.approx(np.abs(error).mean(axis=1).sum(), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_allocates_what_its_shapes_say(dtype):
    """By name, in the data's dtype; what is gathered has arrays of its own, what is viewed has none."""
    rows = rows_of(dtype=dtype)
    loss = {"elements": ((5, 3), dtype), "scratch": ((5, 3), dtype)}
    right = {"predicted": ((5,), np.intp), "is_right": ((5,), bool)}
    own = {"x": ((5, 4), dtype), "targets": ((5, 3), dtype)}
    assert batch_shapes(rows, 5, gathers=False) == loss | right
    known = {"weight": ((5, 1), dtype), "labels": ((5,), np.int64)}
    assert batch_shapes(rows, 5, gathers=True) == loss | right | own | known
    plain = rows_of(labels=False, weight=False, dtype=dtype)
    assert batch_shapes(plain, 5, gathers=True) == loss | own
    batch = Batch(rows, 5, gathers=True)
    assert {name: (array.shape, array.dtype) for name, array in batch._full.items()} == loss | right | own | known
    assert len(rows) == 9
