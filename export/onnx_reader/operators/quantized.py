"""Quantized operators as the steps that they consist of: codes to real values, a product, real values to codes.

Codes are always on the uint8 grid here: an int8 tensor is the same integers plus 128, and so is its zero point.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime.numerics import QuantParams
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.activations import activation, softmax
from export.onnx_reader.operators.dense import matmul, product
from export.onnx_reader.operators.elementwise import arithmetic, scaled, shifted
from export.onnx_reader.operators.fine_codes import is_table
from export.onnx_reader.operators.folding import along, stored_type
from export.onnx_reader.operators.selecting import gather
from export.onnx_reader.operators.shapes import resolved_axis
from export.onnx_reader.protobuf import has_4_bits
from export.onnx_reader.steps import Dequantize, DynamicQuantize, Lookup, Quantize
from export.onnx_reader.values import Const, DynamicGrid, Flow, Handler, Value, flow_of, optional

_SHIFT = {"uint8": 0, "int8": 128}


def _grid(scale: Value, zero_point: Value, kind: str | None = None) -> tuple[QuantParams, str]:
    """One grid for a whole tensor and its dtype. Raises Unsupported."""
    if not isinstance(scale, Const) or scale.array.size != 1:
        raise Unsupported("its scale is not one constant for the whole tensor")
    if zero_point is None:
        zero, kind = 0, kind or "uint8"
    elif isinstance(zero_point, Const) and zero_point.array.size == 1:
        zero, kind = int(zero_point.array.ravel()[0]), _kind(zero_point)
    else:
        raise Unsupported("its zero point is not one constant for the whole tensor")
    if kind not in _SHIFT:
        raise Unsupported(f"it quantizes to {kind}, expected uint8 or int8", "8 bits")
    return QuantParams(float(np.float32(scale.array.ravel()[0])), zero + _SHIFT[kind]), kind


def _kind(zero_point: Const) -> str:
    """The type of the codes around a zero point, as ONNX names it."""
    name = zero_point.array.dtype.name
    return name.replace("8", "4") if has_4_bits(zero_point.array) else name


def quantize_linear(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Real values onto a grid."""
    if not isinstance(inputs[0], Flow):
        raise Unsupported("its input is not made of the model's input, and its scale is not constant, as expected")
    grid, kind = _grid(inputs[1], optional(inputs, 2), stored_type(node))
    return [_quantized(inputs[0], grid, kind)]


def _quantized(flow: Flow, grid: QuantParams, kind: str) -> Flow:
    if np.dtype(flow.kind).kind != "f":
        raise Unsupported(f"it quantizes {flow.kind} values, expected float32")
    return flow.with_step(Quantize(grid, kind), kind=kind)


