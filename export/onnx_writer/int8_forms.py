"""int8 layers in ONNX, in three forms.

integer   MatMulInteger -> Add -> Cast -> Mul -> ... -> QuantizeLinear. Standard operators that say exactly what
          `edge_runtime.numerics.quantization` says; the same bits at every level of graph optimization.
qgemm     com.microsoft.QGemm. The same bits in one node, for onnxruntime only.
qdq       QuantizeLinear and DequantizeLinear around Gemm. What TensorRT, QNN and OpenVINO take in. Not bit-exact: an
          engine may compute it in integers or in floats, and onnxruntime does either, depending on its level.

Each function adds one layer to a graph and returns the name of its output: codes on its output grid, or float32 where
it has none. `value` is codes on the layer's input grid: uint8, or uint16 on one of more than 8 bits, which the integer
form has alone. There a code is 256 * high + low, two bytes that are multiplied by themselves and joined in int32:

    256 * MatMulInteger(high, weight, zero_point div 256) + MatMulInteger(low, weight, zero_point mod 256)

None of these sums leaves int32: each is at most (2^bits - 1) * sum |weight|, and the layer's certificate is that and
the bias. QGemm has no such codes. The qdq form would have, from opset 21 on, and engines would add in floats:
onnxruntime has no integer kernel for them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from edge_runtime.errors import QuantizationError
from edge_runtime.layers import DynamicQuantizedDense, Int4Dense, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import FEWEST_BITS, QuantParams
from export.onnx_writer.activation_tables import is_its_function
from export.onnx_writer.graph import INT4_OPSET, Graph
from export.onnx_writer.pair_saturation import is_pair_safe

MICROSOFT = "com.microsoft"
_BYTE = 256


def integer_layer(graph: Graph, layer: QuantizedDense, value: str, output: str) -> str:
    """Explicit integers in standard operators."""
    sums = _sums_of_bytes if layer.input.bits > FEWEST_BITS else _sums
    bias = graph.constant(f"{layer.name}.bias", layer.bias)
    accumulator = graph.node("Add", [sums(graph, layer, value), bias], f"{layer.name}.accumulator")
    as_float = graph.node("Cast", [accumulator], f"{layer.name}.accumulator_float32", to=TensorProto.FLOAT)
    multiplier = graph.constant(f"{layer.name}.multiplier", layer.multiplier)
    scaled = graph.node("Mul", [as_float, multiplier], f"{layer.name}.scaled")
    return _after_scaling(graph, layer, scaled, output)


def qgemm_layer(graph: Graph, layer: QuantizedDense, value: str, output: str) -> str:
    """One QGemm, with input scale 1 and the multipliers in the place of the weights' scales."""
    name = layer.name
    weight, zero_point = _weight(graph, name, layer.weight, per_channel=True)
    inputs = [value, graph.constant(f"{name}.one", np.float32(1)), _zero_point(graph, layer), weight]
    inputs += [graph.constant(f"{name}.multiplier", layer.multiplier), zero_point]
    inputs += [graph.constant(f"{name}.bias", layer.bias)]
    rounds = layer.output is not None and (_is_plain(layer) or layer.table is not None)
    if not rounds or layer.output is None:
        scaled = graph.node("QGemm", inputs, f"{name}.scaled", domain=MICROSOFT)
        return _after_scaling(graph, layer, scaled, output)
    rounded = output if layer.table is None else f"{name}.codes"
    grid = graph.grid(rounded, _one_step(layer.output))
    codes = graph.node("QGemm", [*inputs, *grid], rounded, domain=MICROSOFT)
    return codes if layer.table is None else _look_up(graph, layer, codes, output)


