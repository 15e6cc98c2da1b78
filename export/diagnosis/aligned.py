"""Whose units are the hidden units of a small model? Equalization and float16 scale them by powers of two.

A float network is compared with a smaller one layer by layer, which means something only if both have the same units.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.layers import Dense, DynamicQuantizedDense, QuantizedDense, WeightedLayer
from edge_runtime.model import Model
from export.quantization import float_model, scale_for_float16


def real_weight(layer: WeightedLayer) -> NDArray[np.float64]:
    """The weights of a layer as real values, (n_in, n_out), whatever they are stored as."""
    weight = layer.weight.astype(np.float64)
    if isinstance(layer, DynamicQuantizedDense):
        return np.asarray(weight * layer.weight_scale)
    if not isinstance(layer, QuantizedDense):
        return weight
    step = layer.multiplier.astype(np.float64) * (1.0 if layer.output is None else layer.output.scale)
    return np.asarray(weight * (step / layer.input.scale))


def in_units_of(model: Model, small: Model) -> Model:
    """The float network `model` in float32, its hidden units scaled as those of `small`, its layers named alike.

    Raises InputError for a `small` that is no version of `model`.
    """
    source = replace(float_model(model), metadata=model.metadata, class_names=model.class_names)
    _check_versions(source, small)
    if small.precision == "float16":
        return replace(scale_for_float16(source), metadata=model.metadata)
    return _equalized_as(source, small) if "equalized" in small.metadata.get("calibration", "") else source


def with_names_of(model: Model, small: Model) -> Model:
    """`small` with the names of the layers of `model`, if its own are others and it has as many: files lose them."""
    names = [layer.name for layer in model.layers]
    if {layer.name for layer in small.layers} <= set(names) or len(small.layers) != len(names):
        return small
    return replace(
        small, layers=tuple(replace(layer, name=name) for layer, name in zip(small.layers, names, strict=True))
    )


def _check_versions(source: Model, small: Model) -> None:
    theirs = [(layer.name, layer.n_in, layer.n_out) for layer in small.layers if isinstance(layer, WeightedLayer)]
    ours = [(layer.name, layer.n_in, layer.n_out) for layer in source.layers if isinstance(layer, WeightedLayer)]
    if ours != theirs:
        here, there = (", ".join(f"{name} {n_in}-{n_out}" for name, n_in, n_out in each) for each in (theirs, ours))
        raise InputError(
            f"the small model has the layers {here}, the float model {there}; give the float model that it was made of"
        )


def _equalized_as(source: Model, small: Model) -> Model:
    """Factors by unit that make the float weights those of `small`: powers of two, which rounding does not hide."""
    found = {layer.name: real_weight(layer) for layer in small.layers if isinstance(layer, WeightedLayer)}
    layers = list(source.layers)
    for place, (before, after) in enumerate(zip(layers[:-1], source.layers[1:], strict=True)):
        before = layers[place]
        if not isinstance(before, Dense) or not isinstance(after, Dense):
            continue
        if before.activation.definition.is_arithmetic_on_int8:
            factor = _factors(before.weight, found[before.name])
            layers[place] = replace(before, weight=before.weight / factor, bias=before.bias / factor)
            layers[place + 1] = replace(after, weight=after.weight * factor[:, np.newaxis])
    return replace(source, layers=tuple(layers))


def _factors(weight: NDArray[Any], found: NDArray[np.float64]) -> NDArray[np.float32]:
    """weight / found by output, (n_out,), as powers of two; 1 where one of them is all zeros."""
    exact = weight.astype(np.float64)
    shared, size = np.sum(exact * found, axis=0), np.sum(exact * exact, axis=0)
    ratio = np.divide(size, shared, out=np.ones_like(size), where=(shared > 0) & (size > 0))
    return np.exp2(np.rint(np.log2(ratio))).astype(np.float32)
