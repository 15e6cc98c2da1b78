"""Ranges in a model's metadata: what is held, what becomes of it without rows, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Engine, LayerNorm, QuantizationError, Standardization
from edge_runtime.artifact import load_bytes, save_bytes
from export import quantize, with_ranges
from export.quantization.fidelity import sqnr_db
from export.quantization.quantizer import PRECISIONS
from export.quantization.ranges import METHODS
from export.quantization.recipe import INTEGERS
from export.quantization.stored_ranges import RANGES_KEY, HeldRanges, StoredRanges
from tests.networks import random_model, random_rows, staged_model

MODEL = random_model([8, 24, 16, 3], ["relu", "tanh", "softmax"], standardize=True)
ROWS, TEST = random_rows(600, 8), random_rows(300, 8, seed=5)
RANGED = with_ranges(MODEL, ROWS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", [MODEL, staged_model([8, 16, 12, 3])], ids=["dense", "stages"])
def test_int8_of_stored_ranges_is_int8_of_the_rows_themselves(model, method):
    """Layer for layer in every bit, by each method: the rows say nothing else there but ranges."""
    by_rows = quantize(model, ROWS, method=method, test_vectors=0)
    by_ranges = quantize(with_ranges(model, ROWS), method=method)
    assert save_bytes(replace(by_ranges, metadata={})) == save_bytes(replace(by_rows, metadata={}))
    assert by_ranges.metadata["calibration"] == f"{method}, stored ranges of 600 rows"
    assert by_ranges.test_vectors is None


@pytest.mark.parametrize("precision", [name for name in INTEGERS if name in PRECISIONS])
def test_every_static_precision_can_be_had_of_them(precision):
    """Mixed ones too; the ranges do not go on to the small model."""
    exact = Engine(MODEL).logits(TEST)
    small = quantize(RANGED, precision=precision)
    assert sqnr_db(exact, Engine(small).logits(TEST)) > {"int4": 10}.get(precision, 25)
    mixed = quantize(RANGED, precision=precision, keep={"dense1": "float16"})
    assert mixed.layers[1].precision == "float16"
    assert mixed.metadata["kept_layers"] == "dense1 float16"
    assert RANGES_KEY not in small.metadata
    assert RANGES_KEY not in quantize(RANGED, precision="float16").metadata


def test_the_best_method_on_rows_kept_apart_is_taken():
    """As by rows without the steps that look at them, up to the rows that were kept apart."""
    stored = StoredRanges.of(RANGED)
    by_rows = quantize(MODEL, ROWS, equalization=False, bias_correction=False, rounding="nearest", test_vectors=0)
    assert by_rows.metadata["calibration"].startswith(stored.method)
    assert save_bytes(replace(quantize(RANGED), metadata={})) == save_bytes(replace(by_rows, metadata={}))


def test_they_go_through_a_file_and_other_changes_that_leave_the_network_as_it_is():
    """Saved, named, with other metadata."""
    for model in (load_bytes(save_bytes(RANGED)), replace(RANGED, class_names=("a", "b", "c")),
                  replace(RANGED, metadata={**RANGED.metadata, "note": "mine"})):  # fmt: skip
        assert StoredRanges.of(model).rows == 600
    assert StoredRanges.of(MODEL) is None


def test_no_row_is_in_them():
    """Two numbers for each tensor and method: where they end."""
    entry = json.loads(RANGED.metadata[RANGES_KEY])
    assert sorted(entry) == ["best", "methods", "network", "ranges", "rows"]
    tensors = {"input", *(f"dense{at}.{name}" for at in range(3) for name in ("preactivation", "output"))}
    assert set(entry["ranges"]) == tensors
    assert {np.shape(pairs) for pairs in entry["ranges"].values()} == {(4, 2)}


def test_grids_of_more_bits_take_the_whole_range_and_room():
    """The methods cut for 8 bits, which with more would cost more than it brings."""
    held = HeldRanges(StoredRanges.of(RANGED), "percentile")
    whole = StoredRanges.of(RANGED).ranges["minmax"]["dense0.output"]
    assert held.of("dense0.output") == StoredRanges.of(RANGED).ranges["percentile"]["dense0.output"]
    assert held.of("dense0.output", 16, has_room=False) == whole
    assert held.of("dense0.output", 16).high == 1.5 * whole.high


def alpha(value):
    return Activation.of("leaky_relu", {"alpha": value})


def changed(**arrays):
    first = RANGED.layers[0]
    return replace(RANGED, layers=(replace(first, **{name: change(first) for name, change in arrays.items()}),
                                   *RANGED.layers[1:]))  # fmt: skip


CHANGES = {
    "a weight": changed(weight=lambda layer: layer.weight + np.float32(1e-7)),
    "a bias": changed(bias=lambda layer: np.nextafter(layer.bias, np.float32(9))),
    "halves": changed(weight=lambda layer: layer.weight.astype(np.float16)),
    "an activation": changed(activation=lambda layer: "leaky_relu"),
    "no standardization": replace(RANGED, preprocessing=None),
    "another": replace(RANGED, preprocessing=Standardization(np.zeros(8, np.float32), np.ones(8, np.float32))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_ranges_of_other_weights_are_refused_in_words(change):
    """With both digests and what to do; calibration rows, and precisions without grids, work as ever."""
    with pytest.raises(QuantizationError) as error:
        quantize(CHANGES[change])
    digest = json.loads(RANGED.metadata[RANGES_KEY])["network"]
    assert f"the calibration ranges that the model holds are those of other weights (digest {digest}" in str(
        error.value
    )
    assert "give calibration rows, or store ranges anew with export.with_ranges(model, rows)" in str(error.value)
    assert quantize(CHANGES[change], ROWS, method="minmax").precision == "int8"
    assert quantize(CHANGES[change], precision="int8-dynamic").precision == "int8-dynamic"


@pytest.mark.parametrize(
    "change",
    [lambda norm: replace(norm, epsilon=100.0), lambda norm: replace(norm, centered=not norm.centered)],
    ids=["epsilon", "centered"],
)
def test_ranges_of_another_normalization_are_refused(change):
    """What is no array decides what the tensors are, too."""
    ranged = with_ranges(staged_model([8, 16, 12, 3]), ROWS)
    layers = tuple(change(layer) if isinstance(layer, LayerNorm) else layer for layer in ranged.layers)
    with pytest.raises(QuantizationError, match="are those of other weights"):
        quantize(replace(ranged, layers=layers))


def test_ranges_of_another_number_of_an_activation_are_refused():
    """In every digit that a float has."""
    first = replace(MODEL.layers[0], activation=alpha(0.1))
    ranged = with_ranges(replace(MODEL, layers=(first, *MODEL.layers[1:])), ROWS)
    for value, is_kept in ((0.1, True), (0.10000004, False)):
        other = replace(ranged, layers=(replace(first, activation=alpha(value)), *ranged.layers[1:]))
        if is_kept:
            assert quantize(other).precision == "int8"
        else:
            with pytest.raises(QuantizationError, match="are those of other weights"):
                quantize(other)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "7", "[]", '{"ranges": 5, "methods": []}', "[" * 100_000,
        RANGED.metadata[RANGES_KEY].replace('"best":"', '"best":"x'),
        RANGED.metadata[RANGES_KEY].replace('"rows":600', '"rows":"many"'),
        RANGED.metadata[RANGES_KEY].replace('"rows":600', '"rows":Infinity'),
        RANGED.metadata[RANGES_KEY].replace('"rows":600', '"rows":-5'),
        RANGED.metadata[RANGES_KEY].replace('"input":[[', f'"input":[[1{"0" * 400},0],['),
        RANGED.metadata[RANGES_KEY].replace('"input"', '"inputs"'),
        RANGED.metadata[RANGES_KEY].replace("]]", ",5]]", 1),
        RANGED.metadata[RANGES_KEY].replace("[[-", "[[", 1),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_words(text):
    """Whatever somebody wrote there; never another error."""
    with pytest.raises(QuantizationError, match="the model's metadata 'calibration_ranges' cannot be read"):
        quantize(replace(RANGED, metadata={RANGES_KEY: text}))


@pytest.mark.parametrize(
    "given",
    [{"equalization": True}, {"bias_correction": True}, {"rounding": "compensated"}],
    ids=lambda given: next(iter(given)),
)
def test_steps_that_look_at_rows_are_refused_without_them(given):
    """In words that name the step; turned off they are nothing."""
    with pytest.raises(QuantizationError) as error:
        quantize(RANGED, **given)
    said = f"{next(iter(given))} looks at calibration rows, found the ranges alone that the model holds; give rows"
    assert said in str(error.value)
    assert quantize(RANGED, equalization=False, bias_correction=False, rounding="nearest").precision == "int8"


def test_a_model_without_any_says_what_to_do():
    """What needs rows, what writes ranges, and what needs neither."""
    with pytest.raises(QuantizationError) as error:
        quantize(MODEL, precision="int4")
    assert str(error.value) == (
        "int4 needs calibration rows: some hundreds of real inputs. The model holds no ranges of such either, as those "
        "of 'smallnet train' do; float16 and int8-dynamic need none"
    )
