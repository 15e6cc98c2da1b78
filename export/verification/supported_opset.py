"""Which opset the installed onnxruntime can read: it has no function that tells, so a small network is given to it."""

from __future__ import annotations

import functools

import numpy as np

from edge_runtime.errors import ArtifactError, QuantizationError
from edge_runtime.layers import Dense, Int4Dense, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import Activation, QuantParams
from export.onnx_writer import OPSET, check_form, to_onnx
from export.verification.onnx_session import VERSION, make_session


def check_opset(form: str, opset: int, *, portable: bool = False, is_int4: bool = False) -> None:
    """Raise QuantizationError for a form or an opset that cannot be written, or could not be verified afterwards.

    onnx may know operators that the installed onnxruntime does not run yet; the newest opset that works is named.
    is_int4: whether layers have 4-bit weights, which older ones run as int8 alone.
    """
    check_form(form, opset, portable=portable)
    if _runs(form, opset, is_int4):
        return
    newest = next((older for older in range(opset - 1, OPSET, -1) if _runs(form, older, is_int4)), OPSET)
    what = "runs with 4-bit weights" if is_int4 and _runs(form, opset, False) else "runs"
    raise QuantizationError(
        f"opset is {opset}, expected {OPSET} to {newest}, the newest that onnxruntime {VERSION} "
        f"{what}: what cannot be verified is not written"
    )


@functools.cache
def _runs(form: str, opset: int, is_int4: bool) -> bool:
    try:
        make_session(to_onnx(_small_network(Int4Dense if is_int4 else QuantizedDense), form, opset=opset))
    except ArtifactError:
        return False
    return True


def _small_network(kind: type[QuantizedDense]) -> Model:
    """Both kinds of layer, for the operators that every network has. kind: of the integers."""
    grid, one = QuantParams(1.0, 0), np.ones((1, 1), np.int8)
    relu, softmax = Activation.of("relu"), Activation.of("softmax")
    ones = np.ones(1, np.float32)
    return Model(
        (
            Dense("float", np.ones((1, 1), np.float32), ones, relu),
            kind("hidden", one, np.zeros(1, np.int32), ones, grid, grid, relu),
            kind("last", one, np.zeros(1, np.int32), ones, grid, None, softmax),
        )
    )
