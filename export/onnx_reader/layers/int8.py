"""int8 layers out of steps: what the file computes on codes, with the same bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.layers import Int4Dense, Layer, QuantizedDense
from edge_runtime.numerics import INT4_MAX, INT4_MIN, Activation, QuantParams
from export.onnx_reader.layers.assembly import (
    LINEAR,
    Assembly,
    Tail,
    integer_weights,
    tail_of,
    with_positive_scale,
)
from export.onnx_reader.layers.bias import Bias, is_in_whole_steps, on_accumulator_grid
from export.onnx_reader.layers.functions import pieces
from export.onnx_reader.layers.table import table_of
from export.onnx_reader.nodes import Unsupported
from export.onnx_reader.steps import IDENTITY, Affine, Dequantize, Function, Linear, Lookup, Quantize, Step

_FLOAT_PRODUCTS = ("MatMul", "Gemm")  # of dequantized values, where an engine does not fuse them into integer ones

_WIDEST = 4096  # codes that a layer of as many weights for each may read


def quantized_layers(assembly: Assembly) -> None:
    """Take the steps from a Quantize on, until values are real again. Raises Unsupported."""
    step = assembly.peek()
    assert isinstance(step, Quantize)
    assembly.at += 1
    grid = step.grid
    if _rounds_the_output(assembly, grid):
        return
    on_codes: QuantParams | None = grid
    while on_codes is not None:
        on_codes = _next(assembly, on_codes)


def _rounds_the_output(assembly: Assembly, grid: QuantParams) -> bool:
    """Softmax is the end of a model: a grid that the file rounds it to afterwards is noted, and left out."""
    ends_with_row = bool(assembly.layers) and assembly.layers[-1].activation.definition.is_over_row
    if not ends_with_row:
        return False
    grids, is_rounded = [grid], True
    for step in assembly.steps[assembly.at :]:  # quantizers round the same values twice, under two names
        if not isinstance(step, Dequantize if is_rounded else Quantize):
            assembly.require_no_row_function()
        if isinstance(step, Quantize):
            grids.append(step.grid)
        is_rounded = not is_rounded
    if is_rounded:
        assembly.require_no_row_function()
    assembly.at = len(assembly.steps)
    assembly.output_grids = tuple(grids)
    return True


def _next(assembly: Assembly, grid: QuantParams) -> QuantParams | None:
    """One layer or table on codes of `grid`; the grid of the codes after it, None where values are real."""
    step, assembly.focus = assembly.peek(), min(assembly.at, len(assembly.steps) - 1)
    if isinstance(step, Lookup):
        return _stored_table(assembly, step, grid)
    if not isinstance(step, Dequantize):
        raise Unsupported("the output, or a function, takes the codes of a quantized tensor; expected real values")
    if step.grid.zero_point != grid.zero_point:
        put, read = (f"scale {each.scale:g}, zero point {each.zero_point}" for each in (grid, step.grid))
        raise Unsupported(f"codes on the grid {put} are read as if on {read}, expected one grid")
    assembly.at += 1
    product = assembly.peek()
    if isinstance(product, Linear):
        assembly.focus = assembly.at
        if product.codes is None or product.scale is None:
            raise Unsupported("its weights are not what quantized values need: expected integers, one scale per output")
        assembly.note_product(assembly.at)
        assembly.at += 1
        return _layer(assembly, product.codes, product.scale, grid, step.grid.scale)
    start = assembly.at
    run, after = assembly.take_steps(), assembly.peek()
    if not run and isinstance(after, Quantize) and after.grid == step.grid == grid:
        assembly.at += 1  # once more on the same grid, which changes nothing
        return grid
    if isinstance(after, Quantize) and all(getattr(each, "is_uniform", isinstance(each, Function)) for each in run):
        if _rounds(run) and not _keeps_table(assembly):  # codes of the input, or of what has no product
            _ones(assembly, Tail(IDENTITY, LINEAR, [], grid), grid, grid.scale)
        if _keeps_table(assembly):
            assembly.at += 1
            return _computed_table(assembly, run, step.grid, after.grid)
    assembly.at = start
    return _layer_of_ones(assembly, grid, step.grid.scale)


def _tail(assembly: Assembly) -> Tail:
    tail, following = tail_of(assembly.take_run()), assembly.peek()
    if not isinstance(following, Quantize) or tail.rest or not tail.activation.definition.is_arithmetic_on_int8:
        return tail
    assembly.at += 1
    return tail._replace(output=following.grid)


def _tail_that_fits(assembly: Assembly, codes: Array, unit: Array) -> Tail:
    """Affine maps as long as the layer can take them in; a stage does what follows.

    Where not even the first fits, which is the layer's own bias, it is the whole tail: the layer is refused.
    """
    after, start = IDENTITY, assembly.at
    while isinstance(step := assembly.peek(), Affine) and _fits(codes, unit, after.then(step)):
        after, assembly.at = after.then(step), assembly.at + 1
    return _tail(assembly) if assembly.at == start else Tail(after, LINEAR, assembly.take_run())


def _tail_in_the_same_bits(assembly: Assembly, unit: Array) -> Tail:
    """Affine maps as long as the layer computes them in the file's own bits; a stage does what follows.

    One scale, for a second would round the product once more, and a bias of whole steps.
    """
    after = IDENTITY
    while isinstance(step := assembly.peek(), Affine):
        further = after.then(step)
        if not (
            ((after.scale == 1) | (step.scale == 1)).all() and is_in_whole_steps(further.shift, unit * further.scale)
        ):
            return Tail(after, LINEAR, assembly.take_run())
        after, assembly.at = further, assembly.at + 1
    return _tail(assembly)._replace(after=after)


def _fits(codes: Array, unit: Array, after: Affine) -> bool:
    """Whether weights of -8 stay in 4 bits, and the bias in int32, with a map taken in."""
    turned, step = with_positive_scale(codes, unit * after.scale, after.shift)
    return _is_int4(turned) >= _is_int4(codes) and bool((np.abs(after.shift) < 2.0**31 * step).all())


def _layer(assembly: Assembly, codes: Array, scale: Array, grid: QuantParams, step: float) -> QuantParams | None:
    """An int8 layer: codes on `grid`, each worth `step`, times integer weights, each worth `scale`."""
    n_out = codes.shape[1]
    unit = np.float32(step) * np.broadcast_to(scale, (n_out,)).astype(np.float32)  # float32, as onnxruntime does it
    node = assembly.nodes[assembly.focus]
    adds_floats = node is not None and node.operator in _FLOAT_PRODUCTS
    start, tail = assembly.at, _tail(assembly)
    if not _fits(codes, unit, tail.after):
        assembly.at = start
        tail = _tail_that_fits(assembly, codes, unit)
    elif tail.output is None and not adds_floats:
        assembly.at = start
        tail = _tail_in_the_same_bits(assembly, unit)
    factor = np.broadcast_to(tail.after.scale, (n_out,))
    if (factor != 1).any():
        unit = (unit.astype(np.float64) * factor).astype(np.float32)
    codes, unit = with_positive_scale(codes, unit, tail.after.shift)
    reach = grid.top * np.abs(codes).sum(axis=0)
    bias = on_accumulator_grid(tail.after.shift, unit, reach)
    if tail.output is None and adds_floats:
        bias = bias.with_float_sums(unit, reach)
    return _emit(assembly, tail, codes, unit, bias, grid)


def _layer_of_ones(assembly: Assembly, grid: QuantParams, step: float) -> QuantParams | None:
    """A layer that changes nothing but grids, and, after it, stages for what the file does to real values."""
    start, tail = assembly.at, _tail(assembly)
    if not tail.after.is_identity:  # real numbers that a stage computes, with the file's own bits
        assembly.at, tail = start, Tail(IDENTITY, LINEAR, [])
        tail = tail._replace(rest=assembly.take_run())
    return _ones(assembly, tail, grid, step)


def _ones(assembly: Assembly, tail: Tail, grid: QuantParams, step: float) -> QuantParams | None:
    """Each code for itself, worth `step`. Raises Unsupported for too many."""
    width = assembly.width
    if width > _WIDEST:
        raise Unsupported(f"no layer can take in what it does to {width:,} codes, expected {_WIDEST:,} at most")
    assembly.budget.charge(width * width)
    none = np.zeros(width)
    return _emit(assembly, tail, np.eye(width, dtype=np.int8), np.full(width, step, np.float32), Bias(none, none), grid)


def _emit(
    assembly: Assembly, tail: Tail, codes: Array, unit: Array, bias: Bias, grid: QuantParams
) -> QuantParams | None:
    layer = QuantizedDense(
        name=assembly.name(),
        weight=integer_weights(codes),
        bias=bias.steps.astype(np.int32),
        multiplier=unit if tail.output is None else unit / np.float32(tail.output.scale),
        input=grid,
        output=tail.output,
        activation=tail.activation,
    )
    if bias.slack.any():
        assembly.slack[layer.name] = bias.slack
    assembly.layers.append(layer)
    assembly.width = layer.n_out
    if tail.output is None:
        assembly.continue_with(tail.rest)
    return tail.output


def in_4_bits(layer: Layer) -> Layer:
    """A layer of a file with 4-bit weights: with the same integers, two to a byte, if they are -8..7."""
    if type(layer) is not QuantizedDense or not _is_int4(layer.weight):
        return layer
    fields = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}
    return Int4Dense(**{**fields, "weight": layer.weight.astype(np.int8)})


def _is_int4(codes: Array) -> bool:
    return bool(codes.min() >= INT4_MIN and codes.max() <= INT4_MAX)


def _keeps_table(assembly: Assembly) -> bool:
    """Whether the layer before can keep a table."""
    last = assembly.layers[-1] if assembly.layers else None
    fits = isinstance(last, QuantizedDense) and last.output is not None and last.table is None
    return fits and assembly.layers[-1].activation == LINEAR


def _rounds(run: list[Step]) -> bool:
    return any(getattr(step, "rounds", False) for step in run)


def _computed_table(assembly: Assembly, run: list[Step], before: QuantParams, after: QuantParams) -> QuantParams:
    """All 256 codes through the function, in float32 as an engine would compute it.

    Codes whose value stands so near to a tie that another engine's function may round it otherwise are noted.
    """
    parts: Sequence[Any] = run if _rounds(run) else pieces(run)
    table = table_of(parts, before, after)
    assembly.ties |= {(assembly.layers[-1].name, code, other) for code, other in table.ties()}
    functions = [part for part in parts if isinstance(part, Activation)]
    # a table is named after its function, unless that is one which a layer without a table computes by arithmetic
    is_named = len(functions) == 1 and not functions[0].definition.is_arithmetic_on_int8
    return _with_table(assembly, table.entries, after, functions[0] if is_named else LINEAR)


def _stored_table(assembly: Assembly, step: Lookup, grid: QuantParams) -> QuantParams:
    """A table of the file; the grid of its codes is what the next node takes them for."""
    assembly.at += 1
    following = assembly.peek()
    if not isinstance(following, Dequantize) or not _keeps_table(assembly):
        raise Unsupported("a table stands where no int8 layer can keep it")
    return _with_table(assembly, step.table, following.grid, LINEAR)


def _with_table(assembly: Assembly, table: Array, after: QuantParams, activation: Activation) -> QuantParams:
    last = assembly.layers[-1]
    assert isinstance(last, QuantizedDense)
    assembly.layers[-1] = replace(last, table=table, table_output=after, activation=activation)
    return after
