"""A `.npz` whose bytes are known: stored, not compressed, with aligned data, and identical when written twice.

NumPy reads such a file with `np.load(path, allow_pickle=False)`. The reader here is stricter: it takes only what the
writer makes, copies nothing (arrays are read-only views of the file's bytes) and never trusts a declared size.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edge_runtime.artifact.zip_directory import END_BYTES, ENTRY_BYTES, ZipEntry, directory_start, read_directory
from edge_runtime.errors import ArtifactError, InputError
from edge_runtime.files import ALIGNMENT, NPY_START, npy_header, read_npy_bytes, refuse_no_file
from edge_runtime.numerics import FileMap

if TYPE_CHECKING:
    import mmap

    from numpy.typing import NDArray

MAX_MEMBERS = 4096
MAX_FILE_BYTES = (1 << 31) - 1  # beyond, zip states its sizes in another way
MEMBER_BYTES = 512  # more than zip and .npy headers add to a member
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that zip can state; a real one would change the bytes
_PADDING_ID = 0xD935  # the extra field that Android's zipalign pads with
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_TEXT_AT = len(NPY_START) + 2  # of a .npy of format 1.0, behind the number of its bytes
_DTYPES = {"|i1", "|u1", "<i2", "<u2", "<i4", "<f2", "<f4", "<f8", "<i8"}


def write_members(file: IO[bytes], members: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as a `.npz`, little-endian, under ASCII names. The same arrays always give the same bytes.

    Raises ArtifactError for 2 GiB and more.
    """
    import zipfile

    nbytes = sum(array.nbytes + MEMBER_BYTES for array in members.values())
    if nbytes > MAX_FILE_BYTES:
        raise ArtifactError(f"{nbytes:,} bytes of arrays, expected at most {MAX_FILE_BYTES:,} in one file")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16  # the same on every operating system
            data_start = file.tell() + _LOCAL_HEADER.size + len(info.filename) + 4
            info.extra = struct.pack("<HH", _PADDING_ID, -data_start % ALIGNMENT) + bytes(-data_start % ALIGNMENT)
            archive.writestr(info, npy_header(array) + array.tobytes())
            info.extra = b""  # the padding belongs before the data; the directory at the end needs no copy of it


def written_bytes(members: Mapping[str, NDArray[Any]]) -> int:
    """The size in bytes of the file that `write_members` makes of these arrays."""
    position, directory = 0, 0
    for name, array in members.items():
        header = _LOCAL_HEADER.size + len(f"{name}.npy") + 4  # 4: of the extra field that holds the padding
        position = -(-(position + header) // ALIGNMENT) * ALIGNMENT + len(npy_header(array)) + array.nbytes
        directory += ENTRY_BYTES + len(f"{name}.npy")
    return position + directory + END_BYTES


def read_members(path: str | os.PathLike[str], *, max_bytes: int, use_mmap: bool = False) -> dict[str, NDArray[Any]]:
    """The arrays of a file made by `write_members`, as read-only views of its bytes (or of a memory map of it).

    Raises ArtifactError for anything else, and for a file over `max_bytes`; OSError where it cannot be read.
    """
    refuse_no_file(path, ArtifactError)
    if os.path.isdir(path):
        raise ArtifactError(f"{path}: a folder, expected an artifact")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise ArtifactError(f"{path}: {size:,} bytes, over the limit of {max_bytes:,}; raise max_bytes to read it")
        content: bytes | mmap.mmap
        mapped = use_mmap and size > 0  # an empty file cannot be mapped
        content = FileMap(file.fileno()) if mapped else file.read(size)
    return members_of(content, path)


def members_of(content: bytes | mmap.mmap, path: object) -> dict[str, NDArray[Any]]:
    """The arrays in the bytes of such a file, as views. path: its name, for messages. Raises ArtifactError."""
    entries = read_directory(content, path, MAX_MEMBERS)
    members: dict[str, NDArray[Any]] = {}
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        name = entry.name.decode("ascii", "backslashreplace").removesuffix(".npy")
        if name in members:
            raise ArtifactError(f"{path}: member '{name}' appears twice; export the model again")
        start = _data_start(content, entry, f"{path}: member '{name}'")
        if entry.offset < end:
            raise ArtifactError(f"{path}: member '{name}' overlaps the one before it; export the model again")
        end = start + entry.nbytes
        members[name] = _view(content, start, end, f"{path}: member '{name}'")
    if end > directory_start(content):
        raise ArtifactError(f"{path}: member '{name}' overlaps the zip directory; export the model again")
    return members


def _data_start(content: bytes | mmap.mmap, entry: ZipEntry, what: str) -> int:
    """Where a member's bytes begin, after checking that the local header agrees with the directory."""
    if entry.method != 0 or entry.flags & ~0x800 or entry.nbytes != entry.compressed_bytes:
        raise ArtifactError(f"{what} is compressed or encrypted, expected plain stored data; export the model again")
    header = content[entry.offset : entry.offset + _LOCAL_HEADER.size]
    if len(header) < _LOCAL_HEADER.size:
        raise ArtifactError(f"{what} starts outside the file; export the model again")
    signature, *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    name_start = entry.offset + _LOCAL_HEADER.size
    if signature != b"PK\x03\x04" or content[name_start : name_start + name_length] != entry.name:
        raise ArtifactError(f"{what} disagrees with the file's directory; export the model again")
    start = name_start + name_length + extra_length
    if start + entry.nbytes > len(content):
        raise ArtifactError(f"{what} ends outside the file; export the model again")
    return start


def _view(content: bytes | mmap.mmap, start: int, end: int, what: str) -> NDArray[Any]:
    """The `.npy` in content[start:end] as an array that copies nothing. Its header must be the writer's."""
    data = memoryview(content)[start:end]
    if data[: len(NPY_START)] != NPY_START:
        raise ArtifactError(f"{what} is not a .npy of format 1.0; export the model again")
    try:
        array = read_npy_bytes(data, "its data")
    except InputError as error:
        raise ArtifactError(f"{what} has a .npy header that this format does not use ({error})") from error
    text = npy_header(array)[_TEXT_AT:].rstrip(b" \n")
    padding = bytes(data[_TEXT_AT : len(data) - array.nbytes]).removeprefix(text)
    if array.ndim > 2 or array.dtype.str not in _DTYPES or padding.lstrip(b" ") != b"\n":
        raise ArtifactError(f"{what} has a .npy header that this format does not use; export the model again")
    array.setflags(write=False)
    return array
