"""Layers that stay in another precision than the rest: what may be named, what comes of it, what is left unchanged."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import Engine, Limits, QuantizationError, selftest
from edge_runtime.artifact import load_bytes, save_bytes
from edge_runtime.device_profiles import devices, estimate
from edge_runtime.layers import QuantizedDense, Stage
from edge_runtime.reference import trace, trace_layer
from export.onnx_writer import to_onnx
from export.quantization.doubts import by_layer, calibration_doubts, fidelity_doubts, measure_fidelity
from export.quantization.equalization import equalize
from export.quantization.quantizer import QuantizationWarning, quantize
from export.quantization.recipe import FLOATS, KEPT
from export.verification import verify_content
from tests.networks import random_model, random_rows, staged_model

ROWS = random_rows(200, 8)
MODEL = random_model([8, 16, 16, 4], ["relu", "tanh", "softmax"], standardize=True)
STAGED = staged_model([8, 16, 12, 4])
LEVELS = ("default", "extended", "basic", "disabled")
REMEDIES = st.fixed_dictionaries(
    {
        "equalization": st.booleans(),
        "bias_correction": st.booleans(),
        "rounding": st.sampled_from(["nearest", "compensated"]),
    }
)


@st.composite
def mixes(draw, precisions=KEPT):
    """A network of up to four layers, with stages or without, and what its layers are kept in: all but one at most."""
    sizes = draw(st.lists(st.integers(1, 20), min_size=3, max_size=5))
    seed = draw(st.integers(0, 10_000))
    hidden = draw(st.lists(st.sampled_from(["relu", "tanh", "leaky_relu", "gelu", "linear"]), min_size=3, max_size=3))
    if draw(st.booleans()):
        model = staged_model(sizes, seed, hidden[0])
    else:
        final = draw(st.sampled_from(["softmax", "linear", "sigmoid"]))
        model = random_model(sizes, [*hidden[: len(sizes) - 2], final], seed, draw(st.booleans()))
    names = [layer.name for layer in model.layers if not isinstance(layer, Stage)]
    left = draw(st.sampled_from(names))
    return model, {name: draw(st.sampled_from(precisions)) for name in names if name != left}


def mixed(model, keep, rows=None, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)
        return quantize(
            model, random_rows(80, model.n_in) if rows is None else rows, "int8", "minmax", keep=keep, **how
        )


@given(mixes(), REMEDIES, st.sampled_from([None, Limits(lean=True), Limits(max_batch=3, over="split")]))
@settings(max_examples=60, deadline=None)
def test_the_engine_is_the_trace_in_integers_and_within_bounds_in_floats(mix, how, limits):
    """Each layer that is named is what was asked for; vectors prove themselves; the file gives the model back."""
    model, keep = mix
    small = mixed(model, keep, test_vectors=4, **how)
    expected = {layer.name: keep.get(layer.name, "int8") for layer in small.layers if not isinstance(layer, Stage)}
    assert {name: layer.precision for name, layer in by_name(small).items() if name in expected} == expected
    assert selftest(small, limits).ok
    assert selftest(small).exact == all(isinstance(layer, QuantizedDense) for layer in small.layers)
    assert save_bytes(load_bytes(save_bytes(small))) == save_bytes(small)


@given(mixes(("float32", "float16", "int8")))
@settings(max_examples=20, deadline=None)
def test_devices_are_estimated_by_the_arithmetic_of_each_layer(mix):
    """Every device says how long it takes, and what it needs."""
    small = mixed(*mix)
    for device in devices():
        assert estimate(small, device).latency_s > 0


@given(
    st.one_of(
        st.tuples(mixes(), st.just("integer")),
        st.tuples(mixes(("float32", "float16", "int8", "int4")), st.sampled_from(["qgemm", "qdq"])),
    ),
    REMEDIES,
)
@settings(max_examples=40, deadline=None)
def test_onnx_is_the_model_at_every_level(given, how):
    """By the rules of verify: of each integer layer the bits for what entered it, of each float layer its bound."""
    mix, form = given
    small = mixed(*mix, **how)
    rows = random_rows(60, small.n_in, 3)
    report = verify_content(small, to_onnx(small, form).SerializeToString(), "mixed.onnx", rows, levels=LEVELS)
    assert report.ok, (report.first_diverging_layer, mix, how)
    if form == "integer":
        integers = [layer.name for layer in small.layers if isinstance(layer, QuantizedDense)]
        exact = {check.tensor for check in report.checks if check.rule == "same bits"}
        assert {f"{name}.accumulator" for name in integers} <= exact


@given(mixes(), st.booleans(), st.sampled_from(["nearest", "compensated"]))
@settings(max_examples=30, deadline=None)
def test_remedies_for_the_others_leave_a_float_layer_as_it_is(mix, bias_correction, rounding):
    """Bias correction and compensated rounding change integer layers alone: floats keep every bit of their weights."""
    model, keep = mix
    small = by_name(mixed(model, keep, bias_correction=bias_correction, rounding=rounding))
    for name, precision in keep.items():
        if precision in FLOATS:
            source = by_name(model)[name]
            np.testing.assert_array_equal(small[name].weight, source.weight.astype(precision))
            np.testing.assert_array_equal(small[name].bias, source.bias)


@given(mixes(("float32",)))
@settings(max_examples=30, deadline=None)
def test_equalization_leaves_the_float_function_as_it_is_through_a_kept_layer(mix):
    """Up to float32's rounding of products and sums; a layer that is kept is scaled with its neighbours."""
    model, keep = mix
    rows = random_rows(80, model.n_in)
    equalized = equalize(model, rows)
    expected = Engine(model).run(rows)
    np.testing.assert_allclose(Engine(equalized).run(rows), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    kept = by_name(mixed(model, keep, rows, equalization=True))
    for name in keep:
        np.testing.assert_array_equal(kept[name].weight, by_name(equalized)[name].weight)


def test_each_layer_is_judged_on_what_really_enters_it():
    """A float layer between grids gives its own floats, and the grid behind it takes them as they come."""
    small = mixed(MODEL, {"dense1": "float32"}, ROWS)
    tensors = trace(small, ROWS)
    middle = trace_layer(small.layers[1], tensors["dense0.output"])
    np.testing.assert_array_equal(middle["dense1.output"], tensors["dense1.output"])
    assert tensors["dense0.output"].dtype == tensors["dense1.output"].dtype == np.float32
    assert "dense2.quantized_input" in tensors


def test_precisions_without_grids_keep_layers_in_floats():
    """float16 with a layer in float32, and int8-dynamic with either; the metadata say so."""
    half = quantize(MODEL, precision="float16", keep={"dense1": "float32", "dense2": "float16"})
    assert [layer.precision for layer in half.layers] == ["float16", "float32", "float16"]
    assert half.metadata["kept_layers"] == "dense1 float32"
    dynamic = quantize(MODEL, precision="int8-dynamic", keep={"dense0": "float16", "dense1": "float32"})
    assert [layer.precision for layer in dynamic.layers] == ["float16", "float32", "int8-dynamic"]
    again = quantize(half, ROWS)
    assert again.precision == "int8"
    assert "kept_layers" not in again.metadata


def test_a_layer_that_is_kept_in_the_precision_of_all_is_none_that_is_kept():
    """The same model, of the same bytes, as if it had not been named."""
    named = quantize(MODEL, ROWS, keep={"dense0": "int8", "dense1": "int8", "dense2": "int8"})
    assert save_bytes(named) == save_bytes(quantize(MODEL, ROWS))


@pytest.mark.parametrize(
    ("keep", "precision", "text"),
    [
        ({"dense9": "float16"}, "int8", "keep names 'dense9', expected a layer of this network: one of 'dense0', "
         "'dense1', 'dense2'"),
        ({7: "float16"}, "int8", "keep names 7, expected a layer of this network: one of 'dense0', 'dense1', 'dense2'"),
        ({"stage0": "float16"}, "int8", "keep names 'stage0', a stage without weights, which is computed in floats in "
         "every precision; expected one of 'dense0', 'dense1', 'dense2'"),
        ({f"dense{at}": "float16" for at in range(3)}, "int8", "keep names every layer with weights ('dense0', "
         "'dense1', 'dense2'), and none is left for int8; leave one out, or take another precision"),
        ({"dense1": "int8"}, "float16", "keep['dense1'] is 'int8' in precision float16, which looks at no calibration "
         "rows, expected one of float32, float16; for integers among floats take precision int8 and keep the other "
         "layers"),
        ({"dense1": "int8-dynamic"}, "int8", "keep['dense1'] is 'int8-dynamic', expected one of float32, float16, "
         "int8, int4, int8-a16"),
        ({"dense1": "float16"}, "float32", "keep names 'dense1' in precision float32, in which every layer stays as it "
         "is; leave keep out, or take a precision that makes weights smaller"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_words(keep, precision, text):
    """Names that there are not, stages, every layer at once, and precisions that do not go together."""
    with pytest.raises(QuantizationError) as error:
        quantize(STAGED, ROWS, precision, keep=keep)
    assert str(error.value) == text


def test_doubts_name_the_layer_of_a_mixed_model():
    """Decibels behind each layer, floats too; a grid behind a float layer is looked at as any other."""
    small = mixed(MODEL, {"dense1": "float16"}, ROWS)
    assert min(by_layer(MODEL, small, ROWS).values()) > 25
    assert fidelity_doubts(MODEL, small, ROWS, measure_fidelity(MODEL, small, ROWS)) == []
    assert calibration_doubts(ROWS, ROWS, small, MODEL) == []
    last = small.layers[2]
    squeezed = replace(last, input=replace(last.input, scale=last.input.scale / 8))
    (text,) = calibration_doubts(ROWS, ROWS, replace(small, layers=(*small.layers[:2], squeezed)), MODEL)
    assert "of the outputs of layer 'dense1' on held-out rows lie outside its calibrated range" in text


def test_floats_alone_are_held_to_what_floats_can_do():
    """A network of float16 and float32 layers is expected to have 40 dB, of however it was scaled to fit."""
    first, second, last = MODEL.layers
    small = quantize(MODEL, precision="float16", keep={"dense2": "float32"})
    coarse = replace(small, layers=(replace(first, weight=np.round(first.weight, 1)), *small.layers[1:]))
    (text,) = fidelity_doubts(MODEL, coarse, ROWS, measure_fidelity(MODEL, coarse, ROWS))
    assert "expected at least 40" in text
    tiny = replace(MODEL, layers=(first, replace(second, weight=second.weight * np.float32(1e-6)), last))
    scaled = quantize(tiny, precision="float16", keep={"dense2": "float32"})
    assert min(by_layer(tiny, scaled, ROWS).values()) > 40


def by_name(model):
    return {layer.name: layer for layer in model.layers}
