"""onnxruntime sessions as this project uses them: one thread, quiet, at a stated graph-optimization level.

onnxruntime is imported here and nowhere else. Its telemetry, which writes to the home folder and opens a connection
some seconds after the import, is switched off before; a value that the user has set for ORT_DISABLE_TELEMETRY stays,
unless it is empty.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = os.environ.get("ORT_DISABLE_TELEMETRY") or "1"  # read when the library is loaded

import onnx
import onnxruntime

from edge_runtime.errors import ArtifactError
from export.onnx_writer import session_config

VERSION: str = onnxruntime.__version__
LEVELS = {
    "default": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_FATAL = 4  # the log level: what goes wrong comes back as an exception, and is said by us in one line

_OPSET = re.compile(r"Opset (-?\d+) is under .* domain (\S+) is till opset (\d+)", re.DOTALL)
_IR_VERSION = re.compile(r"(Unsupported|Missing) model IR version.*")


def make_session(
    model: onnx.ModelProto | bytes | str,
    level: str = "default",
    *,
    threads: int = 1,
    config: Iterable[tuple[str, str]] = (),
) -> Any:
    """An onnxruntime session on the CPU.

    model: a model, its bytes, or the path of a file.
    level: a key of LEVELS.
    threads: in one operator, and of operators beside one another.
    config: session options by name, beside those that a model states itself (see `saturation.session_config`).
    Raises ArtifactError where onnxruntime refuses.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = _FATAL
    for kind in ("intra", "inter"):  # threads that wait turning in circles take the processor from those that work
        options.add_session_config_entry(f"session.{kind}_op.allow_spinning", "0")
    stated = session_config(model) if isinstance(model, onnx.ModelProto) else ()
    for name, value in (*config, *stated):
        options.add_session_config_entry(name, value)
    content = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception types are private to its compiled module
        raise ArtifactError(f"onnxruntime {VERSION} refuses the model: {_reason(str(error))}") from error


def _reason(words: str) -> str:
    """What onnxruntime says, with what to do where a version is newer than it reads."""
    opset, ir_version = _OPSET.search(words), _IR_VERSION.search(words)
    if opset is not None:
        found, domain, newest = opset.groups()
        return (
            f"opset {found} of domain {domain} found, expected {newest} at most; export it with an older opset, or "
            "install a newer onnxruntime"
        )
    if ir_version is not None:
        advice = "set model.ir_version = 8 with onnx and save it again, or install a newer onnxruntime"
        return f"{ir_version.group().rstrip('.')}; {advice}"
    return words
