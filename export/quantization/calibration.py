"""Calibration: which values occur at each place of a network, over rows that stand for what a device will see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.arguments import shown
from edge_runtime.errors import CalibrationError, InputError, QuantizationError
from edge_runtime.inputs import as_inputs
from edge_runtime.layers import Dense, Layer, Stage, count_nonfinite
from edge_runtime.model import Model
from edge_runtime.numerics import first_not_finite
from edge_runtime.reference import trace
from export.quantization.histogram import Histogram
from export.quantization.test_rows import Sample
from export.quantization.units import FloatLayer

BLOCK = 256  # rows traced at once: float sums depend on the batch, so the batch is always the same
HELD_OUT_EVERY, HELD_OUT_MOST = 5, 1024  # each fifth row, up to a number that bounds the memory

# rows that go through both networks layer by layer, as many as 64 MiB of values hold in all their tensors
FOLLOWED_LEAST, FOLLOWED_MOST, FOLLOWED_VALUES = 64, 4096, 1 << 24

CalibrationRows = NDArray[Any] | Iterable[NDArray[Any]]


@dataclass(eq=False)
class Calibration:
    """What calibration saw: a histogram by place ("input", "NAME.preactivation", "NAME.output") and rows kept apart.

    held_out: rows that are in no histogram yet, (k, n_in), on which a choice of method can be judged;
    `include_held_out` adds them afterwards. sample: rows of all, of which test vectors are chosen. followed: rows of
    which rounding and bias correction learn, none of those kept apart until these are included. whole: the same of all.
    """

    histograms: dict[str, Histogram]
    held_out: NDArray[np.float32]
    rows: int
    sample: NDArray[np.float32]
    followed: NDArray[np.float32]
    whole: NDArray[np.float32]

    def include_held_out(self, model: Model) -> None:
        """Count the held-out rows too, once a choice has been made on them."""
        for start in range(0, len(self.held_out), BLOCK):
            for name, values in observed(float_model(model), self.held_out[start : start + BLOCK]).items():
                self.histograms[name].add(values)
        self.followed = self.whole


def calibrate(model: Model, rows: CalibrationRows, *, hold_out: bool = False) -> Calibration:
    """Trace calibration rows through the float network, in memory that does not grow with their number.

    rows: an array (n, n_in), or batches (k, n_in) of any sizes, as a user would feed them; the result is the same
    however the rows are cut. hold_out: keep each fifth row apart, up to a thousand. Raises QuantizationError for no
    rows, a wrong width or dtype, and for NaN and inf in a row or in a tensor.
    """
    network = float_model(model)
    histograms: dict[str, Histogram] = {}
    held_out: list[NDArray[np.float32]] = []
    count = kept = 0
    sample, followed, whole = Sample(), Sample(rows_that_fit(network)), Sample(rows_that_fit(network))
    for block in blocks(model, rows):
        sample.add(block)
        apart = np.arange(count, count + len(block)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        apart &= hold_out and kept < HELD_OUT_MOST
        held_out.append(block[apart])
        kept += int(apart.sum())
        followed.add(block[~apart])
        whole.add(block)
        for name, values in observed(network, block).items():
            if not np.isfinite(values).all():
                raise QuantizationError(
                    f"tensor '{name}' becomes NaN or inf on calibration rows {count}..{count + len(block) - 1}; "
                    "the network overflows float32 there: remove these rows or train it with a lower learning rate"
                )
            histograms.setdefault(name, Histogram()).add(values[~apart])
        count += len(block)
    if count == 0:
        raise QuantizationError(
            "the calibration set is empty; give at least one row, better some hundreds of real ones"
        )
    return Calibration(histograms, np.concatenate(held_out), count, sample.rows, followed.rows, whole.rows)


def rows_that_fit(network: Model) -> int:
    """How many rows may be followed through all tensors of the network together, in bounded memory."""
    widths = network.n_in + 2 * sum(layer.n_out for layer in network.layers)
    return max(FOLLOWED_LEAST, min(FOLLOWED_MOST, FOLLOWED_VALUES // widths))


def sampled(model: Model, rows: CalibrationRows) -> NDArray[np.float32]:
    """Some of the rows, spread over all of them. Raises QuantizationError as `calibrate` does for rows."""
    sample = Sample()
    for block in blocks(model, rows):
        sample.add(block)
    return sample.rows


def float_model(model: Model) -> Model:
    """The network in float32, without anything that calibration does not need."""
    return Model(tuple(widened(layer) for layer in model.layers), model.preprocessing)


def observed(network: Model, x: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The float tensors that grids are chosen for: "input", and "NAME.preactivation", "NAME.output" of each layer."""
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = trace(network, x)
    return {"input": tensors.pop("input.standardized", x), **tensors}


