from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Elementwise, Engine, QuantizedDense, selftest
from edge_runtime.artifact import load_bytes, save_bytes
from edge_runtime.numerics import dequantize
from edge_runtime.reference import output_bound, trace
from export.quantization.doubts import by_layer, calibration_doubts, fidelity_doubts, measure_fidelity
from export.quantization.equalization import equalize
from export.quantization.fidelity import sqnr_db
from export.quantization.float16 import scale_for_float16
from export.quantization.quantizer import quantize
from export.quantization.units import float_outputs, units
from tests.networks import random_elementwise, random_layer_norm, random_model, random_rows, staged_model


def uniform(n, name="map", activation="linear", **values):
    """A stage with one number for all features."""
    arrays = {key: np.full(n, value, np.float32) for key, value in ({"scale": 1, "shift": 0} | values).items()}
    return Elementwise(name=name, activation=Activation.of(activation), **arrays)


def chained(before, stage, after="linear"):
    """Dense, a stage, Dense."""
    dense = random_model([6, 8, 4], [before, after])
    return replace(dense, layers=(dense.layers[0], stage, dense.layers[1]))


def values_of(layer):
    """What a table gives for each of its grid points, in real numbers, and those points."""
    return dequantize(layer.table, layer.table_output), dequantize(np.arange(256, dtype=np.uint8), layer.output)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (uniform(8, low=-1, high=2), "clip(max=2, min=-1)"),
        (uniform(8, low=0), "relu"),
        (uniform(8, slope=0.25), "leaky_relu(alpha=0.25)"),
        (uniform(8, activation="tanh"), "tanh"),
        (uniform(8), "linear"),
    ],
)
def test_a_stage_that_is_an_activation_becomes_it(stage, expected):
    """Behind a linear layer, bit for bit: two layers of int8 are left."""
    small = quantize(chained("linear", stage), random_rows(200, 6), method="minmax")
    assert [str(layer.activation) for layer in small.layers] == [expected, "linear"]
    assert small.precision == "int8"
    assert (small.layers[0].table is None) == (expected.split("(")[0] in ("relu", "leaky_relu", "linear"))


@pytest.mark.parametrize("before", ["linear", "relu", "tanh", "leaky_relu", "clip"])
@pytest.mark.parametrize(
    "stage",
    [uniform(8, scale=2, shift=0.5), uniform(8, low=0.3, activation="gelu"), uniform(8, slope=-0.5, high=0.7)],
)
def test_a_stage_that_is_the_same_for_all_features_goes_into_the_table(before, stage):
    """Each entry is the grid point nearest to the activation and the stage of its own grid point."""
    small = quantize(chained(before, stage), random_rows(300, 6), method="minmax")
    assert [type(layer) for layer in small.layers] == [QuantizedDense, QuantizedDense]
    found, points = values_of(small.layers[0])
    value = Activation.of(before)(points) * stage.scale[0] + stage.shift[0]
    value = value if stage.slope is None else np.where(value < 0, value * stage.slope[0], value)
    value = value if stage.low is None else np.maximum(value, stage.low[0])
    value = stage.activation(value if stage.high is None else np.minimum(value, stage.high[0]))
    grid = small.layers[0].table_output
    assert (np.abs(found - np.clip(value, grid.low, grid.high)) <= grid.scale * 0.501).all()
    assert (small.layers[0].output.zero_point == 0) == (before == "relu")  # a grid from 0 up is the ReLU


def test_other_stages_stay_in_floats():
    """By feature, at either end, behind another stage, or a normalization: between two grids, named as they were."""
    rows = random_rows(300, 6)
    for stage in (random_elementwise(8), random_layer_norm(8)):
        small = quantize(chained("relu", stage), rows, method="minmax")
        before, kept, after = small.layers
        assert kept is stage
        assert before.output is None
        seen = trace(chained("relu", stage), rows)[f"{stage.name}.output"]
        step = after.input.scale
        assert after.input.low == pytest.approx(min(seen.min(), 0), abs=step)
        assert after.input.high == pytest.approx(max(seen.max(), 0), abs=step)
    dense = random_model([6, 8, 4], ["linear", "linear"])
    first, last = dense.layers
    same = uniform(8, scale=2)
    assert [unit.folded for unit in units((first, same))] == [None, None]
    assert [unit.folded for unit in units((first, same, random_layer_norm(8), last))] == [None] * 4
    assert [unit.folded for unit in units((same, first, same, last))] == [None, same, None]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic"])
