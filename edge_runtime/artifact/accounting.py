"""Where every byte of an artifact goes: its members, and what the zip and .npy formats add."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.artifact.npz import members_of
from edge_runtime.artifact.zip_directory import directory_start, read_directory


@dataclass(frozen=True)
class MemberBytes:
    """One member of the file: its data, and what the zip and .npy formats add (headers, alignment, directory entry)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data_bytes: int
    overhead_bytes: int


@dataclass(frozen=True)
class FileBytes:
    """Every byte of an artifact: the members, and the end of the zip directory. They add up to file_bytes."""

    file_bytes: int
    members: tuple[MemberBytes, ...]
    end_bytes: int


def account(content: bytes, name: object = "artifact") -> FileBytes:
    """Account for each byte of an artifact's content. name: for messages. Raises ArtifactError as `load` does."""
    arrays = members_of(content, name)
    entries = sorted(read_directory(content, name, len(arrays)), key=lambda entry: entry.offset)
    starts = [*(entry.offset for entry in entries), directory_start(content)]
    members = []
    for entry, start, end in zip(entries, starts, starts[1:], strict=False):
        member = entry.name.decode()
        array = arrays[member.removesuffix(".npy")]
        overhead = end - start + entry.directory_bytes - array.nbytes
        members.append(MemberBytes(member, array.dtype.name, array.shape, array.nbytes, overhead))
    end_bytes = len(content) - sum(member.data_bytes + member.overhead_bytes for member in members)
    return FileBytes(len(content), tuple(members), end_bytes)
