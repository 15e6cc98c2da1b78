"""Which steps become which layers: the chain is read from its start to its end."""

from __future__ import annotations

from edge_runtime.errors import ModelError
from export.onnx_reader.layers.assembly import Assembly
from export.onnx_reader.layers.int8 import quantized_layers
from export.onnx_reader.nodes import SUPPORTED, Unsupported, with_expectation
from export.onnx_reader.steps import Center, DynamicQuantize, Linear, MinusRow, Normalize, Quantize


def build_layers(assembly: Assembly) -> None:
    """Make all layers of an assembly. Raises Unsupported, naming the node that a layer cannot be made of."""
    try:
        _build(assembly)
    except (Unsupported, ModelError) as error:
        raise with_expectation(error).at(assembly.nodes[assembly.focus] if assembly.nodes else None) from error


def _build(assembly: Assembly) -> None:
    assembly.begin()
    while (step := assembly.peek()) is not None:
        assembly.focus = assembly.at
        if not isinstance(step, Quantize):
            assembly.require_no_row_function()
        if isinstance(step, Linear):
            assembly.dense(step)
        elif isinstance(step, DynamicQuantize):
            assembly.dynamic()
        elif isinstance(step, Center | Normalize):
            assembly.normalization()
        elif isinstance(step, Quantize):
            assembly.settle_carry()
            quantized_layers(assembly)
        elif isinstance(step, MinusRow):
            raise Unsupported("each row's largest value is taken off; that is supported as part of softmax only")
        else:
            raise Unsupported("it uses the codes of a quantized tensor as numbers; only int8 chains are supported")
    assembly.settle_carry()
    if not assembly.layers:
        raise Unsupported(f"the graph has no layer with weights, expected at least one; {SUPPORTED}")
