"""Which int8 weights are safe on x86 processors that add pairs of products in 16 bits.

Without VNNI, uint8 x int8 products go through an instruction (VPMADDUBSW) that adds two neighbouring products and
saturates the sum to int16. Whether that can happen is decided by the weights alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_runtime.layers import QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import QMAX

# onnxruntime's option that makes it compute int8 weights as uint8 ones on such processors. It works by a graph
# transformation, at the extended and the default level (all), and changed no bit where nothing saturates. At the basic
# level and with optimizations disabled it does nothing: DequantizeLinear -> Gemm is computed in floats there, and
# needs nothing, but operators that multiply integers by themselves saturate.
PRECISE = ("session.x64quantprecision", "1")
WITH_TRANSFORMATIONS = ("default", "extended")  # the levels at which it works
PRECISE_KEY = "onnxruntime_session_config"  # of metadata_props

_INT16_MAX, _INT16_MIN = 32767, -32768


def is_pair_safe(weight: NDArray[np.integer]) -> bool:
    """Whether no pair (weight[2i, j], weight[2i + 1, j]) can saturate, whatever its two uint8 inputs are.

    weight: int8 (n_in, n_out). The extremes of q0 * w0 + q1 * w1 are 255 times the sum of the positive weights and 255
    times the sum of the negative ones.
    """
    n_in, n_out = weight.shape
    padded = np.zeros((n_in + n_in % 2, n_out), np.int32)
    padded[:n_in] = weight
    pairs = padded.reshape(-1, 2, n_out)
    highest = QMAX * np.maximum(pairs, 0).sum(axis=1)
    lowest = QMAX * np.minimum(pairs, 0).sum(axis=1)
    return bool(highest.max() <= _INT16_MAX and lowest.min() >= _INT16_MIN)


def may_saturate(model: Model) -> bool:
    """Whether the qdq form of a model can go wrong on such processors: int8 weights can, int16 ones become uint8."""
    static = [layer.weight for layer in model.layers if isinstance(layer, QuantizedDense)]
    return any(weight.dtype == np.int8 and not is_pair_safe(weight) for weight in static)


def saturating_layers(products: Iterable[tuple[str, NDArray[np.int8], bool]]) -> dict[str, bool]:
    """The layers of somebody's file whose int8 weights may saturate on such processors.

    products: uint8 values times int8 weights, as `export.onnx_reader.Int8Product`: the layer's name, int8 weights
    (n_in, n_out) with rows in the order of the products, and whether an operator on integers computes it. That is the
    value for each layer found too: it saturates at every level then.
    """
    return {layer: by_integers for layer, weight, by_integers in products if not is_pair_safe(weight)}


def foreign_doubts(layers: Iterable[str]) -> list[str]:
    """What to know of a file with such layers, in a line."""
    named = ", ".join(f"'{name}'" for name in layers)
    if not named:
        return []
    return [
        f"in the file, the products of {named} may saturate in 16 bits under onnxruntime on x86 CPUs without VNNI, "
        f"unless the session has {'='.join(PRECISE)}; the model that was read does not"
    ]


def session_config(proto: onnx.ModelProto) -> tuple[tuple[str, str], ...]:
    """The session options that a file states it needs: names and values, those of this module alone."""
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    return (PRECISE,) if properties.get(PRECISE_KEY) == "=".join(PRECISE) else ()


def saturation_doubts(proto: onnx.ModelProto) -> list[str]:
    """What to know before running such a file, in a line."""
    return [
        f"onnxruntime on x86 CPUs without VNNI needs the session option {name}={value} for the .onnx, or gives other "
        "answers; with --portable (portable=True) it is written so that none is needed"
        for name, value in session_config(proto)
    ]
