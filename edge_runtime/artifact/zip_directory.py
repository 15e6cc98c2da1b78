"""The directory of a plain zip file, read from its bytes.

`zipfile` reads many kinds of zip; importing it takes a device some milliseconds and a megabyte, which is more than all
else that loading an artifact takes. The one kind that `container` writes is read here: stored members in one part, no
comment at the end, no sizes of 64 bits. Source: PKWARE's APPNOTE 6.3, sections 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    import mmap

_END = struct.Struct("<4s4H2IH")
_ENTRY = struct.Struct("<4s6H3I5H2I")
END_BYTES, ENTRY_BYTES = _END.size, _ENTRY.size  # an entry's name comes on top
_DAMAGED = "export the model again"
_NEWEST_IR = 64  # far beyond it: 13 is the newest of 2026


class ZipEntry(NamedTuple):
    """What the directory says of one member. name: as stored, ASCII. offset: of its local header, in bytes.

    directory_bytes: the length of this entry itself.
    """

    name: bytes
    flags: int
    method: int
    compressed_bytes: int
    nbytes: int
    offset: int
    directory_bytes: int


def _is_like_onnx(content: bytes | mmap.mmap) -> bool:
    """Whether it begins with a version of ONNX's representation, as protobuf writes it: field 1, a number."""
    return content[0] == 8 and content[1] < _NEWEST_IR


def read_directory(content: bytes | mmap.mmap, path: object, most: int) -> list[ZipEntry]:
    """The members in the order of the directory. path: the file's name, for messages. most: members that are allowed.

    Raises ArtifactError for anything but a whole zip of the kind above. Nothing is believed about the members
    themselves: offsets and sizes are as found.
    """
    end_start = len(content) - _END.size
    if end_start < 0:
        raise ArtifactError(f"{path}: not a readable .npz file ({len(content)} bytes); {_DAMAGED}")
    if _is_like_onnx(content):
        raise ArtifactError(
            f"{path}: begins as an ONNX file, expected an artifact; make one of it with 'smallnet import'"
        )
    signature, *disks, count, nbytes, start, comment = _END.unpack(content[end_start:])
    if signature != b"PK\x05\x06" or comment:
        raise ArtifactError(f"{path}: not a readable .npz file (no end of a zip directory at its end); {_DAMAGED}")
    if disks != [0, 0, count] or start + nbytes != end_start:
        raise ArtifactError(f"{path}: not a readable .npz file (its zip directory is not where it says); {_DAMAGED}")
    if count > most:
        raise ArtifactError(f"{path}: {count:,} members, expected at most {most:,}")
    directory = content[start:end_start]
    entries, position = [], 0
    for _ in range(count):
        entry, position = _read_entry(directory, position, path)
        entries.append(entry)
    if position != nbytes:
        raise ArtifactError(f"{path}: not a readable .npz file (its zip directory has bytes to spare); {_DAMAGED}")
    return entries


def directory_start(content: bytes | mmap.mmap) -> int:
    """Where the directory begins, and the members must have ended, in a file that `read_directory` has taken."""
    return int(_END.unpack(content[-_END.size :])[-2])


def _read_entry(directory: bytes, position: int, path: object) -> tuple[ZipEntry, int]:
    """The entry at `position`, and where the next one begins."""
    fixed = directory[position : position + _ENTRY.size]
    if len(fixed) < _ENTRY.size or fixed[:4] != b"PK\x01\x02":
        raise ArtifactError(f"{path}: not a readable .npz file (its zip directory is damaged); {_DAMAGED}")
    _, _, _, flags, method, _, _, _, compressed, nbytes, name, extra, comment, disk, _, _, offset = _ENTRY.unpack(fixed)
    name_start = position + _ENTRY.size
    end = name_start + name + extra + comment
    if end > len(directory) or disk:
        raise ArtifactError(f"{path}: not a readable .npz file (its zip directory is damaged); {_DAMAGED}")
    stored_name = directory[name_start : name_start + name]
    return ZipEntry(stored_name, flags, method, compressed, nbytes, offset, end - position), end
