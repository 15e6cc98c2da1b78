"""What is wrong with a layer in itself, in plain words: outliers, ranges that do not fit, dead layers, overflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import Dense, DynamicQuantizedDense, QuantizedDense
from export.diagnosis.codes import GridUse
from export.diagnosis.layer_errors import LayerErrors
from export.diagnosis.pairs import Pair, SideBySide
from export.quantization import BEYOND, LARGEST, LEAST_DB, lost_weights

APART = 10.0  # times as large as the next: a weight that is so far from all others stands alone
FEWEST_WEIGHTS = 16  # of a layer in which any may stand alone
MOST_APART = 16  # weights that may stand apart together, and one in 64 of the layer at most
LEAST_CLIPPED_DB = 20.0  # what clipping may leave: less than that is a range that does not fit
LEAST_CLIPPED = 0.005  # of the values: a rare one that lies far beyond all others is clipped on purpose
FEW_CODES, MUCH_TOO_WIDE = 8, 0.1  # codes that rows use of a grid of which they reach so little
SAME = 1e-6  # of the largest value: outputs that move less give the same value for all rows
ALIVE = 0.001  # share of values behind a ReLU that are not 0


@dataclass(frozen=True)
class Finding:
    """What is wrong with a layer. kind: outlier, saturation, resolution, dead, underflow, overflow or nan.

    Or of the "input", and standardization.
    """

    layer: str
    kind: str
    text: str


def findings_of(beside: SideBySide, pair: Pair, original: Dense, errors: LayerErrors) -> list[Finding]:
    """All that is found of one layer. original: as the float model has it, before its units were scaled."""
    found = [
        *(("dead", text) for text in _dead(beside, pair)),
        *(("outlier", text) for text in _outlier(pair, original)),
        *(("saturation", text) for grid in errors.grids for text in _saturation(grid, errors)),
        *(("resolution", text) for grid in errors.grids for text in _resolution(grid, errors)),
        *(("overflow", text) for text in _overflow(pair)),
        *(("underflow", text) for text in _underflow(pair, errors)),
        *(("nan", text) for text in _nan(beside, pair)),
    ]
    return [Finding(pair.name, kind, text) for kind, text in found]


def _dead(beside: SideBySide, pair: Pair) -> Iterator[str]:
    """The float layer gives the same for all rows, although its inputs differ."""
    values, entering = beside.behind(pair), beside.entering(pair)
    if len(values) < 2 or is_constant(entering):
        return
    if is_constant(values):
        what = "0" if not values.any() else "the same values"
        yield f"it is dead in the float model: it gives {what} for all {len(values):,} rows"
    elif pair.exact[0].activation.name == "relu" and len(pair.exact) == 1 and np.mean(values != 0) < ALIVE:
        share = 1 - float(np.mean(values != 0))
        yield f"it is all but dead in the float model: {share:.2%} of its outputs are 0"


def is_constant(values: NDArray[Any]) -> bool:
    """Whether no column moves over the rows, (n, width), by more than rounding."""
    with np.errstate(invalid="ignore"):
        return float(np.ptp(values, axis=0).max()) <= SAME * float(np.abs(values).max())


def _outlier(pair: Pair, original: Dense) -> Iterator[str]:
    """Weights so far above all others that the grid is theirs alone."""
    if not isinstance(pair.small, QuantizedDense | DynamicQuantizedDense):
        return
    sizes = np.abs(original.weight.astype(np.float64))
    count, ratio = apart(sizes)
    if not count:
        return
    row, column = (int(index) for index in np.unravel_index(int(sizes.argmax()), sizes.shape))
    rounded = pair.small.weight[:, column] == 0
    lost = int(np.sum(rounded & (original.weight[:, column] != 0)))
    also = f" ({count} such weights in all)" if count > 1 else ""
    yield (
        f"weight [{row}, {column}] is {original.weight[row, column]:.4g}, {ratio:,.0f} times the next largest{also}, "
        f"and takes the grid: {lost:,} of the {len(rounded) - 1:,} other weights of output {column} become 0"
    )


def apart(sizes: NDArray[np.float64]) -> tuple[int, float]:
    """How many of the largest magnitudes stand apart, and how many times the next largest the last of them is."""
    most = min(MOST_APART, max(1, sizes.size // 64))
    if sizes.size < FEWEST_WEIGHTS:
        return 0, 1.0
    top = np.sort(np.partition(sizes.ravel(), sizes.size - most - 1)[-most - 1 :])[::-1]
    ratios = np.divide(top[:-1], top[1:], out=np.ones(most), where=top[1:] > 0)
    place = int(ratios.argmax())
    return (place + 1, float(ratios[place])) if ratios[place] >= APART else (0, 1.0)


def saturates(grid: GridUse, errors: LayerErrors) -> bool:
    """Whether what a grid of a layer clips is missed: more than rare values, by the sum of squares, and behind it."""
    is_felt = min(errors.here_db, errors.alone.judged_db) < LEAST_CLIPPED_DB
    return grid.clipped >= LEAST_CLIPPED and grid.clipped_db < LEAST_CLIPPED_DB and is_felt


def _saturation(grid: GridUse, errors: LayerErrors) -> Iterator[str]:
    """Rows reach so far beyond a grid that what is clipped is missed."""
    if not saturates(grid, errors):
        return
    what = {"input": "its inputs", "table": "its values before the activation", "output": "its outputs"}[grid.place]
    seen = ""
    if grid.calibration is not None:
        seen = f" (calibration saw {_span(grid.calibration)})"
    yield (
        f"its range saturates: {what} reach {_span(grid.rows)}, the grid holds {_span(grid.grid)}{seen}, so "
        f"{grid.clipped:.1%} of the values are clipped"
    )


def _resolution(grid: GridUse, errors: LayerErrors) -> Iterator[str]:
    """Rows use next to nothing of a grid that is much too wide for them, and that is felt."""
    if grid.used > FEW_CODES or grid.reach > MUCH_TOO_WIDE or errors.here_db >= LEAST_CLIPPED_DB:
        return
    codes = "code" if grid.used == 1 else "codes"
    what = {"input": "inputs", "table": "values before the activation", "output": "outputs"}[grid.place]
    yield (
        f"it uses {grid.used} {codes} of {grid.of:,} for its {what}: the grid holds {_span(grid.grid)}, the rows reach "
        f"{_span(grid.rows)} alone"
    )


def _overflow(pair: Pair) -> Iterator[str]:
    """Weights that a half takes as inf."""
    exact = pair.exact[0]
    if isinstance(exact, Dense) and pair.small.precision == "float16" and np.abs(exact.weight).max() >= BEYOND:
        count, largest = int(np.sum(np.abs(exact.weight) >= BEYOND)), float(np.abs(exact.weight).max())
        yield f"float16 overflows: {count:,} weights are beyond its largest number {LARGEST:.0f}, up to {largest:.4g}"


def _underflow(pair: Pair, errors: LayerErrors) -> Iterator[str]:
    """Weights that a half takes as 0, where the layer misses them: such as decayed to nothing are none."""
    exact = pair.exact[0]
    if not isinstance(exact, Dense) or pair.small.precision != "float16" or np.abs(exact.weight).max() >= BEYOND:
        return
    if (count := lost_weights(exact)) and errors.here_db < LEAST_DB["float16"]:
        yield (
            f"float16 underflows: {count:,} of {exact.weight.size:,} weights become 0, below its smallest number 6e-8, "
            "and no power of two saves them"
        )


def _nan(beside: SideBySide, pair: Pair) -> Iterator[str]:
    """Numbers in the float network that are none in the smaller one."""
    exact, found = beside.behind(pair), pair.real(beside.found)
    rows = int(np.sum(np.isfinite(exact).all(axis=1) & ~np.isfinite(found).all(axis=1)))
    if rows:
        yield f"it gives NaN or inf on {rows:,} of {len(exact):,} rows, on which the float layer gives numbers"


def _span(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4g}..{ends[1]:.4g}"
