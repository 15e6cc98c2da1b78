"""Are the inputs those that a model was calibrated for? Pixels of 0-255 fed to a model of 0-1 give a wrong answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.layers import Elementwise, LayerNorm, QuantizedDense, Stage
from edge_runtime.model import Model
from edge_runtime.numerics import QuantParams
from edge_runtime.reference.trace import trace_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

WARN_ABOVE = 0.05  # share of clipped values from which the inputs are doubtful; real data clips one in a thousand


def clipped_share(model: Model, x: NDArray[Any]) -> float:
    """The share of input values that an int8 model's first grid clips by more than a step. x: (n, n_in), not empty.

    They are judged behind the stages before that grid. 0.0 for a model whose first weights are not int8, and for no
    rows.
    """
    stages, grid = _first_grid(model)
    if grid is None or x.size == 0:
        return 0.0
    rows = np.asarray(x, np.float32)
    values = rows if model.preprocessing is None else model.preprocessing(rows)
    with np.errstate(over="ignore", invalid="ignore"):
        for stage in stages:
            values = trace_layer(stage, values)[f"{stage.name}.output"]
    outside = (values < grid.low - grid.scale) | (values > grid.high + grid.scale)
    return float(np.mean(outside))


def range_warning(model: Model, x: NDArray[Any]) -> str | None:
    """One line where many inputs lie outside of the calibrated range, with their share; None where few do."""
    share = clipped_share(model, x)
    stages, grid = _first_grid(model)
    if share <= WARN_ABOVE or grid is None:
        return None
    low, high, unit = grid.low, grid.high, ""
    if stages:
        unit = f"after '{stages[-1].name}' "
    elif model.preprocessing is not None and model.preprocessing.mean.size == 1:
        low, high = model.preprocessing.inverse(np.array([low, high])).tolist()
    elif model.preprocessing is not None:
        unit = "after standardization "
    return (
        f"{share:.1%} of the input values are clipped: {unit}they lie outside {low:.4g}..{high:.4g}, the range "
        "that the model was calibrated for; feed raw values as in the training data"
    )


def _first_grid(model: Model) -> tuple[list[Elementwise | LayerNorm], QuantParams | None]:
    """The stages at the start of a model, and the grid of the int8 layer behind them; None where there is none."""
    stages: list[Elementwise | LayerNorm] = []
    for layer in model.layers:
        if not isinstance(layer, Stage):
            return stages, layer.input if isinstance(layer, QuantizedDense) else None
        stages.append(layer)
    return stages, None