def dequantize_linear(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Codes to real values; on a constant the integers are remembered."""
    axis, block = node.attribute("axis", int, 1), node.attribute("block_size", int, 0)
    if block:
        return [_in_blocks(inputs[0], inputs[1], optional(inputs, 2), axis, block, budget)]
    if isinstance(inputs[0], Const):
        return [integers(inputs[0], inputs[1], optional(inputs, 2), axis, budget)]
    return [_dequantized(inputs[0], inputs[1], optional(inputs, 2))]


def _in_blocks(value: Value, scale: Value, zero_point: Value, axis: int, size: int, budget: Budget) -> Const:
    """A constant with a scale for each `size` places along `axis`, as float numbers."""
    if not isinstance(value, Const) or not isinstance(scale, Const):
        raise Unsupported("it has a scale for each block of what is no constant; expected one for the tensor")
    codes, rank = value.array, value.array.ndim
    axis = resolved_axis(axis, rank)
    blocks = tuple(-(-n // size) if at == axis else n for at, n in enumerate(codes.shape))
    zero = zero_point.array if isinstance(zero_point, Const) else np.zeros(blocks, np.int64)
    if codes.dtype.kind not in "iu" or size < 1 or scale.array.shape != blocks or zero.shape != blocks:
        raise Unsupported(f"its scales have shape {scale.array.shape}, expected {blocks}: one for each {size} places")
    budget.charge(codes.size * 4)

    block = np.arange(codes.shape[axis]) // size
    steps = codes.astype(np.int64) - zero.astype(np.int64).take(block, axis)
    return Const(steps.astype(np.float32) * scale.array.astype(np.float32).take(block, axis))


def _dequantized(value: Value, scale: Value, zero_point: Value) -> Flow:
    if not isinstance(value, Flow) or value.kind not in _SHIFT:
        raise Unsupported("its input is not a quantized tensor made of the model's input")
    grid, kind = _grid(scale, zero_point, value.kind)
    if kind != value.kind:
        raise Unsupported(f"its zero point is {kind}, its input {value.kind}")
    return value.with_step(Dequantize(grid), kind="float32")


def integers(value: Value, scale: Value, zero_point: Value, axis: int, budget: Budget) -> Const:
    """A constant stored in integers, with one scale, or one for each place along `axis`."""
    if not isinstance(value, Const) or value.array.dtype.kind not in "iu" or not isinstance(scale, Const):
        raise Unsupported("its weights and scales are not constant integers and numbers")
    if zero_point is not None and not isinstance(zero_point, Const):
        raise Unsupported("the zero point of its weights is not constant")
    budget.charge(value.array.size * 2)
    rank = value.array.ndim
    scales = along(scale.array.astype(np.float32), axis, rank)
    zeros = np.zeros(1, np.int64) if zero_point is None else zero_point.array.astype(np.int64)
    codes = value.array.astype(np.int64) - along(zeros, axis, rank)
    stored = value.array if value.array.dtype == np.int8 else None
    return Const(codes.astype(np.float32) * scales, codes.astype(np.int32), scales, stored=stored)


def qgemm(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """com.microsoft QGemm: dequantize, multiply, add the int32 bias, quantize where it has an output grid."""
    a, a_scale, a_zero, b, b_scale, b_zero = inputs[:6]
    bias, y_scale, y_zero = (optional(inputs, position) for position in (6, 7, 8))
    if node.attribute("transA", int, 0) or float(node.attribute("alpha", float, 1.0)) != 1.0:
        raise Unsupported("it has transA or alpha, expected neither")
    turned = bool(node.attribute("transB", int, 0))
    weight = integers(b, b_scale, b_zero, 0 if turned else 1, budget)
    flow = product(_dequantized(a, a_scale, a_zero), weight.moved(np.transpose) if turned else weight, budget)
    if isinstance(bias, Const) and isinstance(a_scale, Const) and isinstance(b_scale, Const):
        unit = a_scale.array.astype(np.float64) * b_scale.array.astype(np.float64)
        flow = shifted(flow, bias.array.astype(np.float64) * unit.reshape(-1), budget)
    return [flow if y_scale is None else _quantized(flow, *_grid(y_scale, y_zero))]


def qlinear(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The QLinear operators: dequantize each operand, which may be a constant, compute, quantize."""
    plain = replace(node, operator=node.operator.removeprefix("QLinear"))
    handler, operands = _PLAIN[plain.operator]
    sides: list[Value] = []
    for at in range(0, 3 * operands, 3):
        value, scale, zero = inputs[at], inputs[at + 1], optional(inputs, at + 2)
        is_constant = operands > 1 and isinstance(value, Const)
        axis = -1 if at else 0  # of weights with a scale for each output
        sides.append(integers(value, scale, zero, axis, budget) if is_constant else _dequantized(value, scale, zero))
    grid = _grid(inputs[3 * operands], optional(inputs, 3 * operands + 1))
    return [_quantized(flow_of(handler(plain, sides, budget)[0]), *grid)]


def matmul_integer(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The exact sums of codes times integer weights, which later nodes scale."""
    flow, b, zero, b_zero = inputs[0], inputs[1], optional(inputs, 2), optional(inputs, 3)
    if not isinstance(flow, Flow):
        raise Unsupported("its first input is not a quantized tensor made of the model's input")
    one = Const(np.ones(1, np.float32))
    weight = integers(b, one, b_zero, -1, budget)
    if isinstance(zero, DynamicGrid) or (zero is None and isinstance(flow.chain.step, DynamicQuantize)):
        if zero is None or zero.source is not flow.chain or zero.is_scale:
            raise Unsupported("its zero point is not that of its input")
        return [replace(product(flow, weight, budget), kind="int32")]
    return [replace(product(_dequantized(flow, one, zero), weight, budget), kind="int32")]


def dynamic_quantize_linear(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Codes, and a scale and a zero point that are known only when the model runs."""
    if not isinstance(inputs[0], Flow):
        raise Unsupported("it quantizes a constant")
    flow = inputs[0].with_step(DynamicQuantize(), kind="uint8")
    one = np.ones(1, np.float32)
    return [flow, DynamicGrid(flow.chain, True, one), DynamicGrid(flow.chain, False, one)]


def matmul_integer_to_float(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """com.microsoft DynamicQuantizeMatMul and MatMulIntegerToFloat, which onnxruntime makes of the plain nodes."""
    if node.operator == "DynamicQuantizeMatMul":
        a, b, b_scale, b_zero, bias = (optional(inputs, position) for position in range(5))
        codes, a_scale, a_zero = dynamic_quantize_linear(node, [a], budget)
    else:
        a, b, a_scale, b_scale, a_zero, b_zero, bias = (optional(inputs, position) for position in range(7))
        codes = a
    sums = matmul_integer(node, [codes, b, a_zero, b_zero], budget)[0]
    assert isinstance(sums, Flow)
    multiply = replace(node, operator="Mul")
    real = arithmetic(multiply, [replace(sums, kind="float32"), a_scale], budget)[0]
    if not isinstance(real, Flow) or not isinstance(b_scale, Const):
        raise Unsupported("the scale of its weights is not constant")
    real = scaled(real, b_scale.array, budget)
    return [shifted(real, bias.array, budget) if isinstance(bias, Const) else real]


def gather_or_table(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Gather; a constant of as many codes as there are, indexed by codes, is an activation's table."""
    table, index = inputs[0], inputs[1]
    if not isinstance(table, Const) or not isinstance(index, Flow):
        return gather(node, inputs, budget)
    step = index.chain.step
    if is_table(table.array, step):
        kind = table.array.dtype.name
        return [index.with_step(Lookup(table.array, kind), kind=kind)]
    is_code = isinstance(step, Lookup | Quantize) and step.kind == "uint8"  # and a Cast was all that happened to it
    if table.array.shape != (256,) or table.array.dtype.name not in _SHIFT or not is_code:
        raise Unsupported("it looks up the input's own values in a constant, which is no table of 256 codes")
    kind = table.array.dtype.name
    codes = (table.array.astype(np.int16) + _SHIFT[kind]).astype(np.uint8)
    return [index.with_step(Lookup(codes, kind), kind=kind)]


_PLAIN: dict[str, tuple[Handler, int]] = {  # what QLinear operators do to real values, of how many operands
    "Sigmoid": (activation, 1),
    "LeakyRelu": (activation, 1),
    "Softmax": (softmax, 1),
    "MatMul": (matmul, 2),
    "Add": (arithmetic, 2),
    "Mul": (arithmetic, 2),
}
HANDLERS: dict[str, Handler] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "QLinearMatMul": qlinear,
    "MatMulInteger": matmul_integer,
    "DynamicQuantizeLinear": dynamic_quantize_linear,
    "Gather": gather_or_table,
}
MICROSOFT_HANDLERS: dict[str, Handler] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "QGemm": qgemm,
    **dict.fromkeys((f"QLinear{operator}" for operator in _PLAIN), qlinear),
    "DynamicQuantizeMatMul": matmul_integer_to_float,
    "MatMulIntegerToFloat": matmul_integer_to_float,
}
