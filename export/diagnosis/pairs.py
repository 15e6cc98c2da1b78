"""Two networks side by side: each layer of the smaller one beside the float layers that it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Tensors
from edge_runtime.layers import Layer, QuantizedDense, WeightedLayer
from edge_runtime.model import Model
from edge_runtime.numerics import dequantize
from edge_runtime.reference import before_activation, behind_accumulator, logits, trace, trace_layer
from export.quantization import float_stretches


@dataclass(frozen=True, eq=False)
class Pair:
    """A layer of the smaller network and the float layers that it stands for: its own, and a stage in its table.

    is_last: whether it gives the outputs, which are looked at before a final activation. takes_codes: whether its
    inputs come on a grid, which the layer before them chose.
    """

    small: Layer
    exact: tuple[Layer, ...]
    is_last: bool
    takes_codes: bool

    @property
    def name(self) -> str:
        """Of both."""
        return self.small.name

    def exactly(self, value: NDArray[Any]) -> NDArray[Any]:
        """What the float layers give for real values (batch, n_in)."""
        return passed(self.exact, value, to_logits=self.is_last)

    def alone(self, value: NDArray[Any]) -> NDArray[Any]:
        """The same of the small layer, as real values: the error of these is made here.

        Inputs that come on a grid in the network are taken as they are here: the layer before chose that grid. Where
        the layer itself takes floats in, putting them on its grid is its own doing.
        """
        if isinstance(self.small, QuantizedDense) and self.takes_codes:
            tensors = _on_floats(self.small, value)
        else:
            tensors = trace_layer(self.small, value)
        return self.real(tensors)

    def real(self, tensors: Tensors) -> NDArray[Any]:
        """What the small layer gave, out of its tensors, as real values; of the last one its logits."""
        if self.is_last:
            return before_activation(self.small, tensors)
        values, grid = tensors[f"{self.name}.output"], getattr(self.small, "final_grid", None)
        return values if grid is None else dequantize(values, grid)


class SideBySide:
    """The float network and the smaller one on the same rows, tensor by tensor.

    source: float32, with the units of `small`. rows: as a user would feed them, float32 (n, n_in).
    """

    def __init__(self, source: Model, small: Model, rows: NDArray[np.float32]) -> None:
        self.source, self.small, self.rows = source, small, rows
        with np.errstate(over="ignore", invalid="ignore"):
            self.exact, self.found = trace(source, rows), trace(small, rows)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """In the order of the layers, stages too."""
        stretches, pairs = float_stretches(self.source, self.small), []
        takes_codes = False
        for layer in self.small.layers:
            is_last = layer is self.small.layers[-1]
            pairs.append(Pair(layer, stretches[layer.name], is_last, takes_codes))
            takes_codes = getattr(layer, "final_grid", None) is not None
        return tuple(pairs)

    @property
    def weighted(self) -> list[Pair]:
        """Those that have weights."""
        return [pair for pair in self.pairs if isinstance(pair.small, WeightedLayer)]

    @property
    def exact_logits(self) -> NDArray[np.float32]:
        """Of the float network, before a final activation."""
        return logits(self.source, self.exact)

    @property
    def found_logits(self) -> NDArray[np.float32]:
        """Of the smaller network."""
        return logits(self.small, self.found)

    def entering(self, pair: Pair) -> NDArray[Any]:
        """The exact values that reach a pair, (n, n_in)."""
        place = self.source.layers.index(pair.exact[0])
        return self.exact_input if place == 0 else self.exact[f"{self.source.layers[place - 1].name}.output"]

    def entering_small(self, pair: Pair) -> NDArray[Any]:
        """The values that reach it in the smaller network, as real ones."""
        place = self.pairs.index(pair)
        return self.small_input if place == 0 else self.pairs[place - 1].real(self.found)

    def behind(self, pair: Pair) -> NDArray[Any]:
        """The exact values behind a pair; behind the last the logits."""
        return self.exact_logits if pair.is_last else self.exact[f"{pair.exact[-1].name}.output"]

    def onward(self, pair: Pair, value: NDArray[Any]) -> NDArray[Any]:
        """The logits of the float network whose values behind `pair` are these."""
        if pair.is_last:
            return value
        place = self.source.layers.index(pair.exact[-1]) + 1
        return passed(self.source.layers[place:], value, to_logits=True)

    @property
    def small_input(self) -> NDArray[Any]:
        """What the first layer of the smaller network takes."""
        return self.found.get("input.standardized", self.rows)

    @property
    def exact_input(self) -> NDArray[Any]:
        """What the first layer of the float network takes."""
        return self.exact.get("input.standardized", self.rows)


def passed(layers: tuple[Layer, ...], value: NDArray[Any], *, to_logits: bool) -> NDArray[Any]:
    """Values through layers one after another, (batch, n_out); to_logits: those before the last one's activation."""
    tensors: Tensors = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for layer in layers:
            tensors = trace_layer(layer, value)
            value = tensors[f"{layer.name}.output"]
    return before_activation(layers[-1], tensors) if to_logits else value


def _on_floats(layer: QuantizedDense, value: NDArray[Any]) -> Tensors:
    """An int8 layer whose inputs are not rounded to its grid."""
    steps = value.astype(np.float64) / layer.input.scale
    accumulator = steps @ layer.weight.astype(np.float64) + layer.bias
    scaled = accumulator.astype(np.float32) * layer.multiplier
    return {f"{layer.name}.scaled": scaled, **behind_accumulator(layer, scaled)}
