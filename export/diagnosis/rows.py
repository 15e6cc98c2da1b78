"""The rows of a diagnosis: checked, cut in two if need be, bounded in number, and finite in the float network."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.inputs import as_inputs
from edge_runtime.model import Model
from edge_runtime.numerics import require_finite
from edge_runtime.reference import trace
from export.quantization import checked_labels, float_model, rows_that_fit, spread_places

FEWEST_TO_CUT = 20  # rows, of which a fifth is kept to judge on


class Overflow(NamedTuple):
    """Where float32 ends: the first layer that gives NaN or inf, on so many of so many rows."""

    layer: str
    rows: int
    of: int


class GivenRows(NamedTuple):
    """calibration: to quantize with. judged: to look at, with their labels or None. overflow: what was left out.

    of: how many rows there are to judge on; where memory holds fewer they are spread evenly over all. shared: how many
    of those to look at calibrate too.
    """

    calibration: NDArray[np.float32]
    judged: NDArray[np.float32]
    labels: NDArray[Any] | None
    overflow: Overflow | None
    of: int
    shared: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of them."""
        if 2 * self.shared <= len(self.judged):  # a few that are alike are no fault
            return ()
        return (
            f"{self.shared:,} of the {len(self.judged):,} rows that judge calibrate too: what is made of them may be "
            "worse on other rows than it is here; give --calibrate other rows",
        )


def rows_for(model: Model, rows: Any, labels: Any, calibration: Any) -> GivenRows:
    """See `export.diagnose`. Raises InputError for rows or labels that are not the model's."""
    judged = rows_of_model(model, rows, "rows")
    known = checked_labels(model, labels, len(judged))
    if calibration is None:
        apart = np.arange(len(judged)) % 5 == 2 if len(judged) >= FEWEST_TO_CUT else np.ones(len(judged), bool)
        calibrated = judged[~apart] if not apart.all() else judged
        judged, known = judged[apart], None if known is None else known[apart]
    else:
        calibrated = rows_of_model(model, calibration, "calibration")
    of, few = len(judged), spread_places(len(judged), rows_that_fit(model))
    judged, known = judged[few], None if known is None else known[few]
    if (judged == judged[0]).all():
        raise InputError(_all_the_same(len(judged)))
    network = float_model(model)
    is_finite, overflow = _finite(network, judged)
    kept = np.concatenate([_finite(network, calibrated[at : at + 256])[0] for at in range(0, len(calibrated), 256)])
    if not is_finite.any() or not kept.any():
        found = overflow or _finite(network, calibrated)[1]
        assert found is not None
        raise InputError(
            f"layer '{found.layer}' of the float model gives NaN or inf on all {found.of:,} rows: float32 overflows "
            "there, and nothing can be compared; train it with a lower learning rate, or look at the units of the rows"
        )
    calibrated, judged, known = calibrated[kept], judged[is_finite], None if known is None else known[is_finite]
    return GivenRows(calibrated, judged, known, overflow, of, _shared(judged, calibrated))


def _all_the_same(count: int) -> str:
    """In which nothing can be seen."""
    if count > 1:
        return (
            f"the {count:,} rows to look at are all the same: no output varies, and nothing tells signal from noise; "
            "give some hundreds of different ones"
        )
    return (
        "a single row is looked at, in which no output varies, so that nothing tells signal from noise; give some "
        "hundreds of rows, of which a fifth or so is held out to look at, or let all of them judge with --all-rows"
    )


def _shared(judged: NDArray[np.float32], calibrated: NDArray[np.float32]) -> int:
    """How many of the judged rows are among those that calibrate."""
    bits = [row.tobytes() for row in judged]
    wanted = set(bits)
    found = {one for row in calibrated if (one := row.tobytes()) in wanted}  # those that calibrate may be many
    return sum(one in found for one in bits)


def rows_of_model(model: Model, rows: Any, what: str) -> NDArray[np.float32]:
    """Rows as float32 (n, n_in), at least one, all finite. Raises InputError for others."""
    found = as_inputs(model, rows, what)
    if found.ndim != 2 or found.shape[1] != model.n_in or not len(found):
        raise InputError(f"{what} have shape {found.shape}, expected (n, {model.n_in}), at least one row")
    require_finite(found, what)
    return found.astype(np.float32)


def _finite(network: Model, rows: NDArray[np.float32]) -> tuple[NDArray[np.bool_], Overflow | None]:
    """Which rows stay finite in all tensors, (n,), and the first layer at which some do not."""
    kept, first = np.ones(len(rows), bool), ""
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = trace(network, rows)
    for layer in network.layers:
        kept &= np.isfinite(tensors[f"{layer.name}.preactivation"]).all(axis=1)
        kept &= np.isfinite(tensors[f"{layer.name}.output"]).all(axis=1)
        first = first or ("" if kept.all() else layer.name)
    return kept, Overflow(first, int(np.sum(~kept)), len(rows)) if first else None
