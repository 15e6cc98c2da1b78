"""A float network in the units of a smaller one that was made of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, InputError
from export.diagnosis.aligned import alike, real_weight
from export.onnx_reader import read_onnx
from export.onnx_writer import write_onnx
from export.quantization import QuantizationWarning, Switches, quantize, quantize_beside, scale_for_float16
from tests.networks import random_model, random_rows, staged_model

MODEL = random_model([9, 32, 24, 4], ["relu", "leaky_relu", "softmax"])
ROWS = random_rows(300, 9)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_factors_of_equalization_are_found_in_the_weights(precision):
    """The very network that quantization compared with, to the bit."""
    switches = Switches("minmax", equalization=True, rounding="compensated", bias_correction=True)
    made = quantize_beside(MODEL, ROWS, precision, switches, 0)
    found = alike(MODEL, made.model).source
    assert any((ours.weight != theirs.weight).any() for ours, theirs in zip(found.layers, MODEL.layers, strict=True))
    for ours, theirs in zip(found.layers, made.source.layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        np.testing.assert_array_equal(ours.bias, theirs.bias)


def test_a_network_that_was_not_scaled_stays_as_it_is():
    """Weights and units."""
    for model in (MODEL, staged_model([9, 12, 8, 4])):
        found = alike(model, quantize(model, ROWS, method="minmax")).source
        assert [layer.name for layer in found.layers] == [layer.name for layer in model.layers]
        for ours, theirs in zip(found.layers, model.layers, strict=True):
            assert all(np.array_equal(array, theirs.arrays()[name]) for name, array in ours.arrays().items())


def test_powers_of_two_of_float16_are_found():
    """As `quantize` moved them."""
    first = replace(MODEL.layers[0], weight=MODEL.layers[0].weight * np.float32(1e-8))
    faint = replace(MODEL, layers=(first, *MODEL.layers[1:]))
    found, wanted = alike(faint, quantize(faint, precision="float16")).source, scale_for_float16(faint)
    assert found.preprocessing is not None
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(found.layers, wanted.layers, strict=True))


@pytest.mark.parametrize("precision", ["float16", "int8", "int8-dynamic"])
def test_real_weights_are_what_the_float_ones_were(precision):
    """To half a step."""
    small = quantize(MODEL, ROWS, precision, "minmax")
    for exact, layer in zip(MODEL.layers, small.layers, strict=True):
        step = np.abs(exact.weight).max() / 127
        assert np.abs(real_weight(layer) - exact.weight).max() <= step * 0.501


def test_other_names_of_layers_are_taken_back_if_there_are_as_many():
    """Files name layers as they like."""
    small = quantize(MODEL, ROWS, method="minmax")
    renamed = replace(small, layers=tuple(replace(layer, name=f"fc{at}") for at, layer in enumerate(small.layers)))
    assert [layer.name for layer in alike(MODEL, renamed).small.layers] == ["dense0", "dense1", "dense2"]


def test_a_small_model_of_another_network_is_refused():
    """With the layers of both."""
    other = quantize(random_model([9, 8, 4], ["relu", "softmax"]), ROWS, method="minmax")
    with pytest.raises(InputError, match="layers dense0 9-8, dense1 8-4, the float model dense0 9-32, dense1 32-24"):
        alike(MODEL, other)


@pytest.mark.parametrize("equalization", [False, True])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_scales_that_an_onnx_file_does_not_say_are_found_in_the_weights(equalization, precision, tmp_path):
    """To a part in a thousand; the codes stay what they are."""
    model = random_model([9, 32, 24, 16, 4], ["relu", "tanh", "leaky_relu", "softmax"], standardize=True)
    switches = Switches("minmax", equalization=equalization, bias_correction=True)
    made = quantize_beside(model, ROWS, precision, switches, 0)
    write_onnx(made.model, tmp_path / "s.onnx")
    read = read_onnx(tmp_path / "s.onnx")
    assert {layer.output.scale for layer in read.layers[:-1]} == {1.0}
    found = alike(model, read)
    for ours, theirs in zip(found.small.layers, made.model.layers, strict=True):
        np.testing.assert_allclose(ours.input.scale, theirs.input.scale, rtol=0.02 if precision == "int4" else 2e-3)
    for ours, theirs in zip(found.source.layers, made.source.layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
    np.testing.assert_array_equal(Engine(found.small).run(ROWS), Engine(read).run(ROWS))


def test_a_grid_whose_scale_is_1_keeps_it():
    """One that fits the weights was read."""
    scaled = replace(MODEL, layers=tuple(replace(layer, bias=layer.bias * 0) for layer in MODEL.layers))
    with pytest.warns(QuantizationWarning, match="is 0 on every calibration row"):
        small = quantize(scaled, np.zeros((20, 9), np.float32), method="minmax")
    assert small.layers[0].output.scale == 1.0
    assert alike(scaled, small).small.layers[0].output.scale == 1.0