def qdq_layer(graph: Graph, layer: QuantizedDense, value: str, output: str, *, portable: bool = False) -> str:
    """Dequantize, Gemm, activation, quantize: real arithmetic with the integers' scales around it.

    A table that is not what its activation gives (an imported one may be any) is looked up, as in the other forms.
    portable: weights that can saturate are stored as uint8 with a zero point, which no x86 processor saturates.
    """
    name = layer.name
    data = graph.node("DequantizeLinear", [value, *graph.grid(f"{name}.input", layer.input)], f"{name}.input_real")
    out_scale = 1.0 if layer.output is None else layer.output.scale
    bias_scale = layer.multiplier.astype(np.float64) * out_scale
    weight_scale = (bias_scale / layer.input.scale).astype(np.float32)
    if isinstance(layer, Int4Dense) and graph.opset >= INT4_OPSET:
        inputs = [graph.int4(f"{name}.weight", layer.weight), graph.constant(f"{name}.weight_scale", weight_scale)]
        inputs.append(graph.int4(f"{name}.weight_zero_point", np.zeros(layer.n_out, np.int8)))
        weight_real = graph.node("DequantizeLinear", inputs, f"{name}.weight_real", axis=1)
    else:
        weight, zero_point = _stored(layer.weight, as_int8=not portable)
        weight_real = _dequantized(graph, f"{name}.weight", weight, weight_scale, zero_point, axis=1)
    around_0 = np.zeros(layer.n_out, np.int32)
    bias = _dequantized(graph, f"{name}.bias", layer.bias, bias_scale.astype(np.float32), around_0, axis=0)
    product = graph.node("Gemm", [data, weight_real, bias], f"{name}.real")
    if layer.output is None:
        return graph.activation(layer.activation, product, output)
    if layer.table is None or layer.table_output is None:
        return graph.quantize(graph.activation(layer.activation, product, f"{name}.activated"), layer.output, output)
    codes = graph.quantize(product, layer.output, f"{name}.codes")
    if not is_its_function(layer):
        return _look_up(graph, layer, codes, output)
    real = graph.node(
        "DequantizeLinear", [codes, *graph.grid(f"{name}.codes_real", layer.output)], f"{name}.codes_real"
    )
    return graph.quantize(graph.activation(layer.activation, real, f"{name}.activated"), layer.table_output, output)


def dynamic_layer(graph: Graph, layer: DynamicQuantizedDense, value: str, output: str) -> str:
    """An int8-dynamic layer, from float32 to float32.

    The two scales are multiplied in one after the other: engines fuse the pattern in which their product comes first,
    and the fused operator rounds otherwise.
    """
    name = layer.name
    quantized, scale, zero_point = f"{name}.quantized_input", f"{name}.input_scale", f"{name}.input_zero_point"
    graph.add_node("DynamicQuantizeLinear", [value], [quantized, scale, zero_point])
    weight = _weight(graph, name, layer.weight)
    accumulator = _accumulator(graph, name, weight, quantized, zero_point, f"{name}.accumulator")
    as_float = graph.node("Cast", [accumulator], f"{name}.accumulator_float32", to=TensorProto.FLOAT)
    weight_scale = graph.constant(f"{name}.weight_scale", layer.weight_scale)
    scaled = graph.node("Mul", [as_float, weight_scale], f"{name}.scaled")
    real = graph.node("Mul", [scaled, scale], f"{name}.real")
    summed = graph.node("Add", [real, graph.constant(f"{name}.bias", layer.bias)], f"{name}.preactivation")
    return graph.activation(layer.activation, summed, output)


def require_form(model: Model, form: str) -> None:
    """Raise QuantizationError where a layer has codes of more than 8 bits and the form has none."""
    for layer in model.layers:
        if isinstance(layer, QuantizedDense) and layer.has_fine_grids:
            require_form_of_fine_codes(f"layer '{layer.name}'", form)


def require_form_of_fine_codes(what: str, form: str) -> None:
    """Raise QuantizationError for a form that has no codes of more than 8 bits. what: has them."""
    if form != "integer":
        raise QuantizationError(
            f"{what} has codes of more than 8 bits, and form {form!r} has 8; write it with --form integer "
            "(form='integer'), which is exact in every engine"
        )


def _sums(graph: Graph, layer: QuantizedDense, value: str) -> str:
    return _accumulator(graph, layer.name, _integers(graph, layer), value, _zero_point(graph, layer))


def _sums_of_bytes(graph: Graph, layer: QuantizedDense, value: str) -> str:
    """Of codes of more than 8 bits."""
    name = layer.name
    codes = graph.node("Cast", [value], f"{name}.input_int32", to=TensorProto.INT32)
    base = graph.constant(f"{name}.256", np.int32(_BYTE))
    stored = _integers(graph, layer)
    sums = []
    for operator, part, zero_point in zip(
        ("Div", "Mod"), ("high", "low"), divmod(layer.input.zero_point, _BYTE), strict=True
    ):
        half = graph.node(operator, [codes, base], f"{name}.{part}_int32")
        byte = graph.node("Cast", [half], f"{name}.{part}", to=TensorProto.UINT8)
        zero = graph.constant(f"{name}.{part}_zero_point", np.uint8(zero_point))
        sums.append(graph.node("MatMulInteger", [byte, stored[0], zero, stored[1]], f"{name}.{part}_product"))
    high = graph.node("Mul", [sums[0], base], f"{name}.high_sums")
    return graph.node("Add", [high, sums[1]], f"{name}.product")


FORMS: dict[str, Callable[[Graph, QuantizedDense, str, str], str]] = {
    "integer": integer_layer,
    "qdq": qdq_layer,
    "qgemm": qgemm_layer,
}


