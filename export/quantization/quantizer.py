"""A float32 model becomes a float16 or an int8 one. The arithmetic is that of `edge_runtime.numerics.quantization`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_runtime.arguments import QUANTIZATION_CHECKS
from edge_runtime.errors import ModelError, QuantizationError
from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer
from edge_runtime.model import Model, as_model
from edge_runtime.numerics import WEIGHT_MAX, flushed, quantize_symmetric
from edge_runtime.version import made_with
from export.quantization.calibration import CalibrationRows, sampled, widened
from export.quantization.float16 import scale_for_float16, to_float16
from export.quantization.int8_layers import to_int8
from export.quantization.kept import checked_keep, kept_note, without_note
from export.quantization.recipe import INTEGERS, QuantizationWarning, Recipe, Switches
from export.quantization.stored_ranges import HeldRanges, StoredRanges, without_ranges
from export.quantization.test_rows import DEFAULT_ROWS, with_test_vectors
from export.quantization.trials import OnWay, Trials, ladder
from export.quantization.units import FloatLayer

OnChoice: TypeAlias = Callable[[dict[str, float]], None] | None

FEWEST_ROWS = 16  # with fewer, the ranges that a grid needs are a guess
PRECISIONS = ("float32", "float16", "int8", "int8-a16", "int8-dynamic", "int4")
_TINY = float(np.finfo(np.float32).tiny)


class Quantized(NamedTuple):
    """source: the float32 network with the units of `model`, the smaller one. rows: some of those of calibration."""

    source: Model
    model: Model
    rows: NDArray[np.float32] | None = None


def quantize(
    model: Model,
    calibration: CalibrationRows | None = None,
    precision: str = "int8",
    method: str = "auto",
    *,
    equalization: bool | None = None,
    bias_correction: bool | None = None,
    rounding: str | None = None,
    per_channel: bool = True,
    keep: Mapping[str, str] | None = None,
    test_vectors: int = DEFAULT_ROWS,
    on_choice: Callable[[dict[str, float]], None] | None = None,
) -> Model:
    """The same network with smaller weights.

    model: float32 layers; or a trained network, whose `to_model` gives them.
    calibration: an array (n, n_in), a frame or batches of rows as a user would feed them, needed for int8, int8-a16 and
    int4, but for a model that holds the ranges of its training rows (`export.with_ranges`, `smallnet train`): then they
    may be left out, and with them what looks at rows: equalization, bias correction and compensated rounding.
    precision: "float32"; "float16", weights stored as halves, arithmetic in float32 (layers that a half cannot hold are
    moved by powers of two, see `export.quantization.float16`); "int8", static; "int8-a16", static, weights of 8 bits on
    inputs of 9 to 16; "int4", static, weights of 4 bits on inputs of 8; "int8-dynamic", no calibration: each layer's
    input is quantized by the batch it is in, so that a row's answer depends on the rows around it.
    test_vectors: how many of the calibration rows (without any: of the rows that `model` holds) are stored with the new
    model's outputs, for `selftest`.

    For the static precisions alone:
    method: how ranges are chosen, a key of `export.quantization.ranges.METHODS`; "auto" tries each, and takes the one
    whose outputs are closest to the float network's on held-out calibration rows.
    equalization: bring the ranges of hidden units together first, or of weights (`export.quantization.equalization`).
    bias_correction: biases with which each unit's mean is that of the float network, over the calibration rows.
    rounding: "nearest", or "compensated", which keeps a layer's outputs in place (`export.quantization.rounding`) and
    looks for the scales of 4-bit weights (`export.quantization.scale_search`).
    These three are tried with the method "auto" and taken if they help on the held-out rows; with a method that is
    named they are off. True, False and a rounding that is named hold in either case.
    on_choice: told what was tried, in words, with its signal to noise (dB).

    per_channel: of int8-dynamic too: one weight scale per output channel instead of one per layer.
    keep: precisions by the names of layers, for those that differ from the rest: "float32" or "float16" beside any
    precision but float32; "int8" or "int4" beside another static one. What is done to the others leaves the weights of
    a layer in floats as they are, up to their rounding to float16 and the factors of equalization.

    In every precision, weights below float32's normal range become 0, and the metadata say how many (see
    `edge_runtime.numerics.subnormals`). What was chosen, and the versions that did it, are noted in the metadata.
    Raises QuantizationError where the result could not be exact: a bias or an accumulator that leaves int32, a scale or
    multiplier below float32's normal range, a weight beyond float16's range, bad calibration rows, or layers to keep
    that there are not; InputError for what is no model. A QuantizationWarning says what works and needs a look: fewer
    than 16 calibration rows, a tensor that is 0 on all of them, weights that become 0 in float16 where that harms the
    layer.
    """
    switches = Switches(method, equalization, bias_correction, rounding, per_channel, keep=keep or {})
    return quantize_beside(model, calibration, precision, switches, test_vectors, on_choice).model


def quantize_beside(
    model: Model,
    calibration: CalibrationRows | None,
    precision: str,
    switches: Switches,
    test_vectors: int = DEFAULT_ROWS,
    on_choice: OnChoice = None,
    on_way: OnWay = None,
) -> Quantized:
    """`quantize`, with the float network that the result is to be compared with, layer by layer."""
    model = as_model(model)
    _check_arguments(precision, test_vectors)
    QUANTIZATION_CHECKS.function("on_choice", on_choice, "a function of a dictionary")
    held, source = model.test_vectors, float_source(model)
    switches = replace(switches, precision=precision, keep=checked_keep(model, precision, switches.keep))
    if precision in INTEGERS and calibration is not None:
        found = _by_calibration(source, calibration, switches, on_choice, on_way)
    elif precision in INTEGERS:
        found = _by_stored_ranges(source, _stored(model, precision), switches)
    else:
        found = Quantized(source, without_grids(source, switches))
    rows = found.rows
    if rows is None and calibration is not None and test_vectors:
        rows = sampled(model, calibration)
    if rows is None and held is not None:
        rows = held.inputs
    return found if rows is None else found._replace(model=with_test_vectors(found.model, rows, test_vectors))


def float_source(model: Model) -> Model:
    """The network in float32, without test vectors, its subnormal weights set to 0 and counted in the metadata."""
    layers = [widened(layer) for layer in model.layers]
    count = sum(layer.subnormals for layer in layers if isinstance(layer, Dense))
    noted = {"subnormal_weights_set_to_0": str(count)} if count else {}
    return replace(
        model,
        layers=tuple(map(_without_subnormals, layers)),
        metadata={**without_ranges(without_note(model.metadata)), **noted, **made_with()},
        test_vectors=None,
    )


def without_grids(model: Model, switches: Switches) -> Model:
    """The network in a precision that needs no calibration rows."""
    if switches.precision == "float16":
        model = scale_for_float16(model)
    change: dict[str, Callable[[Dense], Layer]] = {
        "float32": lambda layer: layer,
        "float16": to_float16,
        "int8-dynamic": partial(_to_dynamic, per_channel=switches.per_channel),
    }
    layers = [
        change[switches.keep.get(layer.name, switches.precision)](layer) if isinstance(layer, Dense) else layer
        for layer in map(widened, model.layers)
    ]
    return replace(model, layers=tuple(layers), metadata={**model.metadata, **kept_note(switches.keep)})


def _by_calibration(
    model: Model, calibration: CalibrationRows, switches: Switches, on_choice: OnChoice, on_way: OnWay
) -> Quantized:
    """The network in integers, on the grids that the rows ask for, beside the float one with its units."""
    trials = Trials(model, calibration, switches)
    recipe, tried = trials.choose(on_way)
    if tried and on_choice is not None:
        on_choice(tried)
    return calibrated(trials, recipe, tried)


def _stored(model: Model, precision: str) -> StoredRanges:
    stored = StoredRanges.of(model)
    if stored is None:
        raise QuantizationError(
            f"{precision} needs calibration rows: some hundreds of real inputs. The model holds no ranges of such "
            "either, as those of 'smallnet train' do; float16 and int8-dynamic need none"
        )
    return stored


def _by_stored_ranges(model: Model, stored: StoredRanges, switches: Switches) -> Quantized:
    """The network in integers, on grids whose ranges the model holds."""
    for name, wanted in (
        ("equalization", switches.equalization),
        ("bias_correction", switches.bias_correction),
        ("rounding", switches.rounding == "compensated"),
    ):
        if wanted:
            raise QuantizationError(
                f"{name} looks at calibration rows, found the ranges alone that the model holds; give rows, or leave "
                "it out"
            )
    method = stored.method if switches.is_open else switches.method
    keep = tuple(sorted(switches.keep.items()))
    recipe = Recipe(method, per_channel=switches.per_channel, precision=switches.precision, keep=keep)
    layers = to_int8(tuple(map(widened, model.layers)), HeldRanges(stored, method), recipe)
    notes = {"calibration": f"{method}, stored ranges of {stored.rows} rows", **kept_note(switches.keep)}
    return Quantized(model, replace(model, layers=layers, metadata={**model.metadata, **notes}))


def calibrated(trials: Trials, recipe: Recipe, tried: dict[str, float]) -> Quantized:
    """The network as the recipe makes it of all calibration rows. tried: what the recipe was chosen of."""
    source = trials.source(recipe.equalization)
    source.include_held_out()
    if source.seen.rows < FEWEST_ROWS:
        _warn_of_few(source.seen.rows)
    notes = _notes(recipe, tried, source.seen.rows)
    small = replace(source.int8(recipe), metadata={**source.model.metadata, **notes})
    return Quantized(source.model, small, source.seen.sample)


def _notes(recipe: Recipe, tried: dict[str, float], rows: int) -> dict[str, str]:
    """How it was done, for the metadata."""
    reached = {"calibration_ladder": ladder(recipe, tried)} if tried else {}
    return {"calibration": f"{recipe}, {rows} rows", **kept_note(dict(recipe.keep)), **reached}


def longest_notes() -> dict[str, str]:
    """The longest that the metadata of an int8 model say of how it was made: for what a file may need."""
    taken = Recipe("percentile", True, True, "compensated")
    steps = (Recipe(), Recipe("percentile", True), replace(taken, rounding="nearest"), taken)
    return _notes(taken, {str(step): 99.9 for step in steps}, 1_000_000)


def _warn_of_few(count: int) -> None:
    rows = "row" if count == 1 else "rows"
    warnings.warn(
        f"calibrated on {count} {rows}, expected at least {FEWEST_ROWS}, better some hundreds: other inputs may be "
        "clipped",
        QuantizationWarning,
        stacklevel=6,
    )


def _without_subnormals(layer: FloatLayer) -> FloatLayer:
    is_changed = isinstance(layer, Dense) and layer.subnormals
    return replace(layer, weight=flushed(layer.weight)) if isinstance(layer, Dense) and is_changed else layer


def check_test_vectors(test_vectors: int) -> None:
    """Raise QuantizationError for what is no number of rows."""
    if not isinstance(test_vectors, (int, np.integer)) or isinstance(test_vectors, bool) or test_vectors < 0:
        raise QUANTIZATION_CHECKS.refusal("test_vectors", test_vectors, "how many rows to store, 0 for none")


def _check_arguments(precision: str, test_vectors: int) -> None:
    check_test_vectors(test_vectors)
    QUANTIZATION_CHECKS.choice("precision", precision, PRECISIONS)


def _to_dynamic(layer: Dense, per_channel: bool) -> DynamicQuantizedDense:
    largest = np.abs(layer.weight.astype(np.float64)).max(axis=0 if per_channel else None, keepdims=True)
    scale = np.broadcast_to(largest / WEIGHT_MAX, (1, layer.n_out))[0].astype(np.float32)
    scale = np.where(scale == 0, np.float32(1), np.maximum(scale, np.float32(_TINY)))  # dead units fade below it
    weight = quantize_symmetric(layer.weight.astype(np.float64), scale.astype(np.float64)).astype(np.int8)
    try:
        return DynamicQuantizedDense(layer.name, weight, layer.bias, scale, layer.activation)
    except ModelError as error:
        raise QuantizationError(str(error)) from error
