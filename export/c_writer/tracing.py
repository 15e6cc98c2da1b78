"""A program that shows every tensor of a C file, for a host: its source, and how its output is read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.model import Model
from export.c_writer.calls import starts_with_codes
from export.c_writer.description import describe_model
from export.c_writer.writer import render


def tracing_program(model: Model, name: str, *, logits: bool = False) -> bytes:
    """The source that includes NAME.c: it reads float32 rows and writes the tensors of `tracing_dtype` for each."""
    facts = describe_model(model.with_test_vectors(None), logits=logits)
    return render("trace.c.j2", {"p": name, "P": name.upper(), **facts})


def tracing_dtype(model: Model, *, logits: bool = False) -> np.dtype[np.void]:
    """One row of what the program writes: tensors under the names of `edge_runtime.reference.trace`, and "run"."""
    facts = describe_model(model.with_test_vectors(None), logits=logits)
    fields: list[tuple[str, type, int]] = []
    if starts_with_codes(model):
        fields.append((f"{model.layers[0].name}.quantized_input", np.uint8, model.n_in))
    for step in facts["steps"]:
        if step.checked:
            fields.append((step.checked, np.uint8 if step.kind in ("codes", "quantize") else np.float32, step.n))
    return np.dtype([*fields, ("run", np.float32, model.n_out)])


def read_trace(content: bytes, model: Model, *, logits: bool = False) -> dict[str, NDArray[np.generic]]:
    """The tensors in a program's output, (rows, width) each. Raises ValueError for a size that fits no rows."""
    rows = np.frombuffer(content, tracing_dtype(model, logits=logits))
    return {name: np.ascontiguousarray(rows[name].reshape(len(rows), -1)) for name in rows.dtype.names or ()}
