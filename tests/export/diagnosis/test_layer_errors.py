"""Each figure of a layer is what its name says, on networks whose errors are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.diagnosis.answers import Judge
from export.diagnosis.layer_errors import cosine, layer_errors
from export.diagnosis.pairs import SideBySide
from export.quantization import Switches, quantize_beside
from export.quantization.doubts import by_layer
from tests.networks import random_model, random_rows

MODEL = random_model([9, 12, 8, 4], ["relu", "tanh", "softmax"])
ROWS, JUDGED = random_rows(200, 9), random_rows(120, 9, 4)


def errors_of(source, small):
    """Of all layers by name."""
    beside = SideBySide(source, small, JUDGED)
    judge = Judge(source, beside.exact_logits)
    return {pair.name: layer_errors(beside, pair, judge, {}) for pair in beside.weighted}


def noisy(model, place):
    """A float model one of whose layers has other weights."""
    layers = list(model.layers)
    layers[place] = replace(layers[place], weight=layers[place].weight * np.float32(1.1))
    return replace(model, layers=tuple(layers))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_error_is_made_in_one_layer_and_inherited_by_those_behind(place):
    """Weights 10 % too large are 20 dB below the signal; keeping that layer wins all back, keeping others nothing."""
    found = errors_of(MODEL, noisy(MODEL, place))
    for at, errors in enumerate(found.values()):
        if at == place:
            assert errors.weights_db == pytest.approx(20.0, abs=1e-4)
            assert errors.here_db < 30
            assert errors.inherited_db == np.inf
            assert errors.kept["float32"].sqnr_db == np.inf
            assert errors.damage > 0
        else:
            assert errors.here_db == errors.weights_db == errors.alone.sqnr_db == np.inf
            assert (errors.inherited_db == np.inf) == (at < place)
            assert errors.damage == 0
        assert (errors.behind_db == np.inf) == (at < place)


def test_behind_is_what_a_warning_of_export_says():
    """The same decibels by layer."""
    found = quantize_beside(MODEL, ROWS, "int8", Switches("minmax"), 0)
    wanted = by_layer(found.source, found.model, JUDGED)
    assert {name: errors.behind_db for name, errors in errors_of(found.source, found.model).items()} == wanted


def test_figures_as_plain_data_are_numbers_or_none():
    """inf is no number in JSON."""
    facts = errors_of(MODEL, noisy(MODEL, 1))["dense0"].as_dict()
    assert facts["here_db"] is None
    assert facts["alone"]["sqnr_db"] is None
    assert facts["kept"]["float16"]["rows"] == 120
    assert facts["shape"] == [9, 12]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 0], [2, 0], 1.0),
        ([1, 0], [0, 3], 0.0),
        ([1, 1], [-1, -1], -1.0),
        ([0, 0], [0, 0], 1.0),
        ([0, 0], [1, 0], 0),
    ],
)
def test_cosine(one, other, expected):
    """Of the angle between them; two zeros are the same."""
    assert cosine(np.array(one, np.float32), np.array(other, np.float32)) == pytest.approx(expected)
