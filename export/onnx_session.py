"""onnxruntime sessions as this project uses them: one thread, quiet, at a stated graph-optimization level."""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime

from edge_runtime.errors import ArtifactError
from export.saturation import session_config

LEVELS = {
    "default": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


def make_session(proto: onnx.ModelProto, level: str = "default", *, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU, with the options that the file states. level: a key of LEVELS.

    Raises ArtifactError where onnxruntime refuses.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = 3
    for name, value in session_config(proto):
        options.add_session_config_entry(name, value)
    try:
        return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception types are private to its compiled module
        raise ArtifactError(f"onnxruntime {onnxruntime.__version__} refuses the model: {error}") from error
