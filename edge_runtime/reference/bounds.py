"""How far two correct implementations of a model may differ: int8 not at all, float32 within a bound with a reason.

For the sizes of this project, two float32 products of the same terms differ by at most this, in whatever order they
are summed, with or without fused multiply-add:

    16 * 2^-24 * (|x| @ |W| + |b|)

The bound below carries that difference through the layers: by |W|, by how steep an activation can be, by what
`stage_bounds` says of layers without weights, and by a grid step wherever a value may lie on either side of a tie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.layers import Dense, DynamicQuantizedDense, Elementwise, Layer, QuantizedDense, Stage
from edge_runtime.model import Model, Standardization
from edge_runtime.numerics import DEFINITIONS, TINY, Activation, QuantParams, dequantize, saturate
from edge_runtime.reference.dynamic_bound import dynamic_bound
from edge_runtime.reference.stage_bounds import stage_bound
from edge_runtime.reference.trace import trace

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

LOGITS = "logits"
SUM_ERROR = 16 * 2.0**-24
_ROUNDED = 2.0**-22  # of a value: twice what two implementations that round it once may differ by


def product_bound(layer: Dense, x: Array) -> Array:
    """The largest difference between two float32 evaluations of x @ weight + bias, float64 (batch, n_out).

    inf where a partial sum can leave float32: then the order of summation decides whether it does.
    """
    weight = np.abs(layer.weight.astype(np.float64))
    reach = np.abs(x.astype(np.float64)) @ weight + np.abs(layer.bias.astype(np.float64))
    error = SUM_ERROR * reach
    if layer.subnormals:  # 0 for an engine of ours, and not for others
        error += float(TINY) * np.abs(x.astype(np.float64)).sum(axis=-1, keepdims=True)
    return np.where(reach > np.finfo(np.float32).max, np.inf, error)


def agree(ours: Array, theirs: Array, bound: Array) -> Array:
    """Where |ours - theirs| <= bound, value by value; NaN beside NaN, and an infinity beside the same one.

    An infinite bound, where a sum can leave float32 and the order of summation decides whether it becomes an infinity
    or NaN, allows any two numbers, and NaN beside an infinity, but no number beside either, and no infinity beside its
    opposite. A bound that is NaN allows what is the same.
    """
    are_numbers = np.isfinite(ours) & np.isfinite(theirs)
    with np.errstate(invalid="ignore"):
        near = are_numbers & (np.abs(ours.astype(np.float64) - theirs) <= bound)
    are_nan, are_inf = np.isnan(ours) | np.isnan(theirs), np.isinf(ours) | np.isinf(theirs)
    return near | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs)) | (are_nan & are_inf & np.isposinf(bound))


def count_lone_nans(ours: Array, theirs: Array) -> int:
    """How many values are NaN on one side alone."""
    return int(np.count_nonzero(np.isnan(ours) != np.isnan(theirs)))


def steepness(activation: Activation) -> float:
    """The largest slope of an activation: how much it can widen a difference. See also `activation_bound`."""
    slope = activation.definition.steepness
    return slope({key: abs(value) for key, value in activation.params}) if callable(slope) else slope


def implementation_error(activation: Activation, x: Array) -> Array:
    """How far two implementations of an activation may be apart for the same float32 x: float64, of x's shape."""
    error = activation.definition.error
    if activation.definition.is_relative:
        with np.errstate(over="ignore"):
            value = np.nan_to_num(activation(x.astype(np.float64)), nan=0.0, posinf=np.inf)
        return error * np.abs(value) + float(TINY)
    if activation.definition.is_bounded or error == 0.0:
        return np.full(x.shape, error)
    size = np.nan_to_num(np.abs(x.astype(np.float64)), nan=0.0, posinf=np.inf)
    if activation.name == "log_softmax":  # differences from the row's maximum
        return np.broadcast_to(error * np.maximum(1.0, size.max(axis=-1, keepdims=True)), x.shape)
    largest = max([1.0, *(abs(value) for _, value in activation.params)])
    return error * largest * np.maximum(1.0, size)


