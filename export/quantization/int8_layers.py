"""Float layers become integer layers, one after another, on grids whose ranges are known.

A layer of precision int8-a16 has the most bits for its inputs with which its sums stay within int32, 16 at most; see
`certificate`. That depends on its rounded weights, which depend on the grid. So the bits are those that its weights
rounded to the nearest allow, and where the weights that it gets do not, all is done again with a bit less.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelError, QuantizationError
from edge_runtime.layers import MOST_TABLE_BITS, Dense, Int4Dense, Layer, QuantizedDense
from edge_runtime.numerics import (
    FEWEST_BITS,
    INT4_MAX,
    INT4_MIN,
    INT32_LIMIT,
    MOST_BITS,
    QMIN,
    WEIGHT_MAX,
    Activation,
    QuantParams,
    quantize_symmetric,
)
from export.quantization.float16 import to_float16
from export.quantization.followed_rows import FollowedRows
from export.quantization.ranges import ChosenRanges, Range
from export.quantization.recipe import INTEGERS, QuantizationWarning, Recipe
from export.quantization.rounding import compensated, corrected_bias, refitted
from export.quantization.scale_search import ScaleSearch
from export.quantization.units import FloatLayer, Unit, units

# A bias may use this much of int32; the rest is room for the products. See `least_scales`.
_BIAS_ROOM = float(1 << 30)
# Beside a bias this many times their reach, weights do not matter: then sums stay within float32's exact integers.
_NEGLIGIBLE, _SMALL_BIAS_ROOM = float(1 << 16), float(1 << 22)
_TINY = float(np.finfo(np.float32).tiny)


class WeightLimits(NamedTuple):
    """The smallest and the largest whole number that a weight may become, and the layer that holds it."""

    low: int
    high: int
    layer: type[QuantizedDense]


INT8, INT4 = WeightLimits(-WEIGHT_MAX, WEIGHT_MAX, QuantizedDense), WeightLimits(INT4_MIN, INT4_MAX, Int4Dense)
_LIMITS = {"int8": INT8, "int8-a16": INT8, "int4": INT4}
_MOST_BITS = {"int8-a16": MOST_BITS}  # of a layer's inputs, by its precision


class _Fitted(NamedTuple):
    """What a layer is made of: steps (n_in, n_out) whole numbers, the real value of one by output, the real bias."""

    steps: NDArray[np.float64]
    scale: NDArray[np.float64]
    bias: NDArray[np.float64]


class _TooManyBits(Exception):
    """A layer cannot be exact on its grid of more than 8 bits, perhaps on one of fewer. layer: its name."""

    def __init__(self, layer: str) -> None:
        super().__init__(layer)
        self.layer = layer


def to_int8(
    layers: tuple[FloatLayer, ...], ranges: ChosenRanges, recipe: Recipe, followed: FollowedRows | None = None
) -> tuple[Layer, ...]:
    """Dense layers in the precision that the recipe has for each.

    Stages, and dense layers in floats, stand between a layer that gives floats and one that quantizes them.
    ranges: of the tensors of the float network. followed: rows in both networks, which a recipe that looks at rows
    needs. Raises QuantizationError for what could not be exact.
    """
    bits = _bits(layers, ranges, recipe)
    while True:
        try:
            return _quantized(layers, ranges, recipe, followed, bits)
        except _TooManyBits as found:
            bits[found.layer] -= 1
            if followed is not None:
                followed.start_again()


def _quantized(
    layers: tuple[FloatLayer, ...],
    ranges: ChosenRanges,
    recipe: Recipe,
    followed: FollowedRows | None,
    bits: Mapping[str, int],
) -> tuple[Layer, ...]:
    """The layers, with so many bits for the inputs of each that becomes integers."""
    quantized: list[Layer] = []
    floats = {layer.name for layer in layers if layer.name not in bits}
    chain, entering = units(layers, floats), "input"
    grid: QuantParams | None = None
    for unit, after in zip(chain, [*chain[1:], None], strict=True):
        layer: Layer = unit.layer
        if isinstance(unit.layer, Dense) and unit.layer.name in floats:
            layer = to_float16(unit.layer) if recipe.precision_of(unit.layer.name) == "float16" else unit.layer
            grid = None
        elif isinstance(unit.layer, Dense):
            limits = _LIMITS[recipe.precision_of(unit.layer.name)]
            grid = grid or _grid_of(ranges, entering, bits[unit.layer.name])
            bits_after = None if after is None or not isinstance(after.layer, Dense) else bits.get(after.layer.name)
            fitted = _fitted(unit.layer, grid, entering, recipe, limits, followed)
            try:
                layer = _integer_layer(unit, unit.layer, fitted, grid, ranges, limits, bits_after)
            except QuantizationError as error:
                if grid.bits == FEWEST_BITS:
                    raise
                raise _TooManyBits(unit.layer.name) from error
            grid = layer.final_grid
        if followed is not None:
            followed.pass_through(layer)
        quantized.append(layer)
        entering = unit.output
    return tuple(quantized)


def _bits(layers: tuple[FloatLayer, ...], ranges: ChosenRanges, recipe: Recipe) -> dict[str, int]:
    """Of the inputs of each layer that becomes integers, by its name."""
    found = {}
    entering = "input"
    for layer in layers:
        precision = recipe.precision_of(layer.name)
        if isinstance(layer, Dense) and precision in INTEGERS:
            most = _MOST_BITS.get(precision, FEWEST_BITS)
            found[layer.name] = _most_bits(layer, ranges, entering, most, recipe.per_channel)
        entering = f"{layer.name}.output"
    return found


def _most_bits(layer: Dense, ranges: ChosenRanges, entering: str, most: int, per_channel: bool) -> int:
    """With which the sums of the layer, its weights rounded to the nearest, stay within int32; `FEWEST_BITS` at least.

    most: more are not tried.
    """
    weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
    for bits in range(most, FEWEST_BITS, -1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", QuantizationWarning)  # the grid that is taken says it
                grid = _grid_of(ranges, entering, bits)
        except QuantizationError:  # a scale that underflows
            continue
        scale = weight_scales(weight, bias, grid, INT8, per_channel)
        steps = np.abs(np.rint(weight / scale)).sum(axis=0)
        if (grid.top * steps + np.abs(bias) / (scale * grid.scale)).max() < INT32_LIMIT:
            return bits
    return FEWEST_BITS


def _fitted(
    layer: Dense,
    grid: QuantParams,
    entering: str,
    recipe: Recipe,
    limits: WeightLimits,
    followed: FollowedRows | None,
) -> _Fitted:
    """The layer's weights and bias as the recipe makes them."""
    weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
    seen = None
    if followed is not None and recipe.looks_at_rows:
        seen = followed.moments(layer, grid, entering, about_means=recipe.bias_correction)
    if seen is None:
        scale = weight_scales(weight, bias, grid, limits, recipe.per_channel)
        return _Fitted(quantize_symmetric(weight, scale, limits.high, low=limits.low), scale, bias)
    if recipe.rounding == "compensated":
        weight = refitted(weight, seen)
        scale = weight_scales(weight, bias, grid, limits, recipe.per_channel)
        if limits.layer is Int4Dense and recipe.per_channel:
            search = ScaleSearch(weight, scale, least_scales(weight, bias, grid), seen.covariance, *limits[:2])
            search.run()
            steps, scale = search.steps, search.scale
        else:
            steps = compensated(weight, scale, seen.covariance, limits.high, low=limits.low)
    else:
        scale = weight_scales(weight, bias, grid, limits, recipe.per_channel)
        steps = quantize_symmetric(weight, scale, limits.high, low=limits.low)
    return _Fitted(steps, scale, corrected_bias(steps * scale, seen) if recipe.bias_correction else bias)


