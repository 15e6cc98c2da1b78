import itertools
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, Engine, Model, QuantizationError, Standardization, __version__, selftest
from edge_runtime.numerics.quantization import dequantize
from export.quantization.fidelity import even_db, sqnr_db
from export.quantization.quantizer import quantize
from export.quantization.recipe import QuantizationWarning
from export.quantization.test_rows import with_test_vectors
from tests.networks import random_model, random_rows, with_subnormals, zeroed


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
    first, last = quantize(model, random_rows(50, 40), method="minmax").layers
    for source, layer in zip(model.layers, (first, last), strict=True):
        scale_w = np.abs(source.weight.astype(np.float64)).max(axis=0) / 127
        assert (layer.output is None) == (layer is last)
        scale_y = 1.0 if layer is last else layer.output.scale
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
    tiny = replace(model, layers=(replace(model.layers[0], weight=model.layers[0].weight * np.float32(1e-36)),))
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
    methods = {"minmax", "percentile", "mse", "entropy"}
    assert {*methods, *(f"{method}, equalized" for method in methods)} < set(told)
    best = max(told, key=told.get)
    assert small.metadata["calibration"] == f"{best}, 2000 rows"
    assert not best.startswith("minmax")


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
        quantize(model, precision="int5")
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


PRECISIONS = ["float32", "float16", "int8", "int8-dynamic"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_made_proves_itself(precision):
    """It holds rows of the calibration with its own outputs, as many as asked for: `selftest` passes."""
    model, rows = random_model([3, 4, 2], ["relu", "linear"]), random_rows(300, 3)
    small = quantize(model, rows, precision)
    assert (len(small.test_vectors.inputs), selftest(small).ok) == (8, True)
    assert {row.tobytes() for row in small.test_vectors.inputs} <= {row.tobytes() for row in rows}
    assert len(quantize(model, rows, precision, test_vectors=3).test_vectors.inputs) == 3
    assert quantize(model, rows, precision, test_vectors=0).test_vectors is None
    batches = quantize(model, [rows[start : start + 70] for start in range(0, 300, 70)], precision)
    assert batches.test_vectors.inputs.tobytes() == small.test_vectors.inputs.tobytes()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_test_vectors_of_the_model_before_get_new_outputs(precision):
    """They hold its outputs, on which the new model's selftest would fail; its rows stay where no others are given."""
    model, rows = random_model([3, 4, 2], ["relu", "linear"]), random_rows(20, 3)
    before = with_test_vectors(model, rows[:5])
    assert selftest(quantize(before, rows, precision)).ok
    if precision != "int8":
        after = quantize(before, precision=precision)
        assert selftest(after).ok
        assert after.test_vectors.inputs.tobytes() == before.test_vectors.inputs.tobytes()
        assert quantize(model, precision=precision).test_vectors is None


@pytest.mark.parametrize("count", [-1, 1.5, True, None, "8"])
def test_a_number_of_test_vectors_that_is_none_is_refused(count):
    """By name."""
    with pytest.raises(QuantizationError, match=r"test_vectors is .*, expected how many rows to store, 0 for none"):
        quantize(random_model([3, 2], ["linear"]), random_rows(20, 3), test_vectors=count)


def test_the_versions_that_made_it_are_noted():
    """Those of now, in place of those that made the float model."""
    model = replace(random_model([3, 2], ["linear"]), metadata={"made_with": "smallnet 0.0.1", "data": "d"})
    found = quantize(model, random_rows(20, 3)).metadata
    python = ".".join(map(str, sys.version_info[:3]))
    assert found["made_with"] == f"smallnet {__version__}, numpy {np.__version__}, python {python}"
    assert found["data"] == "d"


def test_auto_chooses_by_the_error_where_no_output_varies():
    """Held-out rows that are all alike have no signal: decibels are -inf for each method, errors still differ."""
    model, rows = random_model([20, 15, 3], ["relu", "linear"]), random_rows(1000, 20)
    rows[7, 3] = 500.0  # an outlier, so that min-max is a bad choice
    rows[4::5] = rows[4]
    told = {}
    small = quantize(model, rows, on_choice=told.update)
    assert set(told.values()) == {-np.inf}
    assert not small.metadata["calibration"].startswith("minmax")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic"])
def test_the_precision_is_what_was_asked_for(precision):
    """With calibration rows, which only int8 needs, and without."""
    model, rows = random_model([3, 4, 2], ["relu", "linear"]), random_rows(20, 3)
    assert quantize(model, rows, precision).precision == precision
    if precision != "int8":
        assert quantize(model, precision=precision).precision == precision


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic"])
def test_weights_below_normal_numbers_become_0_and_are_counted(precision):
    """In every precision, with the number in the metadata; the network is that of the weights zeroed by hand."""
    model, rows = with_subnormals(30, (20, 6, 3)), random_rows(20, 20)
    small, expected = quantize(model, rows, precision), quantize(zeroed(model), rows, precision)
    assert small.metadata["subnormal_weights_set_to_0"] == "30"
    assert "subnormal_weights_set_to_0" not in expected.metadata
    for found, wanted in zip(small.layers, expected.layers, strict=True):
        np.testing.assert_array_equal(found.weight, wanted.weight)
    assert quantize(zeroed(model), rows, "float32").layers[0].weight is not None


def test_a_faded_weight_does_not_keep_float16_from_being_moved():
    """One subnormal weight beside others of 1e-8: it becomes 0 first, and the layer is saved."""
    model = random_model([5, 4, 2], ["relu", "linear"])
    weight = model.layers[0].weight * np.float32(1e-8)
    weight[1, 2] = 1e-42
    small = quantize(
        replace(model, layers=(replace(model.layers[0], weight=weight), *model.layers[1:])), None, "float16"
    )
    assert np.abs(small.layers[0].weight).max() > 0.1
    assert small.layers[0].weight[1, 2] == 0


@pytest.mark.parametrize("per_channel", [True, False])
def test_dynamic_weights_have_the_stated_scales(per_channel):
    """The largest weight of a channel, or of the layer, becomes 127; a channel of zeros has scale 1."""
    model = random_model([9, 5], ["linear"])
    weight = model.layers[0].weight * np.float32([1, 10, 0.1, 0, 1e-30])
    model = replace(model, layers=(replace(model.layers[0], weight=weight),))
    (layer,) = quantize(model, precision="int8-dynamic", per_channel=per_channel).layers
    largest = np.abs(weight.astype(np.float64)).max(axis=0)
    scale = largest / 127 if per_channel else np.full(5, largest.max() / 127)
    expected = np.where(scale == 0, 1, scale).astype(np.float32)
    np.testing.assert_array_equal(layer.weight_scale, expected)
    np.testing.assert_array_equal(layer.weight, np.rint(weight / expected.astype(np.float64)))
    np.testing.assert_array_equal(layer.bias, model.layers[0].bias)


def test_a_dynamic_layer_that_is_too_wide_is_named():
    """As in int8: the layer and what an accumulator could reach."""
    layer = Dense("wide", np.ones((70_000, 1), np.float32), np.zeros(1, np.float32), Activation.of("linear"))
    with pytest.raises(QuantizationError, match=r"layer 'wide': an accumulator can reach 2,2\d\d,\d{3},\d{3}"):
        quantize(Model((layer,)), precision="int8-dynamic")


@pytest.mark.parametrize("count", [1, 9])
def test_the_warning_of_few_rows_points_to_the_caller(count):
    """With the count, in grammar, and the line that called quantize."""
    with pytest.warns(
        QuantizationWarning, match=f"calibrated on {count} {'row' if count == 1 else 'rows'}, "
    ) as caught:
        quantize(random_model([3, 2], ["linear"]), random_rows(count, 3))
    assert caught[0].filename == __file__


def test_the_warning_of_lost_weights_points_to_the_caller():
    """As the other."""
    model = random_model([3, 3, 3, 3], ["tanh", "tanh", "linear"])
    faded = replace(model.layers[1], weight=model.layers[1].weight * np.float32(1e-9))
    with pytest.warns(QuantizationWarning) as caught:
        quantize(replace(model, layers=(model.layers[0], faded, model.layers[2])), precision="float16")
    assert caught[0].filename == __file__


def test_five_rows_are_enough_for_auto_and_four_are_not():
    """With four none is held out: minmax is taken, and nobody is told of a choice that was none."""
    model = random_model([3, 4, 2], ["relu", "linear"])
    for count, told in ((5, 12), (4, 0)):
        seen = {}
        small = quantize(model, random_rows(count, 3), on_choice=seen.update)
        assert len(seen) == told
        assert told or small.metadata["calibration"] == "minmax, 4 rows"


@pytest.mark.parametrize("per_channel", [True, False])
def test_auto_tries_what_is_taken(per_channel):
    """The decibels that it tells are those of the network with the same kind of weight scales."""
    model, rows = random_model([20, 15, 3], ["relu", "linear"]), random_rows(200, 20)
    told = {}
    quantize(model, rows, per_channel=per_channel, on_choice=told.update)
    apart = np.arange(200) % 5 == 4
    small = quantize(model, rows[~apart], method="mse", per_channel=per_channel)
    expected = even_db(*(Engine(network).logits(rows[apart]) for network in (model, small)))
    assert told["mse"] == pytest.approx(expected, abs=0.2)


def test_refusals_and_warnings_name_the_tensor():
    """The input, what is before a table, what is behind it."""
    model = random_model([3, 4, 2], ["tanh", "linear"], bias_scale=0.0)
    with pytest.raises(QuantizationError, match="tensor 'input' has the range"):
        quantize(model, random_rows(20, 3) * 1e-38)
    faded = replace(model.layers[0], weight=model.layers[0].weight * np.float32(1e-37))
    with pytest.raises(QuantizationError, match=r"tensor 'dense0\.(output|preactivation)' has the range"):
        quantize(replace(model, layers=(faded, model.layers[1])), random_rows(20, 3))
    dead = replace(model.layers[0], weight=model.layers[0].weight * 0)
    with pytest.warns(QuantizationWarning) as caught:
        quantize(replace(model, layers=(dead, model.layers[1])), random_rows(20, 3))
    names = {str(warning.message).split("'")[1] for warning in caught if "is 0" in str(warning.message)}
    assert names >= {"dense0.preactivation", "dense0.output"}


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "linear", "tanh"])
def test_grids_of_neighbours_are_one(activation):
    """A hidden layer stays in uint8: what it gives is on the grid that the next one takes."""
    model = random_model([6, 5, 4, 2], [activation, activation, "linear"])
    layers = quantize(model, random_rows(50, 6)).layers
    for before, after in itertools.pairwise(layers):
        assert before.final_grid == after.input
        assert (before.table is None) == (activation != "tanh")
    assert layers[-1].final_grid is None


