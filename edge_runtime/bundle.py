"""One file with the runtime and a model, which runs wherever Python and NumPy are: `python app.pyz --input x.csv`."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from edge_runtime.artifact import DEFAULT_MAX_BYTES, load, save_bytes
from edge_runtime.atomic import write_bytes
from edge_runtime.outputs import SHEBANG

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = '''"""Run the bundled model: python app.pyz --input rows.csv [--output outputs.csv] [--classes] [--selftest]."""

import argparse
import pkgutil
import sys

from edge_runtime.entry import INTERRUPTED, repair_streams, settle_streams
from edge_runtime import BudgetExceeded, Engine, Limits, SmallnetError, selftest
from edge_runtime.artifact import load_bytes
from edge_runtime.rows import read_rows, write_rows
from edge_runtime.tables import selftest_text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", help=".npy, .npz, .csv, or - for standard input")
    parser.add_argument("--output", default="-", help=".npy, .csv, or - for standard output")
    parser.add_argument("--classes", action="store_true", help="the class of each row instead of all outputs")
    parser.add_argument("--selftest", action="store_true", help="replay the stored test vectors")
    parser.add_argument("--ram-bytes", type=int, help="refuse to run in more memory than this")
    options = parser.parse_args()
    if not options.input and not options.selftest:
        parser.error("give --input or --selftest")
    model = load_bytes(pkgutil.get_data("bundled", "model.npz"), "model.npz")
    limits = Limits(ram_bytes=options.ram_bytes)
    if options.selftest:
        result = selftest(model, limits)
        print(selftest_text(result))
        return 0 if result.ok else 1
    engine = Engine(model, limits)
    rows = read_rows(options.input, n_in=model.n_in)
    if options.classes:
        write_rows(options.output, engine.predict(rows))
    else:
        write_rows(options.output, engine.run(rows), class_names=model.class_names or None)
    return 0


def fail(text, status):
    print("error: " + " ".join(text.split()), file=sys.stderr)
    return status


repair_streams()
try:
    status = main()
except BudgetExceeded as error:
    status = fail(str(error), 1)
except (SmallnetError, OSError) as error:
    status = fail(str(error), 2)
except KeyboardInterrupt:
    status = fail("stopped by Ctrl-C", INTERRUPTED)
settle_streams()
sys.exit(status)
'''


def write_bundle(
    model_path: str | os.PathLike[str], path: str | os.PathLike[str], *, max_bytes: int = DEFAULT_MAX_BYTES
) -> int:
    """Write the application of a model to `path`; the same model and runtime give the same bytes. Returns its bytes.

    The model is checked first; max_bytes: limit on its file. Raises ArtifactError and OSError as `load` does.
    """
    model = load(model_path, max_bytes=max_bytes)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        folder = Path(__file__).parent
        for source in sorted([*folder.glob("*.py"), folder / "devices.json"]):
            if source.name not in ("cli.py", "__main__.py", "bundle.py"):
                _add(archive, f"edge_runtime/{source.name}", source.read_bytes())
        _add(archive, "bundled/__init__.py", b"")
        _add(archive, "bundled/model.npz", save_bytes(model))
        _add(archive, "__main__.py", _MAIN.encode())
    content = SHEBANG + file.getvalue()
    write_bytes(path, content)
    return len(content)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system, info.external_attr, info.compress_type = 3, 0o644 << 16, zipfile.ZIP_DEFLATED
    archive.writestr(info, content)