def _after_scaling(graph: Graph, layer: QuantizedDense, scaled: str, output: str) -> str:
    """What follows accumulator * multiplier: activation and rounding, or the table, or a float32 activation."""
    if layer.output is None:
        return graph.activation(layer.activation, scaled, output)
    if layer.table is not None:
        codes = graph.quantize(scaled, _one_step(layer.output), f"{layer.name}.codes")
        return _look_up(graph, layer, codes, output)
    activated = scaled
    if not _is_plain(layer):
        activated = graph.activation(layer.activation, scaled, f"{layer.name}.activated")
    return graph.quantize(activated, _one_step(layer.output), output)


def _is_plain(layer: QuantizedDense) -> bool:
    """Whether saturation alone is the activation: linear, or ReLU on a grid that starts at 0."""
    assert layer.output is not None
    return layer.activation.name == "linear" or (layer.activation.name == "relu" and layer.output.zero_point == 0)


def _one_step(grid: QuantParams) -> QuantParams:
    """The grid in its own steps: the multiplier has divided by the scale already."""
    return QuantParams(1.0, grid.zero_point, grid.bits)


def _look_up(graph: Graph, layer: QuantizedDense, codes: str, output: str) -> str:
    index = graph.node("Cast", [codes], f"{layer.name}.index", to=TensorProto.INT32)
    return graph.node("Gather", [graph.constant(f"{layer.name}.table", layer.table), index], output)


def _zero_point(graph: Graph, layer: QuantizedDense) -> str:
    return graph.constant(f"{layer.name}.input_zero_point", np.uint8(layer.input.zero_point))


def _accumulator(
    graph: Graph, name: str, weight: tuple[str, str], value: str, zero_point: str, output: str | None = None
) -> str:
    stored, weight_zero_point = weight
    return graph.node("MatMulInteger", [value, stored, zero_point, weight_zero_point], output or f"{name}.product")


def _integers(graph: Graph, layer: QuantizedDense) -> tuple[str, str]:
    """The weights as 8-bit integers and their zero point, 4-bit ones as such where the graph can hold them.

    onnxruntime makes one constant of the Cast. A DequantizeLinear in its place is read by versions before 1.23 too, but
    computed anew at each run, for sixty times what a row takes.
    """
    if not isinstance(layer, Int4Dense) or graph.opset < INT4_OPSET:
        return _weight(graph, layer.name, layer.weight)
    packed = graph.int4(f"{layer.name}.weight", layer.weight)
    weight = graph.node("Cast", [packed], f"{layer.name}.weight_int8", to=TensorProto.INT8)
    return weight, graph.constant(f"{layer.name}.weight_zero_point", np.int8(0))


def _weight(graph: Graph, name: str, weight: NDArray[np.integer], *, per_channel: bool = False) -> tuple[str, str]:
    """The weights as `_stored`, and their zero point: one if it is the same for all outputs.

    per_channel: QGemm wants the zero point in the shape of the scale.
    """
    stored, zero_point = _stored(weight)
    shaped = zero_point if per_channel or np.ptp(zero_point) else zero_point[0]
    return graph.constant(f"{name}.weight", stored), graph.constant(f"{name}.weight_zero_point", shaped)


def _stored(weight: NDArray[np.integer], *, as_int8: bool = False) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Weights as 8-bit integers, and the zero point (n_out,) of each column.

    int8 and 0 where no pair of products can saturate, or `as_int8` and they are; else uint8 and what fits, 128 if it
    does: one zero point for all columns, if there is one.
    """
    if weight.dtype == np.int8 and (as_int8 or is_pair_safe(weight)):
        return weight, np.zeros(weight.shape[1], np.int8)
    low, high = np.maximum(0, -weight.min(axis=0).astype(np.int16)), 255 - weight.max(axis=0).astype(np.int16)
    if low.max() <= high.min():
        low, high = np.full_like(low, low.max()), np.full_like(high, high.min())
    zero_point = np.minimum(np.maximum(low, 128), np.minimum(high, 255))
    return (weight + zero_point).astype(np.uint8), zero_point.astype(np.uint8)


def _dequantized(
    graph: Graph,
    name: str,
    values: NDArray[np.integer],
    scale: NDArray[np.float32],
    zero_point: NDArray[np.integer],
    *,
    axis: int,
) -> str:
    """A constant stored in integers, with one scale and zero point per output channel along `axis`."""
    inputs = [graph.constant(name, values), graph.constant(f"{name}_scale", scale)]
    inputs.append(graph.constant(f"{name}_zero_point", zero_point))
    return graph.node("DequantizeLinear", inputs, f"{name}_real", axis=axis)
