"""A float32 model becomes a float16 or an int8 one. The arithmetic is that of `edge_runtime.numerics.quantization`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_runtime.arguments import QUANTIZATION_CHECKS
from edge_runtime.engine import Engine
from edge_runtime.errors import ModelError, QuantizationError
from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer, QuantizedDense
from edge_runtime.model import Model, as_model
from edge_runtime.numerics import (
    QMAX,
    QMIN,
    WEIGHT_MAX,
    Activation,
    QuantParams,
    flushed,
    quantize_symmetric,
)
from edge_runtime.version import made_with
from export.quantization.calibration import Calibration, CalibrationRows, calibrate, sampled, widened
from export.quantization.fidelity import sqnr_db, squared_error
from export.quantization.float16 import BEYOND, LARGEST, lost_weights, scale_for_float16
from export.quantization.ranges import METHODS, Range
from export.quantization.test_rows import DEFAULT_ROWS, with_test_vectors
from export.quantization.units import FloatLayer, Unit, units

FEWEST_ROWS = 16  # with fewer, the ranges that a grid needs are a guess
PRECISIONS = ("float32", "float16", "int8", "int8-dynamic")
# A bias may use this much of int32; the rest is room for the products. See `_weight_scales`.
_BIAS_ROOM = float(1 << 30)
# Beside a bias this many times their reach, weights do not matter: then sums stay within float32's exact integers.
_NEGLIGIBLE, _SMALL_BIAS_ROOM = float(1 << 16), float(1 << 22)
_TINY = float(np.finfo(np.float32).tiny)


class QuantizationWarning(UserWarning):
    """Something in the calibration that works, and that a user should look at."""


def quantize(
    model: Model,
    calibration: CalibrationRows | None = None,
    precision: str = "int8",
    method: str = "auto",
    *,
    per_channel: bool = True,
    test_vectors: int = DEFAULT_ROWS,
    on_choice: Callable[[dict[str, float]], None] | None = None,
) -> Model:
    """The same network with smaller weights.

    model: float32 layers; or a trained network, whose `to_model` gives them. calibration: an array (n, n_in), a frame
    or batches of rows as a user would feed them, needed for int8. precision: "float32", "float16" (weights stored as
    halves, arithmetic in float32; layers that a half cannot hold are moved by powers of two, see
    `export.quantization.float16`), "int8" (static), or "int8-dynamic" (no calibration: each layer's input is quantized
    by the batch it is in, so that a row's answer depends on the rows around it). method: how int8 ranges are chosen, a
    key of `export.quantization.ranges.METHODS`, or "auto": each is tried, and the one whose outputs are closest to the
    float network's on held-out calibration rows is taken. per_channel: one weight scale per output channel instead of
    one per layer. test_vectors: how many of the calibration rows (without any: of the rows that `model` holds) are
    stored with the new model's outputs, for `selftest`. on_choice: told the signal to noise (dB) of each method that
    "auto" tried.

    In every precision, weights below float32's normal range become 0, and the metadata say how many (see
    `edge_runtime.numerics.subnormals`). The method, and the versions that did it, are noted in the metadata.
    Raises QuantizationError where the result could not be exact: a bias or an accumulator that leaves int32, a scale or
    multiplier below float32's normal range, a weight beyond float16's range, or bad calibration rows; InputError for
    what is no model. A QuantizationWarning says what works and needs a look: fewer than 16 calibration rows, a tensor
    that is 0 on all of them, weights that become 0 in float16 where that harms the layer.
    """
    model = as_model(model)
    _check_arguments(calibration, precision, method, test_vectors)
    QUANTIZATION_CHECKS.flag("per_channel", per_channel)
    QUANTIZATION_CHECKS.function("on_choice", on_choice, "a function of a dictionary")
    layers = tuple(_without_subnormals(widened(layer)) for layer in model.layers)
    held = model.test_vectors
    if count := sum(layer.subnormals for layer in map(widened, model.layers) if isinstance(layer, Dense)):
        model = replace(model, metadata={**model.metadata, "subnormal_weights_set_to_0": str(count)})
    model = replace(model, metadata={**model.metadata, **made_with()}, test_vectors=None)
    if precision == "int8" and calibration is not None:
        small, rows = _by_calibration(model, layers, calibration, method, per_channel=per_channel, on_choice=on_choice)
        return with_test_vectors(small, rows, test_vectors)
    if precision == "float16":
        small = _to_halves(replace(model, layers=layers))
    elif precision == "int8-dynamic":
        small = replace(model, layers=tuple(_each(layers, lambda layer: _to_dynamic(layer, per_channel))))
    else:
        small = replace(model, layers=layers)
    if test_vectors and calibration is not None:
        return with_test_vectors(small, sampled(model, calibration), test_vectors)
    return small if held is None else with_test_vectors(small, held.inputs, test_vectors)


def _to_halves(model: Model) -> Model:
    scaled = scale_for_float16(model)
    return replace(scaled, layers=tuple(_each(map(widened, scaled.layers), _to_float16)))


def _each(layers: Iterable[FloatLayer], change: Callable[[Dense], Layer]) -> Iterator[Layer]:
    """The layers, those with weights changed."""
    return (change(layer) if isinstance(layer, Dense) else layer for layer in layers)


def _by_calibration(
    model: Model,
    layers: tuple[FloatLayer, ...],
    calibration: CalibrationRows,
    method: str,
    *,
    per_channel: bool,
    on_choice: Callable[[dict[str, float]], None] | None,
) -> tuple[Model, NDArray[np.float32]]:
    """The model in int8, on the grids that the rows ask for, and some of the rows."""
    seen = calibrate(model, calibration, hold_out=method == "auto")
    if method == "auto":
        method = choose_method(model, seen, per_channel=per_channel, on_choice=on_choice)
        seen.include_held_out(model)
    if seen.rows < FEWEST_ROWS:
        _warn_of_few(seen.rows)
    metadata = {**model.metadata, "calibration": f"{method}, {seen.rows} rows"}
    return replace(model, layers=_to_int8(layers, _ranges(seen, method), per_channel), metadata=metadata), seen.sample


def _warn_of_few(count: int) -> None:
    rows = "row" if count == 1 else "rows"
    warnings.warn(
        f"calibrated on {count} {rows}, expected at least {FEWEST_ROWS}, better some hundreds: other inputs may be "
        "clipped",
        QuantizationWarning,
        stacklevel=4,
    )


def _without_subnormals(layer: FloatLayer) -> FloatLayer:
    is_changed = isinstance(layer, Dense) and layer.subnormals
    return replace(layer, weight=flushed(layer.weight)) if isinstance(layer, Dense) and is_changed else layer


def choose_method(
    model: Model,
    seen: Calibration,
    *,
    per_channel: bool = True,
    on_choice: Callable[[dict[str, float]], None] | None = None,
) -> str:
    """The method whose int8 outputs (before a final activation) are closest to the float ones on the held-out rows.

    Equal ones go to the earlier in `METHODS`. With no held-out rows (fewer than five in all) it is "minmax".
    on_choice: told the signal to noise in dB by method.
    """
    if len(seen.held_out) == 0:
        return "minmax"
    layers = tuple(widened(layer) for layer in model.layers)
    reference = Engine(replace(model, layers=layers)).logits(seen.held_out)
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)  # the final choice says it once
        for method in METHODS:
            small = replace(model, layers=_to_int8(layers, _ranges(seen, method), per_channel), test_vectors=None)
            found[method] = Engine(small).logits(seen.held_out)
    if on_choice is not None:
        on_choice({method: sqnr_db(reference, logits) for method, logits in found.items()})
    # by the error: where no output varies over these rows, decibels tell nothing apart
    return min(found, key=lambda method: squared_error(reference, found[method]))


def grid_for(found: Range, name: str) -> QuantParams:
    """The uint8 grid whose ends are the range's ends; 0 is always a grid point (ONNX QuantizeLinear).

    A range without extent gets scale 1 and a QuantizationWarning. Raises QuantizationError for a scale that underflows.
    """
    if found.low == found.high == 0.0:
        warnings.warn(f"tensor '{name}' is 0 on every calibration row", QuantizationWarning, stacklevel=2)
        return QuantParams(1.0, 0)
    with np.errstate(over="ignore"):
        scale = float(np.float32((found.high - found.low) / (QMAX - QMIN)))
    if not _TINY <= scale < np.inf:
        raise QuantizationError(
            f"tensor '{name}' has the range {found.low:g}..{found.high:g}, whose scale {scale:g} is not a normal "
            "float32 number; rescale the inputs or the layer"
        )
    zero_point = int(np.clip(np.rint(-found.low / scale), QMIN, QMAX))
    return QuantParams(scale, zero_point)


def _check_arguments(calibration: CalibrationRows | None, precision: str, method: str, test_vectors: int) -> None:
    if not isinstance(test_vectors, (int, np.integer)) or isinstance(test_vectors, bool) or test_vectors < 0:
        raise QUANTIZATION_CHECKS.refusal("test_vectors", test_vectors, "how many rows to store, 0 for none")
    QUANTIZATION_CHECKS.choice("precision", precision, PRECISIONS)
    QUANTIZATION_CHECKS.choice("method", method, (*METHODS, "auto"))
    if precision == "int8" and calibration is None:
        raise QuantizationError("int8 needs calibration rows: some hundreds of real inputs")


def _ranges(seen: Calibration, method: str) -> dict[str, Range]:
    return {name: METHODS[method](histogram) for name, histogram in seen.histograms.items()}


def _to_float16(layer: Dense) -> Dense:
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
            stacklevel=5,  # through the loop over the layers
        )
    return replace(layer, weight=layer.weight.astype(np.float16))


def _to_dynamic(layer: Dense, per_channel: bool) -> DynamicQuantizedDense:
    largest = np.abs(layer.weight.astype(np.float64)).max(axis=0 if per_channel else None, keepdims=True)
    scale = np.broadcast_to(largest / WEIGHT_MAX, (1, layer.n_out))[0].astype(np.float32)
    scale = np.where(scale == 0, np.float32(1), np.maximum(scale, np.float32(_TINY)))  # dead units fade below it
    weight = _quantize_weight(layer, scale.astype(np.float64))
    try:
        return DynamicQuantizedDense(layer.name, weight, layer.bias, scale, layer.activation)
    except ModelError as error:
        raise QuantizationError(str(error)) from error


def _to_int8(layers: tuple[FloatLayer, ...], ranges: dict[str, Range], per_channel: bool) -> tuple[Layer, ...]:
    """Dense layers on grids; stages stay, between a layer that gives floats and one that quantizes them."""
    quantized: list[Layer] = []
    chain, entering = units(layers), "input"
    grid: QuantParams | None = None
    for unit, after in zip(chain, [*chain[1:], None], strict=True):
        if isinstance(unit.layer, Dense):
            grid = grid or grid_for(ranges[entering], entering)
            gives_codes = after is not None and isinstance(after.layer, Dense)
            layer = _layer_to_int8(unit, unit.layer, grid, ranges, gives_codes=gives_codes, per_channel=per_channel)
            quantized.append(layer)
            grid = layer.final_grid
        else:
            quantized.append(unit.layer)
        entering = unit.output
    return tuple(quantized)


def _layer_to_int8(
    unit: Unit, layer: Dense, grid: QuantParams, ranges: dict[str, Range], *, gives_codes: bool, per_channel: bool
) -> QuantizedDense:
    output, table, table_output, activation = None, None, None, unit.activation
    if gives_codes:
        after = grid_for(ranges[unit.output], unit.output)
        if activation is not None and activation.definition.is_arithmetic_on_int8:
            output = after
        else:
            output, table_output = grid_for(ranges[unit.before_table], unit.before_table), after
            table = unit.table(output, after)
    scale = _weight_scales(layer, grid, per_channel)
    try:
        return QuantizedDense(
            name=layer.name,
            weight=_quantize_weight(layer, scale),
            bias=_quantize_bias(layer, scale * grid.scale),
            multiplier=_multiplier(layer, scale * grid.scale / (1.0 if output is None else output.scale)),
            input=grid,
            output=output,
            activation=activation or Activation("linear"),
            table=table,
            table_output=table_output,
        )
    except ModelError as error:
        raise QuantizationError(str(error)) from error


def _weight_scales(layer: Dense, grid: QuantParams, per_channel: bool) -> NDArray[np.float64]:
    """One scale per output channel, (n_out,): the largest weight becomes 127. All are equal where not `per_channel`.

    Where a bias is so much larger than the channel's weights that it would leave int32, the scale is raised until the
    bias fits; the weights' resolution that this costs is below what the bias's own rounding in float32 costs. A channel
    of zeros takes the scale that makes its bias exact to a part in 2^30.
    """
    weight = np.abs(layer.weight.astype(np.float64)).max(axis=0)
    bias = np.abs(layer.bias.astype(np.float64))
    reach = np.abs(layer.weight.astype(np.float64)).sum(axis=0) * grid.scale * (QMAX - QMIN)
    room = np.where(bias > _NEGLIGIBLE * reach, _SMALL_BIAS_ROOM, _BIAS_ROOM)
    scale = np.maximum(weight / WEIGHT_MAX, bias / (grid.scale * room))
    if not per_channel:
        scale = np.full_like(scale, scale.max())
    return np.where(scale == 0.0, 1.0, scale)


def _quantize_weight(layer: Dense, scale: NDArray[np.float64]) -> NDArray[np.int8]:
    return quantize_symmetric(layer.weight.astype(np.float64), scale).astype(np.int8)


def _quantize_bias(layer: Dense, scale: NDArray[np.float64]) -> NDArray[np.int32]:
    rounded = np.rint(layer.bias.astype(np.float64) / scale)
    worst = int(np.abs(rounded).argmax())
    if not np.abs(rounded[worst]) < 2.0**31:
        raise QuantizationError(
            f"'{layer.name}.bias' {worst} is {layer.bias[worst]:g}, which is {rounded[worst]:g} steps of "
            f"{scale[worst]:g} and leaves int32; keep this layer in float16 or float32"
        )
    return rounded.astype(np.int32)


def _multiplier(layer: Dense, values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", under="ignore"):
        multiplier = values.astype(np.float32)
    worst = int(values.argmin())
    if not (np.isfinite(multiplier).all() and multiplier[worst] >= _TINY):
        raise QuantizationError(
            f"'{layer.name}.multiplier' runs from {values.min():g} to {values.max():g} (smallest at channel {worst}), "
            f"expected float32 numbers from {_TINY:g} up; rescale the layer or keep it in float32"
        )
    return multiplier
