"""Which opsets the installed onnxruntime runs."""

from __future__ import annotations

import onnx
import onnxruntime

from export.onnx_writer.writer import to_onnx
from tests.adversarial import adversarial_model


def newest_opset() -> int:
    """The newest opset that both the installed onnx writes and the installed onnxruntime reads."""
    model = adversarial_model(0)
    for opset in range(onnx.defs.onnx_opset_version(), 12, -1):
        try:
            content = to_onnx(model, opset=opset).SerializeToString()
            onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        except Exception:
            continue
        return opset
    raise AssertionError("onnxruntime reads no opset that onnx writes")
