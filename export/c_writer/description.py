"""What the templates say of a model: its layers in the order of C, its buffers, its names, its stored vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from edge_runtime.layers import QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import FLOAT32_EXACT, QMAX, QMIN
from edge_runtime.reference import logits as logits_of
from edge_runtime.reference import trace
from edge_runtime.schema import Schema
from export.c_writer.packing import folded_bias, packed_weight


@dataclass(frozen=True, eq=False)
class CLayer:
    """An int8 layer as C has it.

    low, high: the ends of its rounded steps, before the zero point. slope: of leaky_relu. source, target: where
    its codes are read and written: "x", "scratch->a", "scratch->b"; the last layer's target is "y", the float32 values.
    """

    name: str
    n_in: int
    n_out: int
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.float32]
    low: int
    high: int
    zero_point: int
    slope: float
    table: NDArray[np.uint8] | None
    source: str
    target: str


def describe_model(model: Model, int8: list[QuantizedDense], *, logits: bool = False) -> dict[str, Any]:
    """The words of the templates, except for those of the name and of the artifact."""
    layers = _layers(int8)
    hidden = layers[:-1]
    final = model.final_activation
    return {
        "model": model,
        "layers": layers,
        "hidden": hidden,
        "sizes": "-".join(str(size) for size in model.layer_sizes),
        "scratch": [max((layer.n_out for layer in hidden[first::2]), default=0) for first in (0, 1)],
        "has_scratch": bool(hidden),
        "input_grid": int8[0].input,
        "preprocessing": model.preprocessing,
        "has_tables": any(layer.table is not None for layer in layers),
        "has_slopes": any(layer.slope != 1.0 for layer in layers),
        "largest_sum": max((layer.certificate for layer in int8[:-1]), default=0),
        "float32_exact": FLOAT32_EXACT,
        "has_left_outputs": any(layer.n_out % 4 for layer in layers),
        "has_left_inputs": any(layer.n_in % 4 and layer.n_out >= 4 for layer in layers),
        "has_fours": any(layer.n_out >= 4 for layer in layers),
        "activation": None if logits or final.name == "linear" else final,
        "left_out": final.name if logits else None,
        "feature_names": _feature_names(model),
        "vectors": _vectors(model),
    }


def _layers(int8: list[QuantizedDense]) -> list[CLayer]:
    layers = []
    source = "x"
    for index, layer in enumerate(int8):
        target = "y" if layer is int8[-1] else f"scratch->{'ab'[index % 2]}"
        layers.append(_c_layer(layer, source, target))
        source = target
    return layers


def _c_layer(layer: QuantizedDense, source: str, target: str) -> CLayer:
    low, high, zero_point = 0, 0, 0
    if layer.output is not None:
        zero_point = layer.output.zero_point
        low, high = QMIN - zero_point, QMAX - zero_point
    is_relu, is_leaky = (layer.output is not None and layer.activation.name == name for name in ("relu", "leaky_relu"))
    return CLayer(
        name=layer.name,
        n_in=layer.n_in,
        n_out=layer.n_out,
        weight=packed_weight(layer.weight),
        bias=folded_bias(layer),
        multiplier=layer.multiplier,
        low=0 if is_relu else low,
        high=high,
        zero_point=zero_point,
        slope=dict(layer.activation.params)["alpha"] if is_leaky else 1.0,
        table=layer.table,
        source=source,
        target=target,
    )


def _feature_names(model: Model) -> tuple[str, ...]:
    """One for each input, or nothing where the model does not know."""
    try:
        schema = Schema.of(model)
    except ModelError:
        return ()
    return () if schema is None else schema.feature_names


def _vectors(model: Model) -> dict[str, Any] | None:
    """The stored rows with what each layer gives for them: codes by layer, and the logits."""
    if model.test_vectors is None or not len(model.test_vectors.inputs):
        return None
    inputs = model.test_vectors.inputs
    tensors = trace(model, inputs)
    first = model.layers[0]
    codes = [tensors[f"{first.name}.quantized_input"]]
    codes += [tensors[f"{layer.name}.output"] for layer in model.layers[:-1]]
    logits = logits_of(model, tensors)
    flash = inputs.nbytes + logits.nbytes + sum(tensor.nbytes for tensor in codes)
    return {"inputs": inputs, "codes": codes, "logits": logits, "flash": flash}