def output_bound(
    model: Model,
    x: Array,
    *,
    activated: bool,
    foreign: bool = False,
    same_standardization: bool = False,
    slack: Mapping[str, Array] | None = None,
    in_one_pass: bool = True,
) -> Array:
    """The largest difference between two correct evaluations of the model's outputs, float64 (batch, n_out).

    x: rows as for `Engine.run`. activated: whether the last layer's activation is included; without it this is the
    bound on the logits, which is zero for an int8 model. foreign, same_standardization, slack, in_one_pass: as in
    `tensor_bounds`.
    """
    name = f"{model.layers[-1].name}.output" if activated else LOGITS
    bounds = tensor_bounds(
        model, x, foreign=foreign, same_standardization=same_standardization, slack=slack, in_one_pass=in_one_pass
    )
    return bounds[name]


def tensor_bounds(
    model: Model,
    x: Array,
    *,
    foreign: bool = False,
    same_standardization: bool = False,
    slack: Mapping[str, Array] | None = None,
    in_one_pass: bool = True,
) -> dict[str, Array]:
    """The largest difference, in real units, at each "NAME.output" and "NAME.preactivation" of a trace.

    The bound on the logits stands under `LOGITS` too. foreign: the other side may spell the same network otherwise, so
    that standardization (x * a + b for (x - mean) * inv_std) and the scales of int8-dynamic layers are rounded in
    another order; same_standardization: not the standardization. slack: by layer, what the other side's values before
    the activation may differ by for the same input, (n_out,). in_one_pass: whether one of the two may be onnxruntime,
    whose normalizations round more; False for two engines of this project.
    """
    rows = np.atleast_2d(x)
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = trace(model, rows)
    value = tensors.get("input.standardized", rows.astype(np.float32))
    bound = np.zeros(value.shape, np.float64)
    if foreign and not same_standardization and model.preprocessing is not None:
        bound = _standardization_bound(model.preprocessing, rows)
    bounds: dict[str, Array] = {}
    for layer in model.layers:
        before = _before_activation(layer, value, bound, in_one_pass)
        if isinstance(layer, QuantizedDense) and layer.output is None:  # the sums are rounded once they are scaled
            scaled = np.abs(tensors[f"{layer.name}.scaled"].astype(np.float64))
            before = np.where(before > 0, before + _ROUNDED * (scaled + before), before)
        if foreign and isinstance(layer, (DynamicQuantizedDense, Elementwise)):
            before = before + _rescaling_bound(layer, value, tensors[f"{layer.name}.preactivation"])
        before = _unknown_as_any(before + (slack or {}).get(layer.name, 0.0), value)
        bound = _unknown_as_any(_after_activation(layer, before, tensors, foreign), value)
        bounds[f"{layer.name}.output"] = bound
        if f"{layer.name}.preactivation" in tensors:
            bounds[f"{layer.name}.preactivation"] = before
        value = tensors[f"{layer.name}.output"]
    bounds[LOGITS] = before
    return bounds


def _unknown_as_any(bound: Array, value: Array) -> Array:
    """A bound of inf for NaN, which a difference of any size times a weight of 0 gives; not for rows that hold NaN.

    value: what enters the layer, (batch, n_in).
    """
    has_nan = np.isnan(value).any(axis=-1, keepdims=True)
    return np.where(np.isnan(bound) & ~has_nan, np.inf, bound)


def _standardization_bound(preprocessing: Standardization, rows: Array) -> Array:
    """Four roundings of numbers as large as the input and the mean, in steps of the standardized values."""
    size = np.abs(rows.astype(np.float64)) + np.abs(preprocessing.mean.astype(np.float64))
    return 4 * 2.0**-24 * size * np.abs(preprocessing.inv_std.astype(np.float64))


def _rescaling_bound(layer: DynamicQuantizedDense | Elementwise, value: Array, before: Array) -> Array:
    """Four roundings of what is scaled and of what is added to it; a stage that does one of the two is exact.

    Not one with slopes, or a function of its own, of which a file may have several in place of one: slopes multiply.
    value, before: what enters the layer, and what it has before its activation. The sums that int8-dynamic layers scale
    are exact.
    """
    if isinstance(layer, Elementwise):
        is_bent = layer.slope is not None or layer.activation.name not in ("linear", "relu", "clip")
        if not is_bent and not ((layer.scale != 1).any() and layer.shift.any()):
            return np.zeros(value.shape)
        steepest = 1.0 if layer.slope is None else np.maximum(1.0, np.abs(layer.slope.astype(np.float64)))
        return 4 * 2.0**-24 * steepest * (np.abs(value.astype(np.float64) * layer.scale) + np.abs(layer.shift))
    bias = layer.bias.astype(np.float64)
    return 4 * 2.0**-24 * (np.abs(before - bias) + np.abs(bias))


