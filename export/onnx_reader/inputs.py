"""The graph's real inputs: how wide a row is, and where the batch stands in their shapes.

Several inputs are parts of one vector, in their order: what joins them makes the chain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from export.onnx_reader.nodes import Node, Unsupported
from export.onnx_reader.protobuf import element_type
from export.onnx_reader.steps import Chain
from export.onnx_reader.values import ANY_ROWS, Flow

LEAST_WIDTH = 1 << 16  # features that any file may have: a small one may pick a few out of many
_REAL = ("float32", "float64", "float16", "uint8", "int8", "int32", "int64")


@dataclass(frozen=True)
class Input:
    """A way to read an input. shape: of one row, without the batch's axis. rows: ANY_ROWS where the batch is free.

    start: where its features begin in the vector of all inputs.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    batch: int | None
    rows: int
    start: int = 0

    @property
    def width(self) -> int:
        """Features of a row."""
        return math.prod(self.shape)

    @property
    def columns(self) -> slice:
        """Its features in the vector of all inputs."""
        return slice(self.start, self.start + self.width)

    @property
    def feature_names(self) -> list[str]:
        """A name for each feature: the input's, with a number where it has several."""
        return [self.name] if self.width == 1 else [f"{self.name}_{place}" for place in range(self.width)]

    def flow(self, start: Chain | None = None) -> Flow:
        """The tensor at the start of the chain. start: of all inputs, if there are several."""
        order = np.arange(self.start, self.start + self.width).reshape(self.shape)
        return Flow(start or Chain(None, None, self.width), order, self.batch, self.rows, self.kind)


Inputs = tuple[Input, ...]


def width_of(inputs: Inputs) -> int:
    """Features of the vector that the inputs make."""
    return sum(part.width for part in inputs)


def flows_of(inputs: Inputs) -> dict[str, Flow]:
    """The tensors at the start of the chain."""
    start = Chain(None, None, width_of(inputs))
    return {part.name: part.flow(start) for part in inputs}


def find_inputs(
    graph: onnx.GraphProto, constants: Mapping[str, Any], nodes: list[Node], widest: int
) -> Iterator[Inputs]:
    """The ways in which the inputs may be meant, likeliest first. Those that no node uses are passed over.

    widest: the most features that they may have. Raises Unsupported.
    """
    used = {name for node in nodes for name in node.inputs}
    values = [value for value in graph.input if value.name not in constants]
    values = [value for value in values if value.name in used] or values[:1]
    if not values:
        raise Unsupported("it has 0 inputs, expected one at least; only chains are supported")
    for parts in zip(*(_ways(value, nodes, constants, widest) for value in values), strict=False):
        if {part.rows for part in parts} == {1, ANY_ROWS}:  # any number, where another takes one row: it is one
            parts = tuple(replace(part, rows=1) for part in parts)
        if len({part.rows for part in parts}) > 1:
            counts = ", ".join(f"'{part.name}' {part.rows}" for part in parts).replace(str(ANY_ROWS), "any number")
            raise Unsupported(f"its inputs have different numbers of rows ({counts}), expected one")
        ends = np.cumsum([part.width for part in parts]).tolist()
        yield tuple(replace(part, start=end - part.width) for part, end in zip(parts, ends, strict=True))


def _ways(value: onnx.ValueInfoProto, nodes: list[Node], constants: Mapping[str, Any], widest: int) -> Iterator[Input]:
    if value.type.WhichOneof("value") != "tensor_type":
        raise Unsupported(f"input '{value.name}' is no tensor, expected one; only chains are supported")
    tensor = value.type.tensor_type
    kind = element_type(tensor.elem_type or TensorProto.FLOAT, f"input '{value.name}': ").name
    kind = "bfloat16" if tensor.elem_type == TensorProto.BFLOAT16 else kind
    if kind not in _REAL:
        raise Unsupported(f"input '{value.name}' holds {kind}, expected {', '.join(_REAL)}")
    sizes: list[int | None] = [None, None]
    if tensor.HasField("shape"):
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
        sizes = [size if size is None or size > 0 else None for size in sizes]
    return _candidates(value.name, kind, sizes, nodes, constants, widest)


def _candidates(
    name: str, kind: str, sizes: list[int | None], nodes: list[Node], constants: Mapping[str, Any], widest: int
) -> Iterator[Input]:
    if not sizes or len(sizes) > 8:
        raise Unsupported(f"input '{name}' has {len(sizes)} axes, expected 1 to 8")
    free = [axis for axis, size in enumerate(sizes) if size is None]
    batch = None if len(sizes) == 1 else (free or [0])[0]
    missing = [axis for axis in free if axis != batch]
    if len(missing) > 1:
        raise Unsupported(f"input '{name}' has {len(free)} free axes, expected the batch alone")
    if missing:
        known = math.prod(size for axis, size in enumerate(sizes) if size is not None and axis != batch)
        sizes[missing[0]] = _width_in_use(name, nodes, constants) // max(1, known)
    whole = [size or 0 for size in sizes]
    rows = ANY_ROWS if batch in free else (whole[batch] if batch is not None else 1)
    shapes = [(batch, rows, whole)]
    if batch is not None and not free:
        shapes.append((None, 1, whole))  # a column, or any other fixed shape, may be one row
    found: list[Input] = []
    for at, count, shape in shapes:
        row = tuple(size for axis, size in enumerate(shape) if axis != at)
        if found and math.prod(row) > widest:
            continue  # many rows are no row
        if not 1 <= math.prod(row) <= widest:
            features = f"{math.prod(row):,} features, more than the file has weights for"
            raise Unsupported(f"input '{name}' has {features}, expected 1 to {widest:,}")
        found.append(Input(name, kind, row, at, count))
    return iter(found)


def _width_in_use(name: str, nodes: list[Node], constants: Mapping[str, Any]) -> int:
    """How wide the first constants that the input meets are, where the file does not say how wide it is itself."""
    names = {name}
    for node in nodes:
        if not names & set(node.inputs):
            continue
        if node.operator == "Scaler" and isinstance(node.attributes.get("offset"), list):
            return len(node.attributes["offset"])
        for position, other in enumerate(node.inputs):
            dims = [int(size) for size in getattr(constants.get(other), "dims", [])]
            if node.operator in ("Gemm", "MatMul", "MatMulInteger") and len(dims) == 2:
                is_left = position == 0
                is_turned = bool(node.attributes.get("transA" if is_left else "transB", 0))
                return dims[1 if is_turned != is_left else 0]
            if dims and dims[-1] > 1:
                return dims[-1]
        names |= set(node.outputs)
    raise Unsupported(f"input '{name}' does not say how many features it has; give it a shape")
