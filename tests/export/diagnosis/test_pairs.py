"""Two networks side by side: what is made in a layer, and what it is given."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.reference import logits, trace
from export.diagnosis.pairs import SideBySide
from export.quantization import Switches, quantize_beside, sqnr_db
from tests.networks import random_model, random_rows, staged_model

ROWS, JUDGED = random_rows(200, 9), random_rows(120, 9, 4)
MODELS = [
    random_model([9, 12, 8, 4], ["relu", "tanh", "softmax"], standardize=True),
    staged_model([9, 12, 8, 4], standardize=True),
    staged_model([9, 12, 12, 8, 4], hidden="tanh", final="sigmoid"),
]


def side_by_side(model, precision="int8", method="minmax"):
    """The network and its smaller form on the same rows."""
    found = quantize_beside(model, ROWS, precision, Switches(method), 0)
    return SideBySide(found.source, found.model, JUDGED)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic", "int4"])
def test_pairs_put_together_are_the_networks(model, precision):
    """Each float part leads from its inputs to its outputs, and on to the logits; so does each small part."""
    beside = side_by_side(model, precision)
    assert [pair.name for pair in beside.pairs] == [layer.name for layer in beside.small.layers]
    assert sum(len(pair.exact) for pair in beside.pairs) == len(model.layers)
    for pair in beside.pairs:
        exact = pair.exactly(beside.entering(pair))
        np.testing.assert_array_equal(exact, beside.behind(pair))
        np.testing.assert_array_equal(beside.onward(pair, exact), beside.exact_logits)
    np.testing.assert_array_equal(beside.exact_logits, logits(beside.source, trace(beside.source, JUDGED)))
    np.testing.assert_array_equal(beside.pairs[-1].real(beside.found), beside.found_logits)


@pytest.mark.parametrize("model", MODELS)
def test_a_layer_alone_gives_what_it_gives_in_the_network_for_what_it_takes_there(model):
    """The values that reach it in the int8 network are on its grid: without rounding them they give the same codes."""
    beside = side_by_side(model)
    for pair in beside.pairs:
        found = pair.alone(beside.entering_small(pair))
        off = np.abs(found - pair.real(beside.found)).max() / np.abs(pair.real(beside.found)).max()
        assert off < (1e-5 if pair.is_last else 0.02)


def test_a_float_layer_makes_no_error_and_inherits_all():
    """Without weights nothing is rounded."""
    beside = side_by_side(MODELS[1])
    stages = [pair for pair in beside.pairs if pair not in beside.weighted]
    assert stages
    for pair in stages:
        assert sqnr_db(beside.behind(pair), pair.alone(beside.entering(pair))) == np.inf
        assert sqnr_db(beside.behind(pair), pair.exactly(beside.entering_small(pair))) > 20
