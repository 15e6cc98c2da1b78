"""The C structures of kernels.c, field by field; a library whose structures have other sizes is not used."""

from __future__ import annotations

import ctypes
from typing import Any

_STAGE_ARRAYS = ("gain", "shift", "slope", "least", "most")


class LayerFields(ctypes.Structure):
    """`struct layer` of kernels.c, which says what the fields mean."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("kind", "n_in", "n_out", "quantizes", "gives_grid", "activation")),
        *((name, ctypes.c_int32) for name in ("input_zero_point", "zero_point")),
        *((name, ctypes.c_float) for name in ("scale", "input_low", "input_high", "low", "high", "alpha")),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "multiplier", "table", *_STAGE_ARRAYS)),
        ("epsilon", ctypes.c_float),
        ("centered", ctypes.c_int32),
    )


class ProgramFields(ctypes.Structure):
    """`struct program` of kernels.c."""

    alive: tuple[Any, ...]
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("layers", "mean", "inv_std", "buffers", "source", "target")),
        *((name, ctypes.c_int64) for name in ("rows", "pitch", "data_offset")),
        *((name, ctypes.c_int32) for name in ("count", "mean_step")),
    )
