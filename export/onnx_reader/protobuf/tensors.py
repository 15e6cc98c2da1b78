"""Arrays out of TensorProto: every size is checked against what is really there before anything is allocated."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edge_runtime.array_types import Array
from export.onnx_reader.nodes import Budget, Unsupported

_RAW = {
    TensorProto.FLOAT: "<f4",
    TensorProto.DOUBLE: "<f8",
    TensorProto.FLOAT16: "<f2",
    TensorProto.BFLOAT16: "<u2",
    TensorProto.INT8: "i1",
    TensorProto.INT16: "<i2",
    TensorProto.INT32: "<i4",
    TensorProto.INT64: "<i8",
    TensorProto.UINT8: "u1",
    TensorProto.UINT16: "<u2",
    TensorProto.UINT32: "<u4",
    TensorProto.UINT64: "<u8",
    TensorProto.BOOL: "?",
}
_FOUR = {"bits": 4}  # what an array's dtype says of 4-bit integers, which NumPy holds in 8
_NIBBLES: dict[int, np.dtype[Any]] = {  # two to a byte, the first one low
    TensorProto.INT4: np.dtype(np.int8, metadata=_FOUR),
    TensorProto.UINT4: np.dtype(np.uint8, metadata=_FOUR),
}
_FIELDS = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}  # every other type uses int32_data
_LARGEST_AXIS = 1 << 31
_MOST_AXES = 16


def element_type(code: int, where: str = "") -> np.dtype[Any]:
    """The dtype that arrays of an ONNX element type get here (bfloat16 is widened). Raises Unsupported.

    where: what messages begin with.
    """
    if code not in _RAW:
        names = {value: name for name, value in TensorProto.DataType.items()}
        raise Unsupported(f"{where}element type {names.get(code, code)} is not supported; expected floats or integers")
    return np.dtype(np.float32 if code == TensorProto.BFLOAT16 else _RAW[code]).newbyteorder("=")


def has_4_bits(array: Array) -> bool:
    """Whether an array holds the values of a tensor of 4-bit integers."""
    return dict(array.dtype.metadata or {}) == _FOUR


def checked_shape(dims: Any, name: str) -> tuple[int, ...]:
    """A shape whose axes are sizes. Raises Unsupported."""
    shape = tuple(int(size) for size in dims)
    if len(shape) > _MOST_AXES or any(not 0 <= size < _LARGEST_AXIS for size in shape):
        found = f"tensor '{name}' has shape {shape[:_MOST_AXES]}"
        raise Unsupported(f"{found}, expected {_MOST_AXES} axes at most, each below 2^31")
    return shape


class TensorReader:
    """Reads the tensors of one model. folder: the only place from which external data is taken, max_bytes at most."""

    def __init__(self, folder: Path, budget: Budget, max_bytes: int) -> None:
        self.folder = folder
        self.budget = budget
        self.max_bytes = self.left = max_bytes
        self.has_nibbles = False  # whether a tensor of 4-bit integers has been read

    def array(self, tensor: onnx.TensorProto) -> Array:
        """The values of a tensor, native byte order; object strings for STRING. Raises Unsupported."""
        shape = checked_shape(tensor.dims, tensor.name)
        count = math.prod(shape)
        if tensor.data_type == TensorProto.STRING:
            if len(tensor.string_data) != count:
                raise Unsupported(f"tensor '{tensor.name}' holds {len(tensor.string_data)} texts, expected {count:,}")
            texts = [text.decode("utf-8", "replace") for text in tensor.string_data]
            return np.array(texts, dtype=object).reshape(shape)
        if tensor.data_type in _NIBBLES:
            return self._nibbles(tensor, count).reshape(shape)
        dtype = element_type(tensor.data_type, f"tensor '{tensor.name}': ")
        self.budget.charge(count, dtype.itemsize)
        if tensor.data_location == TensorProto.EXTERNAL:
            values = self._decode(tensor, self._external(tensor, count), count)
        elif tensor.HasField("raw_data"):
            values = self._decode(tensor, tensor.raw_data, count)
        else:
            values = self._fields(tensor, count)
        if tensor.data_type == TensorProto.BFLOAT16:
            values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return values.astype(dtype, copy=False).reshape(shape)

    def _nibbles(self, tensor: onnx.TensorProto, count: int) -> Array:
        """4-bit integers, (count,) in 8 bits each."""
        self.has_nibbles = True
        self.budget.charge(count, 2)
        packed = np.frombuffer(self._packed(tensor, count), np.uint8)
        codes = np.stack([packed << 4, packed & 0xF0], axis=1).reshape(-1)[:count]  # each in the high half
        dtype = _NIBBLES[tensor.data_type]
        return (codes.view(dtype) >> 4).view(dtype)

    def _packed(self, tensor: onnx.TensorProto, count: int) -> bytes:
        """Their bytes."""
        if tensor.data_location == TensorProto.EXTERNAL:
            return self._external(tensor, count)
        expected = (count + 1) // 2
        found = len(tensor.raw_data) if tensor.HasField("raw_data") else len(tensor.int32_data)
        if found != expected:
            raise Unsupported(f"tensor '{tensor.name}' has {found:,} bytes, expected {expected:,}")
        if tensor.HasField("raw_data"):
            return tensor.raw_data
        return (np.array(tensor.int32_data, np.int64) & 0xFF).astype(np.uint8).tobytes()

    def beside(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        """A tensor of external data with its values in it. Raises Unsupported."""
        if tensor.data_type not in _NIBBLES:
            return numpy_helper.from_array(self.array(tensor), tensor.name)
        count = math.prod(checked_shape(tensor.dims, tensor.name))
        raw, kind = self._external(tensor, count), tensor.data_type
        return onnx.TensorProto(name=tensor.name, data_type=kind, dims=tensor.dims, raw_data=raw)

    def external_bytes(self, tensors: Iterable[onnx.TensorProto]) -> int:
        """Bytes of external data that tensors ask for and files have. Raises Unsupported if one may not be read."""
        external = [tensor for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL]
        asked = sum(_stored_bytes(tensor, math.prod(checked_shape(tensor.dims, tensor.name))) for tensor in external)
        paths = {self._inside(_location(tensor), tensor.name) for tensor in external}
        return min(asked, sum(path.stat().st_size for path in paths))

    def external_files(self, tensors: Iterable[onnx.TensorProto]) -> tuple[Path, ...]:
        """The files, whether they may be read or not, in which tensors say that their data lies."""
        named = {_location(tensor) for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL}
        return tuple(self.folder / location for location in sorted(named) if location and "\0" not in location)

    def _decode(self, tensor: onnx.TensorProto, raw: bytes, count: int) -> Array:
        dtype = np.dtype(_RAW[tensor.data_type])
        if len(raw) != count * dtype.itemsize:
            raise Unsupported(f"tensor '{tensor.name}' has {len(raw):,} bytes, expected {count * dtype.itemsize:,}")
        return np.frombuffer(raw, dtype)

    def _fields(self, tensor: onnx.TensorProto, count: int) -> Array:
        name = _FIELDS.get(tensor.data_type, "int32_data")
        stored = getattr(tensor, name)
        if len(stored) != count:
            raise Unsupported(f"tensor '{tensor.name}' has {len(stored):,} values in {name}, expected {count:,}")
        values = np.array(stored, None if count else np.float32)
        return values.astype(np.uint16).view(np.float16) if tensor.data_type == TensorProto.FLOAT16 else values

    def _external(self, tensor: onnx.TensorProto, count: int) -> bytes:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = self._inside(_location(tensor), tensor.name)
        expected = _stored_bytes(tensor, count)
        offset, length = _size(entries.get("offset", "0")), _size(entries.get("length", str(expected)))
        if offset is None or length != expected:
            found = f"offset {entries.get('offset')}, length {entries.get('length')}"
            raise Unsupported(f"external tensor '{tensor.name}' has {found}, expected {expected:,} bytes")
        if (size := path.stat().st_size) < offset + expected:
            found = f"ends at byte {offset + expected:,} of a file of {size:,}"
            raise Unsupported(f"external tensor '{tensor.name}' {found}, expected it within")
        self.left -= expected
        if self.left < 0:
            found = f"makes it {self.max_bytes - self.left:,} bytes of external data"
            limit = f"expected {self.max_bytes:,} at most; raise max_bytes"
            raise Unsupported(f"external tensor '{tensor.name}' {found}, {limit}")
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(expected)

    def _inside(self, location: str, name: str) -> Path:
        """The file that holds external data: a regular one, inside of the model's folder, links followed."""
        if not location or "\0" in location or os.path.isabs(location) or "\\" in location or ":" in location:
            raise Unsupported(f"external tensor '{name}' has the location {location!r}, expected a relative path")
        folder = Path(os.path.realpath(self.folder))
        path = Path(os.path.realpath(folder / location))
        if folder not in path.parents:
            raise Unsupported(f"external tensor '{name}' lies outside of the model's folder: {location!r}")
        if not path.is_file():
            raise Unsupported(f"external tensor '{name}': {location!r} is no file in the model's folder; copy it there")
        return path


def take_in_external(proto: onnx.ModelProto, folder: Path, max_bytes: int) -> None:
    """Put what lies beside a file, max_bytes at most, into its model. Raises Unsupported if it may not be read."""
    reader = TensorReader(folder, Budget(2 * max_bytes), max_bytes)
    for tensor in proto.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(reader.beside(tensor))


def _stored_bytes(tensor: onnx.TensorProto, count: int) -> int:
    """Of so many values; 0 for a type that is not read."""
    if tensor.data_type in _NIBBLES:
        return (count + 1) // 2
    return count * np.dtype(_RAW[tensor.data_type]).itemsize if tensor.data_type in _RAW else 0


def _location(tensor: onnx.TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _size(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
