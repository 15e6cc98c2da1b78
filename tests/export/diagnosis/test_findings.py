"""Odd layers are named in plain words, and layers that are as layers are, are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation
from edge_runtime.reference import trace
from export import diagnose, quantize
from export.diagnosis.findings import apart, is_constant
from tests.export.diagnosis.damage import with_grid_scaled, with_layer
from tests.networks import random_model, random_rows

MODEL = random_model([12, 24, 16, 5], ["relu", "relu", "softmax"])
ROWS, CALIBRATION = random_rows(300, 12, 5), random_rows(400, 12, 6)


def findings(model, rows=ROWS, **options):
    """What is found, by layer: kind and text."""
    found = diagnose(model, rows, calibration=CALIBRATION, method="minmax", **options)
    return {(each.layer, each.kind): each.text for each in found.findings}


def test_an_outlier_is_named_with_its_place_and_what_it_takes():
    """Input and output of the weight, its value, how far it is from the rest, and the weights that become 0."""
    weight = MODEL.layers[1].weight.copy()
    weight[3, 7] = -300
    found = findings(with_layer(MODEL, 1, weight=weight))[("dense1", "outlier")]
    next_largest = np.sort(np.abs(weight).ravel())[-2]
    assert found.startswith(
        f"weight [3, 7] is -300, {300 / next_largest:,.0f} times the next largest, and takes the grid"
    )
    assert found.endswith("23 of the 23 other weights of output 7 become 0")


def test_an_outlier_takes_no_grid_where_there_is_none():
    """float16 holds both."""
    weight = MODEL.layers[1].weight.copy()
    weight[3, 7] = 300
    assert findings(with_layer(MODEL, 1, weight=weight), precision="float16") == {}


def test_a_saturating_range_is_named_with_all_three_ranges():
    """What the rows reach, what the grid holds, what calibration saw."""
    small = with_grid_scaled(quantize(MODEL, CALIBRATION, method="minmax"), 1, 0.05)
    found = findings(MODEL, small=small)[("dense1", "saturation")]
    assert found.startswith("its range saturates: its outputs reach 0..")
    assert "the grid holds 0.." in found
    assert "(calibration saw 0.." in found
    assert found.endswith("% of the values are clipped")


def test_rows_of_another_unit_saturate_the_inputs():
    """Calibrated on 0 to 1 and run on 0 to 255: it begins at the inputs of the first layer."""
    found = diagnose(MODEL, ROWS * 255, calibration=CALIBRATION, method="minmax")
    assert found.worst == "dense0"
    assert "its range saturates: its inputs reach -" in found.verdict
    assert found.remedies[0].option == "--calibrate"
    assert "calibrating on rows like these (--calibrate) wins " in found.verdict


def test_a_grid_that_is_much_too_wide_is_named_with_the_codes_that_are_used():
    """Rows reach a thousandth of it: they are all one code."""
    small = with_grid_scaled(quantize(MODEL, CALIBRATION, method="minmax"), 0, 1000.0)
    found = findings(MODEL, small=small)[("dense0", "resolution")]
    assert found.startswith("it uses 1 code of 256 for its outputs: the grid holds 0..")


def test_a_dead_layer_is_named_and_not_those_behind_it():
    """Their inputs do not differ."""
    found = findings(with_layer(MODEL, 0, bias=MODEL.layers[0].bias - np.float32(1e5)))
    assert list(found) == [("dense0", "dead")]
    assert found[("dense0", "dead")] == "it is dead in the float model: it gives 0 for all 300 rows"


def test_a_layer_that_is_always_the_same_is_dead_too():
    """A sigmoid far in its flat part gives 1."""
    flat = with_layer(MODEL, 1, activation=Activation("sigmoid"), bias=MODEL.layers[1].bias + np.float32(1e3))
    assert findings(flat)[("dense1", "dead")].endswith("it gives the same values for all 300 rows")


def test_a_layer_is_all_but_dead_if_one_value_comes_through():
    """The share of zeros is said."""
    largest = trace(MODEL, ROWS)["dense1.preactivation"].max()
    dead = with_layer(MODEL, 1, bias=MODEL.layers[1].bias - largest * np.float32(0.999))
    assert findings(dead)[("dense1", "dead")] == "it is all but dead in the float model: 99.98% of its outputs are 0"


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        (np.ones((8, 8)), 0),
        (np.where(np.arange(64) == 5, 100.0, 1.0).reshape(8, 8), 1),
        (np.where(np.arange(64) < 2, 100.0, 1.0).reshape(8, 8), 0),  # a second one of 64 is no exception any more
        (np.where(np.arange(256) < 3, 100.0, 1.0).reshape(16, 16), 3),
        (np.where(np.arange(64) == 5, 9.0, 1.0).reshape(8, 8), 0),
        (np.array([[100.0, 1.0]]), 0),
        (np.zeros((8, 8)), 0),
        (np.where(np.arange(64) == 5, 1.0, 0.0).reshape(8, 8), 0),  # the only weight there is
    ],
)
def test_weights_that_stand_apart(sizes, count):
    """Few of many, ten times as large as all others; of a handful of weights none."""
    assert apart(sizes)[0] == count


def test_constant_up_to_rounding():
    """A step of float32 is no movement."""
    same = np.full((5, 3), 7.0, np.float32)
    same[2, 1] = np.nextafter(np.float32(7), np.float32(8))
    assert is_constant(same)
    same[2, 1] = 7.001
    assert not is_constant(same)


def test_values_that_are_numbers_in_floats_alone_are_named():
    """Of a small model whose weights somebody made too large."""
    layers = list(replace(MODEL).layers)
    layers[1] = replace(layers[1], weight=layers[1].weight * np.float32(1e38))
    layers[2] = replace(layers[2], weight=layers[2].weight * np.float32(1e30))
    found = findings(MODEL, small=replace(MODEL, layers=tuple(layers)))
    assert "NaN or inf on 300 of 300 rows, on which the float layer gives numbers" in found[("dense2", "nan")]
