import numpy as np
import pytest

from edge_runtime import Engine, Limits, selftest
from export.quantization.quantizer import quantize
from export.quantization.test_rows import MOST_CHOSEN_FROM, Sample, choose_rows, spread_places, with_test_vectors
from tests.networks import random_model, random_rows

MODEL = random_model([6, 5, 3], ["relu", "softmax"])


def test_the_hardest_decisions_and_the_extremes_are_chosen():
    """The row with the smallest margin and the rows with the largest and smallest input are among the eight."""
    rows = random_rows(500, 6)
    chosen = set(choose_rows(MODEL, rows, 8).tolist())
    logits = np.sort(Engine(MODEL).logits(rows), axis=1)
    assert int((logits[:, -1] - logits[:, -2]).argmin()) in chosen
    assert int(np.abs(rows).sum(axis=1).argmax()) in chosen
    assert int(np.abs(rows).sum(axis=1).argmin()) in chosen


@pytest.mark.parametrize(("n", "count", "expected"), [(500, 8, 8), (3, 8, 3), (1, 8, 1), (100, 1, 1), (100, 40, 40)])
def test_the_count_is_kept_where_there_are_rows_enough(n, count, expected):
    """Different rows, in ascending order."""
    chosen = choose_rows(MODEL, random_rows(n, 6), count)
    assert len(set(chosen.tolist())) == len(chosen) == expected
    assert (np.sort(chosen) == chosen).all()


def test_outputs_are_the_models_own_logits():
    """What is stored is what the engine gives before softmax."""
    rows = random_rows(50, 6)
    vectors = with_test_vectors(MODEL, rows).test_vectors
    np.testing.assert_array_equal(vectors.outputs, Engine(MODEL).logits(vectors.inputs))


def test_one_output_has_a_margin_too():
    """A single logit is hardest near 0."""
    model = random_model([6, 1], ["sigmoid"])
    rows = random_rows(200, 6)
    hardest = int(np.abs(Engine(model).logits(rows)[:, 0]).argmin())
    assert hardest in choose_rows(model, rows, 8)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n_out", [2, 3, 10])
def test_every_extreme_is_among_eight(seed, n_out):
    """Largest and smallest output and input, and the four smallest margins, whatever the number of classes."""
    model, rows = random_model([6, n_out], ["softmax"], seed), random_rows(300, 6, seed)
    chosen = set(choose_rows(model, rows, 8).tolist())
    logits = Engine(model).logits(rows)
    ordered = np.sort(logits, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    assert set(np.argsort(margins, kind="stable")[:4].tolist()) <= chosen
    sizes = np.abs(rows).sum(axis=1)
    extremes = [logits.max(axis=1).argmax(), logits.min(axis=1).argmin(), sizes.argmax(), sizes.argmin()]
    assert {int(row) for row in extremes} <= chosen


def test_rows_are_spread_over_the_whole_set():
    """Beside margins and extremes, the last rows are as likely as the first."""
    chosen = choose_rows(MODEL, random_rows(1000, 6), 100)
    hundreds = np.bincount(chosen // 100, minlength=10)
    assert hundreds.min() >= 4
    chosen = set(choose_rows(MODEL, random_rows(1000, 6), 200).tolist())
    assert len(chosen & set(np.linspace(0, 999, 100).astype(int).tolist())) >= 90


@pytest.mark.parametrize("seed", range(5))
def test_the_first_of_equal_margins_are_chosen(seed):
    """So that the same rows are stored on every machine: a thousand rows, of which five differ."""
    kinds = np.random.default_rng(seed).integers(0, 5, 1000)
    rows = random_rows(5, 6, seed)[kinds]
    logits = np.sort(Engine(MODEL).logits(random_rows(5, 6, seed)), axis=1)
    hardest = int((logits[:, -1] - logits[:, -2]).argmin())
    assert set(choose_rows(MODEL, rows, 8).tolist()) >= set(np.flatnonzero(kinds == hardest)[:4].tolist())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_count_of_zero_stores_none(count):
    """And drops those that are there."""
    rows = random_rows(50, 6)
    vectors = with_test_vectors(with_test_vectors(MODEL, rows), rows, count).test_vectors
    assert (0 if vectors is None else len(vectors.inputs)) == count
    assert (vectors is None) == (count == 0)


def test_a_dynamic_model_is_asked_for_all_rows_at_once():
    """Its answers depend on the batch: the stored ones are those of the stored rows together."""
    model = quantize(MODEL, precision="int8-dynamic")
    rows = random_rows(600, 6)
    rows[500] *= 100.0
    stored = with_test_vectors(model, rows).test_vectors
    assert selftest(model.with_test_vectors(stored)).ok
    whole = np.sort(Engine(model, Limits(max_batch=600)).logits(rows), axis=1)
    assert int((whole[:, -1] - whole[:, -2]).argmin()) in choose_rows(model, rows, 8)


def test_many_rows_of_a_dynamic_model_are_stored_as_one_batch():
    """More than an engine takes at once by default: one large row sets the grid of all."""
    model = quantize(MODEL, precision="int8-dynamic")
    rows = random_rows(900, 6)
    rows[700] *= 100.0
    vectors = with_test_vectors(model, rows, 900).test_vectors
    whole = Engine(model, Limits(max_batch=900)).logits(rows)
    np.testing.assert_array_equal(vectors.outputs, whole)


@pytest.mark.parametrize("n", [1, 700, 1024, 1025, 5000])
@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_a_sample_is_spread_over_all_rows(n, size):
    """However the rows are cut: at equal distances, at most some thousand, and at least half as many."""
    rows, sample = np.arange(n, dtype=np.float32)[:, None], Sample()
    for start in range(0, n, size):
        sample.add(rows[start : start + size])
    found = sample.rows[:, 0]
    assert min(n, MOST_CHOSEN_FROM // 2) <= len(found) <= MOST_CHOSEN_FROM
    assert found[0] == 0
    assert len(set(np.diff(found))) <= 1


@pytest.mark.parametrize(("count", "most"), [(5, 9), (9, 5), (1, 1), (1000, 7)])
def test_places_are_spread_evenly(count, most):
    """Different places, the first and the last among them."""
    places = spread_places(count, most)
    assert len(places) == min(count, most)
    assert (np.diff(places) >= 1).all()
    assert (places[0], places[-1]) == (0, count - 1)