def widened(layer: Layer) -> FloatLayer:
    """A float layer in float32. Raises QuantizationError for one in integers already."""
    if isinstance(layer, Stage):
        return layer
    if not isinstance(layer, Dense):
        raise QuantizationError(f"layer '{layer.name}' is {layer.precision} already; start from the float32 model")
    return Dense(layer.name, layer.weight.astype(np.float32), layer.bias, layer.activation)


def blocks(model: Model, rows: CalibrationRows) -> Iterator[NDArray[np.float32]]:
    """The rows again, checked, in blocks of BLOCK; the last may be shorter."""
    waiting: list[NDArray[np.float32]] = []
    size = seen = 0
    for batch in [rows] if _is_one_batch(rows) else _batches(rows):
        checked = _checked(model, _numbers(model, batch), seen)
        seen += len(checked)
        for start in range(0, len(checked), BLOCK):
            piece = checked[start : start + BLOCK]
            waiting.append(piece)
            size += len(piece)
            if size >= BLOCK:
                joined = np.concatenate(waiting)
                yield joined[:BLOCK]
                waiting, size = [joined[BLOCK:]], size - BLOCK
    if size:
        yield np.concatenate(waiting)


def _batches(rows: Any) -> Iterator[Any]:
    """What gives batches one after another. Raises CalibrationError for what gives none, or in no order."""
    try:
        if not isinstance(rows, (str, bytes, Set, Mapping)):
            return iter(rows)
    except TypeError:
        pass
    raise CalibrationError(f"calibration is {shown(rows)}, expected an array of rows, or batches of rows")


def _is_one_batch(rows: Any) -> bool:
    """Whether these are rows, an array of any library or a list of lists, and not batches of rows."""
    if isinstance(rows, (list, tuple)):
        return bool(rows) and _axes(rows[0]) == 1
    return hasattr(rows, "__array__") or hasattr(rows, "toarray")


def _axes(x: Any) -> int:
    """How deep it is nested, without making an array of it."""
    if isinstance(x, (list, tuple)):
        return 1 + (_axes(x[0]) if x else 0)
    return int(getattr(x, "ndim", 0))


def _numbers(model: Model, rows: Any) -> NDArray[Any]:
    try:
        return as_inputs(model, rows, "calibration set")
    except InputError as error:
        raise CalibrationError(str(error)) from error


def _checked(model: Model, x: NDArray[Any], first: int) -> NDArray[np.float32]:
    """A batch as float32 (n, n_in). Raises QuantizationError, naming the first bad row (`first` is the batch's own)."""
    if x.ndim != 2 or x.shape[1] != model.n_in:
        raise CalibrationError(f"calibration rows have shape {x.shape}, expected (n, {model.n_in})")
    with np.errstate(over="ignore"):
        rows = x.astype(np.float32, copy=False)
    bad = first_not_finite(rows, x)
    if bad is not None:
        row, column = bad.place
        raise CalibrationError(
            f"calibration row {first + row}, feature {column} is {bad.found}; {count_nonfinite(rows)} values in all "
            "are NaN, inf or beyond float32's range: remove these rows or fill the values in"
        )
    return rows
