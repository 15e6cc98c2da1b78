"""Move a network's weights into the range of float16 by powers of two, and say which are lost there.

A half holds numbers from 6e-8 to 65504, with all of its 11 bits from 6.1e-5 up. Weights of 1e-8, as inputs of 1e8 come
with, become 0. A power of two per layer brings them inside: layer l's outputs are scaled by 2^t[l], so its weights by
2^(t[l] - t[l - 1]) and its bias by 2^t[l]. t is 0 at the network's end and at every activation but ReLU, leaky ReLU and
linear, which let a positive factor through; at the input it is free, for the preprocessing takes it. Every product and
sum is scaled by a power of two, so that the float32 function stays as it is, bit for bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import QuantizationError
from edge_runtime.layers import Dense, Layer
from edge_runtime.model import Model, Standardization
from export.quantization.recipe import QuantizationWarning

LARGEST = 65504.0
BEYOND = 65520.0  # from here on a half rounds to inf
_TOPS = (0, 8, 15)  # the largest weight of a layer that is moved goes below one of these powers
_KEPT = 2.0**-11  # what rounding to 11 bits costs at most, as a share
_FADED = 2.0**-40  # beside the largest weight
_FURTHEST = 90  # no activation is scaled by a larger power: float32 ends at 2^-126 and 2^128


def scale_for_float16(model: Model) -> Model:
    """The same network in float32, with the layers that float16 would harm moved into its range where that can be.

    model: float32 layers. The function stays bit for bit, as long as the scaled inputs and activations are normal
    float32 numbers, as they are from 2^-36 to 2^37 at the least. A network that is moved carries no test vectors. A
    model whose weights float16 holds, or that no power of two helps, is returned as it is.
    """
    shifts = _shifts(model)
    if not any(shifts):
        return model
    scaled = _scaled(model, shifts)
    return scaled if scaled is not None and _harm_of(scaled) < _harm_of(model) else model


def to_float16(layer: Dense) -> Dense:
    """The layer with its weights as halves. layer: float32.

    Raises QuantizationError for a weight beyond their range. A QuantizationWarning says how many become 0, if that
    harms the layer.
    """
    largest = float(np.abs(layer.weight).max())
    if largest >= BEYOND:
        raise QuantizationError(
            f"'{layer.name}.weight' holds {largest:g}, beyond float16's largest number {LARGEST:.0f}, and no power of "
            "two can be moved into its neighbours; use int8 or float32"
        )
    if count := lost_weights(layer):
        warnings.warn(
            f"layer '{layer.name}': {count:,} of {layer.weight.size:,} weights become 0 in float16, and no power of "
            "two saves them; use float32, or rescale the inputs",
            QuantizationWarning,
            stacklevel=6,  # through the loop over the layers
        )
    return replace(layer, weight=layer.weight.astype(np.float16))


def lost_weights(layer: Dense) -> int:
    """How many weights float16 takes as 0 or as inf, if that harms the layer; else 0. layer: float32."""
    if not is_harmed(layer.weight):
        return 0
    halves = _halves(layer.weight)
    return int(np.sum(((halves == 0) & (layer.weight != 0)) | np.isinf(halves)))


def is_harmed(weight: NDArray[np.float32]) -> bool:
    """Whether all weights of a unit, or all that an input has, together lose more than their rounding to 11 bits.

    A small weight among larger ones is no harm. All weights of one input being small is: that input may be large.
    Beside weights 2^40 times as large they have faded away, and no number of 16 bits holds both. weight: (n_in, n_out).
    """
    return _harm(weight) > 0


def _harm(weight: NDArray[np.float32]) -> float:
    """The bits that units and inputs lose beyond their rounding, summed; inf where a weight becomes inf."""
    exact = weight.astype(np.float64)
    halves = _halves(weight)
    if np.isinf(halves).any():
        return np.inf
    lost, whole = np.square(halves - exact), np.square(exact)
    faded = whole.max() * _FADED**2
    harm = 0.0
    for axis in (0, 1):
        error, size = lost.sum(axis=axis), whole.sum(axis=axis)
        matters = (size > faded) & (error > 0)
        bits = np.log2(error[matters] / (size[matters] * _KEPT**2)) / 2
        harm += float(np.maximum(bits, 0.0).sum())
    return harm


def _halves(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return weight.astype(np.float16).astype(np.float64)


def _harm_of(model: Model) -> float:
    return sum(_harm(layer.weight) for layer in model.layers if isinstance(layer, Dense))


def _shifts(model: Model) -> list[int]:
    """t for the input and for each layer: 0 before and behind a stage, whose numbers are those of the values."""
    shifts: list[int] = []
    for stretch in _stretches(model.layers):
        if not shifts and stretch:
            ends = np.cumsum([0, *(_free_move(layer.weight) for layer in stretch)])
            shifts = (ends - ends[-1]).tolist()
        else:
            shifts = [*(shifts or [0]), *(np.cumsum(_balanced_moves(stretch)).tolist() if stretch else [0])]
    return shifts


def _stretches(layers: Sequence[Layer]) -> list[list[Dense]]:
    """Layers that a factor may pass between; an empty one stands for a stage, which lets none through."""
    stretches: list[list[Dense]] = []
    is_open = False
    for layer in layers:
        if isinstance(layer, Dense) and is_open:
            stretches[-1].append(layer)
        else:
            stretches.append([layer] if isinstance(layer, Dense) else [])
        is_open = isinstance(layer, Dense) and layer.activation.definition.is_arithmetic_on_int8
    return stretches


def _free_move(weight: NDArray[np.float32]) -> int:
    """By which power of two a layer grows whose input may be scaled: the smallest that helps the most."""
    if not is_harmed(weight):
        return 0
    moves = sorted((top - _exponent(weight) for top in _TOPS), key=abs)
    return min(moves, key=lambda move: _harm(np.ldexp(weight, move)))


def _balanced_moves(stretch: list[Dense]) -> list[int]:
    """Moves with a sum of 0, where both ends are fixed: they bring the layers' largest weights together."""
    if not any(is_harmed(layer.weight) for layer in stretch):
        return [0] * len(stretch)
    exponents = [_exponent(layer.weight) for layer in stretch]
    whole, rest = divmod(sum(exponents), len(exponents))
    return [whole + (position < rest) - exponent for position, exponent in enumerate(exponents)]


