"""Compiled kernels: one C file for every model, compiled once for a machine, kept, and called by pointers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edge_runtime.native.bundled import travelling_library, use_library
    from edge_runtime.native.compiler import Compiler, find_compiler
    from edge_runtime.native.library import Library, kernels, kernels_source
    from edge_runtime.native.network import (
        Network,
        aligned_bytes,
        buffer_bytes,
        data_offset,
        native_activation,
        native_bytes,
    )

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "bundled": ("travelling_library", "use_library"),
        "compiler": ("Compiler", "find_compiler"),
        "library": ("Library", "kernels", "kernels_source"),
        "network": ("Network", "aligned_bytes", "buffer_bytes", "data_offset", "native_activation", "native_bytes"),
    },
)
