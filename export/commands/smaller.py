"""What an export would need if a model does not fit its budget: each is made, and planned."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_runtime.artifact import artifact_bytes
from edge_runtime.engine import Limits, held_bytes, smallest_plan
from edge_runtime.errors import Alternative, BudgetExceeded, QuantizationError
from edge_runtime.layers import Dense, Stage
from edge_runtime.model import Model
from export.quantization import DEFAULT_ROWS, longest_notes, quantize, with_test_vectors

_CALIBRATED = ("int8", "int4")
# Their needs are rounded up to it: other calibration rows write other grids, and another way to them, into the header
_STEP = 512


def smaller_exports(error: BudgetExceeded) -> list[Alternative]:
    """Exports of the refused model that need less, in the words that make them; none of a model that is int8 already.

    Grids are those of the stored test vectors, or of random rows: with others it needs as much, but for a header
    whose numbers are written longer or shorter.
    """
    model, limits = error.model, error.limits
    if model is None or not all(isinstance(layer, (Dense, Stage)) for layer in model.layers):
        return []
    rows, count = _rows(model), 0 if model.test_vectors is None else len(model.test_vectors.inputs)
    found = []
    for precision, small in _made(model, rows):
        for vectors in sorted({count, 0} - ({count} if precision == model.precision else set()), reverse=True):
            whole = with_test_vectors(small, rows, vectors)
            found += [_rounded(option, precision) for option in _options(whole, precision, vectors, model, limits)]
    return found


def _made(model: Model, rows: NDArray[np.float32]) -> Iterator[tuple[str, Model]]:
    """The model's own precision, and those below it that it can be had in."""
    layers = (
        replace(layer, weight=layer.weight.astype(np.float32)) if isinstance(layer, Dense) else layer
        for layer in model.layers
    )
    wide = replace(model, layers=tuple(layers), test_vectors=None)
    for precision in _precisions(model):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                small = quantize(wide, rows, precision, "minmax", test_vectors=0)
            except QuantizationError:  # weights or sums that it cannot hold
                continue
        notes = longest_notes() if precision in _CALIBRATED else {}
        yield precision, replace(small, metadata={**small.metadata, **notes})


def _precisions(model: Model) -> tuple[str, ...]:
    return (*(("float32",) if model.precision == "float32" else ()), "float16", *_CALIBRATED)


def _options(small: Model, precision: str, vectors: int, model: Model, limits: Limits) -> Iterator[Alternative]:
    words = f"export --precision {precision}"
    words += " --calibrate DATA" if precision in _CALIBRATED else ""
    words += f" --test-vectors {vectors}" if vectors != DEFAULT_ROWS else ""
    if limits.flash_bytes is not None and artifact_bytes(model) > limits.flash_bytes:
        yield Alternative(words, artifact_bytes(small))
        return
    beside = smallest_plan(small, limits).total_bytes - held_bytes(small).allocated
    if held_bytes(model).allocated:
        yield Alternative(words, beside + artifact_bytes(small))
    yield Alternative(f"{words}, then --mmap", beside)


def _rounded(option: Alternative, precision: str) -> Alternative:
    need = option.need_bytes if precision not in _CALIBRATED else -(-option.need_bytes // _STEP) * _STEP
    return option._replace(need_bytes=need)


def _rows(model: Model) -> NDArray[np.float32]:
    if model.test_vectors is not None:
        return model.test_vectors.inputs
    rows = np.random.default_rng(0).normal(size=(64, model.n_in)).astype(np.float32)
    if model.preprocessing is None:
        return rows
    return model.preprocessing.inverse(rows).astype(np.float32)
