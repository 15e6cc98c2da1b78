"""A float network and a smaller one that was made of it, brought to the same names, units and scales.

They are compared layer by layer, which means something only then. Equalization and float16 scale hidden units in coarse
steps; files of integer ONNX hold products of scales alone, so that a grid within them is read with the scale 1, and may
have names of their own for layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer, QuantizedDense, WeightedLayer
from edge_runtime.model import Model
from edge_runtime.numerics import dequantize
from edge_runtime.reference import trace_layer
from export.quantization import (
    STEPS_OF_OCTAVE,
    float_model,
    float_stretches,
    nearest_factor,
    scale_for_float16,
)

_FITS = 0.02  # how far from 1 weights may be if they are rounded alone


def real_weight(layer: WeightedLayer) -> NDArray[np.float64]:
    """The weights of a layer as real values, (n_in, n_out), whatever they are stored as."""
    weight = layer.weight.astype(np.float64)
    if isinstance(layer, DynamicQuantizedDense):
        return np.asarray(weight * layer.weight_scale)
    if not isinstance(layer, QuantizedDense):
        return weight
    step = layer.multiplier.astype(np.float64) * (1.0 if layer.output is None else layer.output.scale)
    return np.asarray(weight * (step / layer.input.scale))


class Alike(NamedTuple):
    """source: the float network in float32, with the units of `small`. small: with the names and scales of `source`."""

    source: Model
    small: Model


def alike(model: Model, small: Model) -> Alike:
    """The float network `model` and `small`, which was made of it. Raises InputError if it was not."""
    source = replace(float_model(model), metadata=model.metadata, class_names=model.class_names)
    small = _with_names_of(source, small)
    _check_versions(source, small)
    if small.precision == "float16":
        return Alike(replace(scale_for_float16(source), metadata=model.metadata), small)
    return _in_the_same_units(source, small)


def _with_names_of(model: Model, small: Model) -> Model:
    """`small` with the names of the layers of `model`, if its own are others and it has as many."""
    names = [layer.name for layer in model.layers]
    if {layer.name for layer in small.layers} <= set(names) or len(small.layers) != len(names):
        return small
    layers = tuple(replace(layer, name=name) for layer, name in zip(small.layers, names, strict=True))
    return replace(small, layers=layers)


def _check_versions(source: Model, small: Model) -> None:
    ours, theirs = (
        [(layer.name, layer.n_in, layer.n_out) for layer in model.layers if isinstance(layer, WeightedLayer)]
        for model in (source, small)
    )
    order = [layer.name for layer in source.layers]
    places = [order.index(layer.name) for layer in small.layers if layer.name in order]
    if ours == theirs and len(places) == len(small.layers) and places == sorted(places):
        return
    here, there = (
        ", ".join(f"{layer.name} {layer.n_in}-{layer.n_out}" for layer in model.layers) for model in (small, source)
    )
    raise InputError(
        f"the small model has the layers {here}, the float model {there}; give the float model that it was made of"
    )


def _in_the_same_units(source: Model, small: Model) -> Alike:
    """Layer by layer: the scale of its grid, if that is unknown, then the factors of its units."""
    is_equalized = "equalized" in small.metadata.get("calibration", "")
    exact, found = list(source.layers), list(small.layers)
    for at, stretch in enumerate(float_stretches(source, small).values()):
        place, layer = source.layers.index(stretch[0]), found[at]
        ours, after = exact[place], exact[place + 1] if place + 1 < len(exact) else None
        if not isinstance(layer, WeightedLayer) or not isinstance(ours, Dense):
            continue
        ratios = _ratios(ours.weight, real_weight(layer))
        following = found[at + 1] if at + 1 < len(found) else None
        if isinstance(layer, QuantizedDense) and isinstance(following, QuantizedDense) and _is_unknown(layer, ratios):
            scale = _common_scale(ratios, is_equalized)
            found[at] = layer = with_scale(layer, (ours, *stretch[1:]), scale)
            found[at + 1] = replace(following, input=layer.final_grid or following.input)
            ratios = ratios / scale
        if is_equalized and isinstance(after, Dense) and ours.activation.definition.is_arithmetic_on_int8:
            factor = nearest_factor(ratios)
            exact[place] = replace(ours, weight=ours.weight / factor, bias=ours.bias / factor)
            exact[place + 1] = replace(after, weight=after.weight * factor[:, np.newaxis])
    return Alike(replace(source, layers=tuple(exact)), replace(small, layers=tuple(found)))


def _ratios(weight: NDArray[Any], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """weight / found by output, (n_out,): rounding does not hide it; 1 where one of them is all zeros."""
    exact = weight.astype(np.float64)
    shared, size = np.sum(exact * found, axis=0), np.sum(exact * exact, axis=0)
    return np.divide(size, shared, out=np.ones_like(size), where=(shared > 0) & (size > 0))


def _is_unknown(layer: QuantizedDense, ratios: NDArray[np.float64]) -> bool:
    """Whether its grid has the scale 1 because none was read. One that is 1 by itself fits the weights."""
    return layer.output is not None and layer.output.scale == 1.0 and abs(float(np.median(ratios)) - 1) > _FITS


def _common_scale(ratios: NDArray[np.float64], is_equalized: bool) -> float:
    """The part of the ratios that all units share. The factors of equalization are whole steps, the largest 1."""
    powers = STEPS_OF_OCTAVE * np.log2(ratios)
    if not is_equalized:
        return float(np.exp2(np.median(powers) / STEPS_OF_OCTAVE))
    turns = np.exp(2j * np.pi * powers)
    part = float(np.angle(turns.mean())) / (2 * np.pi)
    return float(np.exp2((part + np.rint(powers - part).max()) / STEPS_OF_OCTAVE))


def with_scale(layer: QuantizedDense, exact: Sequence[Layer], scale: float) -> QuantizedDense:
    """A layer whose first grid has this scale, and the grid behind its table the one that fits the table.

    exact: the float layers that it stands for. What it computes stays the same: codes.
    """
    assert layer.output is not None
    output = replace(layer.output, scale=float(np.float32(scale)))
    if layer.table is None or layer.table_output is None:
        return replace(layer, output=output)
    points = dequantize(np.arange(output.top + 1, dtype=output.dtype), output)
    values = _uniformly(exact, points).astype(np.float64)
    codes = layer.table.astype(np.float64) - layer.table_output.zero_point
    inside = (layer.table > 0) & (layer.table < layer.table_output.top)
    values, codes = (values[inside], codes[inside]) if codes[inside].any() else (values, codes)
    fitted = float(np.float32(abs(float(values @ codes)) / max(float(codes @ codes), 1.0))) or 1.0
    return replace(layer, output=output, table_output=replace(layer.table_output, scale=fitted))


def _uniformly(exact: Sequence[Layer], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Activation and stage of single values, (n,): the stage that a table holds is the same for all features."""
    values = exact[0].activation(points.copy())
    for stage in exact[1:]:
        width = stage.n_in
        values = trace_layer(stage, np.repeat(values[:, np.newaxis], width, axis=1))[f"{stage.name}.output"][:, 0]
    return values
