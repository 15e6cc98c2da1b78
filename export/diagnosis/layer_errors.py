"""What quantization does to one layer: to its weights, behind it, made in it and brought to it, and to the outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import Dense, WeightedLayer
from export.diagnosis.aligned import real_weight
from export.diagnosis.answers import Answers, Judge
from export.diagnosis.codes import GridUse, Ranges, grids_of
from export.diagnosis.pairs import Pair, SideBySide
from export.diagnosis.won_back import logits_with_float
from export.quantization import FLOATS, finite, sqnr_db, squared_error


@dataclass(frozen=True)
class LayerErrors:
    """Of a layer with weights, on the rows that were looked at; decibels are signal to noise, inf if nothing differs.

    weights_db: of its weights. behind_db, cosine: of the values behind it in the smaller network (of the last layer:
    before its activation); similarity 1 is the same direction. here_db: of the layer in its small form on exact float
    inputs: the error made here. inherited_db: of the float layer on the inputs that the smaller network gives it.
    alone: how the float network answers if this layer alone is small; damage: the error of its logits (`Judge`). kept:
    how the smaller network answers if this layer alone is float32, or float16 (None: it cannot be). grids: what the
    rows do with the grids that this layer chooses.
    """

    name: str
    precision: str
    shape: tuple[int, int]
    weights_db: float
    behind_db: float
    cosine: float
    here_db: float
    inherited_db: float
    damage: float
    alone: Answers
    kept: dict[str, Answers | None]
    grids: tuple[GridUse, ...]

    @property
    def clipped(self) -> float:
        """The largest share that one of its grids clips."""
        return max((grid.clipped for grid in self.grids), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        """As plain data; a figure that is not finite is None."""
        names = ("weights_db", "behind_db", "cosine", "here_db", "inherited_db", "damage")
        return {
            "name": self.name,
            "precision": self.precision,
            "shape": list(self.shape),
            **{name: finite(getattr(self, name)) for name in names},
            "alone": self.alone.as_dict(),
            "kept": {name: None if kept is None else kept.as_dict() for name, kept in self.kept.items()},
            "grids": [grid.as_dict() for grid in self.grids],
        }


def layer_errors(beside: SideBySide, pair: Pair, judge: Judge, seen: Ranges) -> LayerErrors:
    """All of them. seen: ranges of the float network's tensors on the calibration rows, if they are known."""
    layer, exact = pair.small, pair.exact[0]
    assert isinstance(layer, WeightedLayer)
    assert isinstance(exact, Dense)
    wanted, entering = beside.behind(pair), beside.entering(pair)
    found, here = pair.real(beside.found), pair.alone(entering)
    outputs = beside.onward(pair, here)
    kept = {name: logits_with_float(beside, pair, name) for name in FLOATS}
    decibels = judge.decibels if pair.is_last else sqnr_db  # hidden values have one unit
    return LayerErrors(
        name=layer.name,
        precision=layer.precision,
        shape=(layer.n_in, layer.n_out),
        weights_db=_weights_db(exact.weight, real_weight(layer)),
        behind_db=decibels(wanted, found),
        cosine=cosine(wanted, found),
        here_db=decibels(wanted, here),
        inherited_db=decibels(wanted, pair.exactly(beside.entering_small(pair))),
        damage=judge.damage(outputs),
        alone=judge.answers(outputs),
        kept={name: None if logits is None else judge.answers(logits) for name, logits in kept.items()},
        grids=grids_of(beside, pair, seen),
    )


def cosine(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Of the angle between all values of one and of the other: 1 for the same direction, and for two of zeros."""
    one, other = (each.astype(np.float64).ravel() for each in (first, second))
    with np.errstate(over="ignore", invalid="ignore"):
        size = math.sqrt(float(one @ one)) * math.sqrt(float(other @ other))
        return float(one @ other) / size if size > 0 else float(np.array_equal(one, other))


def _weights_db(exact: NDArray[Any], found: NDArray[np.float64]) -> float:
    """The sum of squares of the weights beside that of what rounding took from them (dB)."""
    signal, noise = float(np.sum(np.square(exact.astype(np.float64)))), squared_error(exact, found)
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0 and math.isfinite(noise) else -math.inf
