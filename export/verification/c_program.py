"""Compile a C file of ours for this machine, run it on real rows, and compare every tensor with the model's own."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.array_types import Tensors
from edge_runtime.errors import InputError
from edge_runtime.files import printable, read_file
from edge_runtime.model import Model
from edge_runtime.native import find_compiler
from export.c_writer import c_files, c_identifier, read_trace, tracing_program
from export.verification.comparison import rows_to_compare
from export.verification.dumps import compare_tensors
from export.verification.report import Report

FORM, LEVEL = "c", "host"
_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off")
_COMPILE_SECONDS = 300
_ROWS_AT_ONCE = 256  # that the limit on seconds is for
_MAX_BYTES = 1 << 28  # of a source


def verify_c(
    model: Model,
    path: str | os.PathLike[str],
    x: ArrayLike | None = None,
    *,
    artifact: bytes | None = None,
    max_seconds: float = 60.0,
) -> Report:
    """Compare what NAME.c, beside its NAME.h, computes on this machine with what the model says it must.

    Rules as for ONNX: integers and the logits of int8 layers bit for bit, floats within their bounds. x: rows, by
    default the stored test vectors. artifact: the file of the model: a source that was written from another is refused,
    and of one that is not what `write_c` makes of it the report's notes tell.
    max_seconds: that the program may take for 256 rows. Raises InputError for files that are no C of ours, for a source
    that does not compile and for a program that does not end, NativeUnavailable where no compiler is.
    """
    rows = rows_to_compare(model, x)
    sources = _sources(Path(path))
    header = sources[f"{Path(path).stem}.h"].decode(errors="replace")
    if artifact is not None and f'"{hashlib.sha256(artifact).hexdigest()}"' not in header:
        raise InputError(f"{path}: was written from another artifact, as its header says; export again")
    leaves_activation = re.search(r"_LOGITS 1$", header, re.MULTILINE) is not None
    seconds = max_seconds * -(-len(rows) // _ROWS_AT_ONCE)
    found = _run(model, Path(path), sources, rows, logits=leaves_activation, seconds=seconds)
    run = found.pop("run")
    found["logits" if leaves_activation else "output"] = run
    report = compare_tensors(model, rows, found, FORM, LEVEL)
    if artifact is None:
        return report
    written = c_files(model, Path(path).stem, logits=leaves_activation, artifact=artifact)
    changed = [name for name, content in sources.items() if written[name] != content]
    return replace(report, notes=(*report.notes, *map(_change_text, changed)))


def _change_text(name: str) -> str:
    """Of a file that somebody wrote in: rows need not reach what was changed."""
    return f"{name} is not what export writes of this artifact now: a change that no row here reaches would not show"


def stated_artifact(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of the artifact that NAME.c was written from, as its header states it. Raises InputError."""
    header = _sources(Path(path))[f"{Path(path).stem}.h"].decode(errors="replace")
    found = re.search(r'_ARTIFACT_SHA256 "([0-9a-f]{64})"$', header, re.MULTILINE)
    if found is None:
        raise InputError(f"{path}: its header states no artifact; export again")
    return found[1]


def _sources(path: Path) -> dict[str, bytes]:
    """The contents of NAME.c and NAME.h."""
    if path.suffix != ".c" or c_identifier(path.stem) != path.stem:
        raise InputError(f"{path}: expected NAME.c as export wrote it, beside its NAME.h")
    names = (f"{path.stem}.c", f"{path.stem}.h")
    return {name: bytes(read_file(path.with_name(name), max_bytes=_MAX_BYTES)) for name in names}


def _run(
    model: Model,
    path: Path,
    sources: dict[str, bytes],
    rows: NDArray[np.float32],
    *,
    logits: bool,
    seconds: float,
) -> Tensors:
    with tempfile.TemporaryDirectory(prefix="smallnet-") as folder:
        for name, content in sources.items():
            Path(folder, name).write_bytes(content)
        main, program = Path(folder, "trace_main.c"), Path(folder, "trace_main")
        main.write_bytes(tracing_program(model, path.stem, logits=logits))
        _compile(path, [*find_compiler(instead="").command, *_FLAGS, str(main), "-o", str(program), "-lm"])
        try:
            done = subprocess.run([program], input=rows.tobytes(), capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{path}: its program did not answer {len(rows):,} rows within {seconds:g} s; export again, or raise "
                "max_seconds if you trust the file"
            ) from None
    try:
        found = read_trace(done.stdout, model, logits=logits)
    except ValueError:
        found = {}
    if done.returncode != 0 or any(len(tensor) != len(rows) for tensor in found.values()) or not found:
        raise InputError(f"{path}: its program ended with status {done.returncode} before all rows were answered")
    return found


def _compile(path: Path, command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_COMPILE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"the C compiler {command[0]} does not run ({error})") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        said = printable(re.sub(r"\S*/smallnet-\w+/", "", lines[0]), 200) if lines else f"status {done.returncode}"
        advice = "export again" + (", or correct or unset CC" if os.environ.get("CC") else "")
        raise InputError(f"{path}: does not compile for this model with {command[0]} ({said}); {advice}")
