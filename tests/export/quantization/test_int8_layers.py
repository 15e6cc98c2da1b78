"""Grids, biases and multipliers of int8 layers."""

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, QuantizationError
from edge_runtime.layers import MOST_TABLE_BITS
from edge_runtime.numerics.quantization import INT32_LIMIT, QuantParams, certificate
from export.quantization.fidelity import sqnr_db
from export.quantization.int8_layers import INT4, INT8, _multiplier, _quantized_bias, grid_for, weight_scales
from export.quantization.quantizer import quantize
from export.quantization.ranges import Range
from export.quantization.recipe import QuantizationWarning
from tests.networks import random_model, random_rows


def test_a_tensor_of_zeros_has_the_grid_of_ones():
    """Scale 1 and zero point 0."""
    with pytest.warns(QuantizationWarning, match="tensor 'a' is 0 on every calibration row"):
        assert grid_for(Range(0.0, 0.0), "a") == QuantParams(1.0, 0)


@pytest.mark.parametrize(
    ("low", "high", "zero_point"),
    [(0.0, 255.0, 0), (-255.0, 0.0, 255), (-1.0, 1.0, 127), (-0.5, 254.5, 0), (-1.5, 253.5, 2), (-100.0, 155.0, 100)],
)
def test_a_grid_ends_where_its_range_ends(low, high, zero_point):
    """Scale (high - low) / 255, zero point -low / scale rounded half to even."""
    grid = grid_for(Range(low, high), "a")
    assert (grid.scale, grid.zero_point) == (np.float32((high - low) / 255), zero_point)


def test_the_smallest_scale_is_the_smallest_normal_number():
    """It is taken; half of it is refused with the tensor's name."""
    tiny = float(np.finfo(np.float32).tiny)
    assert grid_for(Range(0.0, 255 * tiny), "a").scale == tiny
    with pytest.raises(QuantizationError, match=r"tensor 'a' has the range 0\.\..*not a normal"):
        grid_for(Range(0.0, 127 * tiny), "a")


@pytest.mark.parametrize(("steps", "fits"), [(2.0**31 - 1, True), (2.0**31, False), (-(2.0**31), False)])
def test_a_bias_that_leaves_int32_is_refused(steps, fits):
    """With the bias, its place and its steps: from 2^31 on."""
    bias, step = np.array([0, np.sign(steps) * 2.0**31]), np.array([1.0, 2.0**31 / abs(steps)])
    if fits:
        assert _quantized_bias("a", bias, step)[1] == 2**31 - 1
        return
    with pytest.raises(
        QuantizationError, match=r"'a\.bias' 1 is -?2\.14748e\+09, which is .* steps of 1 and leaves int32"
    ):
        _quantized_bias("a", bias, step)


@pytest.mark.parametrize(
    ("values", "fits"), [([1.2e-38, 1.0], True), ([1.0, 1e-39], False), ([1.0, 1e39], False), ([3e38, 1.0], True)]
)
def test_multipliers_are_normal_float32_numbers(values, fits):
    """From the smallest normal number up to the largest; NumPy's own warning of an overflow is not shown."""
    if fits:
        np.testing.assert_array_equal(_multiplier("dense0", np.array(values)), np.float32(values))
        tiny = float(np.finfo(np.float32).tiny)
        assert _multiplier("dense0", np.array([tiny, tiny]))[0] == tiny
    else:
        with pytest.raises(QuantizationError, match=r"'dense0.multiplier' runs from .* \(smallest at channel \d\)"):
            _multiplier("dense0", np.array(values))


def test_four_bits_are_used_to_both_ends():
    """An output whose largest weight is negative has it at -8; of int8 it is at -127, whichever its sign."""
    weight = np.array([[4.0, -4.0, 0.0], [-2.0, 2.0, 0.0]])
    for limits, scales in ((INT4, [4 / 7, 0.5, 1.0]), (INT8, [4 / 127, 4 / 127, 1.0])):
        found = weight_scales(weight, np.zeros(3), QuantParams(1.0, 0), limits, True)
        assert found.tolist() == scales
        together = weight_scales(weight, np.zeros(3), QuantParams(1.0, 0), limits, False)
        assert together.tolist() == [max(scales[:2])] * 3


def as_a16(sizes, activations, seed=0, rounding="nearest", **keep):
    model = random_model(sizes, activations, seed)
    options = {"rounding": rounding, "bias_correction": rounding != "nearest", "keep": keep}
    return model, quantize(model, random_rows(300, sizes[0]), "int8-a16", "minmax", **options)


