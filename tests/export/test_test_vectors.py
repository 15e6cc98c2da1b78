import numpy as np
import pytest

from edge_runtime import Engine
from export.test_vectors import choose_rows, with_test_vectors
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
