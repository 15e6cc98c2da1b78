"""Storing ranges: of which models and rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import InputError, QuantizationError
from edge_runtime.artifact import save_bytes
from export import quantize, with_ranges
from export.quantization.stored_ranges import RANGES_KEY, StoredRanges
from tests.networks import random_model, random_rows, with_subnormals
from trainer import NeuralNetwork

MODEL, ROWS = random_model([5, 7, 2], ["relu", "linear"]), random_rows(80, 5)


def test_all_else_of_the_model_stays():
    """An entry of the metadata is all that is added, the same for the same rows in batches of any size."""
    named = replace(MODEL, metadata={"data": "mine"})
    ranged = with_ranges(named, ROWS)
    assert set(ranged.metadata) == {"data", RANGES_KEY}
    assert save_bytes(replace(ranged, metadata=named.metadata)) == save_bytes(named)
    assert with_ranges(named, [ROWS[:7], ROWS[7:]]).metadata == ranged.metadata
    assert with_ranges(ranged, ROWS).metadata == ranged.metadata


def test_a_trained_network_is_taken_and_saved_with_them(tmp_path):
    """From Python: save(with_ranges(net, rows), path)."""
    net = NeuralNetwork([5, 6, 2], ["relu", "softmax"], epochs=2)
    net.fit(ROWS, (ROWS[:, 0] > 0).astype(int))
    assert quantize(with_ranges(net, ROWS)).precision == "int8"


def test_weights_that_engines_take_as_0_are_no_other_network():
    """The digest is of the model as it is, whose subnormal weights are set to 0 on the way to int8."""
    model = with_subnormals(50, (12, 8, 3))
    assert quantize(with_ranges(model, random_rows(60, 12))).precision == "int8"


def test_few_rows_are_enough_to_store():
    """Whoever quantizes is not told of that again: the number of rows is noted."""
    assert StoredRanges.of(with_ranges(MODEL, ROWS[:3])).rows == 3


def test_what_has_no_ranges_is_refused():
    """Models in integers, rows of another width, what is no model."""
    with pytest.raises(QuantizationError, match="int8 already"):
        with_ranges(quantize(MODEL, ROWS), ROWS)
    with pytest.raises(QuantizationError, match=r"expected \(n, 5\)"):
        with_ranges(MODEL, np.ones((9, 4)))
    with pytest.raises(InputError, match="model is a str"):
        with_ranges("model.npz", ROWS)