@pytest.mark.parametrize("rounding", ["nearest", "compensated"])
@pytest.mark.parametrize("n_in", [3, 300, 700, 1500, 3000, 6000])
def test_a16_inputs_have_the_most_bits_with_which_sums_stay_within_int32(n_in, rounding):
    """16 for narrow layers, one less for each doubling beyond; with one more the weights would leave int32."""
    _model, small = as_a16([n_in, 4, 3], ["relu", "linear"], rounding=rounding)
    for layer in small.layers:
        grid = layer.input
        assert 9 <= grid.bits <= 16
        assert layer.certificate < INT32_LIMIT
        if grid.bits < 16 and rounding == "nearest":
            assert 2 * certificate(layer.weight, layer.bias, 0, grid.bits) > 0.99 * INT32_LIMIT
    assert small.layers[0].output == small.layers[1].input
    assert (small.layers[0].input.bits < 16) == (n_in > 700)


def test_weights_that_leave_int32_once_rounded_are_rounded_again_with_a_bit_less(monkeypatch):
    """The first guess is by weights rounded to the nearest; the certificate of those that are taken decides."""
    from export.quantization import int8_layers

    monkeypatch.setattr(int8_layers, "_most_bits", lambda *_arguments: 16)
    _model, small = as_a16([1500, 4, 3], ["relu", "linear"], rounding="compensated")
    monkeypatch.undo()
    _model, guessed = as_a16([1500, 4, 3], ["relu", "linear"], rounding="compensated")
    assert [layer.input for layer in small.layers] == [layer.input for layer in guessed.layers]
    assert all((a.weight == b.weight).all() for a, b in zip(small.layers, guessed.layers, strict=True))
    assert small.layers[0].input.bits < 16


def test_a_layer_too_wide_for_9_bits_has_8():
    """It says so: its precision is int8, and the model's is mixed."""
    model = random_model([66_000, 2, 3], ["relu", "linear"])
    signs = replace(model.layers[0], weight=np.sign(model.layers[0].weight))  # each becomes 127
    model = replace(model, layers=(signs, model.layers[1]))
    small = quantize(model, random_rows(20, 66_000), "int8-a16", "minmax")
    assert [layer.input.bits for layer in small.layers] == [8, 16]
    assert [layer.precision for layer in small.layers] == ["int8", "int8-a16"]
    assert small.precision == "mixed"


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "linear", "tanh", "gelu", "hard_swish"])
def test_a16_brings_decibels(activation):
    """More than int8 with the same weights; tables are indexed with 12 bits at most and give codes of more."""
    model, small = as_a16([30, 24, 24, 5], [activation, activation, "linear"], rounding="compensated")
    table_bits = [layer.output.bits for layer in small.layers if layer.table is not None]
    assert set(table_bits) <= {MOST_TABLE_BITS}
    assert all(layer.final_grid is None or layer.final_grid.bits == 16 for layer in small.layers)
    rows = random_rows(500, 30, seed=5)
    coarse = quantize(model, random_rows(300, 30), "int8", "minmax", bias_correction=True, rounding="compensated")
    found = [sqnr_db(Engine(model).logits(rows), Engine(each).logits(rows)) for each in (small, coarse)]
    assert found[0] > found[1] + 3


def test_layers_kept_in_int8_between_a16_layers_have_grids_of_8_bits():
    """Each layer's inputs are on the grid of its own precision, whatever gives them."""
    _model, small = as_a16([30, 24, 24, 24, 5], ["relu", "tanh", "relu", "linear"], dense1="int8", dense2="float16")
    assert [layer.precision for layer in small.layers] == ["int8-a16", "int8", "float16", "int8-a16"]
    assert small.layers[0].output.bits == 8
    assert small.layers[1].output is None


def test_a_grid_of_more_bits_has_room_for_what_calibration_did_not_see():
    """Half as much again at each end; one of 8 bits has none."""
    rows = random_rows(300, 30)
    grids = {bits: as_a16([30, 4, 3], ["relu", "linear"], **keep)[1].layers[0].input for bits, keep in
             {16: {}, 8: {"dense0": "int8"}}.items()}  # fmt: skip
    assert grids[16].bits == 16
    assert grids[16].high == pytest.approx(1.5 * rows.max(), rel=1e-3)
    assert grids[8].high == pytest.approx(rows.max(), rel=0.02)


def test_a_scale_that_16_bits_would_lose_has_fewer_bits():
    """Inputs so small that a sixteenth bit would leave float32's normal range."""
    model = random_model([5, 4, 3], ["relu", "linear"])
    rows = random_rows(300, 5) * np.float32(2e-36)
    small = quantize(model, rows, "int8-a16", "minmax")
    assert 8 <= small.layers[0].input.bits < 16
