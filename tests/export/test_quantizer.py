import warnings
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, Engine, Model, QuantizationError, Standardization
from edge_runtime.quantization import dequantize
from export.fidelity import sqnr_db
from export.quantizer import QuantizationWarning, quantize
from export.test_vectors import with_test_vectors
from tests.networks import random_model, random_rows


def test_int8_follows_the_float_network_closely():
    """On the calibration rows the logits' error is a few hundredths of their spread."""
    model = random_model([40, 30, 20, 6], ["relu", "tanh", "linear"], standardize=True)
    rows = random_rows(300, 40)
    before, after = Engine(model).logits(rows), Engine(quantize(model, rows)).logits(rows)
    assert np.sqrt(np.mean((after - before) ** 2)) < 0.03 * before.std()


def test_weights_are_within_half_a_step_of_the_float_ones():
    """One scale per output channel: the largest weight of each column becomes 127."""
    model = random_model([40, 6], ["linear"])
    layer = quantize(model, random_rows(50, 40)).layers[0]
    scale = np.abs(model.layers[0].weight.astype(np.float64)).max(axis=0) / 127
    assert (np.abs(layer.weight).max(axis=0) == 127).all()
    assert np.abs(model.layers[0].weight / scale - layer.weight).max() <= 0.5 * (1 + 1e-9)


def test_the_multiplier_and_the_bias_are_the_stated_formulas():
    """m = float32(s_x * s_w / s_y), b = rint(bias / (s_x * s_w)), in float64 up to the last step."""
    model = random_model([40, 30, 6], ["relu", "linear"])
    first, last = quantize(model, random_rows(50, 40)).layers
    for source, layer in zip(model.layers, (first, last), strict=True):
        scale_w = np.abs(source.weight.astype(np.float64)).max(axis=0) / 127
        scale_y = 1.0 if layer.output is None else layer.output.scale
        np.testing.assert_array_equal(layer.multiplier, np.float32(layer.input.scale * scale_w / scale_y))
        np.testing.assert_array_equal(layer.bias, np.rint(source.bias / (layer.input.scale * scale_w)))


def test_a_table_holds_the_activation_of_every_grid_point():
    """tanh between int8 layers: 256 entries, each within half a step of the function."""
    layer = quantize(random_model([9, 5, 2], ["tanh", "linear"]), random_rows(50, 9)).layers[0]
    points = dequantize(np.arange(256, dtype=np.uint8), layer.output).astype(np.float64)
    error = np.abs(dequantize(layer.table, layer.table_output) - np.tanh(points))
    inside = (np.tanh(points) > layer.table_output.low) & (np.tanh(points) < layer.table_output.high)
    assert error[inside].max() <= layer.table_output.scale / 2 * 1.001


def test_float16_keeps_half_weights_and_float32_biases():
    """Half the bytes; the weights are the nearest halves."""
    model = random_model([9, 5, 2], ["relu", "linear"])
    half = quantize(model, precision="float16")
    assert half.precision == "float16"
    np.testing.assert_array_equal(half.layers[0].weight, model.layers[0].weight.astype(np.float16))
    assert half.layers[0].bias.dtype == np.float32


def test_dead_units_and_zero_columns_stay_exact():
    """A column of zeros gives its bias, to float32's precision; a unit that never fires gives 0."""
    layer = Dense("a", np.zeros((3, 2), np.float32), np.array([0.7, 0.0], np.float32), Activation.of("linear"))
    found = Engine(quantize(Model((layer,)), random_rows(10, 3))).run(random_rows(4, 3))
    np.testing.assert_allclose(found, np.tile([0.7, 0.0], (4, 1)), rtol=1e-6)


@pytest.mark.parametrize("bias", [1e6, -1e12, 3e30])
def test_a_huge_bias_beside_tiny_weights_works(bias):
    """The channel's scale grows until the bias fits int32; the answer stays within the bias's own precision."""
    layer = Dense("a", np.full((3, 1), 1e-6, np.float32), np.array([bias], np.float32), Activation.of("linear"))
    found = Engine(quantize(Model((layer,)), random_rows(10, 3))).run(random_rows(4, 3))
    np.testing.assert_allclose(found, bias, rtol=1e-6)


