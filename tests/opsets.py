"""Which opsets the installed onnxruntime runs."""

from __future__ import annotations

import onnx
import onnxruntime

from export.onnx_writer.writer import to_onnx
from tests.adversarial import adversarial_model, in_int4


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


def int4_opsets() -> tuple[int, ...]:
    """Opsets from 13 to the newest for 4-bit weights: below 21 alone if the installed onnxruntime has no int4."""
    newest, model = newest_opset(), in_int4(adversarial_model(0))
    try:
        onnxruntime.InferenceSession(to_onnx(model, opset=21).SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:
        return (13, 20)
    return (13, 20, 21, newest)
