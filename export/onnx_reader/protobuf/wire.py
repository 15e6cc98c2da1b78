"""A look at the bytes before protobuf takes them: how many messages would come out of them?

A message of two bytes takes some hundred in memory, so a file of a few megabytes could ask for gigabytes. Real models
hold few, large ones: this counts them along the wire format, and stops at a limit.
"""

from __future__ import annotations

import functools
from typing import Any

import onnx

from export.onnx_reader.nodes import Unsupported

MOST_FIELDS = 1_000_000


def check_counts(content: bytes) -> None:
    """Raise Unsupported for bytes that are no protobuf message, or hold more fields than any dense network needs."""
    if content.startswith(b"PK\x03\x04"):
        raise Unsupported("a zip file, as artifacts (.npz) are, expected ONNX; 'smallnet export' makes it of them")
    seen = 0
    stack: list[tuple[Any, int, int]] = [(onnx.ModelProto.DESCRIPTOR, 0, len(content))]
    while stack:
        message, at, end = stack.pop()
        children = _children(message)
        while at < end:
            key, at = _varint(content, at, end)
            wire, number = key & 7, key >> 3
            seen += 1
            if seen > MOST_FIELDS:
                raise Unsupported(f"it holds more than {MOST_FIELDS:,} fields, far more than a dense network needs")
            if wire == 0:
                _, at = _varint(content, at, end)
            elif wire == 1:
                at += 8
            elif wire == 5:
                at += 4
            elif wire == 2:
                size, at = _varint(content, at, end)
                if number in children and at + size <= end:
                    stack.append((children[number], at, at + size))
                at += size
            else:
                raise Unsupported("not an ONNX file: its bytes are no protobuf message; export the model again")
            if at > end:
                raise Unsupported("not a whole ONNX file: it ends within a field; copy or export it again")


@functools.cache
def _children(message: Any) -> dict[int, Any]:
    """The fields of a message that hold messages, by number."""
    return {field.number: field.message_type for field in message.fields if field.message_type is not None}


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise Unsupported("not a whole ONNX file: a number is cut off; copy or export it again")
