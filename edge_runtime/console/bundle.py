"""One file with the runtime and a model, which runs wherever Python and NumPy are: `python app.pyz --input x.csv`."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

from edge_runtime.artifact import MODEL_MAX_BYTES, load, save_bytes
from edge_runtime.console.output_files import SHEBANG
from edge_runtime.files import write_bytes
from edge_runtime.native import kernels_source, travelling_library

_EPOCH = (1980, 1, 1, 0, 0, 0)
# Its first lines are read by any Python, so that an old one can say that it is.
_MAIN = b"""import os, sys

try:
    zip(strict=True)
    is_old = sys.version_info < (3, 10)
except TypeError:
    is_old = True
if is_old:
    sys.stderr.write("error: this needs Python 3.10 or newer, found %d.%d\\n" % sys.version_info[:2])
    sys.exit(2)
from edge_runtime.console.entry import start

start("edge_runtime.console.bundle_main", os.path.basename(sys.argv[0]))
"""
_LEFT_OUT = (
    "__main__.py",
    *(f"console/{name}.py" for name in ("bundle", "cli", "commands", "click_group", "options")),  # need click
    *(f"console/{name}.py" for name in ("progress", "typed")),
)


def write_bundle(
    model_path: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    native: bool = False,
    max_bytes: int = MODEL_MAX_BYTES,
) -> int:
    """Write the application of a model to `path`; the same model and runtime give the same bytes. Returns its bytes.

    The model is checked first; max_bytes: limit on its file. native: add kernels compiled here, and their source.
    Raises ArtifactError and OSError as `load` does, NativeUnavailable where there is no compiler.
    """
    model = load(model_path, max_bytes=max_bytes)
    kernels = _native_files() if native else {}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        folder = Path(__file__).parents[1]
        for source in sorted([*folder.rglob("*.py"), *folder.rglob("*.json")]):
            name = source.relative_to(folder).as_posix()
            if name not in _LEFT_OUT:
                _add(archive, f"edge_runtime/{name}", source.read_bytes())
        _add(archive, "bundled/__init__.py", b"")
        _add(archive, "bundled/model.npz", save_bytes(model))
        for name, content in kernels.items():
            _add(archive, name, content)
        _add(archive, "__main__.py", _MAIN)
    whole = SHEBANG + file.getvalue()
    write_bytes(path, whole)
    return len(whole)


def _native_files() -> dict[str, bytes]:
    content, needs = travelling_library()
    return {
        "edge_runtime/native/kernels.c": kernels_source(),
        "bundled/kernels.so": content,
        "bundled/kernels.json": json.dumps(needs).encode(),
    }


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system, info.external_attr, info.compress_type = 3, 0o644 << 16, zipfile.ZIP_DEFLATED
    archive.writestr(info, content)
