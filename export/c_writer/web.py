"""The model in a browser: C compiled to WebAssembly by the package ziglang, and a page that holds it and asks it."""

from __future__ import annotations

import base64
import html
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from edge_runtime.errors import QuantizationError
from edge_runtime.files import printable
from edge_runtime.model import Model, as_model
from export.c_writer.writer import c_files, render, words_of

_FLAGS = ("-target", "wasm32-wasi", "-mexec-model=reactor", "-std=c99", "-O2", "-s")
_SECONDS = 600  # ziglang builds its C library when it first runs
_MOST_SIDE = 64


def wasm_module(model: Model, *, logits: bool = False) -> bytes:
    """WebAssembly that imports nothing and exports memory, input(), output(), run() and predict().

    input and output give the addresses of the float32 arrays that run reads and writes. Raises QuantizationError for a
    model that cannot be written as C, and where the package ziglang is missing or fails.
    """
    require_ziglang()
    model = as_model(model).with_test_vectors(None)
    with tempfile.TemporaryDirectory(prefix="smallnet-") as folder:
        for name, content in c_files(model, "model", logits=logits).items():
            Path(folder, name).write_bytes(content)
        source, made = Path(folder, "wasm.c"), Path(folder, "model.wasm")
        source.write_bytes(render("wasm.c.j2", {"p": "model", "P": "MODEL"}))
        command = [sys.executable, "-m", "ziglang", "cc", *_FLAGS, str(source), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
        if done.returncode != 0 or not made.is_file():
            raise QuantizationError(f"ziglang cannot compile the model ({printable(done.stderr, 200)})")
        return made.read_bytes()


def require_ziglang() -> None:
    """Raise QuantizationError where the package ziglang is missing."""
    if importlib.util.find_spec("ziglang") is None:
        raise QuantizationError("ziglang not found, which compiles to WebAssembly; install: pip install ziglang")


def page(model: Model, name: str, *, logits: bool = False, artifact: bytes | None = None) -> bytes:
    """One HTML page that holds the model and answers what is typed, or drawn where the inputs are a square image."""
    words = words_of(model, name, logits=logits, artifact=artifact)
    wasm = wasm_module(model, logits=logits)
    side = math.isqrt(model.n_in)
    is_image = side * side == model.n_in and 7 <= side <= _MOST_SIDE and not words["feature_names"]
    # letters of the page's own script are written as escapes: no name can end it
    names = json.dumps(list(model.class_names)).replace("<", "\\u003c").replace(">", "\\u003e")
    offsets = words["offsets"]
    words |= {"taken_off": json.dumps([] if offsets is None else offsets.tolist())}
    words |= {"columns": html.escape(", ".join(words["feature_names"]))}
    words |= {"names": names, "wasm": base64.b64encode(wasm).decode(), "wasm_bytes": f"{len(wasm):,}"}
    words |= {"side": side if is_image else 0, "top": _brightest(model), "p": html.escape(words["p"])}
    words |= {"fill": 1.0 if side < 16 else 0.72, "pen": 1.1 if side < 16 else 2}
    return render("page.html.j2", words)


def _brightest(model: Model) -> float:
    """The value of full ink: the largest stored input; 1 if none is stored."""
    vectors = model.test_vectors
    return 1.0 if vectors is None or not vectors.inputs.size else max(float(vectors.inputs.max()), 1e-6)
