"""`smallnet export --format c` of an artifact that has its precision already: it is written as C as it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edge_runtime.artifact import MODEL_MAX_BYTES, load_bytes
from edge_runtime.console import check_folder, check_output
from edge_runtime.files import make_folder, read_file, write_together
from edge_runtime.layers import DynamicQuantizedDense, QuantizedDense, Stage
from edge_runtime.model import Model
from export.c_writer import c_identifier, format_files
from export.commands.export_files import ExportOptions


def read_small(path: str, precision: str | None, max_bytes: int | None) -> tuple[Model, bytes] | None:
    """An artifact's model that has layers of that precision, with the file's bytes; None for what is to be shrunk.

    precision: None takes every artifact with layers in integers, which cannot be shrunk any more.
    """
    if path.lower().endswith(".onnx"):
        return None
    content = bytes(read_file(path, max_bytes=max_bytes or MODEL_MAX_BYTES))
    model = load_bytes(content, path)
    if precision is None:
        return (model, content) if has_integers(model) else None
    has_it = any(layer.precision == precision for layer in model.layers if not isinstance(layer, Stage))
    return (model, content) if has_it and precision != "float32" else None


def has_integers(model: Model) -> bool:
    """Whether some of its layers are in integers."""
    return any(isinstance(layer, (QuantizedDense, DynamicQuantizedDense)) for layer in model.layers)


def write_as_c(
    model: Model,
    content: bytes,
    path: str,
    out: str | os.PathLike[str],
    options: ExportOptions,
    *,
    force: bool,
) -> dict[str, Any]:
    """Write the C files of the artifact in `path`, whose bytes are `content`; what was written, as plain data.

    Raises QuantizationError, OutputRefused, OSError.
    """
    name = c_identifier(Path(path).name.removesuffix(".npz"))
    files: dict[Path, bytes] = {}
    for form in options.formats:
        made = format_files(form, model, name, logits=options.logits, artifact=content)
        files |= {Path(out) / file: text for file, text in made.items()}
    check_folder(out)
    for file in files:
        if file.parent.is_dir():
            check_output(file, "c", force=force, sources=[path])
    for file in files:
        make_folder(file.parent)
    write_together(files)
    before = {"file": path, "precision": model.precision, "bytes": len(content), "score": None, "scores": None}
    exported = {"precision": model.precision, "artifact": path, "onnx": None, "c": list(map(str, files))}
    return {"before": before, "score": None, "exported": [exported], "note": "", "warnings": []}
