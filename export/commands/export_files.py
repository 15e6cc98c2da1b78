"""Which files an export writes, how, and what they are called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.model import Model
from export.c_writer import C_FORMATS, c_identifier, format_files, format_paths
from export.onnx_writer import OPSET
from export.quantization import Switches

FORMATS = ("onnx", *C_FORMATS)


@dataclass(frozen=True)
class ExportOptions:
    """How the way to int8 is chosen, and which files are written and how.

    formats: of `FORMATS`, beside the artifact. See `quantize`, `write_onnx` and `write_c`.
    """

    switches: Switches = field(default_factory=Switches)
    form: str = "integer"
    opset: int = OPSET
    portable: bool = False
    formats: tuple[str, ...] = ("onnx",)
    logits: bool = False


def export_paths(
    out: str | os.PathLike[str], stem: str, precisions: Sequence[str], formats: Sequence[str] = ("onnx",)
) -> list[Path]:
    """The files that `export_model` writes."""
    return [path for precision in precisions for path in paths_of(out, stem, precision, formats).values()]


def paths_of(out: str | os.PathLike[str], stem: str, precision: str, formats: Sequence[str]) -> dict[str, Path]:
    """The files of one precision by their names in `out`, the artifact last, in the order in which they are named."""
    names = [f"{stem}.{precision}.onnx"] if "onnx" in formats else []
    for form in set(C_FORMATS) & set(formats):
        names += format_paths(form, c_name(stem, precision))
    return {name: Path(out) / name for name in [*sorted(names), f"{stem}.{precision}.npz"]}


def c_name(stem: str, precision: str) -> str:
    """What the C files of a precision, and all in them, are called."""
    return c_identifier(f"{stem}_{precision}")


def c_contents(model: Model, name: str, artifact: bytes, options: ExportOptions) -> dict[str, bytes]:
    """The C files by their paths."""
    contents: dict[str, bytes] = {}
    for form in set(C_FORMATS) & set(options.formats):
        contents |= format_files(form, model, name, logits=options.logits, artifact=artifact)
    return contents
