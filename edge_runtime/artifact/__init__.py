"""The artifact: one `.npz` file that holds a model, whole. FORMAT.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edge_runtime.artifact.accounting import account
    from edge_runtime.artifact.artifact import (
        MODEL_MAX_BYTES,
        artifact_bytes,
        digest_of,
        load,
        load_bytes,
        network_digest,
        save,
        save_bytes,
    )
    from edge_runtime.artifact.npz import read_members, write_members

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "accounting": ("account",),
        "artifact": (
            "MODEL_MAX_BYTES",
            "artifact_bytes",
            "digest_of",
            "load",
            "load_bytes",
            "network_digest",
            "save",
            "save_bytes",
        ),
        "npz": ("read_members", "write_members"),
    },
)
