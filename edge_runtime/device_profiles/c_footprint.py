"""What a model takes on a microcontroller as the C that `smallnet export --format c` writes: its flash and its RAM."""

from __future__ import annotations

import numpy as np

from edge_runtime.errors import ModelError
from edge_runtime.layers import Elementwise, LayerNorm, QuantizedDense, Stage
from edge_runtime.model import Model
from edge_runtime.schema import Schema

# Code of the generated file for a Cortex-M4 with a floating-point unit, by gcc 12 -O2, of the layers that a model has:
# measured, with tables, remainders and standardization. Functions of <math.h>, and of floats where a core has none,
# are the compiler's and not counted.
CODE_BYTES = {"int8": 1_150, "int4": 1_250, "float32": 800, "float16": 1_000}
_SHARED_BYTES = 750  # by int8 and int4, in a file with both
STAGE_CODE_BYTES = {Elementwise: 450, LayerNorm: 300}
_POINTER_BYTES = 4


def is_written_as_c(model: Model) -> bool:
    """Whether there is C for it.

    Not for int8-dynamic layers, codes of more than 8 bits, and 8-bit weights around another zero point than 0.
    """
    return all(
        layer.precision != "int8-dynamic" and (not isinstance(layer, QuantizedDense) or _has_c(layer))
        for layer in model.layers
    )


def _has_c(layer: QuantizedDense) -> bool:
    return layer.stored_weight.dtype != np.int16 and not layer.has_fine_grids


def c_code_bytes(model: Model) -> int:
    """Flash of the code, and of the names and offsets that stand beside it."""
    dense = {layer.precision for layer in model.layers if not isinstance(layer, Stage)}
    stages = {type(layer) for layer in model.layers if isinstance(layer, Elementwise | LayerNorm)}
    code = sum(CODE_BYTES[precision] for precision in dense) + sum(STAGE_CODE_BYTES[kind] for kind in stages)
    return code - (_SHARED_BYTES if {"int8", "int4"} <= dense else 0) + _column_bytes(model)


def _column_bytes(model: Model) -> int:
    """Names of classes and inputs, each with its pointer and filled up to words; offsets are doubles."""
    try:
        schema = Schema.of(model)
    except ModelError:  # whoever exports it is told
        schema = None
    features = () if schema is None else schema.feature_names
    texts = sum(_POINTER_BYTES + 4 * (len(name.encode()) // 4 + 1) for name in (*model.class_names, *features))
    return texts + (0 if schema is None or schema.offsets is None else schema.offsets.nbytes)


def c_ram_bytes(model: Model) -> int:
    """All memory that the C file writes to but the stack: what lies between the layers, and the quantized input.

    Codes take a byte and values four, in two buffers each by turns; a stage works where its input lies, and the last
    layer in the caller's output. A program that gives codes itself needs no quantized input.
    """
    sizes = dict.fromkeys("abuv", 0)
    at, is_codes = "", isinstance(model.layers[0], QuantizedDense)
    quantized_input = model.n_in if is_codes else 0

    def take(pair: str, n: int) -> str:
        buffer = pair[1] if at == pair[0] else pair[0]
        sizes[buffer] = max(n, sizes[buffer])
        return buffer

    if model.preprocessing is not None and not is_codes:
        at = take("uv", model.n_in)
    for layer in model.layers:
        if isinstance(layer, QuantizedDense) and not is_codes:
            at = take("ab", layer.n_in)
        is_codes = isinstance(layer, QuantizedDense) and layer.output is not None
        if is_codes:
            at = take("ab", layer.n_out)
        elif layer is not model.layers[-1] and not (isinstance(layer, Stage) and at):
            at = take("uv", layer.n_out)
    codes, values = sizes["a"] + sizes["b"], 4 * (sizes["u"] + sizes["v"])
    return quantized_input + (codes + (-codes % 4 if values else 0)) + values
