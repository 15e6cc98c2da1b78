"""All forms in which `export` writes a model as C, or what is made of it."""

from __future__ import annotations

from edge_runtime.model import Model
from export.c_writer.layouts import LAYOUTS, layout_files
from export.c_writer.web import page
from export.c_writer.writer import c_files

C_FORMATS = (*LAYOUTS, "html")


def format_paths(form: str, name: str) -> list[str]:
    """The files of a form, in the folder that is written to. name: an identifier. form: one of `C_FORMATS`."""
    return [f"{name}.html"] if form == "html" else list(layout_files(form, name))


def format_files(
    form: str,
    model: Model,
    name: str,
    *,
    logits: bool = False,
    artifact: bytes | None = None,
) -> dict[str, bytes]:
    """Their contents. Raises QuantizationError for a model that cannot be written so."""
    if form == "html":
        return {f"{name}.html": page(model, name, logits=logits, artifact=artifact)}
    return c_files(model, name, logits=logits, layout=form, artifact=artifact)