@pytest.mark.parametrize("size", [-3e4, 3e4, 1.2e5])
@pytest.mark.parametrize("power", [14, 18])
def test_the_scale_makes_room_for_a_bias(size, power):
    """In int32 up to 2^30 steps; beside a bias 2^16 times the weights' reach, 2^22, which floats hold exactly."""
    weight = np.full((4, 1), size, np.float32)
    rows = np.eye(4, dtype=np.float32).repeat(8, axis=0)
    grid_scale = float(np.float32(1 / 255))
    reach = 4 * abs(size) * grid_scale * 255
    bias = np.float32(2.0**power * reach)
    layer = quantize(Model((Dense("a", weight, bias[None], Activation.of("linear")),)), rows, method="minmax").layers[0]
    scale = max(abs(size) / 127, float(bias) / (grid_scale * 2.0 ** (22 if power > 16 else 30)))
    np.testing.assert_array_equal(layer.multiplier, np.float32(scale * grid_scale))
    assert layer.bias[0] == np.rint(float(bias) / (scale * grid_scale))


def test_a_channel_of_zeros_has_a_weight_scale_of_1():
    """Its multiplier is then the input's scale."""
    layer = Dense("a", np.float32([[0, 1]]), np.zeros(2, np.float32), Activation.of("linear"))
    small = quantize(Model((layer,)), random_rows(20, 1)).layers[0]
    assert small.multiplier[0] == np.float32(small.input.scale)


@pytest.mark.parametrize(("largest", "fits"), [(65519.0, True), (65520.0, False)])
def test_the_largest_half_is_what_rounds_to_it(largest, fits):
    """Between two tanh: 65519 becomes 65504, 65520 would become inf."""
    model = random_model([2, 2, 2, 2], ["tanh", "tanh", "linear"])
    layers = (model.layers[0], replace(model.layers[1], weight=np.full((2, 2), largest, np.float32)), model.layers[2])
    if fits:
        assert quantize(replace(model, layers=layers), precision="float16").layers[1].weight.max() == 65504
    else:
        with pytest.raises(QuantizationError, match="holds 65520"):
            quantize(replace(model, layers=layers), precision="float16")
