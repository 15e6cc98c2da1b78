"""Compiled kernels: one C file for every model, compiled once for a machine, kept, and called by pointers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edge_runtime.native.cache import cache_folder
    from edge_runtime.native.library import Library, kernels
    from edge_runtime.native.network import Network, aligned_bytes, buffer_bytes, native_activation, native_bytes

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "cache": ("cache_folder",),
        "library": ("Library", "kernels"),
        "network": ("Network", "aligned_bytes", "buffer_bytes", "native_activation", "native_bytes"),
    },
)