def _exponent(weight: NDArray[np.float32]) -> int:
    """e with the largest magnitude in 2^(e - 1)..2^e; 0 for a layer of zeros."""
    return int(np.frexp(np.abs(weight).max())[1])


def _scaled(model: Model, shifts: list[int]) -> Model | None:
    """The model with its layers' outputs scaled by 2^shift; None where a number would not stay exact."""
    if max(map(abs, shifts)) > _FURTHEST:
        return None
    layers: list[Layer] = []
    for layer, (before, after) in zip(model.layers, pairwise(shifts), strict=True):
        if not isinstance(layer, Dense):
            layers.append(layer)
            continue
        weight, bias = _times(layer.weight, after - before), _times(layer.bias, after)
        if weight is None or bias is None:
            return None
        layers.append(replace(layer, weight=weight, bias=bias))
    preprocessing = model.preprocessing
    if shifts[0]:
        preprocessing = preprocessing or Standardization(np.zeros(1, np.float32), np.ones(1, np.float32))
        inv_std = _times(preprocessing.inv_std, shifts[0])
        if inv_std is None:
            return None
        preprocessing = replace(preprocessing, inv_std=inv_std)
    return replace(model, layers=tuple(layers), preprocessing=preprocessing, test_vectors=None)


def _times(values: NDArray[np.float32], power: int) -> NDArray[np.float32] | None:
    """values * 2^power; None where that is not exact in normal float32 numbers."""
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(values, power).astype(np.float32)
    normal = (np.abs(scaled) >= np.finfo(np.float32).tiny) | (values == 0)
    return scaled if bool((normal & np.isfinite(scaled)).all()) else None
