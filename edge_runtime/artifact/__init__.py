"""The artifact: one `.npz` file that holds a model, whole. FORMAT.md describes it."""

from edge_runtime.artifact.accounting import account
from edge_runtime.artifact.artifact import MODEL_MAX_BYTES, artifact_bytes, load, load_bytes, save, save_bytes
from edge_runtime.artifact.npz import read_members, write_members

__all__ = [
    "MODEL_MAX_BYTES",
    "account",
    "artifact_bytes",
    "load",
    "load_bytes",
    "read_members",
    "save",
    "save_bytes",
    "write_members",
]
