"""The plain implementation: every intermediate tensor by name, one obvious operation at a time.

The engine is the fast version of this and gives the same int8 bits. ONNX graphs written by `export` use the same tensor
names, so that a tensor of onnxruntime can be laid beside the one here:

    input.standardized      float32  rows after preprocessing
    NAME.quantized_input    codes    where real values enter an int8 layer
    NAME.accumulator        int32    exact sums of an int8 layer
    NAME.scaled             float32  accumulator * multiplier (int8-dynamic: * weight_scale)
    NAME.codes              codes    table index, where the activation is a table
    NAME.preactivation      float32  x @ weight + bias of a float layer; int8-dynamic: scaled * input scale + bias
                                     of a stage: its values before the activation
    NAME.output             codes or float32: what the next layer, or the user, receives

Codes are uint8, or uint16 on a grid of more than 8 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.array_types import Tensors
from edge_runtime.layers import Dense, DynamicQuantizedDense, Elementwise, Layer, LayerNorm, QuantizedDense, Stage
from edge_runtime.model import Model
from edge_runtime.numerics import accumulate, dynamic_grid, quantize, quantize_on, saturate, scale_accumulator

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Trace(dict[str, "NDArray[Any]"]):
    """Tensors by name, in the order of their computation. No array is printed."""

    def __repr__(self) -> str:
        rows = max((len(tensor) for tensor in self.values()), default=0)
        return f"Trace({len(self):,} tensors of {rows:,} rows)"


def trace(model: Model, x: NDArray[Any]) -> Tensors:
    """All tensors of one pass, in order. x: numbers (batch, n_in), not yet standardized."""
    value: NDArray[Any] = x.astype(np.float32)
    tensors: Tensors = Trace()
    if model.preprocessing is not None:
        value = tensors["input.standardized"] = model.preprocessing(value)
    for layer in model.layers:
        tensors.update(trace_layer(layer, value))
        value = tensors[f"{layer.name}.output"]
    return tensors


def trace_layer(layer: Layer, value: NDArray[Any]) -> Tensors:
    """The tensors of one layer. value: codes on its input grid, or float32, (batch, n_in)."""
    if isinstance(layer, Dense):
        preactivation = value @ layer.weight.astype(np.float32) + layer.bias
        return {f"{layer.name}.preactivation": preactivation, f"{layer.name}.output": layer.activation(preactivation)}
    if isinstance(layer, Stage):
        preactivation = stage_values(layer, value)
        return {f"{layer.name}.preactivation": preactivation, f"{layer.name}.output": layer.activation(preactivation)}
    if isinstance(layer, DynamicQuantizedDense):
        return _trace_dynamic(layer, value)
    return _trace_int8(layer, value)


def stage_values(layer: Elementwise | LayerNorm, value: NDArray[Any]) -> NDArray[Any]:
    """What a stage gives before its activation, (batch, n), in the dtype of its float values (batch, n)."""
    if isinstance(layer, LayerNorm):
        return _normalized(layer, value)
    value = value * layer.scale + layer.shift
    if layer.slope is not None:
        value = np.where(value < 0, layer.slope * value, value)
    value = value if layer.low is None else np.maximum(value, layer.low)
    return value if layer.high is None else np.minimum(value, layer.high)


def _normalized(layer: LayerNorm, value: NDArray[Any]) -> NDArray[Any]:
    """Sums in the order of the features, as the engine adds them."""
    n = value.dtype.type(layer.n_in)
    if layer.centered:
        value = value - np.add.accumulate(value, axis=-1)[:, -1:] / n
    variance = np.add.accumulate(value * value, axis=-1)[:, -1:] / n + value.dtype.type(layer.epsilon)
    return value / np.sqrt(variance) * layer.gamma + layer.beta


def _trace_dynamic(layer: DynamicQuantizedDense, value: NDArray[Any]) -> Tensors:
    scale, zero_point = dynamic_grid(value) if value.size else (np.float32(1), 0)
    quantized = quantize_on(value, scale, zero_point)
    accumulator = accumulate(quantized, zero_point, layer.weight, np.zeros(layer.n_out, np.int32))
    scaled = scale_accumulator(accumulator, layer.weight_scale)
    preactivation = scaled * scale + layer.bias
    return {
        f"{layer.name}.quantized_input": quantized,
        f"{layer.name}.accumulator": accumulator,
        f"{layer.name}.scaled": scaled,
        f"{layer.name}.preactivation": preactivation,
        f"{layer.name}.output": layer.activation(preactivation),
    }


def _trace_int8(layer: QuantizedDense, value: NDArray[Any]) -> Tensors:
    tensors: Tensors = {}
    if value.dtype.kind == "f":
        value = tensors[f"{layer.name}.quantized_input"] = quantize(value, layer.input)
    accumulator = accumulate(value, layer.input.zero_point, layer.weight, layer.bias)
    scaled = scale_accumulator(accumulator, layer.multiplier)
    tensors[f"{layer.name}.accumulator"], tensors[f"{layer.name}.scaled"] = accumulator, scaled
    return tensors | behind_accumulator(layer, scaled)


def behind_accumulator(layer: QuantizedDense, scaled: NDArray[np.float32]) -> Tensors:
    """What a static int8 layer makes of scaled accumulators (batch, n_out): NAME.output, and NAME.codes of a table."""
    if layer.output is None:
        return {f"{layer.name}.output": layer.activation(scaled)}
    grid = layer.output
    if layer.table is None:
        return {f"{layer.name}.output": saturate(layer.activation(scaled), grid.zero_point, grid.bits)}
    codes = saturate(scaled, grid.zero_point, grid.bits)
    return {f"{layer.name}.codes": codes, f"{layer.name}.output": layer.table[codes]}


def logits(model: Model, tensors: Tensors) -> NDArray[np.float32]:
    """What the last layer gives before its activation, out of a trace: float32 (batch, n_out)."""
    return before_activation(model.layers[-1], tensors)


def before_activation(last: Layer, tensors: Tensors) -> NDArray[np.float32]:
    """The same of a layer that gives floats, out of its tensors."""
    return tensors[f"{last.name}.{'scaled' if isinstance(last, QuantizedDense) else 'preactivation'}"]
