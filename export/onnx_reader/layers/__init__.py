"""From the steps that a file's rows go through to the layers of a model."""

from export.onnx_reader.layers.assembly import Assembly
from export.onnx_reader.layers.build import build_layers
from export.onnx_reader.layers.functions import PROBES
from export.onnx_reader.layers.int8 import in_4_bits

__all__ = ["Assembly", "PROBES", "build_layers", "in_4_bits"]