@np.errstate(invalid="ignore", over="ignore")  # inf times 0, see `_unknown_as_any`; inputs beyond all grids
def _before_activation(layer: Layer, value: Array, bound: Array, in_one_pass: bool) -> Array:
    """From the bound on a layer's input to that on its values before the activation, in real units."""
    if isinstance(layer, Stage):
        return stage_bound(layer, value, bound, in_one_pass=in_one_pass)
    if isinstance(layer, DynamicQuantizedDense):
        return dynamic_bound(layer, value, bound)
    if isinstance(layer, Dense):
        weight = np.abs(layer.weight.astype(np.float64))
        return bound @ weight * (1 + SUM_ERROR) + product_bound(layer, value)
    if value.dtype.kind == "u":
        steps = np.rint(bound / layer.input.scale)
    else:
        steps = _reached(value / np.float32(layer.input.scale), bound / layer.input.scale, layer.input)
    scaled = steps @ np.abs(layer.weight.astype(np.float64)) * layer.multiplier
    return scaled * (1.0 if layer.output is None else layer.output.scale)


def _after_activation(layer: Layer, bound: Array, tensors: dict[str, Array], foreign: bool) -> Array:
    if not isinstance(layer, QuantizedDense) or layer.output is None:
        before = tensors[f"{layer.name}.{'scaled' if isinstance(layer, QuantizedDense) else 'preactivation'}"]
        widened = activation_bound(layer.activation, before, bound)
        return widened + _logarithm_bound(before) if foreign and layer.activation.name == "log_sigmoid" else widened
    scaled, steps = tensors[f"{layer.name}.scaled"], bound / layer.output.scale
    if layer.table is None or layer.table_output is None:
        values = layer.activation(scaled)
        return _reached(values, steps * steepness(layer.activation), layer.output) * layer.output.scale
    largest_jump = np.abs(np.diff(dequantize(layer.table, layer.table_output))).max(initial=0.0)
    return _reached(scaled, steps, layer.output) * largest_jump


def _logarithm_bound(x: Array) -> Array:
    """What log(sigmoid(x)) is off by where an engine's sigmoid is: as many parts of its value. inf if that may be 0."""
    with np.errstate(over="ignore"):
        parts = DEFINITIONS["sigmoid"].error * (1 + np.exp(-x.astype(np.float64)))
    return np.where(parts < 0.5, 2 * parts, np.inf)


def activation_bound(activation: Activation, x: Array, bound: Array) -> Array:
    """From the bound on an activation's input x to the bound on its output."""
    if activation.definition.is_over_row:  # every output depends on every input
        bound = np.broadcast_to(bound.max(axis=-1, keepdims=True), bound.shape)
    widened = _widened(activation, x, bound) + implementation_error(activation, x)
    for place in activation.definition.jumps(dict(activation.params)):  # where x may lie on either side of it
        widened = widened + np.where(np.abs(x - place) <= bound, _height(activation, place), 0.0)
    return widened


def _widened(activation: Activation, x: Array, bound: Array) -> Array:
    """What a difference of `bound` in an activation's input can make in its output."""
    slope = activation.definition.steepness_near
    if slope is None:
        return bound * steepness(activation)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(bound > 0, bound * slope(x.astype(np.float64), bound), 0.0)


def _height(activation: Activation, place: float) -> float:
    """How far an activation jumps at a place."""
    sides = np.array([np.nextafter(place, -np.inf), place, np.nextafter(place, np.inf)])
    return float(np.ptp(activation(sides)))


def _reached(scaled: Array, bound: Array, grid: QuantParams) -> Array:
    """How many steps from the code of each scaled value another one within `bound` may come to lie; 0 far from ties.

    scaled: in steps of the grid. bound: float64, in the same; widened by what the division, or the product, rounds.
    """

    def codes_of(values: Array) -> Array:
        return saturate(values, grid.zero_point, grid.bits).astype(np.int64)

    middle = np.where(np.isposinf(bound), 0.0, scaled.astype(np.float64))  # NaN may be an infinity: any code
    bound = np.where(bound > 0, bound + _ROUNDED * (np.abs(middle) + bound), 0.0)
    ends = (codes_of(middle + side) for side in (-bound, bound))
    code = codes_of(scaled)
    return np.maximum.reduce([np.abs(end - code) for end in ends]).astype(np.float64)
