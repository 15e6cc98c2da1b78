"""Write a model as C: NAME.c and NAME.h, from the templates in `export/c_writer/templates`.

The int8 arithmetic is that of `edge_runtime.numerics.quantization`, so the C file gives the bits of the engine.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arguments import QUANTIZATION_CHECKS
from edge_runtime.artifact import save_bytes
from edge_runtime.errors import QuantizationError
from edge_runtime.files import make_folder, write_together
from edge_runtime.layers import QuantizedDense
from edge_runtime.model import Model, as_model
from edge_runtime.version import __version__
from export.c_writer.description import describe_model
from export.c_writer.identifiers import c_identifier, c_string, comment_text
from export.c_writer.layouts import LAYOUTS, layout_files
from export.c_writer.numerals import c_array, c_double, c_float

if TYPE_CHECKING:
    import jinja2


def write_c(
    model: Model,
    folder: str | os.PathLike[str],
    name: str = "model",
    *,
    logits: bool = False,
    layout: str = "c",
) -> list[Path]:
    """Write `model` as NAME.c and NAME.h into `folder`, which is made where it is missing; the paths of the files.

    name: what the files, the functions and the macros begin with; made an identifier first (`c_identifier`). logits:
    leave out the activation of the last layer, and with it, mostly, <math.h>. layout: "c", the two files alone;
    "c-project", with main.c and a Makefile for a host, in NAME_project; "arduino", a library folder NAME. The same
    model gives the same bytes. Raises QuantizationError for a model that cannot be written as C, OSError.
    """
    files = c_files(model, name, logits=logits, layout=layout)
    contents = {Path(folder) / file: content for file, content in files.items()}
    for path in contents:
        make_folder(path.parent)
    write_together(contents)
    return list(contents)


def c_files(
    model: Model,
    name: str = "model",
    *,
    logits: bool = False,
    layout: str = "c",
    artifact: bytes | None = None,
) -> dict[str, bytes]:
    """What `write_c` writes, by path in its folder.

    artifact: the file whose SHA-256 is stated (default: what `save` writes).
    """
    QUANTIZATION_CHECKS.choice("layout", layout, LAYOUTS)
    words = words_of(model, name, logits=logits, artifact=artifact)
    return {file: render(template, words) for file, template in layout_files(layout, words["p"]).items()}


def words_of(model: Model, name: str, *, logits: bool = False, artifact: bytes | None = None) -> dict[str, Any]:
    """The words of the templates. Raises QuantizationError for a model that cannot be written as C."""
    model = as_model(model)
    _require_layers(model)
    identifier = c_identifier(name)
    facts = describe_model(model, logits=logits)
    sha256 = hashlib.sha256(save_bytes(model) if artifact is None else artifact).hexdigest()
    return {"p": identifier, "P": identifier.upper(), "version": __version__, "sha256": sha256, **facts}


def render(template: str, words: dict[str, Any]) -> bytes:
    """A template of `export/c_writer/templates` with its words filled in."""
    return _environment().get_template(template).render(words).encode()


def require_c(precision: str) -> None:
    """Raise QuantizationError for a precision that is not written as C."""
    if precision == "int8-dynamic":
        raise QuantizationError(
            "int8-dynamic is not written as C: its grids hang on the rows that run together, and a device has one; "
            "expected int8, which data to calibrate with makes"
        )
    if precision == "int8-a16":
        raise QuantizationError("int8-a16 is not written as C, whose codes have 8 bits; take int8 or float16")


def _require_layers(model: Model) -> None:
    for layer in model.layers:
        require_c(layer.precision)
        if isinstance(layer, QuantizedDense) and layer.has_fine_grids:
            raise QuantizationError(
                f"layer '{layer.name}' ({layer.precision}) has codes of more than 8 bits, which are not written as C; "
                "take int8 or float16"
            )
        if isinstance(layer, QuantizedDense) and layer.stored_weight.dtype == np.int16:
            raise QuantizationError(
                f"layer '{layer.name}' has weights from {layer.weight.min()} to {layer.weight.max()} around their zero "
                "point, expected -127..127; quantize its float model with precision int8"
            )


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2  # of the extra `c`: all else of the exporter works without

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("export.c_writer"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    filters: dict[str, Any] = {
        "array": c_array,
        "float": c_float,
        "double": c_double,
        "string": c_string,
        "comment": comment_text,
    }
    environment.filters.update(filters)
    return environment
