"""What becomes one layer of an int8 model: a layer of the network, or a dense one with the stage behind it.

A stage that is the same for all features is a function of one value, so the 256-entry table of a dense layer may hold
it too: activation and stage together, computed once at each grid point. A stage that is a named activation by itself
becomes that. Other stages stay what they are, in floats between two grids.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import Dense, Elementwise, Layer, LayerNorm
from edge_runtime.model import Model
from edge_runtime.numerics import Activation, QuantParams, dequantize, quantize
from edge_runtime.reference import stage_values

FloatLayer: TypeAlias = Dense | Elementwise | LayerNorm


class Unit(NamedTuple):
    """A layer, and the element-wise stage behind it that its table holds, or None."""

    layer: FloatLayer
    folded: Elementwise | None = None

    @property
    def output(self) -> str:
        """The tensor of the float network that this gives."""
        return f"{(self.folded or self.layer).name}.output"

    @property
    def activation(self) -> Activation | None:
        """The activation that this is by name; None where only a table can say it."""
        return self.layer.activation if self.folded is None else _as_activation(self.layer.activation, self.folded)

    @property
    def before_table(self) -> str:
        """The tensor on whose grid the table is indexed. A grid that begins at 0 is a ReLU by itself."""
        is_relu = self.folded is not None and self.layer.activation.name == "relu"
        return f"{self.layer.name}.{'output' if is_relu else 'preactivation'}"

    def table(self, before: QuantParams, after: QuantParams) -> NDArray[np.unsignedinteger]:
        """Activation and stage of all grid points of `before`, on the grid `after`: computed once and stored."""
        points = dequantize(np.arange(before.top + 1, dtype=before.dtype), before)
        values = self.layer.activation(points)
        if self.folded is not None:
            values = self.folded.activation(stage_values(_of_one(self.folded), values[:, None])[:, 0])
        return quantize(values, after)


def units(layers: Sequence[FloatLayer], floats: Container[str] = ()) -> list[Unit]:
    """The layers in their order, each with the stage that it takes in: one between two dense layers of integers.

    floats: the names of layers with weights that stay in floats.
    """

    def is_integer(layer: FloatLayer | None) -> bool:
        return isinstance(layer, Dense) and layer.name not in floats

    found: list[Unit] = []
    following = [*layers[1:], None, None]
    for position, layer in enumerate(layers):
        stage, after = following[position], following[position + 1]
        if found and layer is found[-1].folded:
            continue
        is_held = isinstance(stage, Elementwise) and is_integer(layer) and is_integer(after)
        found.append(Unit(layer, stage if is_held and isinstance(stage, Elementwise) and _is_uniform(stage) else None))
    return found


def float_stretches(model: Model, small: Model) -> dict[str, tuple[Layer, ...]]:
    """By the name of a layer of `small`, made of the float `model`: the layers of `model` that it stands for."""
    names = [layer.name for layer in model.layers]
    places = [names.index(layer.name) for layer in small.layers] + [len(names)]
    return {names[place]: model.layers[place:end] for place, end in pairwise(places)}


def float_outputs(model: Model, small: Model) -> Mapping[str, str]:
    """By the name of a layer of `small`, made of the float `model`: the tensor of `model` that it gives."""
    return {name: f"{layers[-1].name}.output" for name, layers in float_stretches(model, small).items()}


def _is_uniform(stage: Elementwise) -> bool:
    return all(bool((array == array[0]).all()) for array in stage.arrays().values())


def _of_one(stage: Elementwise) -> Elementwise:
    """The stage for a single feature."""
    low, high, slope = (None if each is None else each[:1] for each in (stage.low, stage.high, stage.slope))
    return replace(stage, scale=stage.scale[:1], shift=stage.shift[:1], low=low, high=high, slope=slope)


def _as_activation(before: Activation, stage: Elementwise) -> Activation | None:
    """The one activation that these two are together, bit for bit, or None."""
    if before.name != "linear" or (stage.scale != 1).any() or stage.shift.any():
        return None
    steps = [] if stage.activation.name == "linear" else [stage.activation]
    if stage.slope is not None:
        steps.append(Activation("leaky_relu", (("alpha", float(stage.slope[0])),)))
    if stage.low is not None or stage.high is not None:
        low = -np.inf if stage.low is None else float(stage.low[0])
        high = np.inf if stage.high is None else float(stage.high[0])
        if (low, high) == (0.0, np.inf):
            steps.append(Activation("relu"))
        elif np.isfinite([low, high]).all():
            steps.append(Activation("clip", (("min", low), ("max", high))))
        else:
            return None
    return [*steps, before][0] if len(steps) < 2 else None
