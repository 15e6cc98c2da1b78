"""Layers without weights as ONNX: plain operators, exact in every engine but for LayerNorm.

Elementwise   [Mul] -> [Add] -> [PRelu] -> [Max] -> [Min] -> activation
LayerNorm     [ReduceMean, Sub] -> Mul -> ReduceMean -> Add -> Sqrt -> Div -> Mul -> Add -> activation
"""

from __future__ import annotations

import numpy as np

from edge_runtime.layers import Elementwise, LayerNorm
from export.onnx_writer.graph import Graph


def stage(graph: Graph, layer: Elementwise | LayerNorm, value: str, output: str) -> str:
    """Nodes from float32 `value` to float32 `output`; the name of the latter."""
    before = _norm(graph, layer, value) if isinstance(layer, LayerNorm) else _map(graph, layer, value)
    return graph.activation(layer.activation, before, output)


def _map(graph: Graph, layer: Elementwise, value: str) -> str:
    """The operators that change something; the last gives "NAME.preactivation"."""
    steps = [
        ("Mul", "scale", layer.scale if (layer.scale != 1).any() else None),
        ("Add", "shift", layer.shift if layer.shift.any() else None),
        ("PRelu", "slope", layer.slope),
        ("Max", "low", layer.low),
        ("Min", "high", layer.high),
    ]
    used = [(operator, key, array) for operator, key, array in steps if array is not None]
    before = f"{layer.name}.preactivation"
    for operator, key, array in used:
        target = before if key == used[-1][1] else f"{layer.name}.after_{key}"
        value = graph.node(operator, [value, graph.constant(f"{layer.name}.{key}", array)], target)
    return value if used else graph.node("Identity", [value], before)


def _norm(graph: Graph, layer: LayerNorm, value: str) -> str:
    name = layer.name
    if layer.centered:
        value = graph.node("Sub", [value, graph.mean(value, f"{name}.mean")], f"{name}.centered")
    square = graph.node("Mul", [value, value], f"{name}.square")
    variance = graph.mean(square, f"{name}.variance")
    epsilon = graph.constant(f"{name}.epsilon", np.float32(layer.epsilon))
    total = graph.node("Add", [variance, epsilon], f"{name}.variance_and_epsilon")
    deviation = graph.node("Sqrt", [total], f"{name}.deviation")
    normalized = graph.node("Div", [value, deviation], f"{name}.normalized")
    scaled = graph.node("Mul", [normalized, graph.constant(f"{name}.gamma", layer.gamma)], f"{name}.after_gamma")
    return graph.node("Add", [scaled, graph.constant(f"{name}.beta", layer.beta)], f"{name}.preactivation")
