"""The bytes of a file as nodes and arrays: sizes are checked before anything is allocated."""

from export.onnx_reader.protobuf.tensors import TensorReader, element_type, has_4_bits, take_in_external
from export.onnx_reader.protobuf.walk import needed_nodes
from export.onnx_reader.protobuf.wire import check_counts

__all__ = ["TensorReader", "check_counts", "element_type", "has_4_bits", "needed_nodes", "take_in_external"]
