"""The smaller network with one layer left in floats: the layers before and behind it stay, on the grids they have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from edge_runtime.layers import Dense, Layer, QuantizedDense
from export.diagnosis.pairs import Pair, SideBySide, passed


def logits_with_float(beside: SideBySide, pair: Pair, precision: str) -> NDArray[Any] | None:
    """The logits of the smaller network in which `pair` is float32 or float16; None if float16 cannot hold it.

    The layer before gives it floats then, and the layer behind puts its outputs on its own input grid, as in a mixed
    model.
    """
    layers = layers_with_float(beside, pair, precision)
    if layers is None:
        return None
    first = max(0, beside.pairs.index(pair) - 1)
    entering = beside.found[f"{beside.pairs[first - 1].name}.output"] if first else beside.small_input
    return passed(tuple(layers[first:]), entering, to_logits=True)


def layers_with_float(beside: SideBySide, pair: Pair, precision: str) -> list[Layer] | None:
    """The layers of the smaller network; those before `pair` are as many as they were."""
    layers: list[Layer] = [each.small for each in beside.pairs]
    place = beside.pairs.index(pair)
    kept = [_in_precision(layer, precision) for layer in pair.exact]
    if any(layer is None for layer in kept):
        return None
    layers[place : place + 1] = [layer for layer in kept if layer is not None]
    if pair.takes_codes:
        layers[place - 1 : place] = _giving_floats(beside.pairs[place - 1])
    return layers


def _in_precision(layer: Layer, precision: str) -> Layer | None:
    if not isinstance(layer, Dense):
        return layer
    try:
        with np.errstate(over="ignore"):
            return replace(layer, weight=layer.weight.astype(precision))
    except ModelError:  # beyond float16
        return None


def _giving_floats(pair: Pair) -> list[Layer]:
    """An int8 layer whose outputs are not put on a grid: its own activation, and the stage that its table held."""
    layer = pair.small
    if not isinstance(layer, QuantizedDense) or layer.output is None:
        return [layer]
    activation = pair.exact[0].activation
    multiplier = layer.multiplier * np.float32(layer.output.scale)
    plain = replace(layer, multiplier=multiplier, output=None, table=None, table_output=None, activation=activation)
    return [plain, *pair.exact[1:]]