def _integer_layer(
    unit: Unit,
    layer: Dense,
    fitted: _Fitted,
    grid: QuantParams,
    ranges: ChosenRanges,
    limits: WeightLimits,
    bits_after: int | None,
) -> QuantizedDense:
    """bits_after: of the codes that it gives; None for floats."""
    output, table, table_output, activation = None, None, None, unit.activation
    if bits_after is not None:
        after = _grid_of(ranges, unit.output, bits_after)
        if activation is not None and activation.definition.is_arithmetic_on_int8:
            output = after
        else:
            output, table_output = _index_grid(unit, ranges, min(bits_after, MOST_TABLE_BITS)), after
            table = unit.table(output, after)
    step = fitted.scale * grid.scale
    try:
        return limits.layer(
            name=layer.name,
            weight=fitted.steps.astype(np.int8),
            bias=_quantized_bias(layer.name, fitted.bias, step),
            multiplier=_multiplier(layer.name, step / (1.0 if output is None else output.scale)),
            input=grid,
            output=output,
            activation=activation or Activation("linear"),
            table=table,
            table_output=table_output,
        )
    except ModelError as error:
        raise QuantizationError(str(error)) from error


def _grid_of(ranges: ChosenRanges, name: str, bits: int) -> QuantParams:
    return grid_for(ranges.of(name, bits), name, bits)


