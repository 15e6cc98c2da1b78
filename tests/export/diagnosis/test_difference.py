"""Two models beside one another: nothing that differs is passed over, and nothing else is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Model, QuantParams, TestVectors
from export import quantize
from export.diagnosis import compare_models, difference_text, row_difference
from export.diagnosis.difference import array_difference
from tests.networks import random_layer_norm, random_model, random_rows, staged_model

MODEL = random_model([6, 5, 3], ["relu", "softmax"], standardize=True)
ROWS = random_rows(64, 6)
SMALL = quantize(MODEL, ROWS, method="minmax")


def changed(model: Model, place: int, **changes: object) -> Model:
    """With one layer changed."""
    layers = list(model.layers)
    layers[place] = replace(layers[place], **changes)
    return replace(model, layers=tuple(layers))


@pytest.mark.parametrize("model", [MODEL, SMALL, quantize(MODEL, ROWS, "int4", "minmax"), staged_model([6, 5, 3])])
def test_a_copy_is_the_same_in_every_bit(model):
    """Whatever the precision, packed weights and stages too."""
    found = compare_models(model, replace(model))
    assert found.same
    assert repr(found) == "Difference(the same in every bit)"
    assert found.facts == {}
    assert all(layer.same for layer in found.layers)


def test_one_bit_of_one_weight_is_found():
    """With the array, how many values differ and by how much; other layers stay out."""
    weight = MODEL.layers[1].weight.copy()
    weight[2, 1] = np.nextafter(weight[2, 1], np.float32(9))
    found = compare_models(MODEL, changed(MODEL, 1, weight=weight))
    assert not found.same
    assert [layer.same for layer in found.layers] == [True, False]
    (array,) = found.layers[1].arrays
    assert (array.name, array.size, array.differing) == ("weight", 15, 1)
    assert 0 < array.largest < 1e-6
    assert "layer 'dense1': weight: 1 of 15 differ, by " in difference_text(found)


@pytest.mark.parametrize(
    ("one", "other", "differing"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0),
        ([0.0, 2.0], [-0.0, 2.0], 1),
        ([np.nan, 1.0], [np.nan, 1.0], 0),
        ([np.inf, 1.0], [np.inf, 2.0], 1),
        ([1.0], [1.0, 2.0], None),
    ],
)
def test_arrays_are_compared_bit_by_bit(one, other, differing):
    """Zeros of two signs differ, and a NaN not from itself."""
    arrays = [np.array(values, np.float32) for values in (one, other)]
    assert array_difference("a", *arrays).differing == differing


def test_arrays_of_two_types_are_of_two_kinds():
    """Even where all values are the same, as those of a half often are."""
    found = array_difference("a", np.ones(3, np.float32), np.ones(3, np.float16))
    assert (found.differing, found.largest) == (None, 0.0)


FACTS = {
    "precision": quantize(MODEL, precision="float16", test_vectors=0),
    "classes": replace(MODEL, class_names=("a", "b", "c")),
    "metadata seed": replace(MODEL, metadata={"seed": "7"}),
    "preprocessing": replace(MODEL, preprocessing=None),
    "test vectors": MODEL.with_test_vectors(TestVectors(ROWS[:2], np.zeros((2, 3), np.float32))),
    "sizes": random_model([6, 4, 3], ["relu", "softmax"], standardize=True),
}


@pytest.mark.parametrize("what", FACTS)
def test_what_is_no_layer_is_compared_too(what):
    """By its name, with both values."""
    found = compare_models(MODEL, FACTS[what])
    assert not found.same
    assert what in found.facts
    first, second = found.facts[what]
    assert first != second or what == "preprocessing"
    assert what in difference_text(found)


def test_grids_and_activations_are_facts_of_a_layer():
    """An int8 layer's multiplier may be the same while its grid is another."""
    grid = QuantParams(SMALL.layers[0].output.scale, 3)
    layers = (replace(SMALL.layers[0], output=grid), replace(SMALL.layers[1], input=grid))
    first, second = compare_models(SMALL, replace(SMALL, layers=layers)).layers
    assert set(first.facts) == {"output grid"}
    assert set(second.facts) == {"input grid"}
    found = compare_models(MODEL, changed(MODEL, 0, activation=Activation("tanh"))).layers[0]
    assert found.facts == {"activation": ("relu", "tanh")}
    one, other = (changed(MODEL, 0, activation=Activation("leaky_relu", (("alpha", a),))) for a in (0.1, 0.10000004))
    assert compare_models(one, other).layers[0].facts == {"activation's alpha": (0.1, 0.10000004)}


def test_settings_of_stages_are_compared():
    """A normalization has a number that is no array."""
    one, other = (Model((random_layer_norm(4, epsilon=epsilon),)) for epsilon in (1e-5, 1e-3))
    assert set(compare_models(one, other).layers[0].facts) == {"epsilon"}


def test_layers_of_one_model_alone_are_named():
    """Those that both have are compared by their names, wherever they stand."""
    longer = random_model([6, 5, 3, 3], ["relu", "linear", "softmax"])
    found = compare_models(MODEL, longer)
    assert [layer.name for layer in found.layers] == ["dense0", "dense1", "dense2"]
    assert found.layers[2].bytes == (None, 48)
    assert "layer 'dense2': in the second model alone" in difference_text(found)


def test_layers_of_other_names_are_compared_by_their_places():
    """As files of two tools have them."""
    renamed = replace(MODEL, layers=tuple(replace(layer, name=f"fc{layer.name[-1]}") for layer in MODEL.layers))
    found = compare_models(MODEL, renamed)
    assert [set(layer.facts) for layer in found.layers] == [{"name"}, {"name"}]
    assert not any(layer.arrays for layer in found.layers)


def test_other_spellings_are_told_from_other_numbers():
    """Grids alone that give the same tensors are a spelling; an array of other bits is none, nor rows that differ."""
    grid = replace(SMALL.layers[0].output, scale=1.0)
    layers = (replace(SMALL.layers[0], output=grid), replace(SMALL.layers[1], input=grid))
    grids = replace(SMALL, layers=layers)
    multiplier = SMALL.layers[0].multiplier.copy()
    multiplier[0] = np.nextafter(multiplier[0], np.float32(9))
    for other, expected in ((grids, True), (SMALL, False), (changed(SMALL, 0, multiplier=multiplier), False)):
        rows = row_difference(SMALL, other, ROWS[:1], None, "one row")
        found = replace(compare_models(SMALL, other), rows=rows)
        assert found.is_spelling == expected
        assert found.as_dict()["spelling"] == expected
    assert not compare_models(SMALL, grids).is_spelling  # no rows were compared
