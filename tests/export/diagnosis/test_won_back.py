"""One layer left in floats is the mixed model that `quantize` makes, to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.reference import logits, trace
from export.diagnosis.pairs import SideBySide
from export.diagnosis.won_back import layers_with_float, logits_with_float
from export.quantization import Switches, quantize, quantize_beside
from tests.networks import random_model, random_rows, staged_model

ROWS, JUDGED = random_rows(200, 9), random_rows(120, 9, 4)
MODELS = {
    "plain": random_model([9, 12, 8, 7, 4], ["relu", "tanh", "sigmoid", "softmax"], standardize=True),
    "staged": staged_model([9, 12, 8, 4]),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_it_answers_as_the_model_that_quantize_makes_with_this_layer_kept(name, precision):
    """Layer by layer, on the same grids: the layer before gives floats, the one behind quantizes what it takes."""
    model = MODELS[name]
    found = quantize_beside(model, ROWS, "int8", Switches("minmax"), 0)
    beside = SideBySide(found.source, found.model, JUDGED)
    for pair in beside.weighted:
        kept = quantize(model, ROWS, "int8", "minmax", keep={pair.name: precision}, test_vectors=0)
        wanted = logits(kept, trace(kept, JUDGED))
        np.testing.assert_allclose(logits_with_float(beside, pair, precision), wanted, rtol=1e-6, atol=1e-6)
        made = replace(found.model, layers=tuple(layers_with_float(beside, pair, precision)), test_vectors=None)
        np.testing.assert_array_equal(logits(made, trace(made, JUDGED)), logits_with_float(beside, pair, precision))


def test_a_layer_beyond_float16_cannot_be_kept_in_it():
    """None, and float32 can."""
    model = random_model([9, 8, 4], ["relu", "softmax"], weight_scale=1e6)
    small = quantize(model, ROWS, "int8", "minmax", test_vectors=0)
    beside = SideBySide(model, small, JUDGED)
    assert logits_with_float(beside, beside.pairs[0], "float16") is None
    assert logits_with_float(beside, beside.pairs[0], "float32").shape == (120, 4)
