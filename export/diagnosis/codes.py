"""What rows do with a grid: how many of its codes they use, how many values it clips, and how far they reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import QuantizedDense
from edge_runtime.numerics import QuantParams
from export.diagnosis.pairs import Pair, SideBySide, passed
from export.quantization import finite, sqnr_db

Ranges: TypeAlias = Mapping[str, tuple[float, float]]  # of a float network's tensors, by name


BEYOND_CALIBRATION = 2.0  # times as far as the calibration rows: the rows are of another kind


@dataclass(frozen=True)
class GridUse:
    """A grid of a layer, and the rows.

    place: "input", "table" (the grid that indexes it) or "output". grid: its ends. rows: the lowest and highest value
    of the float network there. calibration: the same of the calibration rows, if they are known. clipped: the share of
    values beyond the grid by more than a step. clipped_db: signal to noise if the rows suffered nothing but being
    clipped (dB, inf if nothing is). used: codes that occur, of `of`.
    """

    place: str
    grid: tuple[float, float]
    rows: tuple[float, float]
    calibration: tuple[float, float] | None
    clipped: float
    clipped_db: float
    used: int
    of: int

    @property
    def reach(self) -> float:
        """How many times as far as the grid the rows reach, or their share of it."""
        ends = max(abs(self.grid[0]), abs(self.grid[1]))
        return max(abs(self.rows[0]), abs(self.rows[1])) / ends

    @property
    def is_beyond_calibration(self) -> bool:
        """Whether the rows reach twice as far as those of the calibration, if these are known."""
        if self.calibration is None:
            return False
        seen, reached = (max(abs(low), abs(high)) for low, high in (self.calibration, self.rows))
        return reached > BEYOND_CALIBRATION * seen

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        seen = None if self.calibration is None else list(self.calibration)
        ranges = {"grid": list(self.grid), "rows": list(self.rows), "calibration": seen}
        return {**vars(self), **ranges, "clipped_db": finite(self.clipped_db)}


def grids_of(beside: SideBySide, pair: Pair, seen: Ranges) -> tuple[GridUse, ...]:
    """Of the grids that a layer chooses: of its outputs, of its table, and of inputs that come to it as floats."""
    layer, found = pair.small, []
    if not isinstance(layer, QuantizedDense):
        return ()
    if not pair.takes_codes:
        values, name = beside.entering(pair), _entering_name(beside, pair)
        codes = beside.found[f"{layer.name}.quantized_input"]
        found.append(_use("input", layer.input, values, codes, seen.get(name)))
    if layer.table is not None and layer.output is not None:
        name = _indexed(pair)
        codes = beside.found[f"{layer.name}.codes"]
        found.append(_table_use(pair, layer.output, beside.exact[name], codes, seen.get(name)))
    if layer.final_grid is not None:
        name = f"{pair.exact[-1].name}.output"
        codes = beside.found[f"{layer.name}.output"]
        found.append(_use("output", layer.final_grid, beside.exact[name], codes, seen.get(name)))
    return tuple(found)


def _use(
    place: str, grid: QuantParams, values: NDArray[Any], codes: NDArray[Any], seen: tuple[float, float] | None
) -> GridUse:
    """values: exact ones. codes: those of the smaller network there."""
    low, high = (float(end(values)) for end in (np.min, np.max))
    outside = (values < grid.low - grid.scale) | (values > grid.high + grid.scale)
    decibels = sqnr_db(values, np.clip(values, grid.low, grid.high))
    counts = np.bincount(codes.ravel(), minlength=1)
    used, ends = int(np.sum(counts > 0)), (grid.low, grid.high)
    return GridUse(place, ends, (low, high), seen, float(np.mean(outside)), decibels, used, grid.top + 1)


def _table_use(
    pair: Pair, grid: QuantParams, values: NDArray[Any], codes: NDArray[Any], seen: tuple[float, float] | None
) -> GridUse:
    """As `_use`; what clipping costs is judged behind the activation, which may be flat there."""
    plain = _use("table", grid, values, codes, seen)
    clipped = np.clip(values, grid.low, grid.high)
    decibels = sqnr_db(_activated(pair, values), _activated(pair, clipped))
    return GridUse(**{**vars(plain), "clipped_db": decibels})


def _activated(pair: Pair, values: NDArray[Any]) -> NDArray[Any]:
    """What the float layers give from before their first activation on."""
    value = pair.exact[0].activation(values.copy())
    return passed(pair.exact[1:], value, to_logits=False) if len(pair.exact) > 1 else value


def _indexed(pair: Pair) -> str:
    """The float tensor on whose grid the table is indexed. Behind a ReLU that a stage follows, the ReLU's output."""
    first = pair.exact[0]
    is_relu = len(pair.exact) > 1 and first.activation.name == "relu"
    return f"{first.name}.{'output' if is_relu else 'preactivation'}"


def _entering_name(beside: SideBySide, pair: Pair) -> str:
    place = beside.source.layers.index(pair.exact[0])
    return "input" if place == 0 else f"{beside.source.layers[place - 1].name}.output"
