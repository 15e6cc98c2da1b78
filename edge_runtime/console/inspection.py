"""What is in an artifact: its layers, its memory, where every byte of the file goes, and what devices would do."""

from __future__ import annotations

import os
from typing import Any

from edge_runtime.artifact import MODEL_MAX_BYTES, account, load_bytes
from edge_runtime.device_profiles import devices, estimate
from edge_runtime.engine import Limits, make_plan
from edge_runtime.errors import ModelError
from edge_runtime.files import read_file
from edge_runtime.layers import QuantizedDense
from edge_runtime.model import Model
from edge_runtime.schema import Schema


def inspect_file(path: str | os.PathLike[str], *, max_bytes: int = MODEL_MAX_BYTES) -> dict[str, Any]:
    """All that `inspect` shows, as plain data: identity, layers, memory, the file's bytes, what each device would do.

    The file is read once: another may take its place meanwhile.
    """
    content = bytes(read_file(path, max_bytes=max_bytes))
    model = load_bytes(content, os.fspath(path))
    plan = make_plan(model, Limits())
    file = account(content, path)
    return {
        "file": os.fspath(path),
        "precision": model.precision,
        "layer_sizes": list(model.layer_sizes),
        "macs": model.macs,
        "class_names": list(model.class_names),
        "metadata": dict(model.metadata),
        "table": _table(model),
        "preprocessing": _preprocessing(model),
        "test_vectors": 0 if model.test_vectors is None else len(model.test_vectors.inputs),
        "layers": [_layer(model, index) for index in range(len(model.layers))],
        "memory": {
            "block": plan.block,
            "weight_bytes": plan.weight_bytes,
            "other_bytes": plan.other_bytes,
            "widened_bytes": plan.widened_bytes,
            "arena_bytes": plan.arena_bytes,
            "temporary_bytes": plan.temporary_bytes,
            "total_bytes": plan.total_bytes,
        },
        "file_bytes": file.file_bytes,
        "members": [vars(member) | {"shape": list(member.shape)} for member in file.members],
        "end_bytes": file.end_bytes,
        "devices": [vars(estimate(model, name)) for name in devices()],
    }


def _table(model: Model) -> list[str]:
    """What a table of rows for the model must hold, a line each; nothing if the model does not say."""
    try:
        schema = Schema.of(model)
    except ModelError as error:
        return [str(error)]
    return [] if schema is None else list(schema.described())


def _preprocessing(model: Model) -> str:
    if model.preprocessing is None:
        return "none"
    return (
        "one mean and scale per feature" if model.preprocessing.mean.size > 1 else "one mean and scale for all features"
    )


def _layer(model: Model, index: int) -> dict[str, Any]:
    layer = model.layers[index]
    row: dict[str, Any] = {
        "name": layer.name,
        "kind": type(layer).__name__,
        "shape": [layer.n_in, layer.n_out],
        "precision": layer.precision,
        "activation": str(layer.activation),
        "macs": layer.macs,
        "bytes": sum(array.nbytes for array in layer.arrays().values()),
    }
    if isinstance(layer, QuantizedDense):
        row["largest_accumulator"] = layer.certificate
        row["input"] = vars(layer.input)
        row["output"] = None if layer.final_grid is None else vars(layer.final_grid)
    return row
