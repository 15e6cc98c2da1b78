"""Equalize a layer's units, so that one grid, or the weights behind it, serve each of them better.

ReLU, leaky ReLU and linear layers let a positive factor through: dividing a unit's weights by s and multiplying the
next layer's by s leaves the network's function as it is, up to float32's rounding. After M. Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", ICCV 2019. Factors are at most 1, in steps of 2^(1/4).

`equalize`, where grids of 8 bits cost most: s = (range of the unit / largest range of the layer) ^ SHARE, of
activations seen in calibration. Half of the way, by powers of two, gave less on deep autoencoders and classifiers of
images, and all of the way least: then a row that calibration did not see saturates any of the units.

`equalize_weights`, where weights cost most, on grids of more bits or in 4 bits: s = (largest weight that the next layer
has for the unit / smallest such) ^ -1/2, so that fewer weights are small beside the largest of their output. What each
gives by itself: `python -m benchmarks accuracy --parts quantize`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import Dense
from edge_runtime.model import Model
from export.quantization.calibration import CalibrationRows, blocks, float_model, observed

SHARE = 2 / 3
_LEAST_SIZE = 1 / 256  # of the largest weight
STEPS_OF_OCTAVE = 4  # in a factor of two: factors are rounded to them, so that rounded weights still tell them


def equalize(model: Model, calibration: CalibrationRows) -> Model:
    """The same network in float32 with equalized hidden units: the same outputs up to rounding, better int8 ones.

    model: float layers. calibration: rows as for `export.quantization.quantizer.quantize`. Layers with other
    activations than ReLU, leaky ReLU and linear stay as they are, and so do layers beside a stage, whose scale, limits
    or sums are those of the units, and units that are always 0. Test vectors are dropped. Raises QuantizationError for
    bad rows.
    """
    ranges = _ranges(model, calibration)
    return _scaled(model, lambda position, _after: _factors(ranges[position]))


def equalize_weights(model: Model) -> Model:
    """`equalize` by the next layer's weights."""
    return _scaled(model, lambda _position, after: _weight_factors(after.weight))


def _scaled(model: Model, factors: Callable[[int, Dense], NDArray[np.float32]]) -> Model:
    """The network with its hidden units divided. factors: by the position of their layer, and the next layer."""
    layers = list(float_model(model).layers)
    for position in range(len(layers) - 1):
        before, after = layers[position], layers[position + 1]
        if not isinstance(before, Dense) or not isinstance(after, Dense):
            continue
        if not before.activation.definition.is_arithmetic_on_int8:
            continue
        factor = factors(position, after)
        layers[position] = replace(before, weight=before.weight / factor, bias=before.bias / factor)
        layers[position + 1] = replace(after, weight=after.weight * factor[:, np.newaxis])
    return replace(model, layers=tuple(layers), test_vectors=None)


def _ranges(model: Model, calibration: CalibrationRows) -> list[NDArray[np.float64]]:
    """The largest magnitude of each hidden unit's output over the calibration rows, layer by layer."""
    network, hidden = float_model(model), model.layers[:-1]
    ranges = [np.zeros(layer.n_out) for layer in hidden]
    for block in blocks(model, calibration):  # the model's own, whose schema says which columns of a frame are meant
        tensors = observed(network, block)
        for seen, layer in zip(ranges, hidden, strict=True):
            np.maximum(seen, np.abs(tensors[f"{layer.name}.output"]).max(axis=0), out=seen)
    return ranges


def _factors(seen: NDArray[np.float64]) -> NDArray[np.float32]:
    """A positive factor per unit, at most 1."""
    largest = float(seen.max(initial=0.0))
    share = np.where(seen > 0, seen / largest if largest > 0 else 1.0, 1.0)
    return nearest_factor(share**SHARE)


def _weight_factors(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same by the next layer's weights, (units, n_out); units that it hardly uses count as the least used."""
    sizes = np.abs(weight).max(axis=1).astype(np.float64)
    sizes = np.maximum(sizes, max(sizes.max() * _LEAST_SIZE, float(np.finfo(np.float32).tiny)))
    return nearest_factor(np.sqrt(sizes.min() / sizes))


def nearest_factor(ratio: NDArray[np.float64]) -> NDArray[np.float32]:
    """The powers of 2^(1/4) that are nearest to positive numbers: the only factors that `equalize` takes."""
    return np.exp2(np.rint(STEPS_OF_OCTAVE * np.log2(ratio)) / STEPS_OF_OCTAVE).astype(np.float32)
