"""Storing calibration ranges in a float model: what `smallnet train` does with its training rows."""

from __future__ import annotations

import warnings
from dataclasses import replace

from edge_runtime.model import Model, as_model
from export.quantization.calibration import CalibrationRows
from export.quantization.quantizer import float_source
from export.quantization.ranges import METHODS
from export.quantization.recipe import QuantizationWarning, Switches
from export.quantization.stored_ranges import RANGES_KEY, StoredRanges
from export.quantization.trials import Trials

_RANGES_ALONE = Switches(equalization=False, bias_correction=False, rounding="nearest")


def with_ranges(model: Model, calibration: CalibrationRows) -> Model:
    """The same float model with the ranges of its tensors on these rows in its metadata: `quantize` needs no rows then.

    model: float32 layers, or a trained network. calibration: as for `quantize`; not an iterator.
    The ranges are those by every method; the rows themselves are not stored. Raises QuantizationError for what cannot
    become int8, and for bad rows, InputError for what is no model.
    """
    model = as_model(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)  # whoever quantizes is told
        trials = Trials(float_source(model), calibration, _RANGES_ALONE)
        recipe, _tried = trials.choose()
    source = trials.source(recipe.equalization)
    source.include_held_out()
    ranges = {
        method: {name: found(histogram) for name, histogram in source.seen.histograms.items()}
        for method, found in METHODS.items()
    }
    stored = StoredRanges(source.seen.rows, recipe.method, ranges)
    return replace(model, metadata={**model.metadata, RANGES_KEY: stored.text(model)})