def _index_grid(unit: Unit, ranges: ChosenRanges, bits: int) -> QuantParams:
    """On which a unit's table is indexed."""
    is_bounded = unit.layer.activation.definition.is_bounded
    return grid_for(ranges.of(unit.before_table, bits, has_room=not is_bounded), unit.before_table, bits)


def grid_for(found: Range, name: str, bits: int = FEWEST_BITS) -> QuantParams:
    """The grid of so many bits whose ends are the range's ends; 0 is always a grid point (ONNX QuantizeLinear).

    A range without extent gets scale 1 and a QuantizationWarning. Raises QuantizationError for a scale that underflows.
    """
    if found.low == found.high == 0.0:
        warnings.warn(f"tensor '{name}' is 0 on every calibration row", QuantizationWarning, stacklevel=2)
        return QuantParams(1.0, 0, bits)
    top = (1 << bits) - 1
    with np.errstate(over="ignore"):
        scale = float(np.float32((found.high - found.low) / (top - QMIN)))
    if not _TINY <= scale < np.inf:
        raise QuantizationError(
            f"tensor '{name}' has the range {found.low:g}..{found.high:g}, whose scale {scale:g} is not a normal "
            "float32 number; rescale the inputs or the layer"
        )
    zero_point = int(np.clip(np.rint(-found.low / scale), QMIN, top))
    return QuantParams(scale, zero_point, bits)


def weight_scales(
    weight: NDArray[np.float64], bias: NDArray[np.float64], grid: QuantParams, limits: WeightLimits, per_channel: bool
) -> NDArray[np.float64]:
    """One scale per output channel, (n_out,): its weights just reach a limit. One for all if not `per_channel`."""
    held = np.maximum(weight.max(axis=0) / limits.high, weight.min(axis=0) / limits.low)
    scale = np.maximum(held, least_scales(weight, bias, grid))
    if not per_channel:
        scale = np.full_like(scale, scale.max())
    return np.where(scale == 0.0, 1.0, scale)


def least_scales(weight: NDArray[np.float64], bias: NDArray[np.float64], grid: QuantParams) -> NDArray[np.float64]:
    """What the scale of an output's weights may not be below, (n_out,), for the bias to stay within int32.

    Where a bias is so much larger than the channel's weights that it would leave int32, the scale is raised until the
    bias fits; the weights' resolution that this costs is below what the bias's own rounding in float32 costs. A channel
    of zeros takes the scale that makes its bias exact to a part in 2^30.
    """
    sizes, offset = np.abs(weight), np.abs(bias)
    reach = sizes.sum(axis=0) * grid.scale * (grid.top - QMIN)
    room = np.where(offset > _NEGLIGIBLE * reach, _SMALL_BIAS_ROOM, _BIAS_ROOM)
    return offset / (grid.scale * room)


def _quantized_bias(name: str, bias: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.int32]:
    rounded = np.rint(bias / step)
    worst = int(np.abs(rounded).argmax())
    if not np.abs(rounded[worst]) < 2.0**31:
        raise QuantizationError(
            f"'{name}.bias' {worst} is {bias[worst]:g}, which is {rounded[worst]:g} steps of "
            f"{step[worst]:g} and leaves int32; keep this layer in float16 or float32"
        )
    return rounded.astype(np.int32)


def _multiplier(name: str, values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", under="ignore"):
        multiplier = values.astype(np.float32)
    worst = int(values.argmin())
    if not (np.isfinite(multiplier).all() and multiplier[worst] >= _TINY):
        raise QuantizationError(
            f"'{name}.multiplier' runs from {values.min():g} to {values.max():g} (smallest at channel {worst}), "
            f"expected float32 numbers from {_TINY:g} up; rescale the layer or keep it in float32"
        )
    return multiplier