@pytest.mark.parametrize("hidden", ["relu", "tanh"])
def test_every_precision_is_near_the_float_network_and_proves_itself(precision, hidden):
    """Stages before, between and behind the layers: signal to noise, stored vectors, the artifact, its precision."""
    model = staged_model([20, 16, 12, 5], hidden=hidden, final="linear", standardize=True)
    rows = random_rows(400, 20)
    small = quantize(model, rows, precision)
    assert small.precision == precision
    least = {"float32": 100, "float16": 50, "int8": 22, "int8-dynamic": 22}[precision]
    before, after = Engine(model).run(rows[:200]), Engine(small).run(rows[:200])
    assert sqnr_db(before, after) > least
    again = load_bytes(save_bytes(small))
    np.testing.assert_array_equal(Engine(again).run(rows[:200]), after)
    assert selftest(again).ok


def test_int8_answers_with_stages_do_not_depend_on_the_rows_around_one():
    """Not on the batch and not on the block: sums of a normalization have one order."""
    small = quantize(staged_model([300, 40, 30, 7], final="linear"), random_rows(200, 300), method="minmax")
    rows = random_rows(300, 300)
    engine = Engine(small)
    many = engine.run(rows)
    for count in (1, 2, 7, 64):
        np.testing.assert_array_equal(engine.run(rows[:count]), many[:count])
    np.testing.assert_array_equal(np.stack([engine.run(row) for row in rows[:20]]), many[:20])


def test_only_what_may_differ_has_a_bound_in_int8():
    """Stages that scale and clip leave the bits of the logits; behind a normalization a tie may be on either side."""
    rows = random_rows(200, 6)
    exact = quantize(chained("relu", random_elementwise(8)), rows, method="minmax")
    assert not output_bound(exact, rows, activated=False).any()
    loose = quantize(chained("relu", random_layer_norm(8)), rows, method="minmax")
    bound = output_bound(loose, rows, activated=False)
    step = (np.abs(loose.layers[-1].weight.astype(float)) * loose.layers[-1].multiplier).max()
    assert bound.any()
    assert bound.max() < 3 * step
    assert (bound == 0).mean() > 0.9


def test_a_factor_of_float16_does_not_pass_a_stage():
    """Powers of two move within the layers on either side of it, and the function stays bit for bit."""
    dense = random_model([6, 8, 8, 8, 4], ["relu", "relu", "relu", "linear"])
    tiny = [
        replace(layer, weight=layer.weight * np.float32(factor), bias=layer.bias * np.float32(0))
        for layer, factor in zip(dense.layers, (1e-8, 1e8, 1e-8, 1e8), strict=True)
    ]
    rows = random_rows(50, 6)
    for stage in (random_elementwise(8), random_layer_norm(8)):
        model = replace(dense, layers=(tiny[0], tiny[1], stage, tiny[2], tiny[3]))
        scaled = scale_for_float16(model)
        assert scaled is not model
        assert scaled.layers[2] is stage
        np.testing.assert_array_equal(Engine(scaled).run(rows), Engine(model).run(rows))
        small = quantize(model, rows, "float16")
        assert sqnr_db(Engine(model).run(rows), Engine(small).run(rows)) > 50
    first = replace(dense, layers=(random_elementwise(6, parts="scale"), *tiny))
    assert scale_for_float16(first).preprocessing is None
    np.testing.assert_array_equal(Engine(scale_for_float16(first)).run(rows), Engine(first).run(rows))


def test_equalization_leaves_layers_beside_a_stage():
    """Units keep the scale that the stage's numbers are of; other pairs are equalized as ever."""
    model = staged_model([10, 9, 8, 7, 6], final="linear")
    pair = random_model([6, 12, 3], ["relu", "linear"], 5).layers
    layers = (*model.layers, replace(pair[0], name="p"), replace(pair[1], name="q"))
    model, rows = replace(model, layers=layers), random_rows(200, 10)
    equal = equalize(model, rows)
    for before, after in zip(model.layers[:-2], equal.layers[:-2], strict=True):
        for name, array in before.arrays().items():
            np.testing.assert_array_equal(array, after.arrays()[name])
    assert (equal.layers[-2].weight != model.layers[-2].weight).any()
    assert sqnr_db(Engine(model).run(rows), Engine(equal).run(rows)) > 100


def test_reports_of_fidelity_know_which_tensor_a_folded_layer_gives():
    """Layer by layer beside the float network's tensor behind the stage that was taken in."""
    model, rows = chained("relu", uniform(8, scale=3, shift=-1)), random_rows(300, 6)
    small = quantize(model, rows, method="minmax")
    assert float_outputs(model, small) == {"dense0": "map.output", "dense1": "dense1.output"}
    decibels = by_layer(model, small, rows)
    assert list(decibels) == ["dense0", "dense1"]
    assert min(decibels.values()) > 30
    assert fidelity_doubts(model, small, rows, measure_fidelity(model, small, rows)) == []
    assert calibration_doubts(rows, rows, small, model) == []