def test_a_layer_that_is_always_zero_works_with_a_warning():
    """Calibration rows that never wake a layer give a grid all the same."""
    weight = np.full((2, 2), -1, np.float32)
    layers = (
        Dense("a", weight, np.zeros(2, np.float32), Activation.of("relu")),
        Dense("b", weight, np.ones(2, np.float32), Activation.of("linear")),
    )
    with pytest.warns(QuantizationWarning, match=r"'a.output' is 0 on every calibration row"):
        small = quantize(Model(layers), np.ones((5, 2)))
    np.testing.assert_allclose(Engine(small).run([[1.0, 1.0]]), [[1.0, 1.0]], rtol=1e-6)


def test_what_cannot_be_exact_is_refused_with_numbers():
    """A scale below float32's normal range, a weight beyond float16's, a network that is int8 already."""
    model = random_model([3, 2], ["linear"], bias_scale=0.0)
    tiny = replace(model, layers=(replace(model.layers[0], weight=model.layers[0].weight * np.float32(1e-38)),))
    with pytest.raises(QuantizationError, match=r"'dense0.multiplier' runs from"):
        quantize(tiny, random_rows(10, 3) * 1e-3)
    with pytest.raises(QuantizationError, match="not a normal float32 number"):
        quantize(model, random_rows(10, 3) * 1e-38)
    between = random_model([3, 2, 2, 2], ["tanh", "tanh", "linear"])
    large = replace(between.layers[1], weight=np.full((2, 2), 7e4, np.float32))
    with pytest.raises(QuantizationError, match="holds 70000, beyond float16's largest number 65504, and no power"):
        quantize(replace(between, layers=(between.layers[0], large, between.layers[2])), precision="float16")
    with pytest.raises(QuantizationError, match="int8 already"):
        quantize(quantize(model, random_rows(10, 3)), random_rows(10, 3))


def test_wide_layers_stop_at_int32():
    """A column whose accumulator could pass 2^31 is refused with the number it could reach."""
    n_in = 70_000
    layer = Dense("wide", np.ones((n_in, 1), np.float32), np.zeros(1, np.float32), Activation.of("linear"))
    with pytest.raises(QuantizationError, match=r"layer 'wide': an accumulator can reach 2,2\d\d,\d{3},\d{3}"):
        quantize(Model((layer,)), np.ones((2, n_in), np.float32))


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy", "auto"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_every_method_gives_a_network_that_works(method, per_channel):
    """Signal to noise at the output is above 20 dB (10 for entropy, which cuts deep where rows are few), and the method
    is noted in the metadata."""
    model = random_model([40, 30, 6], ["relu", "linear"], standardize=True)
    rows = random_rows(300, 40)
    small = quantize(model, rows, method=method, per_channel=per_channel)
    assert sqnr_db(Engine(model).run(rows), Engine(small).run(rows)) > (10 if method == "entropy" else 20)
    assert small.metadata["calibration"].endswith(", 300 rows")
    if method != "auto":
        assert small.metadata["calibration"].startswith(method)


def test_auto_takes_the_method_with_the_least_error_on_held_out_rows():
    """What it saw is told, its choice is the best of it, and a lone outlier in the rows makes it leave minmax."""
    model = random_model([40, 30, 6], ["relu", "linear"])
    rows = random_rows(2000, 40)
    rows[7, 3] = 500.0  # in the rows that set the ranges, not in those held out
    told = {}
    small = quantize(model, rows, on_choice=told.update)
    assert set(told) == {"minmax", "percentile", "mse", "entropy"}
    best = max(told, key=told.get)
    assert small.metadata["calibration"] == f"{best}, 2000 rows"
    assert best != "minmax"


def test_one_scale_per_layer_is_coarser():
    """Columns of very different sizes: per channel each uses all 127 steps, per tensor only the largest does."""
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(20, 4)) * [1, 0.1, 0.01, 0.001]).astype(np.float32)
    model = Model((Dense("a", weight, np.zeros(4, np.float32), Activation.of("linear")),))
    rows = random_rows(100, 20)
    fine, coarse = (quantize(model, rows, per_channel=flag).layers[0] for flag in (True, False))
    assert np.abs(fine.weight).max(axis=0).tolist() == [127] * 4
    assert np.abs(coarse.weight).max(axis=0)[3] <= 1
    assert len(set(coarse.multiplier.tolist())) == 1


