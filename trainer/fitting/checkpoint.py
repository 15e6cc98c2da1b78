"""Checkpoints: everything that a training run needs to go on, in one file that is replaced in one step.

The file is a `.npz` (see `edge_runtime.artifact.npz`): `checkpoint` (uint8 text: a line "smallnet-checkpoint 1
sha256=<hex>", then JSON with counters, history, generator state and settings) and the arrays of `TrainingRun.arrays`.
Nothing in it runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_runtime import ArtifactError
from edge_runtime.array_types import Array
from edge_runtime.artifact import digest_of, read_members, write_members
from edge_runtime.files import PathLike, printable, replacing
from trainer.errors import CheckpointError

FORMAT_LINE = "smallnet-checkpoint 1 sha256="
CHECKPOINT_MAX_BYTES = 1 << 28  # 256 MiB, as for a model
_HEADER = "checkpoint"
# not in checkpoints of before 2026-11-25; but for the seed, the digest of the prepared data tells them apart as well
_STATED_LATER = (
    "seed",
    "standardize",
    "augment",
    "class_weight",
    "label_smoothing",
    "classes",
    "validation_share",
    "target_units",
    "threads",
)


def write_checkpoint(path: PathLike, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Replace `path` by a checkpoint of JSON facts and arrays (1-D, of int64 or floats). Raises OSError."""
    text = json.dumps(facts, separators=(",", ":")).encode()
    content = (FORMAT_LINE + digest_of(text, arrays) + "\n").encode() + text
    with replacing(path) as file:
        write_members(file, {_HEADER: np.frombuffer(content, np.uint8), **arrays})


def read_checkpoint(path: PathLike, max_bytes: int = CHECKPOINT_MAX_BYTES) -> tuple[dict[str, Any], dict[str, Array]]:
    """Facts and arrays of a checkpoint. Raises CheckpointError for any other, damaged or larger file, OSError."""
    try:
        members = read_members(path, max_bytes=max_bytes)
    except ArtifactError as error:
        raise CheckpointError(
            f"{_without_advice(printable(error))}; expected a checkpoint; start training anew"
        ) from error
    if _HEADER not in members:
        raise CheckpointError(
            f"{path}: no checkpoint, it holds {printable(', '.join(list(members)[:3]), 57) or 'nothing'}; give a file "
            "that --checkpoint wrote"
        )
    header = members.pop(_HEADER)
    line, _, text = header.tobytes().partition(b"\n")
    if not line.startswith(FORMAT_LINE.encode()):
        raise CheckpointError(
            f"{path}: begins with {line[:30]!r}, expected '{FORMAT_LINE}...'; give a file that --checkpoint wrote"
        )
    if line[len(FORMAT_LINE) :].decode("latin1") != digest_of(text, members):
        raise CheckpointError(f"{path}: the content does not match its SHA-256 digest; start training anew")
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its header is not JSON ({error}); start training anew") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path}: its header holds no facts; start training anew")
    return facts, members


def check_same_run(path: PathLike, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise CheckpointError that names the first setting in which a checkpoint's run differs from the present one.

    Settings in the order of `expected`. Older checkpoints do not state those of `_STATED_LATER`.
    """
    for name in [*expected, *found]:
        if name in _STATED_LATER and name not in found:
            continue
        if found.get(name) != expected.get(name):
            advice = "continue with the same settings and data, or start anew"
            if name == "threads":  # sums of matrix products, and with them the result, depend on it
                advice = f"set OMP_NUM_THREADS={_short(found.get(name))} before Python starts, or start anew"
            raise CheckpointError(
                f"{path}: made with {name} {_short(found.get(name))}, "
                f"this run has {_short(expected.get(name))}; {advice}"
            )


def data_digest(*arrays: Array | None) -> str:
    """A fingerprint of arrays: 16 hex digits of SHA-256 over shapes, dtypes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none")
        else:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _without_advice(text: str) -> str:
    return text.removesuffix("; export the model again")


def _short(value: Any) -> str:
    return printable(value, 57)
