"""How two models answer the same rows, and where their ways part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Elementwise, Engine, Limits
from export import quantize
from export.diagnosis import compare_models, difference_text, row_difference, rows_of_their_own
from export.quantization import sqnr_db
from tests.networks import random_elementwise, random_model, random_rows
from trainer.scores import scores_of

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


def last_activation(model, name):
    """The model with another last activation."""
    return replace(model, layers=(*model.layers[:-1], replace(model.layers[-1], activation=Activation(name))))


def test_models_of_other_last_activations_are_compared_by_their_outputs_as_they_come():
    """R^2 of each by its own outputs, decibels between these; before the activations they would be the same."""
    first = replace(last_activation(MODEL, "sigmoid"), metadata={"target": "regression"})
    targets = Engine(first, Limits(max_batch=200)).run(ROWS).astype(float)
    for second in (last_activation(MODEL, "linear"), last_activation(SMALL, "linear")):
        found = row_difference(first, second, ROWS, targets, "rows")
        wanted = Engine(second, Limits(max_batch=200)).run(ROWS)
        assert found.activations == ("sigmoid", "linear")
        assert found.first.r2 == pytest.approx(1)
        assert found.second.r2 == pytest.approx(scores_of(targets, wanted, ()).r2, rel=1e-6)
        assert found.second.sqnr_db == pytest.approx(sqnr_db(targets, wanted), abs=1e-4)
    assert row_difference(first, replace(first), ROWS, targets, "rows").activations is None


def test_decisions_stay_those_of_the_engines_whatever_the_last_activation_is():
    """Of one output the sign before a sigmoid, which is never negative itself."""
    first = random_model([6, 8, 1], ["relu", "sigmoid"])
    found = row_difference(first, last_activation(first, "linear"), ROWS, None, "rows")
    assert found.second.changed == 0
    assert found.second.sqnr_db < 10


def test_one_function_in_two_spellings_has_the_same_outputs():
    """A stage in the place of an activation, or one that scales behind it."""
    one = random_model([6, 3], ["relu"])
    half = replace(one.layers[0], weight=one.layers[0].weight / 2, bias=one.layers[0].bias / 2)
    for last, scale in ((replace(half, activation=Activation("linear")), 2), (half, 2)):
        name = "relu" if last.activation.name == "linear" else "linear"
        stage = Elementwise("e0", np.full(3, scale, np.float32), np.zeros(3, np.float32), Activation(name))
        found = row_difference(one, replace(one, layers=(last, stage)), ROWS, None, "rows")
        assert found.second.sqnr_db == np.inf
        assert found.activations == ("relu", "relu" if name == "relu" else "relu, then a scale")


def test_where_no_layers_have_one_name_it_is_not_said_that_no_tensor_differs():
    """The outputs may."""
    stage = Elementwise("e0", np.full(3, 2, np.float32), np.zeros(3, np.float32), Activation("softmax"))
    renamed = tuple(replace(layer, name=f"fc{layer.name[-1]}") for layer in last_activation(MODEL, "linear").layers)
    longer = replace(MODEL, layers=(*renamed, stage))
    found = replace(compare_models(MODEL, longer), rows=row_difference(MODEL, longer, ROWS, None, "rows"))
    assert found.rows.tensor is None
    assert "dB between the outputs after their activations (softmax); no values behind layers of one name" in (
        difference_text(found)
    )