def test_features_of_very_different_sizes_are_quantized_after_standardization():
    """One feature in thousands, one in thousandths: the grid is that of the standardized values."""
    rows = random_rows(500, 2) * np.float32([1e3, 1e-3]) + np.float32([5e3, 0])
    standardization = Standardization(np.float32([5e3, 0]), np.float32([1e-3, 1e3]))
    layer = Dense("a", np.float32([[1], [1]]), np.zeros(1, np.float32), Activation.of("linear"))
    model = Model((layer,), standardization)
    small = quantize(model, rows)
    assert small.layers[0].input.scale < 0.05
    assert sqnr_db(Engine(model).run(rows), Engine(small).run(rows)) > 30


def test_arguments_are_checked():
    """An unknown precision and missing calibration rows say what was expected."""
    model = random_model([3, 2], ["linear"])
    with pytest.raises(QuantizationError, match="expected one of float32, float16, int8"):
        quantize(model, precision="int4")
    with pytest.raises(QuantizationError, match="expected one of minmax, percentile, mse, entropy, auto"):
        quantize(model, random_rows(5, 3), method="best")
    with pytest.raises(QuantizationError, match="needs calibration rows"):
        quantize(model)


def test_units_that_faded_away_stay_exact_and_cheap():
    """Weights below float32's normal range: every precision works, and sums stay exact in float32."""
    weight = np.full((50, 4), 1e-42, np.float32)
    weight[:, 0] = np.linspace(-1, 1, 50)
    layer = Dense("a", weight, np.full(4, 0.3, np.float32), Activation.of("linear"))
    rows = random_rows(40, 50)
    static = quantize(Model((layer,)), rows)
    assert static.layers[0].certificate < 1 << 24
    for small in (static, quantize(Model((layer,)), precision="int8-dynamic")):
        np.testing.assert_allclose(Engine(small).run(rows)[:, 1:], 0.3, rtol=1e-6)


@pytest.mark.parametrize(("count", "is_few"), [(1, True), (15, True), (16, False)])
def test_fewer_than_sixteen_calibration_rows_are_warned_of(count, is_few):
    """With the number of rows, once, and only where grids are set by them."""
    model, rows = random_model([3, 4, 2], ["relu", "linear"]), random_rows(count, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quantize(model, rows)
        quantize(model, rows, "float16")
        quantize(model, precision="int8-dynamic")
    texts = [str(warning.message) for warning in caught if warning.category is QuantizationWarning]
    assert [text.startswith(f"calibrated on {count} row") for text in texts] == [True] * is_few


def test_weights_that_float16_loses_are_warned_of_by_layer():
    """Between two tanh no power of two can be moved: 30 weights of 1e-9 become 0, and the warning says so."""
    model = random_model([5, 6, 5, 2], ["tanh", "tanh", "linear"])
    faded = replace(model.layers[1], weight=model.layers[1].weight * np.float32(1e-9))
    model = replace(model, layers=(model.layers[0], faded, model.layers[2]))
    with pytest.warns(QuantizationWarning, match=r"layer 'dense1': 30 of 30 weights become 0 in float16"):
        quantize(model, precision="float16")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic"])
def test_test_vectors_of_the_model_before_are_dropped(precision):
    """They hold its outputs: the new model's selftest would fail on them."""
    model, rows = random_model([3, 4, 2], ["relu", "linear"]), random_rows(20, 3)
    assert quantize(with_test_vectors(model, rows), rows, precision).test_vectors is None


def test_auto_chooses_by_the_error_where_no_output_varies():
    """Held-out rows that are all alike have no signal: decibels are -inf for each method, errors still differ."""
    model, rows = random_model([20, 15, 3], ["relu", "linear"]), random_rows(1000, 20)
    rows[7, 3] = 500.0  # an outlier, so that min-max is a bad choice
    rows[4::5] = rows[4]
    told = {}
    small = quantize(model, rows, on_choice=told.update)
    assert set(told.values()) == {-np.inf}
    assert not small.metadata["calibration"].startswith("minmax")
