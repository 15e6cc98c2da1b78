"""What rows do with grids: counted, beside a plain count."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.numerics import quantize as on_grid
from export.diagnosis.codes import grids_of
from export.diagnosis.pairs import SideBySide
from export.quantization import quantize
from tests.networks import random_model, random_rows, staged_model

MODEL = random_model([9, 12, 8, 4], ["relu", "tanh", "softmax"], standardize=True)
ROWS, JUDGED = random_rows(200, 9), random_rows(120, 9, 4) * 3


def uses(model, rows=JUDGED, seen=None, precision="int8"):
    """The grids by layer and place."""
    small = quantize(model, ROWS, precision, "minmax", test_vectors=0)
    beside = SideBySide(model, small, rows)
    return beside, {(p.name, use.place): use for p in beside.weighted for use in grids_of(beside, p, seen or {})}


def test_each_grid_belongs_to_the_layer_that_chooses_it():
    """Of its outputs and its table; of its inputs where these are floats: the first, and behind a stage in floats."""
    assert list(uses(MODEL)[1]) == [
        ("dense0", "input"), ("dense0", "output"), ("dense1", "table"), ("dense1", "output"),
    ]  # fmt: skip
    assert list(uses(staged_model([9, 12, 8, 4]))[1]) == [("dense0", "input"), ("dense1", "input"), ("dense2", "input")]
    assert uses(MODEL, precision="int8-dynamic")[1] == {}


def test_clipped_values_and_used_codes_are_counted():
    """Rows that are three times as large as those of the calibration."""
    beside, found = uses(MODEL)
    layer, use = beside.small.layers[0], found["dense0", "output"]
    values, grid = beside.exact["dense0.output"], layer.output
    outside = sum(value > grid.high + grid.scale or value < grid.low - grid.scale for value in values.ravel())
    assert use.clipped == outside / values.size > 0.01
    assert use.used == len(set(beside.found["dense0.output"].ravel().tolist()))
    assert use.of == 256
    assert use.grid == (grid.low, grid.high)
    assert use.rows == (0.0, values.max())
    assert use.reach == pytest.approx(values.max() / grid.high)
    assert use.clipped_db < 30
    assert found["dense0", "input"].used == len(np.unique(on_grid(beside.exact["input.standardized"], layer.input)))


def test_what_a_flat_activation_hides_is_not_missed():
    """Values before a tanh may be clipped where it is 1 all the same."""
    _, found = uses(MODEL)
    table = found["dense1", "table"]
    assert table.clipped > 0.01
    assert table.clipped_db > 25


def test_ranges_of_the_calibration_stand_beside():
    """Where they are known, by the name of the float tensor."""
    _, found = uses(MODEL, seen={"dense0.output": (0.0, 1.5)})
    assert found["dense0", "output"].calibration == (0.0, 1.5)
    assert found["dense1", "output"].calibration is None
    assert found["dense0", "output"].as_dict()["calibration"] == [0.0, 1.5]
