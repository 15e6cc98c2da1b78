"""How two models answer the same rows, and where their ways part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, Limits
from export import quantize
from export.diagnosis import row_difference, rows_of_their_own
from tests.networks import random_elementwise, random_model, random_rows

MODEL = random_model([6, 8, 7, 3], ["relu", "tanh", "softmax"], standardize=True)
ROWS = random_rows(200, 6)
SMALL = quantize(MODEL, ROWS, method="minmax")


def with_noise(model, place):
    """One weight of a layer is another."""
    layers = list(model.layers)
    weight = layers[place].weight.copy()
    weight[1, 2] = -weight[1, 2] - 1
    layers[place] = replace(layers[place], weight=weight)
    return replace(model, layers=tuple(layers))


@pytest.mark.parametrize("model", [MODEL, SMALL])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_first_tensor_that_differs_is_that_of_the_layer_which_differs(model, place):
    """In the order in which they are computed, bit by bit."""
    found = row_difference(model, with_noise(model, place), ROWS, None, "rows")
    assert found.tensor.bits
    tensor = "preactivation" if model is MODEL else "accumulator"
    assert found.tensor.name == f"dense{place}.{tensor}"
    assert 0 < found.tensor.differing <= 200


def test_nothing_differs_between_copies():
    """No tensor, no decision, no noise."""
    found = row_difference(SMALL, replace(SMALL), ROWS, None, "rows")
    assert found.tensor is None
    assert found.second.changed == 0
    assert found.second.sqnr_db == np.inf
    assert found.as_dict()["second"]["sqnr_db"] is None


def test_scores_and_flips_are_those_of_the_engines():
    """Beside labels, and of one beside the other."""
    labels = np.arange(200) % 3
    found = row_difference(MODEL, SMALL, ROWS, labels, "rows")
    one, other = (Engine(model, Limits(max_batch=200)).predict(ROWS) for model in (MODEL, SMALL))
    assert (found.first.right, found.second.right) == (np.sum(one == labels), np.sum(other == labels))
    assert found.second.changed == np.sum(one != other)


def test_models_of_two_precisions_part_where_the_values_differ_most():
    """In the units of both: equalized units are no difference by themselves."""
    equalized = quantize(MODEL, ROWS, method="minmax", equalization=True)
    for small in (SMALL, equalized):
        found = row_difference(MODEL, small, ROWS, None, "rows")
        assert not found.tensor.bits
        assert found.tensor.name in {f"dense{place}.output" for place in range(3)}
        assert 0 < found.tensor.relative < 0.05
        assert row_difference(small, MODEL, ROWS, None, "rows").tensor.relative < 0.05


def test_models_of_other_widths_are_not_run():
    """There are no rows for both."""
    assert row_difference(MODEL, random_model([5, 3], ["softmax"]), ROWS, None, "rows") is None
    assert row_difference(MODEL, random_model([6, 2], ["softmax"]), ROWS, None, "rows") is None


def test_without_data_stored_rows_are_taken_or_random_ones_where_inputs_may_lie():
    """Which they are is said."""
    rows, what = rows_of_their_own(MODEL, SMALL)
    assert what == "stored test vectors"
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in SMALL.test_vectors.inputs}
    bare = SMALL.with_test_vectors(None)
    rows, what = rows_of_their_own(bare, bare)
    assert what == "random rows within the input grid, before standardization"
    grid, values = bare.layers[0].input, bare.preprocessing(rows)
    assert (values >= grid.low - 1e-4).all()
    assert (values <= grid.high + 1e-4).all()
    assert rows_of_their_own(MODEL, MODEL)[1] == "random normal rows, before standardization"


def test_a_stage_in_a_table_is_part_of_what_its_layer_gives():
    """The values behind the table stand beside those behind the stage."""
    stage = random_elementwise(8, activation="tanh", parts="scale")
    stage = replace(stage, scale=np.full(8, 3, np.float32))
    layers = random_model([6, 8, 3], ["linear", "softmax"]).layers
    model = replace(MODEL, layers=(layers[0], stage, layers[1]))
    small = quantize(model, ROWS, method="minmax")
    assert len(small.layers) == 2
    for pair in ((model, small), (small, model)):
        assert row_difference(*pair, ROWS, None, "rows").tensor.relative < 0.05
