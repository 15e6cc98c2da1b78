"""What the templates say of a model: its steps and their data, its buffers, its names, its stored vectors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from edge_runtime.layers import Dense, Elementwise, Int4Dense, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import FLOAT32_EXACT, QMAX, QMIN, Activation, flushed
from edge_runtime.schema import Schema
from export.c_writer.calls import CCall, calls_of, starts_with_codes
from export.c_writer.packing import folded_bias, packed_floats, packed_nibbles, packed_weight
from export.c_writer.vectors import stored_rows

_MATH_TEXT = "sigmoid tanh softmax log_softmax elu selu celu gelu gelu_tanh softplus swish mish log_sigmoid exp erf sin"
_NEEDS_MATH = frozenset(_MATH_TEXT.split())  # activations that call functions of <math.h>
_FIELDS = {"a": "uint8_t", "b": "uint8_t", "u": "float", "v": "float"}  # of the scratch struct


class Int8Data(NamedTuple):
    """An int8 or int4 layer.

    weight: as `packing` orders it; of int4, uint8, two to a byte. low, high: ends of its rounded steps, before the zero
    point is added. slope: of leaky_relu.
    """

    name: str
    n_in: int
    n_out: int
    bits: int
    weight: NDArray[np.int8] | NDArray[np.uint8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.float32]
    low: int
    high: int
    zero_point: int
    slope: float
    table: NDArray[np.uint8] | None


class DenseData(NamedTuple):
    """A float layer. weight: float32, or float16 as the uint16 of its bits."""

    name: str
    n_in: int
    n_out: int
    weight: NDArray[Any]
    bias: NDArray[np.float32]
    bits: int


class MapData(NamedTuple):
    """An element-wise stage: what is None is left out."""

    name: str
    n: int
    scale: NDArray[np.float32] | None
    shift: NDArray[np.float32] | None
    slope: NDArray[np.float32] | None
    low: NDArray[np.float32] | None
    high: NDArray[np.float32] | None


class ActivationData(NamedTuple):
    """A function of floats. place: of the first step that has it, whose function the others call."""

    place: int
    activation: Activation


def describe_model(model: Model, *, logits: bool = False) -> dict[str, Any]:
    """The words of the templates, except for those of the name and of the artifact."""
    chain = calls_of(model, logits=logits)
    schema = _schema(model)
    is_activated = chain.steps[-1].kind == "activate"  # the last layer, of which the logits are wanted too
    steps = chain.steps[:-1] if is_activated else chain.steps
    by_kind: dict[str, list[CCall]] = {}
    for step in chain.steps:
        by_kind.setdefault(step.kind, []).append(step)
    int8 = [step for step in chain.steps if step.kind in ("codes", "values")]
    layers = [_int8_data(step.of) for step in int8]
    dense = [_dense_data(step.of) for step in by_kind.get("dense", [])]
    activations = _activations(by_kind.get("activate", []))
    norms = [step.of for step in by_kind.get("norm", [])]
    maps = [_map_data(step.of) for step in by_kind.get("map", [])]
    has_codes = "codes" in by_kind
    sums = [step.of.certificate for step in by_kind.get("codes", [])]
    return {
        "model": model,
        "steps": steps,
        "final": chain.steps[-1] if len(steps) < len(chain.steps) else None,
        "places": {step: place for place, step in enumerate(int8)},
        "starts_with_codes": starts_with_codes(model),
        "layers": layers,
        "dense": dense,
        "maps": maps,
        "norms": norms,
        "activations": activations,
        "has_codes": has_codes,
        "has_values": "values" in by_kind,
        "has_hidden_quantize": "quantize" in by_kind,
        "sizes": "-".join(str(size) for size in model.layer_sizes),
        "scratch": [(_FIELDS[name], name, size) for name, size in sorted(chain.sizes.items())],
        "has_scratch": bool(chain.sizes),
        "input_grid": model.layers[0].input if isinstance(model.layers[0], QuantizedDense) else None,
        "preprocessing": model.preprocessing,
        "has_tables": any(layer.table is not None for layer in layers),
        "has_slopes": any(layer.slope != 1.0 for layer in layers),
        "largest_sum": max(sums, default=0),
        "float32_exact": FLOAT32_EXACT,
        **_loops([layer for layer in layers if layer.bits == 8], "has_int8", "has_"),
        **_loops([layer for layer in layers if layer.bits == 4], "has_int4", "has_int4_"),
        "dense_bits": sorted({layer.bits for layer in dense}),
        "is_exact": all(isinstance(layer, QuantizedDense) for layer in model.layers),
        "needs_math": bool(norms) or _has_infinity(maps) or any(a.activation.name in _NEEDS_MATH for a in activations),
        "left_out": model.final_activation.name if logits else None,
        "feature_names": () if schema is None else schema.feature_names,
        "offsets": None if schema is None else schema.offsets,
        "vectors": stored_rows(model, steps),
    }


def _loops(layers: list[Int8Data], has_any: str, prefix: str) -> dict[str, bool]:
    """Which loops layers of one kind need, under names that begin with `prefix`; has_any: of whether there are such."""
    return {
        has_any: bool(layers),
        f"{prefix}left_outputs": any(layer.n_out % 4 for layer in layers),
        f"{prefix}left_inputs": any(layer.n_in % 4 and layer.n_out >= 4 for layer in layers),
        f"{prefix}fours": any(layer.n_out >= 4 for layer in layers),
    }


def _int8_data(layer: QuantizedDense) -> Int8Data:
    low, high, zero_point = 0, 0, 0
    if layer.output is not None:
        zero_point = layer.output.zero_point
        low, high = QMIN - zero_point, QMAX - zero_point
    is_relu, is_leaky = (layer.output is not None and layer.activation.name == name for name in ("relu", "leaky_relu"))
    return Int8Data(
        name=layer.name,
        n_in=layer.n_in,
        n_out=layer.n_out,
        bits=layer.weight_bits,
        weight=packed_nibbles(layer.weight) if isinstance(layer, Int4Dense) else packed_weight(layer.weight),
        bias=folded_bias(layer),
        multiplier=layer.multiplier,
        low=0 if is_relu else low,
        high=high,
        zero_point=zero_point,
        slope=dict(layer.activation.params)["alpha"] if is_leaky else 1.0,
        table=layer.table,
    )


def _dense_data(layer: Dense) -> DenseData:
    """Subnormal weights are 0, as they are to an engine."""
    if layer.weight.dtype == np.float16:
        return DenseData(
            layer.name, layer.n_in, layer.n_out, packed_floats(layer.weight).view(np.uint16), layer.bias, 16
        )
    weight = packed_floats(flushed(layer.weight))
    return DenseData(layer.name, layer.n_in, layer.n_out, weight, layer.bias, 32)


def _map_data(layer: Elementwise) -> MapData:
    """A scale of ones and a shift of zeros are left out, as are limits that limit nothing."""
    scale = None if (layer.scale == 1).all() else layer.scale
    shift = None if (layer.shift == 0).all() else layer.shift
    low = None if layer.low is None or np.isneginf(layer.low).all() else layer.low
    high = None if layer.high is None or np.isposinf(layer.high).all() else layer.high
    return MapData(layer.name, layer.n_in, scale, shift, layer.slope, low, high)


def _has_infinity(maps: list[MapData]) -> bool:
    return any(limit is not None and np.isinf(limit).any() for data in maps for limit in (data.low, data.high))


def _activations(steps: list[CCall]) -> list[ActivationData]:
    """Each function once, in the order of its first use."""
    first: dict[Activation, int] = {}
    for step in steps:
        first.setdefault(step.of, len(first))
    return [ActivationData(place, activation) for activation, place in first.items()]


def _schema(model: Model) -> Schema | None:
    """What the columns of its table mean, where the model knows."""
    try:
        return Schema.of(model)
    except ModelError:
        return None
